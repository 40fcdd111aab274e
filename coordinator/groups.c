// The table of groups: requests find theirs here, the log's commands land here, deadlines start here.

#include "coordinator/groups.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "coordinator/group.h"
#include "proto/kafka/kafka_api.h"

enum { GROUPS_RESPONSE_MAX = 64 << 20, GROUPS_REQUEST_MAX = 256 << 20 };

typedef void (*groups_handler_fn)(struct group_request *request);

static groups_handler_fn groups_handler(int16_t api_key)
{
	switch (api_key) {
	case KAFKA_API_OFFSET_COMMIT:
		return group_commit_request;
	case KAFKA_API_OFFSET_FETCH:
		return group_fetch_request;
	case KAFKA_API_JOIN_GROUP:
		return group_join_request;
	case KAFKA_API_HEARTBEAT:
		return group_heartbeat_request;
	case KAFKA_API_LEAVE_GROUP:
		return group_leave_request;
	case KAFKA_API_SYNC_GROUP:
		return group_sync_request;
	case KAFKA_API_DESCRIBE_GROUPS:
		return group_describe_request;
	case KAFKA_API_LIST_GROUPS:
		return group_list_request;
	case KAFKA_API_DELETE_GROUPS:
		return group_delete_request;
	case KAFKA_API_OFFSET_DELETE:
		return group_offset_delete_request;
	default:
		return NULL;
	}
}

bool groups_handle(int16_t api_key)
{
	return groups_handler(api_key) != NULL;
}

struct groups *groups_new(const struct groups_deps *deps)
{
	struct groups *groups = memory_zalloc(sizeof *groups);
	groups->deps = *deps;
	list_init(&groups->proposals);
	arena_init(&groups->arena, GROUPS_REQUEST_MAX);
	kafka_writer_init(&groups->writer, GROUPS_RESPONSE_MAX);
	return groups;
}

struct group *groups_find(struct groups *groups, struct bytes id)
{
	struct group *group;
	HASH_FIND(hh, groups->table, id.data, id.len, group);
	return group;
}

static struct group *groups_add(struct groups *groups, struct bytes id)
{
	struct group *group = memory_zalloc(sizeof *group);
	group->groups = groups;
	group->id = group_text_copy(id);
	HASH_ADD_KEYPTR(hh, groups->table, group->id.data, group->id.len, group);
	group_timer_add(group);
	group_clear_live(group);
	return group;
}

struct group *groups_find_or_add(struct groups *groups, struct bytes id)
{
	struct group *group = groups_find(groups, id);
	if (group || HASH_COUNT(groups->table) >= groups->deps.settings->groups_max)
		return group;
	return groups_add(groups, id);
}

static void groups_remove(struct group *group)
{
	group_timer_remove(group);
	HASH_DELETE(hh, group->groups->table, group);
	group_clear_live(group);
	group_drop_offsets(group);
	group_text_drop(&group->logged);
	group_text_drop(&group->id);
	free(group);
}

void group_tidy(struct group *group)
{
	bool live = group->state != GROUP_EMPTY || group->members || group->pending;
	if (!live && !group->logged.data && !group->offset_topics && group->proposals == 0)
		groups_remove(group);
}

static void groups_dismiss(struct group *group)
{
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		group_reply_error(&member->join, ERROR_NOT_OWNER);
		group_reply_error(&member->sync, ERROR_NOT_OWNER);
	}
	group_enter(group, GROUP_DEAD);
}

void groups_free(struct groups **groups)
{
	struct groups *freed = *groups;
	if (!freed)
		return;
	*groups = NULL;
	group_proposals_abandon(freed);
	while (freed->table) {
		groups_dismiss(freed->table);
		groups_remove(freed->table);
	}
	free(freed->heap);
	kafka_writer_done(&freed->writer);
	arena_done(&freed->arena);
	free(freed);
}

void groups_request(struct groups *groups, const struct group_call *call, groups_reply_fn reply, void *ctx)
{
	struct group_request request = {
		.groups = groups,
		.call = call,
		.waiter = {.reply = reply, .ctx = ctx, .api_version = call->api_version},
	};
	groups_handler_fn handler = groups_handler(call->api_key);
	CHECK(handler); // groups_handle() was asked
	if (!groups->owned)
		group_reply_error(&request.waiter, ERROR_LOADING);
	else
		handler(&request);
	arena_reset(&groups->arena);
}

static const struct group_topic *groups_topic(struct group_request *request, struct bytes name, const struct uuid *id)
{
	const struct group_call *call = request->call;
	for (size_t i = 0; i < call->topic_count; i++) {
		size_t at = (request->topic_next + i) % call->topic_count;
		const struct group_topic *topic = &call->topics[at];
		if (id ? !uuid_equal(&topic->id, id) : !bytes_equal(topic->name, name))
			continue;
		request->topic_next = at + 1;
		return topic;
	}
	return NULL;
}

const struct uuid *group_request_topic_id(struct group_request *request, struct bytes name)
{
	const struct group_topic *topic = groups_topic(request, name, NULL);
	return topic ? &topic->id : NULL;
}

struct bytes group_request_topic_name(struct group_request *request, const struct uuid *id)
{
	const struct group_topic *topic = groups_topic(request, BYTES_NULL, id);
	return topic ? topic->name : BYTES_NULL;
}

// The log decides, so apply knows no limit of groups: the owner kept it when it proposed.
static struct group *groups_applied(struct groups *groups, const char *id)
{
	struct group *group = groups_find(groups, bytes_of(id));
	return group ? group : groups_add(groups, bytes_of(id));
}

static void groups_apply_state(struct groups *groups, const Weir__GroupState *state)
{
	struct group *group = groups_applied(groups, state->group);
	group_apply_state(group, state);
}

static void groups_apply_offsets(struct groups *groups, const Weir__GroupOffsets *offsets)
{
	struct group *group = groups_applied(groups, offsets->group);
	for (size_t i = 0; i < offsets->n_offsets; i++)
		group_apply_offset(group, offsets->offsets[i]);
	group_tidy(group);
}

static void groups_apply_remove(struct groups *groups, const Weir__GroupRemove *remove)
{
	struct group *group = groups_find(groups, bytes_of(remove->group));
	if (!group)
		return;
	group_text_drop(&group->logged);
	group_drop_offsets(group);
	group_tidy(group);
}

void groups_apply(struct groups *groups, const Weir__Command *command, int64_t time_ms)
{
	(void)time_ms; // the commands carry the times that clients see
	switch (command->kind_case) {
	case WEIR__COMMAND__KIND_GROUP_STATE:
		groups_apply_state(groups, command->group_state);
		break;
	case WEIR__COMMAND__KIND_GROUP_OFFSETS:
		groups_apply_offsets(groups, command->group_offsets);
		break;
	case WEIR__COMMAND__KIND_GROUP_REMOVE:
		groups_apply_remove(groups, command->group_remove);
		break;
	default:
		break;
	}
}

void groups_drop_topic(struct groups *groups, const struct uuid *topic_id)
{
	struct group *next;
	for (struct group *group = groups->table; group; group = next) {
		next = group->hh.next;
		struct group_offset_topic *topic = group_find_offset_topic(group, topic_id);
		if (topic)
			group_drop_offset_topic(group, topic);
		group_tidy(group);
	}
}

void groups_take_over(struct groups *groups)
{
	CHECK(!groups->owned);
	groups->owned = true;
	for (struct group *group = groups->table; group; group = group->hh.next)
		group_restore(group);
}

uint64_t groups_step(struct groups *groups)
{
	if (!groups->owned)
		return DEADLINE_NEVER;
	while (groups->table && groups->heap[0]->deadline <= groups->deps.env->now_us) {
		struct group *group = groups->heap[0];
		group_timer_step(group);
		group_tidy(group);
	}
	return groups->table ? groups->heap[0]->deadline : DEADLINE_NEVER;
}

void groups_export(const struct groups *groups, groups_export_fn fn, void *ctx)
{
	for (const struct group *group = groups->table; group; group = group->hh.next) {
		group_export_state(group, fn, ctx);
		group_export_offsets(group, fn, ctx);
	}
}

size_t groups_count(const struct groups *groups)
{
	return HASH_COUNT(groups->table);
}

size_t groups_member_count(const struct groups *groups)
{
	return groups->member_count;
}
