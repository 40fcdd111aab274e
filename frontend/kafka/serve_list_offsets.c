// ListOffsets and OffsetForLeaderEpoch. The ends of a partition are asked of the shard's owner, so that they are exact
// whichever frontend answers; an offset by time is asked of a reader, which is exact to the record.

#include <string.h>

#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "frontend/kafka/serve.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/fetch.pb-c.h"
#include "proto/kafka/kafka_errors.h"

enum {
	TIMESTAMP_LATEST = -1,
	TIMESTAMP_EARLIEST = -2,
	TIMESTAMP_MAX = -3,
	TIMESTAMP_EARLIEST_LOCAL = -4,
	TIMESTAMP_LATEST_TIERED = -5,
	TIMESTAMP_EARLIEST_PENDING_UPLOAD = -6,
};
enum { TIME_OFFSET_TRIES = 3 };

// One partition whose ends, or offset by time, are on their way.
struct ends_want {
	struct ends_state *state;
	struct uuid topic_id;
	int32_t partition;
	uint32_t shard;
	int64_t timestamp;
	int tries;
	struct bus_link *reader;
	void (*got)(struct ends_want *want, int16_t code, int64_t timestamp, int64_t offset);
	void *row;
};

struct ends_state {
	struct request *request;
	void (*answer)(struct request *request);
	struct ends_want *wants;
	size_t want_count;
	size_t left;
	union {
		struct kafka_list_offsets_response list_offsets;
		struct kafka_offset_for_leader_epoch_response epochs;
	} response;
};

// The wants of one shard, in the order of the call's partitions.
struct ends_batch {
	struct ends_want **wants;
	size_t count;
};

static void ends_done(struct ends_want *want, int16_t code, int64_t timestamp, int64_t offset)
{
	struct ends_state *state = want->state;
	want->got(want, frontend_error(state->request->frontend, code), timestamp, offset);
	if (--state->left == 0)
		state->answer(state->request);
}

static int16_t ends_error_code(enum error error)
{
	switch (error) {
	case ERROR_UNKNOWN_TOPIC:
	case ERROR_UNKNOWN_TOPIC_ID:
		return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	case ERROR_OFFSET_OUT_OF_RANGE:
		return KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
	case ERROR_NOT_FOUND:
	case ERROR_CORRUPT:
	case ERROR_STORAGE:
	case ERROR_THROTTLED:
		return KAFKA_ERROR_KAFKA_STORAGE_ERROR;
	case ERROR_INTERNAL:
		return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
	default:
		return KAFKA_ERROR_LEADER_NOT_AVAILABLE; // nothing was changed: clients ask again
	}
}

// Ends by the owner

static void ends_take(struct ends_want *want, const Weir__PartitionOffsets *row)
{
	enum error error = error_from_wire(row->error);
	if (error != ERROR_OK) {
		ends_done(want, ends_error_code(error), -1, -1);
		return;
	}
	struct watermark known = watermarks_raise(want->state->request->frontend->watermarks, &want->topic_id, want->partition,
		row->high_watermark, row->log_start);
	ends_done(want, KAFKA_ERROR_NONE, -1, want->timestamp == TIMESTAMP_LATEST ? known.high : known.log_start);
}

static void ends_on_offsets(struct request *request, void *ctx, enum error error, const struct bus_message *message)
{
	struct ends_batch *batch = ctx;
	Weir__PartitionOffsetsReply *reply = NULL;
	if (error == ERROR_OK)
		error = control_reply_error(message->body);
	if (error == ERROR_OK)
		reply = protobuf_unpack(&weir__partition_offsets_reply__descriptor, message->body, &request->arena);
	if (error == ERROR_OK && (!reply || reply->n_partitions != batch->count))
		error = ERROR_INTERNAL;
	for (size_t i = 0; i < batch->count; i++) {
		if (error == ERROR_OK)
			ends_take(batch->wants[i], reply->partitions[i]);
		else
			ends_done(batch->wants[i], ends_error_code(error), -1, -1);
	}
}

static void ends_ask_shard(struct ends_state *state, uint32_t shard)
{
	struct request *request = state->request;
	struct arena *arena = &request->arena;
	struct ends_batch *batch = arena_alloc(arena, sizeof *batch);
	batch->wants = arena_alloc(arena, state->want_count * sizeof(struct ends_want *));
	for (size_t i = 0; i < state->want_count; i++) {
		struct ends_want *want = &state->wants[i];
		if (want->shard == shard && (want->timestamp == TIMESTAMP_LATEST || want->timestamp == TIMESTAMP_EARLIEST))
			batch->wants[batch->count++] = want;
	}
	if (batch->count == 0)
		return;
	Weir__PartitionOffsetsRequest message = WEIR__PARTITION_OFFSETS_REQUEST__INIT;
	Weir__PartitionRef *refs = arena_alloc(arena, batch->count * sizeof *refs);
	message.partitions = arena_alloc(arena, batch->count * sizeof *message.partitions);
	message.n_partitions = batch->count;
	for (size_t i = 0; i < batch->count; i++) {
		weir__partition_ref__init(&refs[i]);
		refs[i].topic_id = protobuf_uuid(&batch->wants[i]->topic_id);
		refs[i].partition = batch->wants[i]->partition;
		message.partitions[i] = &refs[i];
	}
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__PARTITION_OFFSETS,
		.body = &message.base,
		.timeout_ms = request->frontend->settings.call_timeout_ms,
		.correlation = request->correlation};
	request_call_shard(request, shard, &send, true, ends_on_offsets, batch);
}

// Offsets by time, by a reader

static void ends_ask_reader(struct ends_want *want);

static void ends_on_time(struct request *request, void *ctx, enum error error, const struct bus_message *message)
{
	struct ends_want *want = ctx;
	if (error != ERROR_OK) {
		router_avoid_reader(request->frontend->router, want->reader);
		if (++want->tries < TIME_OFFSET_TRIES)
			ends_ask_reader(want);
		else
			ends_done(want, ends_error_code(error), -1, -1);
		return;
	}
	const Weir__TimeOffsetReply *reply =
		protobuf_unpack(&weir__time_offset_reply__descriptor, message->body, &request->arena);
	error = reply ? error_from_wire(reply->error) : ERROR_INTERNAL;
	if (error != ERROR_OK)
		ends_done(want, ends_error_code(error), -1, -1);
	else
		ends_done(want, KAFKA_ERROR_NONE, reply->offset < 0 ? -1 : reply->timestamp, reply->offset);
}

static void ends_ask_reader(struct ends_want *want)
{
	struct request *request = want->state->request;
	struct frontend *frontend = request->frontend;
	want->reader = router_reader(frontend->router, &want->topic_id, want->partition);
	if (!want->reader) {
		ends_done(want, KAFKA_ERROR_LEADER_NOT_AVAILABLE, -1, -1);
		return;
	}
	Weir__TimeOffsetRequest message = WEIR__TIME_OFFSET_REQUEST__INIT;
	message.topic_id = protobuf_uuid(&want->topic_id);
	message.partition = want->partition;
	message.timestamp = want->timestamp;
	message.known_high_watermark = watermarks_get(frontend->watermarks, &want->topic_id, want->partition).high;
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__TIME_OFFSET,
		.body = &message.base,
		.timeout_ms = frontend->settings.call_timeout_ms,
		.correlation = request->correlation};
	request_call_link(request, want->reader, &send, ends_on_time, want);
}

static void ends_ask(struct ends_state *state)
{
	uint32_t shards = cluster_client_view(state->request->frontend->cluster)->shards;
	state->left = state->want_count + 1; // one for ourselves: the answer must not go out while we still ask
	for (uint32_t shard = 0; shard < shards; shard++)
		ends_ask_shard(state, shard);
	for (size_t i = 0; i < state->want_count; i++)
		if (state->wants[i].timestamp >= 0 || state->wants[i].timestamp == TIMESTAMP_MAX)
			ends_ask_reader(&state->wants[i]);
	if (--state->left == 0)
		state->answer(state->request);
}

static struct ends_state *ends_state_new(struct request *request, size_t wants_max, void (*answer)(struct request *request))
{
	struct ends_state *state = arena_alloc(&request->arena, sizeof *state);
	state->request = request;
	state->answer = answer;
	state->wants = arena_alloc(&request->arena, wants_max * sizeof *state->wants);
	request->state = state;
	return state;
}

static void ends_want(struct ends_state *state, const struct topic *topic, int32_t partition, int64_t timestamp,
	void (*got)(struct ends_want *want, int16_t code, int64_t timestamp, int64_t offset), void *row)
{
	uint32_t shards = cluster_client_view(state->request->frontend->cluster)->shards;
	state->wants[state->want_count++] = (struct ends_want){.state = state,
		.topic_id = topic->id,
		.partition = partition,
		.shard = placement_partition_shard(&topic->id, partition, shards),
		.timestamp = timestamp,
		.got = got,
		.row = row};
}

// Kafka: KafkaApis checks a client's idea of the leader epoch before it answers (KIP-320).
static int16_t ends_check(const struct request *request, const struct topic *topic, int32_t partition, int32_t epoch)
{
	int32_t ours = cluster_client_leader_epoch(request->frontend->cluster);
	if (!topic || partition < 0 || partition >= topic->partitions)
		return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	if (epoch >= 0 && epoch != ours)
		return epoch < ours ? KAFKA_ERROR_FENCED_LEADER_EPOCH : KAFKA_ERROR_UNKNOWN_LEADER_EPOCH;
	return KAFKA_ERROR_NONE;
}

// ListOffsets

static void list_offsets_got(struct ends_want *want, int16_t code, int64_t timestamp, int64_t offset)
{
	struct kafka_list_offsets_response_list_offsets_partition_response *row = want->row;
	row->error_code = code;
	row->timestamp = timestamp;
	row->offset = offset;
	const struct request *request = want->state->request;
	if (code == KAFKA_ERROR_NONE && offset >= 0 && request->version >= 4)
		row->leader_epoch = cluster_client_leader_epoch(request->frontend->cluster);
}

static void list_offsets_answer(struct request *request)
{
	struct ends_state *state = request->state;
	REQUEST_ANSWER(request, kafka_list_offsets_response_encode, &state->response.list_offsets);
}

// Which version first knows a special timestamp; INT16_MAX for none.
static int16_t list_offsets_since(int64_t timestamp)
{
	switch (timestamp) {
	case TIMESTAMP_MAX:
		return 7;
	case TIMESTAMP_EARLIEST_LOCAL:
		return 8;
	case TIMESTAMP_LATEST_TIERED:
		return 9;
	case TIMESTAMP_EARLIEST_PENDING_UPLOAD:
		return 11;
	default:
		return timestamp >= TIMESTAMP_EARLIEST ? 0 : INT16_MAX;
	}
}

static void list_offsets_take(struct ends_state *state, const struct topic *topic,
	const struct kafka_list_offsets_request_list_offsets_partition *wanted,
	struct kafka_list_offsets_response_list_offsets_partition_response *row)
{
	struct request *request = state->request;
	int64_t timestamp = wanted->timestamp;
	int16_t code = ends_check(request, topic, wanted->partition_index, wanted->current_leader_epoch);
	row->partition_index = wanted->partition_index;
	if (code == KAFKA_ERROR_NONE && request->version < list_offsets_since(timestamp))
		code = KAFKA_ERROR_UNSUPPORTED_VERSION;
	row->error_code = frontend_error(request->frontend, code);
	// Nothing is tiered: Kafka answers -1 for what tiers would tell.
	if (code != KAFKA_ERROR_NONE || timestamp == TIMESTAMP_LATEST_TIERED || timestamp == TIMESTAMP_EARLIEST_PENDING_UPLOAD)
		return;
	if (timestamp == TIMESTAMP_EARLIEST_LOCAL)
		timestamp = TIMESTAMP_EARLIEST;
	ends_want(state, topic, wanted->partition_index, timestamp, list_offsets_got, row);
}

void serve_list_offsets(struct request *request)
{
	struct kafka_list_offsets_request message;
	if (!REQUEST_DECODE(request, kafka_list_offsets_request_decode, &message))
		return;
	size_t count = 0;
	for (int32_t i = 0; i < message.topics_count; i++)
		count += (size_t)message.topics[i].partitions_count;
	struct ends_state *state = ends_state_new(request, count, list_offsets_answer);
	struct kafka_list_offsets_response *response = &state->response.list_offsets;
	kafka_list_offsets_response_init(response);
	response->topics_count = message.topics_count;
	response->topics = kafka_list_offsets_response_list_offsets_topic_response_array(&request->arena, message.topics_count);
	for (int32_t i = 0; i < message.topics_count; i++) {
		const struct kafka_list_offsets_request_list_offsets_topic *wanted = &message.topics[i];
		const struct topic *topic = catalog_by_name(request->frontend->catalog, wanted->name);
		response->topics[i].name = wanted->name;
		response->topics[i].partitions_count = wanted->partitions_count;
		response->topics[i].partitions = kafka_list_offsets_response_list_offsets_partition_response_array(
			&request->arena, wanted->partitions_count);
		for (int32_t p = 0; p < wanted->partitions_count; p++)
			list_offsets_take(state, topic, &wanted->partitions[p], &response->topics[i].partitions[p]);
	}
	ends_ask(state);
}

// OffsetForLeaderEpoch: where an epoch ends. Only the newest is kept apart: it ends at the high watermark, and so, for all we
// know, do older ones; a client that diverged by a rebuild finds out by its offset.

static void epochs_got(struct ends_want *want, int16_t code, int64_t timestamp, int64_t offset)
{
	(void)timestamp;
	struct kafka_offset_for_leader_epoch_response_epoch_end_offset *row = want->row;
	row->error_code = code;
	row->end_offset = offset;
	if (code == KAFKA_ERROR_NONE)
		row->leader_epoch = cluster_client_leader_epoch(want->state->request->frontend->cluster);
}

static void epochs_answer(struct request *request)
{
	struct ends_state *state = request->state;
	REQUEST_ANSWER(request, kafka_offset_for_leader_epoch_response_encode, &state->response.epochs);
}

static void epochs_take(struct ends_state *state, const struct topic *topic,
	const struct kafka_offset_for_leader_epoch_request_offset_for_leader_partition *wanted,
	struct kafka_offset_for_leader_epoch_response_epoch_end_offset *row)
{
	struct request *request = state->request;
	int16_t code = ends_check(request, topic, wanted->partition, wanted->current_leader_epoch);
	row->partition = wanted->partition;
	row->error_code = frontend_error(request->frontend, code);
	// An epoch that is still to come has no end: Kafka answers undefined (-1, -1).
	if (code != KAFKA_ERROR_NONE || wanted->leader_epoch > cluster_client_leader_epoch(request->frontend->cluster))
		return;
	ends_want(state, topic, wanted->partition, TIMESTAMP_LATEST, epochs_got, row);
}

void serve_offset_for_leader_epoch(struct request *request)
{
	struct kafka_offset_for_leader_epoch_request message;
	if (!REQUEST_DECODE(request, kafka_offset_for_leader_epoch_request_decode, &message))
		return;
	size_t count = 0;
	for (int32_t i = 0; i < message.topics_count; i++)
		count += (size_t)message.topics[i].partitions_count;
	struct ends_state *state = ends_state_new(request, count, epochs_answer);
	struct kafka_offset_for_leader_epoch_response *response = &state->response.epochs;
	kafka_offset_for_leader_epoch_response_init(response);
	response->topics_count = message.topics_count;
	response->topics = kafka_offset_for_leader_epoch_response_offset_for_leader_topic_result_array(
		&request->arena, message.topics_count);
	for (int32_t i = 0; i < message.topics_count; i++) {
		const struct kafka_offset_for_leader_epoch_request_offset_for_leader_topic *wanted = &message.topics[i];
		const struct topic *topic = catalog_by_name(request->frontend->catalog, wanted->topic);
		response->topics[i].topic = wanted->topic;
		response->topics[i].partitions_count = wanted->partitions_count;
		response->topics[i].partitions = kafka_offset_for_leader_epoch_response_epoch_end_offset_array(
			&request->arena, wanted->partitions_count);
		for (int32_t p = 0; p < wanted->partitions_count; p++)
			epochs_take(state, topic, &wanted->partitions[p], &response->topics[i].partitions[p]);
	}
	ends_ask(state);
}
