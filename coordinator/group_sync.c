// SyncGroup: all members wait for the leader's assignment, and the leader for the log. Only then is the generation one that
// survives a failover.

#include <stdlib.h>

#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

enum { SYNC_PROTOCOL_VERSION = 5 };

static void sync_stable(struct group *group)
{
	group_enter(group, GROUP_STABLE);
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		group_text_drop(&member->assignment);
		member->assignment = member->staged;
		member->staged = BYTES_NULL;
		if (!member->sync.reply)
			continue;
		group_reply_sync(group, member, &member->sync);
		group_session_restart(group, member);
	}
}

static void sync_failed(struct group *group, enum error error)
{
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		group_reply_error(&member->sync, group_proposal_error(error));
		group_session_restart(group, member);
	}
	group_prepare_rebalance(group);
}

// What was logged may be out of date already: then a rebalance has told everybody to join again.
static void sync_logged(struct group_proposal *proposal, enum error error)
{
	struct group *group = proposal->group;
	if (group->state != GROUP_COMPLETING_REBALANCE || group->generation != proposal->generation)
		return;
	if (error == ERROR_OK)
		sync_stable(group);
	else
		sync_failed(group, error);
}

static bool sync_too_large(const struct kafka_sync_group_request *message)
{
	size_t total = 0;
	for (int32_t i = 0; i < message->assignments_count; i++)
		total += message->assignments[i].assignment.len;
	return total > GROUP_STATE_BYTES_MAX;
}

// Whoever the leader forgets gets nothing.
static void sync_stage(struct group *group, const struct kafka_sync_group_request *message)
{
	for (struct group_member *member = group->members; member; member = member->hh.next)
		group_text_set(&member->staged, bytes_of(""));
	for (int32_t i = 0; i < message->assignments_count; i++) {
		struct group_member *member = group_find_member(group, message->assignments[i].member_id);
		if (member)
			group_text_set(&member->staged, group_text_or_empty(message->assignments[i].assignment));
	}
}

static void sync_log(struct group *group)
{
	struct group_proposal *proposal = group_proposal_new(group);
	proposal->done = sync_logged;
	group->logging = true;
	group_propose_state(group, proposal, true);
}

// A second SyncGroup of the leader, sent because the answer was slow, must not change what is being logged.
static void sync_await(struct group_request *request, struct group *group, struct group_member *member,
	const struct kafka_sync_group_request *message)
{
	bool assigns = group->leader == member && !group->logging;
	if (assigns && sync_too_large(message)) {
		group_fail_sync(request->groups, &request->waiter, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
		return;
	}
	group_set_sync_missing(group, member, false);
	group_await_sync(group, member, &request->waiter);
	if (!assigns)
		return;
	sync_stage(group, message);
	sync_log(group);
}

static bool sync_differs(struct bytes given, struct bytes known)
{
	return given.data && !bytes_equal(given, known);
}

static int16_t sync_check(struct group *group, const struct kafka_sync_group_request *message, struct group_member **ret_member)
{
	if (!group || group->state == GROUP_EMPTY)
		return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
	int16_t code = group_check_member(group, message->member_id, message->group_instance_id, ret_member);
	if (code != KAFKA_ERROR_NONE)
		return code;
	if (message->generation_id != group->generation)
		return KAFKA_ERROR_ILLEGAL_GENERATION;
	if (sync_differs(message->protocol_type, group->protocol_type) || sync_differs(message->protocol_name, group->protocol))
		return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
	return group->state == GROUP_PREPARING_REBALANCE ? KAFKA_ERROR_REBALANCE_IN_PROGRESS : KAFKA_ERROR_NONE;
}

static void sync_group(struct group_request *request, const struct kafka_sync_group_request *message)
{
	struct group *group = groups_find(request->groups, message->group_id);
	struct group_member *member = NULL;
	int16_t code = sync_check(group, message, &member);
	if (code != KAFKA_ERROR_NONE) {
		group_fail_sync(request->groups, &request->waiter, code);
	} else if (group->state == GROUP_COMPLETING_REBALANCE) {
		sync_await(request, group, member, message);
	} else {
		group_set_sync_missing(group, member, false);
		group_reply_sync(group, member, &request->waiter);
	}
}

void group_sync_request(struct group_request *request)
{
	GROUP_DECODE(request, sync_group, message);
	bool named = message.protocol_type.data && message.protocol_name.data;
	if (message.group_id.len == 0)
		group_fail_sync(request->groups, &request->waiter, KAFKA_ERROR_INVALID_GROUP_ID);
	else if (request->waiter.api_version >= SYNC_PROTOCOL_VERSION && !named)
		group_fail_sync(request->groups, &request->waiter, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
	else
		sync_group(request, &message);
}
