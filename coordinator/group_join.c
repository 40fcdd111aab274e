// JoinGroup. A member's way in:
//   * new and dynamic, from version 4 on: gets an id and MEMBER_ID_REQUIRED, comes back with it (KIP-394);
//   * new and dynamic before that, new and static, or back with a pending id: becomes a member, which begins a rebalance;
//   * static and known without its member id: takes the place of the former, in a stable group without a rebalance (KIP-345);
//   * known: rejoins a rebalance, begins one, or is told the generation that stands.
// The answer of all who take part in a rebalance waits in member->join until group_complete_join().

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

enum { JOIN_CLIENT_ID_MAX = 255, JOIN_UUID_LEN = 36, JOIN_KNOWN_ID_VERSION = 4, JOIN_SKIP_VERSION = 9 };

struct join {
	struct group_request *request;
	const struct kafka_join_group_request *message;
	struct group *group;
	struct group_protocol *protocols;
	size_t protocol_count;
	int32_t rebalance_timeout_ms;
};

static void join_fail(struct join *join, struct bytes member_id, enum kafka_error code)
{
	group_fail_join(join->request->groups, &join->request->waiter, member_id, code);
}

// The client's id, cut before it could make the member id too long for the protocol; never within a UTF-8 character.
static struct bytes join_id_prefix(const struct join *join)
{
	if (join->message->group_instance_id.data)
		return join->message->group_instance_id;
	struct bytes client_id = group_text_or_empty(join->request->call->client_id);
	if (client_id.len <= JOIN_CLIENT_ID_MAX)
		return client_id;
	size_t len = JOIN_CLIENT_ID_MAX;
	while (len > 0 && (client_id.data[len] & 0xC0) == 0x80)
		len--;
	return bytes_view(client_id.data, len);
}

// ‹client id or instance id›-‹uuid›, in the request's arena.
static struct bytes join_new_id(const struct join *join)
{
	static const uint8_t dashes[] = {8, 13, 18, 23};
	struct bytes prefix = join_id_prefix(join);
	struct uuid uuid = uuid_random(&join->request->groups->deps.env->prng);
	char hex[UUID_HEX_SIZE];
	uuid_hex(&uuid, hex);
	uint8_t *id = arena_alloc(&join->request->groups->arena, prefix.len + 1 + JOIN_UUID_LEN);
	memcpy(id, prefix.data, prefix.len);
	uint8_t *at = id + prefix.len;
	*at++ = '-';
	for (size_t i = 0, digit = 0, dash = 0; i < JOIN_UUID_LEN; i++)
		if (dash < sizeof dashes && dashes[dash] == i) {
			at[i] = '-';
			dash++;
		} else {
			at[i] = (uint8_t)hex[digit++];
		}
	return bytes_view(id, prefix.len + 1 + JOIN_UUID_LEN);
}

static size_t join_bytes(const struct join *join)
{
	size_t total = 0;
	for (size_t i = 0; i < join->protocol_count; i++)
		total += join->protocols[i].name.len + join->protocols[i].metadata.len;
	return total;
}

static struct group_member *join_new_member(const struct join *join, struct bytes id)
{
	const struct group_call *call = join->request->call;
	struct group_member *member = memory_zalloc(sizeof *member);
	member->id = group_text_copy(id);
	member->instance_id = group_text_copy(join->message->group_instance_id);
	member->client_id = group_text_copy(group_text_or_empty(call->client_id));
	member->client_host = group_text_copy(group_text_or_empty(call->client_host));
	member->session_timeout_ms = join->message->session_timeout_ms;
	member->rebalance_timeout_ms = join->rebalance_timeout_ms;
	member->bytes = member->id.len + member->instance_id.len + member->client_id.len + member->client_host.len;
	member->is_new = true;
	member->deadline = DEADLINE_NEVER;
	group_set_protocols(NULL, member, join->protocols, join->protocol_count);
	return member;
}

static void join_add(struct join *join, struct bytes id)
{
	struct group *group = join->group;
	struct group_member *member = join_new_member(join, id);
	if (!group->members)
		group_text_set(&group->protocol_type, join->message->protocol_type);
	group_add_member(group, member);
	group_session_set(group, member, GROUP_NEW_MEMBER_TIMEOUT_MS);
	group_await_join(group, member, &join->request->waiter);
	group->new_member_added = true;
	group_rebalance(group);
}

static void join_update(struct join *join, struct group_member *member)
{
	group_set_protocols(join->group, member, join->protocols, join->protocol_count);
	member->session_timeout_ms = join->message->session_timeout_ms;
	member->rebalance_timeout_ms = join->rebalance_timeout_ms;
	group_await_join(join->group, member, &join->request->waiter);
}

// Before version 9 a client that is named leader would make a new assignment, so it is told who led before; from 9 on it is
// told to skip that.
static void join_reply_replaced(struct group *group, struct group_member *member, struct bytes leader_id)
{
	if (member->join.api_version >= JOIN_SKIP_VERSION) {
		group_reply_join(group, member, group->leader == member);
		return;
	}
	struct kafka_join_group_response response;
	kafka_join_group_response_init(&response);
	response.generation_id = group->generation;
	response.protocol_type = group_text_or_empty(group->protocol_type);
	response.protocol_name = group_text_or_empty(group->protocol);
	response.leader = leader_id;
	response.member_id = member->id;
	group->joining--;
	GROUP_REPLY(group->groups, &member->join, join_group, &response);
}

// A rebalance that began meanwhile will answer the member: it counts as one that has joined.
static void join_replaced(struct group_proposal *proposal, enum error error)
{
	struct group *group = proposal->group;
	struct group_member *member = group_find_member(group, proposal->member_id);
	if (!member || !member->join.reply || group->state != GROUP_STABLE || group->generation != proposal->generation)
		return;
	if (error == ERROR_OK) {
		join_reply_replaced(group, member, proposal->leader_id);
	} else {
		group->joining--;
		group_reply_error(&member->join, group_proposal_error(error));
	}
	group_session_restart(group, member);
}

static void join_log_replaced(struct group *group, struct group_member *member, struct bytes leader_id)
{
	struct group_proposal *proposal = group_proposal_new(group);
	proposal->done = join_replaced;
	proposal->member_id = group_text_copy(member->id);
	proposal->leader_id = group_text_copy(leader_id);
	group_propose_state(group, proposal, false);
}

static void join_replace(struct join *join, struct group_member *member)
{
	struct group *group = join->group;
	struct bytes leader_id = arena_copy(&join->request->groups->arena, group->leader->id);
	group_fail_member_join(group, member, member->id, KAFKA_ERROR_FENCED_INSTANCE_ID);
	group_fail_sync(group->groups, &member->sync, KAFKA_ERROR_FENCED_INSTANCE_ID);
	group_rename_member(group, member, join_new_id(join));
	member->is_new = false;
	join_update(join, member);
	group_session_restart(group, member);
	if (group->state == GROUP_STABLE && bytes_equal(group_select_protocol(group), group_text_or_empty(group->protocol)))
		join_log_replaced(group, member, leader_id);
	else
		group_rebalance(group);
}

static void join_require_id(struct join *join)
{
	struct groups *groups = join->request->groups;
	if (HASH_COUNT(join->group->pending) >= groups->deps.settings->members_max) {
		join_fail(join, bytes_of(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
		return;
	}
	struct bytes id = join_new_id(join);
	group_add_pending(join->group, id, deadline_in_ms(groups->deps.env, (uint64_t)join->message->session_timeout_ms));
	join_fail(join, id, KAFKA_ERROR_MEMBER_ID_REQUIRED);
}

static void join_unknown(struct join *join)
{
	struct bytes instance_id = join->message->group_instance_id;
	struct group_member *former = instance_id.data ? group_find_static(join->group, instance_id) : NULL;
	if (former)
		join_replace(join, former);
	else if (instance_id.data || join->request->waiter.api_version < JOIN_KNOWN_ID_VERSION)
		join_add(join, join_new_id(join));
	else
		join_require_id(join);
}

static void join_pending(struct join *join, struct group_pending *pending)
{
	if (join->message->group_instance_id.data) {
		join_fail(join, join->message->member_id, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
		return;
	}
	group_remove_pending(join->group, pending);
	join_add(join, join->message->member_id);
}

static void join_again(struct join *join, struct group_member *member)
{
	struct group *group = join->group;
	bool changed = !group_protocols_equal(member, join->protocols, join->protocol_count);
	// A leader that joins a stable group wants a new assignment, because of what only it sees: new partitions.
	bool wanted = group->state == GROUP_STABLE && group->leader == member;
	if (group->state == GROUP_PREPARING_REBALANCE || changed || wanted) {
		join_update(join, member);
		group_rebalance(group);
	} else {
		group_reply_join_now(group, member, &join->request->waiter, false);
	}
}

static void join_known(struct join *join)
{
	struct group_pending *pending = group_find_pending(join->group, join->message->member_id);
	if (pending) {
		join_pending(join, pending);
		return;
	}
	struct group_member *member = NULL;
	int16_t code = group_check_member(join->group, join->message->member_id, join->message->group_instance_id, &member);
	if (code != KAFKA_ERROR_NONE)
		join_fail(join, join->message->member_id, code);
	else
		join_again(join, member);
}

// While a rebalance runs, those who have joined count: so the last to rejoin are turned away if the limit was lowered.
static bool join_accepted(const struct join *join)
{
	struct group *group = join->group;
	const struct group_member *member = group_find_member(group, join->message->member_id);
	uint32_t members_max = group->groups->deps.settings->members_max;
	size_t others = group->member_bytes - (member ? member->bytes : 0);
	if (others + join_bytes(join) > GROUP_STATE_BYTES_MAX)
		return false;
	if (group->state == GROUP_EMPTY)
		return true;
	if (group->state == GROUP_PREPARING_REBALANCE)
		return (member && member->join.reply) || group->joining < members_max;
	return member || group_member_total(group) < members_max;
}

static void join_refuse(struct join *join)
{
	struct group *group = join->group;
	struct group_member *member = group_find_member(group, join->message->member_id);
	struct group_pending *pending = group_find_pending(group, join->message->member_id);
	if (pending)
		group_remove_pending(group, pending);
	if (member)
		group_expire_member(group, member);
	else
		group_try_complete_join(group);
	join_fail(join, bytes_of(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
}

static bool join_texts_valid(const struct kafka_join_group_request *message)
{
	struct bytes instance_id = message->group_instance_id;
	if (instance_id.data && (instance_id.len == 0 || instance_id.len > GROUP_INSTANCE_ID_MAX))
		return false;
	for (int32_t i = 0; i < message->protocols_count; i++)
		if (!group_text_valid(message->protocols[i].name))
			return false;
	return group_text_valid(instance_id) && group_text_valid(message->protocol_type);
}

static int16_t join_check(struct group_request *request, const struct kafka_join_group_request *message)
{
	const struct groups_settings *settings = request->groups->deps.settings;
	if (message->group_id.len == 0 || !group_text_valid(message->group_id))
		return KAFKA_ERROR_INVALID_GROUP_ID;
	if (message->session_timeout_ms < 0 || (uint32_t)message->session_timeout_ms < settings->session_timeout_min_ms ||
		(uint32_t)message->session_timeout_ms > settings->session_timeout_max_ms)
		return KAFKA_ERROR_INVALID_SESSION_TIMEOUT;
	if (message->protocols_count > GROUP_PROTOCOLS_MAX)
		return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
	return join_texts_valid(message) && group_text_valid(request->call->client_id) ? KAFKA_ERROR_NONE
										       : KAFKA_ERROR_INVALID_REQUEST;
}

static void join_take_protocols(struct join *join)
{
	join->protocol_count = (size_t)join->message->protocols_count;
	join->protocols = arena_alloc(&join->request->groups->arena, join->protocol_count * sizeof *join->protocols);
	for (size_t i = 0; i < join->protocol_count; i++) {
		join->protocols[i].name = join->message->protocols[i].name;
		join->protocols[i].metadata = join->message->protocols[i].metadata;
	}
}

static void join_group(struct join *join)
{
	bool unknown = join->message->member_id.len == 0;
	if (!join_accepted(join))
		join_refuse(join);
	else if (!group_supports(join->group, join->message->protocol_type, join->protocols, join->protocol_count))
		join_fail(join, join->message->member_id, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
	else if (unknown)
		join_unknown(join);
	else
		join_known(join);
	group_tidy(join->group);
}

void group_join_request(struct group_request *request)
{
	GROUP_DECODE(request, join_group, message);
	struct join join = {.request = request, .message = &message};
	// Version 0 has no rebalance timeout: it is the session's.
	join.rebalance_timeout_ms =
		message.rebalance_timeout_ms < 0 ? message.session_timeout_ms : message.rebalance_timeout_ms;
	int16_t code = join_check(request, &message);
	if (code != KAFKA_ERROR_NONE) {
		join_fail(&join, message.member_id, code);
		return;
	}
	join_take_protocols(&join);
	bool unknown = message.member_id.len == 0;
	join.group = unknown ? groups_find_or_add(request->groups, message.group_id)
			     : groups_find(request->groups, message.group_id);
	if (join.group)
		join_group(&join);
	else
		join_fail(&join, message.member_id,
			unknown ? KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE : KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}
