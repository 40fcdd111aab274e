// Requests of one group, passed on to its owner as they came: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit,
// OffsetDelete, and OffsetFetch of one group. Requests of a connection that name the same group leave one after the other's
// answer (history 11); so does Kafka, which runs one request of a connection at a time.

#include "frontend/kafka/serve_groups.h"

#include "frontend/kafka/serve.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

enum {
	GROUP_WAIT_MARGIN_MS = 10000,
	// A SyncGroup does not say how long the rebalance may take; Kafka's default of max.poll.interval.ms bounds it.
	SYNC_WAIT_MS = 310000,
	JOIN_WAIT_MAX_MS = 1800000,
};

static void group_on_reply(struct request *request, void *ctx, enum error error, const struct bus_message *reply)
{
	const struct group_pass *pass = ctx;
	struct slice body;
	error = serve_call_answer(error, reply, &body);
	if (error == ERROR_OK)
		request_answer_slice(request, body);
	else
		pass->fail(request, pass->message, serve_group_error(request, error));
}

static void group_run(struct request *request)
{
	struct group_pass *pass = request->state;
	struct serve_call call = serve_call_of(request, serve_name_shard(request, pass->group));
	struct slice body = request_body_slice(request);
	call.body = body;
	call.topics = pass->topics;
	call.topic_count = pass->topic_count;
	call.repeat = pass->repeat;
	if (pass->timeout_ms)
		call.timeout_ms = pass->timeout_ms;
	serve_call(request, &call, group_on_reply, pass);
	slice_done(&body);
}

void group_pass(struct request *request, const struct group_pass *pass)
{
	struct group_pass *state = arena_alloc(&request->arena, sizeof *state);
	*state = *pass;
	request->state = state;
	request_serialise(request, pass->group, group_run);
}

// The topics a body names, with what the catalog knows of them. Each is looked up once.
void group_refs_add(struct group_refs *refs, struct request *request, struct bytes name, const struct uuid *id)
{
	const struct catalog *catalog = request->frontend->catalog;
	const struct topic *topic = name.len ? catalog_by_name(catalog, name) : id ? catalog_by_id(catalog, id) : NULL;
	if (!topic)
		return;
	struct bytes copy = arena_copy(&request->arena, topic->name_view); // the catalog may change while this waits its turn
	refs->rows[refs->count++] = (struct topic_ref){copy, topic->id};
}

// JoinGroup

static void join_group_fail(struct request *request, const void *message, int16_t code)
{
	const struct kafka_join_group_request *join = message;
	struct kafka_join_group_response response;
	kafka_join_group_response_init(&response);
	response.error_code = code;
	response.member_id = join->member_id;
	REQUEST_ANSWER(request, kafka_join_group_response_encode, &response);
}

void serve_join_group(struct request *request)
{
	struct kafka_join_group_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_join_group_request_decode, message))
		return;
	// Before version 1 the session timeout bounds the rebalance too.
	int64_t wait_ms = message->rebalance_timeout_ms > 0 ? message->rebalance_timeout_ms : message->session_timeout_ms;
	if (wait_ms < 0)
		wait_ms = 0;
	if (wait_ms > JOIN_WAIT_MAX_MS)
		wait_ms = JOIN_WAIT_MAX_MS;
	struct group_pass pass = {.group = message->group_id,
		.message = message,
		.fail = join_group_fail,
		.timeout_ms = (uint32_t)wait_ms + GROUP_WAIT_MARGIN_MS};
	group_pass(request, &pass);
}

// SyncGroup

static void sync_group_fail(struct request *request, const void *message, int16_t code)
{
	(void)message;
	struct kafka_sync_group_response response;
	kafka_sync_group_response_init(&response);
	response.error_code = code;
	REQUEST_ANSWER(request, kafka_sync_group_response_encode, &response);
}

void serve_sync_group(struct request *request)
{
	struct kafka_sync_group_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_sync_group_request_decode, message))
		return;
	struct group_pass pass = {.group = message->group_id, .fail = sync_group_fail, .timeout_ms = SYNC_WAIT_MS};
	group_pass(request, &pass);
}

// Heartbeat

static void heartbeat_fail(struct request *request, const void *message, int16_t code)
{
	(void)message;
	struct kafka_heartbeat_response response;
	kafka_heartbeat_response_init(&response);
	response.error_code = code;
	REQUEST_ANSWER(request, kafka_heartbeat_response_encode, &response);
}

void serve_heartbeat(struct request *request)
{
	struct kafka_heartbeat_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_heartbeat_request_decode, message))
		return;
	struct group_pass pass = {.group = message->group_id, .fail = heartbeat_fail, .repeat = true};
	group_pass(request, &pass);
}

// LeaveGroup

static void leave_group_fail(struct request *request, const void *message, int16_t code)
{
	(void)message;
	struct kafka_leave_group_response response;
	kafka_leave_group_response_init(&response);
	response.error_code = code;
	REQUEST_ANSWER(request, kafka_leave_group_response_encode, &response);
}

void serve_leave_group(struct request *request)
{
	struct kafka_leave_group_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_leave_group_request_decode, message))
		return;
	struct group_pass pass = {.group = message->group_id, .fail = leave_group_fail};
	group_pass(request, &pass);
}

// OffsetCommit

static void offset_commit_fail(struct request *request, const void *message, int16_t code)
{
	const struct kafka_offset_commit_request *commit = message;
	struct kafka_offset_commit_response response;
	kafka_offset_commit_response_init(&response);
	response.topics_count = commit->topics_count;
	response.topics =
		kafka_offset_commit_response_offset_commit_response_topic_array(&request->arena, commit->topics_count);
	for (int32_t i = 0; i < commit->topics_count; i++) {
		const struct kafka_offset_commit_request_offset_commit_request_topic *topic = &commit->topics[i];
		struct kafka_offset_commit_response_offset_commit_response_topic *row = &response.topics[i];
		row->name = topic->name;
		row->topic_id = topic->topic_id;
		row->partitions_count = topic->partitions_count;
		row->partitions = kafka_offset_commit_response_offset_commit_response_partition_array(
			&request->arena, topic->partitions_count);
		for (int32_t p = 0; p < topic->partitions_count; p++) {
			row->partitions[p].partition_index = topic->partitions[p].partition_index;
			row->partitions[p].error_code = code;
		}
	}
	REQUEST_ANSWER(request, kafka_offset_commit_response_encode, &response);
}

void serve_offset_commit(struct request *request)
{
	struct kafka_offset_commit_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_offset_commit_request_decode, message))
		return;
	struct group_refs refs = group_refs_new(request, (size_t)message->topics_count);
	for (int32_t i = 0; i < message->topics_count; i++)
		group_refs_add(&refs, request, message->topics[i].name, &message->topics[i].topic_id);
	struct group_pass pass = {.group = message->group_id,
		.message = message,
		.fail = offset_commit_fail,
		.topics = refs.rows,
		.topic_count = refs.count};
	group_pass(request, &pass);
}

// OffsetDelete

static void offset_delete_fail(struct request *request, const void *message, int16_t code)
{
	(void)message;
	struct kafka_offset_delete_response response;
	kafka_offset_delete_response_init(&response);
	response.error_code = code;
	REQUEST_ANSWER(request, kafka_offset_delete_response_encode, &response);
}

void serve_offset_delete(struct request *request)
{
	struct kafka_offset_delete_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_offset_delete_request_decode, message))
		return;
	struct group_refs refs = group_refs_new(request, (size_t)message->topics_count);
	for (int32_t i = 0; i < message->topics_count; i++)
		group_refs_add(&refs, request, message->topics[i].name, NULL);
	struct group_pass pass = {
		.group = message->group_id, .fail = offset_delete_fail, .topics = refs.rows, .topic_count = refs.count};
	group_pass(request, &pass);
}
