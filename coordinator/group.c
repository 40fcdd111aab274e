// The way of a group:
//
//	           first JoinGroup            all joined, or time is up          leader's SyncGroup is logged
//	  Empty ───────────────────► Preparing ───────────────────► Completing ───────────────────► Stable
//	    ▲                         │  ▲  ▲                            │                             │
//	    └──── nobody is left ─────┘  │  └──── somebody came or went ─┘                             │
//	                                 └──────── somebody came or went, or the leader joins again ───┘
//
// Everything but Stable and Empty is lost with its owner, and clients then join again.

#include "coordinator/group.h"

#include <stdlib.h>

#include "common/base/memory.h"

const char *group_state_text(enum group_state state)
{
	static const char *const texts[GROUP_STATE_COUNT] = {
#define GROUP_STATE_TEXT(name, text) [GROUP_##name] = (text),
		GROUP_STATE_TABLE(GROUP_STATE_TEXT)
#undef GROUP_STATE_TEXT
	};
	return texts[state];
}

void group_enter(struct group *group, enum group_state state)
{
	static const bool allowed[GROUP_STATE_COUNT][GROUP_STATE_COUNT] = {
		[GROUP_EMPTY] = {[GROUP_PREPARING_REBALANCE] = true, [GROUP_DEAD] = true},
		[GROUP_PREPARING_REBALANCE] = {[GROUP_EMPTY] = true, [GROUP_COMPLETING_REBALANCE] = true, [GROUP_DEAD] = true},
		[GROUP_COMPLETING_REBALANCE] = {[GROUP_PREPARING_REBALANCE] = true, [GROUP_STABLE] = true, [GROUP_DEAD] = true},
		[GROUP_STABLE] = {[GROUP_PREPARING_REBALANCE] = true, [GROUP_DEAD] = true},
	};
	CHECK(allowed[group->state][state]);
	group->initial = group->state == GROUP_EMPTY && state == GROUP_PREPARING_REBALANCE;
	group->logging = false;
	group->state = state;
}

struct group_member *group_find_member(struct group *group, struct bytes id)
{
	struct group_member *member;
	HASH_FIND(hh, group->members, id.data, id.len, member);
	return member;
}

struct group_member *group_find_static(struct group *group, struct bytes instance_id)
{
	struct group_member *member;
	HASH_FIND(hh_instance, group->static_members, instance_id.data, instance_id.len, member);
	return member;
}

int16_t group_check_member(struct group *group, struct bytes id, struct bytes instance_id, struct group_member **ret_member)
{
	if (instance_id.data) {
		const struct group_member *owner = group_find_static(group, instance_id);
		if (!owner)
			return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
		if (!bytes_equal(owner->id, id))
			return KAFKA_ERROR_FENCED_INSTANCE_ID;
	}
	struct group_member *member = group_find_member(group, id);
	if (!member)
		return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
	*ret_member = member;
	return KAFKA_ERROR_NONE;
}

size_t group_member_total(const struct group *group)
{
	return HASH_COUNT(group->members);
}

void group_add_member(struct group *group, struct group_member *member)
{
	HASH_ADD_KEYPTR(hh, group->members, member->id.data, member->id.len, member);
	if (member->instance_id.data)
		HASH_ADD_KEYPTR(hh_instance, group->static_members, member->instance_id.data, member->instance_id.len, member);
	if (!group->leader)
		group->leader = member;
	group->member_bytes += member->bytes;
	group->groups->member_count++;
	group_timer_need(group, member->deadline);
}

static void group_unlink_member(struct group *group, struct group_member *member)
{
	HASH_DELETE(hh, group->members, member);
	if (member->instance_id.data)
		HASH_DELETE(hh_instance, group->static_members, member);
	if (group->leader == member)
		group->leader = group->members;
	group_set_sync_missing(group, member, false);
	group->member_bytes -= member->bytes;
	group->groups->member_count--;
}

void group_remove_member(struct group *group, struct group_member *member)
{
	group_fail_member_join(group, member, bytes_of(""), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
	group_fail_sync(group->groups, &member->sync, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
	group_unlink_member(group, member);
	group_member_free(member);
}

void group_rename_member(struct group *group, struct group_member *member, struct bytes id)
{
	HASH_DELETE(hh, group->members, member);
	group->member_bytes -= member->bytes;
	member->bytes = member->bytes - member->id.len + id.len;
	group_text_set(&member->id, id);
	HASH_ADD_KEYPTR(hh, group->members, member->id.data, member->id.len, member);
	group->member_bytes += member->bytes;
}

static void group_drop_protocols(struct group_member *member)
{
	for (size_t i = 0; i < member->protocol_count; i++) {
		member->bytes -= member->protocols[i].name.len + member->protocols[i].metadata.len;
		group_text_drop(&member->protocols[i].name);
		group_text_drop(&member->protocols[i].metadata);
	}
	free(member->protocols);
	member->protocols = NULL;
	member->protocol_count = 0;
}

void group_set_protocols(struct group *group, struct group_member *member, const struct group_protocol *protocols, size_t count)
{
	size_t before = member->bytes;
	group_drop_protocols(member);
	member->protocols = memory_zalloc(count * sizeof *protocols + 1);
	member->protocol_count = count;
	for (size_t i = 0; i < count; i++) {
		member->protocols[i].name = group_text_copy(protocols[i].name);
		member->protocols[i].metadata = group_text_copy(group_text_or_empty(protocols[i].metadata));
		member->bytes += protocols[i].name.len + protocols[i].metadata.len;
	}
	if (group)
		group->member_bytes += member->bytes - before;
}

void group_member_free(struct group_member *member)
{
	group_drop_protocols(member);
	group_text_drop(&member->id);
	group_text_drop(&member->instance_id);
	group_text_drop(&member->client_id);
	group_text_drop(&member->client_host);
	group_text_drop(&member->assignment);
	group_text_drop(&member->staged);
	free(member);
}

struct bytes group_member_metadata(const struct group_member *member, struct bytes protocol)
{
	for (size_t i = 0; i < member->protocol_count; i++)
		if (bytes_equal(member->protocols[i].name, protocol))
			return member->protocols[i].metadata;
	return bytes_of("");
}

void group_set_sync_missing(struct group *group, struct group_member *member, bool missing)
{
	if (member->sync_missing == missing)
		return;
	member->sync_missing = missing;
	if (missing)
		group->syncs_missing++;
	else
		group->syncs_missing--;
}

void group_add_pending(struct group *group, struct bytes id, uint64_t deadline)
{
	struct group_pending *pending = memory_zalloc(sizeof *pending);
	pending->id = group_text_copy(id);
	pending->deadline = deadline;
	HASH_ADD_KEYPTR(hh, group->pending, pending->id.data, pending->id.len, pending);
	group_timer_need(group, deadline);
}

struct group_pending *group_find_pending(struct group *group, struct bytes id)
{
	struct group_pending *pending;
	HASH_FIND(hh, group->pending, id.data, id.len, pending);
	return pending;
}

void group_remove_pending(struct group *group, struct group_pending *pending)
{
	HASH_DELETE(hh, group->pending, pending);
	group_text_drop(&pending->id);
	free(pending);
}

void group_clear_live(struct group *group)
{
	while (group->members) {
		struct group_member *member = group->members;
		group_unlink_member(group, member);
		group_member_free(member);
	}
	while (group->pending)
		group_remove_pending(group, group->pending);
	group_text_drop(&group->protocol_type);
	group_text_drop(&group->protocol);
	group->state = GROUP_EMPTY;
	group->generation = 0;
	group->joining = group->syncs_missing = 0;
	group->initial = group->new_member_added = group->logging = false;
	group->join_deadline = group->sync_deadline = DEADLINE_NEVER;
}
