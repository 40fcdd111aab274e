#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

struct kafka_writer *group_reply_begin(struct groups *groups)
{
	kafka_writer_clear(&groups->writer);
	return &groups->writer;
}

void group_reply_end(struct groups *groups, struct group_waiter *waiter)
{
	struct group_waiter taken = *waiter;
	waiter->reply = NULL;
	if (kafka_writer_failed(&groups->writer))
		taken.reply(taken.ctx, ERROR_INTERNAL, BYTES_NULL);
	else
		taken.reply(taken.ctx, ERROR_OK, buffer_view(&groups->writer.buffer));
}

void group_reply_error(struct group_waiter *waiter, enum error error)
{
	struct group_waiter taken = *waiter;
	waiter->reply = NULL;
	if (taken.reply)
		taken.reply(taken.ctx, error, BYTES_NULL);
}

// Only the leader is told of the others: it makes the assignment.
static void reply_fill_members(const struct group *group, struct kafka_join_group_response *response, struct arena *arena)
{
	int32_t count = (int32_t)group_member_total(group);
	response->members = kafka_join_group_response_join_group_response_member_array(arena, count);
	response->members_count = count;
	int32_t i = 0;
	for (const struct group_member *member = group->members; member; member = member->hh.next, i++) {
		response->members[i].member_id = member->id;
		response->members[i].group_instance_id = member->instance_id;
		response->members[i].metadata = group_member_metadata(member, group->protocol);
	}
}

void group_reply_join_now(struct group *group, struct group_member *member, struct group_waiter *waiter, bool skip_assignment)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_join_group_response response;
	kafka_join_group_response_init(&response);
	response.generation_id = group->generation;
	response.protocol_type = group_text_or_empty(group->protocol_type);
	response.protocol_name = group_text_or_empty(group->protocol);
	response.leader = group->leader->id;
	response.member_id = member->id;
	response.skip_assignment = skip_assignment;
	if (group->leader == member)
		reply_fill_members(group, &response, &arena);
	GROUP_REPLY(group->groups, waiter, join_group, &response);
	arena_done(&arena);
}

void group_reply_join(struct group *group, struct group_member *member, bool skip_assignment)
{
	if (!member->join.reply)
		return;
	struct group_waiter waiter = member->join;
	member->join.reply = NULL;
	group->joining--;
	group_reply_join_now(group, member, &waiter, skip_assignment);
}

void group_fail_join(struct groups *groups, struct group_waiter *waiter, struct bytes member_id, enum kafka_error code)
{
	struct kafka_join_group_response response;
	kafka_join_group_response_init(&response);
	response.error_code = (int16_t)code;
	response.member_id = group_text_or_empty(member_id);
	response.leader = bytes_of("");
	if (waiter->api_version < 7)
		response.protocol_name = bytes_of(""); // may not be null yet
	GROUP_REPLY(groups, waiter, join_group, &response);
}

void group_fail_member_join(struct group *group, struct group_member *member, struct bytes member_id, enum kafka_error code)
{
	if (!member->join.reply)
		return;
	group->joining--;
	group_fail_join(group->groups, &member->join, member_id, code);
}

void group_reply_sync(struct group *group, struct group_member *member, struct group_waiter *waiter)
{
	struct kafka_sync_group_response response;
	kafka_sync_group_response_init(&response);
	response.protocol_type = group->protocol_type;
	response.protocol_name = group->protocol;
	response.assignment = group_text_or_empty(member->assignment);
	GROUP_REPLY(group->groups, waiter, sync_group, &response);
}

void group_fail_sync(struct groups *groups, struct group_waiter *waiter, enum kafka_error code)
{
	if (!waiter->reply)
		return;
	struct kafka_sync_group_response response;
	kafka_sync_group_response_init(&response);
	response.error_code = (int16_t)code;
	response.assignment = bytes_of("");
	GROUP_REPLY(groups, waiter, sync_group, &response);
}

void group_await_join(struct group *group, struct group_member *member, const struct group_waiter *waiter)
{
	group_fail_member_join(group, member, member->id, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
	member->join = *waiter;
	group->joining++;
}

void group_await_sync(struct group *group, struct group_member *member, const struct group_waiter *waiter)
{
	group_fail_sync(group->groups, &member->sync, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
	member->sync = *waiter;
}
