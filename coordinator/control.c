// Requests that arrive on the control pipe. A request of a shard that is not ours is answered NOT_OWNER: the caller looks at
// the newest view. Malformed bodies from siblings are bugs of theirs: answered, counted, logged once.
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "coordinator/controller.h"
#include "coordinator/core.h"
#include "proto/bus.pb-c.h"
#include "proto/kafka/kafka_api.h"

enum { LOCATE_ENTRIES_DEFAULT = 1024, LOCATE_ENTRIES_MAX = 16384 };

// Replies.

void control_reply(struct coordinator *coordinator, struct bus_request *request, uint32_t type, const ProtobufCMessage *body)
{
	const struct bus_send send = {.type = type, .body = body};
	bus_reply(coordinator->deps.bus, request, &send);
}

void control_reply_failed(struct coordinator *coordinator, struct bus_request *request, uint32_t type, enum error error)
{
	Weir__ShardCommandReply reply = WEIR__SHARD_COMMAND_REPLY__INIT;
	reply.error = error;
	control_reply(coordinator, request, type, &reply.base);
}

void control_malformed(struct coordinator *coordinator, struct bus_request *request, uint32_t type)
{
	coordinator->counters.requests_malformed++;
	if (!coordinator->malformed_logged)
		log_event(LOG_ERROR, "request_malformed", LOG_NUMBER("type", type));
	coordinator->malformed_logged = true;
	control_reply_failed(coordinator, request, type, ERROR_MALFORMED);
}

void control_reply_kafka(struct coordinator *coordinator, struct bus_request *request, enum error error, struct bytes response)
{
	Weir__KafkaCallReply reply = WEIR__KAFKA_CALL_REPLY__INIT;
	struct slice frame = error == ERROR_OK ? slice_copy(response) : (struct slice){0};
	const struct bus_send send = {.type = WEIR__MESSAGE_TYPE__KAFKA_CALL,
		.body = &reply.base,
		.frames = &frame,
		.frame_count = error == ERROR_OK};
	reply.error = error;
	bus_reply(coordinator->deps.bus, request, &send);
	slice_done(&frame);
}

// Registration: shard 0's owner takes it, anybody tells where that is.

static void register_elsewhere(struct coordinator *coordinator, struct bus_request *request, enum error error)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__RegisterReply reply = WEIR__REGISTER_REPLY__INIT;
	reply.error = error;
	reply.wall_ms = coordinator->deps.env->wall_ms;
	reply.view = coordinator_view(coordinator, &arena);
	control_reply(coordinator, request, WEIR__MESSAGE_TYPE__REGISTER, &reply.base);
	arena_done(&arena);
}

static void handle_register(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	enum error error;
	const Weir__RegisterRequest *body = protobuf_unpack(&weir__register_request__descriptor, message->body, arena);
	if (!body) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	const struct session_cluster *cluster = session_cluster(coordinator->session);
	if (cluster && body->incarnation && body->incarnation != cluster->incarnation)
		register_elsewhere(coordinator, request, ERROR_FENCED);
	else if (!coordinator_slot(coordinator, 0, &error) || !coordinator->controller)
		register_elsewhere(coordinator, request, ERROR_NOT_OWNER);
	else
		controller_register(coordinator->controller, request, body);
}

// Index look-ups.

static void locate_entry(Weir__LocateReply *reply, const struct index_entry *entry, struct arena *arena)
{
	Weir__ObjectRef *last = reply->n_objects ? reply->objects[reply->n_objects - 1] : NULL;
	const struct index_object *object = entry->object;
	// Entries of one object mostly follow each other; one that comes back later is only told twice.
	bool same = last && last->sequence == object->key.sequence &&
		    bytes_equal(protobuf_view(last->writer), uuid_view(&object->key.writer));
	if (!same) {
		last = arena_alloc(arena, sizeof *last);
		weir__object_ref__init(last);
		last->writer = protobuf_uuid(&object->key.writer);
		last->sequence = object->key.sequence;
		last->created_ms = object->created_ms;
		reply->objects[reply->n_objects++] = last;
	}
	Weir__IndexEntry *told = arena_alloc(arena, sizeof *told);
	weir__index_entry__init(told);
	told->base_offset = entry->base_offset;
	told->last_offset = index_entry_last(entry);
	told->record_count = entry->record_count;
	told->batch_count = entry->batch_count;
	told->object = (uint32_t)reply->n_objects - 1;
	told->position = entry->position;
	told->length = entry->length;
	told->max_timestamp = entry->max_timestamp;
	reply->entries[reply->n_entries++] = told;
}

static void locate_reply(struct coordinator *coordinator, struct bus_request *request, uint32_t type, const struct slot *slot,
	const struct shard_partition *partition, size_t first, size_t count, enum error error)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__LocateReply reply = WEIR__LOCATE_REPLY__INIT;
	reply.error = error;
	reply.epoch = shard_epoch(slot->shard);
	reply.number = feed_index_number(slot->feed);
	reply.high_watermark = partition->high_watermark;
	reply.log_start = partition->log_start;
	reply.objects = arena_alloc(&arena, count * sizeof *reply.objects);
	reply.entries = arena_alloc(&arena, count * sizeof *reply.entries);
	for (size_t i = first; i < first + count; i++)
		locate_entry(&reply, &partition->index.entries[i], &arena);
	reply.more = error == ERROR_OK && first + count < partition->index.count;
	control_reply(coordinator, request, type, &reply.base);
	arena_done(&arena);
}

// NULL: answered already.
static const struct shard_partition *request_partition(struct coordinator *coordinator, struct bus_request *request,
	uint32_t type, ProtobufCBinaryData topic, int32_t number, struct slot **ret_slot)
{
	enum error error;
	struct uuid topic_id;
	if (!protobuf_get_uuid(topic, &topic_id)) {
		control_malformed(coordinator, request, type);
		return NULL;
	}
	struct slot *slot = coordinator_partition_slot(coordinator, &topic_id, number, &error);
	if (!slot) {
		control_reply_failed(coordinator, request, type, error);
		return NULL;
	}
	const struct shard_partition *partition = shard_state_partition(shard_state(slot->shard), &topic_id, number);
	if (!partition)
		control_reply_failed(coordinator, request, type, ERROR_UNKNOWN_TOPIC);
	*ret_slot = slot;
	return partition;
}

static void handle_locate(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	const Weir__LocateRequest *body = protobuf_unpack(&weir__locate_request__descriptor, message->body, arena);
	struct slot *slot;
	if (!body) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	const struct shard_partition *partition =
		request_partition(coordinator, request, message->type, body->topic_id, body->partition, &slot);
	if (!partition)
		return;
	if (body->offset < partition->log_start || body->offset > partition->high_watermark) {
		locate_reply(coordinator, request, message->type, slot, partition, 0, 0, ERROR_OFFSET_OUT_OF_RANGE);
		return;
	}
	size_t max = body->entries_max ? body->entries_max : LOCATE_ENTRIES_DEFAULT;
	size_t first = partition_index_find(&partition->index, body->offset);
	size_t count = partition->index.count - first;
	max = max < LOCATE_ENTRIES_MAX ? max : LOCATE_ENTRIES_MAX;
	locate_reply(coordinator, request, message->type, slot, partition, first, count < max ? count : max, ERROR_OK);
}

static void handle_locate_time(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	enum { GREATEST_TIMESTAMP = -3 };
	const Weir__LocateTimeRequest *body = protobuf_unpack(&weir__locate_time_request__descriptor, message->body, arena);
	struct slot *slot;
	if (!body) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	const struct shard_partition *partition =
		request_partition(coordinator, request, message->type, body->topic_id, body->partition, &slot);
	if (!partition)
		return;
	const struct partition_index *index = &partition->index;
	size_t first =
		body->timestamp == GREATEST_TIMESTAMP ? index->newest : partition_index_find_time(index, body->timestamp);
	locate_reply(coordinator, request, message->type, slot, partition, first, first < index->count, ERROR_OK);
}

static Weir__PartitionOffsets *partition_offsets(
	const struct coordinator *coordinator, const Weir__PartitionRef *ref, struct arena *arena)
{
	Weir__PartitionOffsets *offsets = arena_alloc(arena, sizeof *offsets);
	struct uuid id;
	weir__partition_offsets__init(offsets);
	offsets->error = ERROR_UNKNOWN_TOPIC;
	if (!protobuf_get_uuid(ref->topic_id, &id))
		return offsets;
	uint32_t number = placement_partition_shard(&id, ref->partition, coordinator->slot_count);
	// All are of one shard, which was checked; another one's would not be known here.
	struct shard *shard = coordinator->slots[number].shard;
	const struct shard_partition *partition =
		shard && shard_ready(shard) == ERROR_OK ? shard_state_partition(shard_state(shard), &id, ref->partition) : NULL;
	if (!partition)
		return offsets;
	offsets->error = ERROR_OK;
	offsets->high_watermark = partition->high_watermark;
	offsets->log_start = partition->log_start;
	offsets->bytes = (int64_t)partition->index.bytes;
	return offsets;
}

static void handle_partition_offsets(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	const Weir__PartitionOffsetsRequest *body =
		protobuf_unpack(&weir__partition_offsets_request__descriptor, message->body, arena);
	struct uuid id;
	enum error error;
	if (!body || (body->n_partitions && !protobuf_get_uuid(body->partitions[0]->topic_id, &id))) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	if (body->n_partitions && !coordinator_partition_slot(coordinator, &id, body->partitions[0]->partition, &error)) {
		control_reply_failed(coordinator, request, message->type, error);
		return;
	}
	Weir__PartitionOffsetsReply reply = WEIR__PARTITION_OFFSETS_REPLY__INIT;
	reply.partitions = arena_alloc(arena, body->n_partitions * sizeof *reply.partitions);
	for (size_t i = 0; i < body->n_partitions; i++)
		reply.partitions[reply.n_partitions++] = partition_offsets(coordinator, body->partitions[i], arena);
	control_reply(coordinator, request, message->type, &reply.base);
}

// Syncs.

static void handle_sync_meta(struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message)
{
	enum error error;
	if (!coordinator_slot(coordinator, 0, &error))
		control_reply_failed(coordinator, request, message->type, error);
	else if (!coordinator->controller)
		control_reply_failed(coordinator, request, message->type, ERROR_NOT_OWNER);
	else
		controller_sync_meta(coordinator->controller, request);
}

static size_t shard_partitions(const struct shard_state *state, struct shard_partition **partitions)
{
	size_t count = 0;
	for (const struct shard_topic *topic = state->topics; topic; topic = topic->hh.next) {
		for (int32_t i = 0; i < topic->partition_count; i++) {
			if (topic->partitions[i])
				partitions[count++] = topic->partitions[i];
		}
	}
	return count;
}

static void handle_sync_watermarks(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	const Weir__SyncWatermarksRequest *body =
		protobuf_unpack(&weir__sync_watermarks_request__descriptor, message->body, arena);
	enum error error;
	if (!body) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	struct slot *slot = coordinator_slot(coordinator, body->shard, &error);
	if (!slot) {
		control_reply_failed(coordinator, request, message->type, error);
		return;
	}
	const struct shard_state *state = shard_state(slot->shard);
	struct shard_partition **partitions = arena_alloc(arena, state->partition_count * sizeof *partitions);
	struct watermark_list list = watermarks_of(partitions, shard_partitions(state, partitions), arena);
	Weir__SyncWatermarksReply reply = WEIR__SYNC_WATERMARKS_REPLY__INIT;
	reply.epoch = shard_epoch(slot->shard);
	reply.number = feed_watermark_number(slot->feed, state);
	reply.topics = list.topics;
	reply.n_topics = list.count;
	control_reply(coordinator, request, message->type, &reply.base);
}

// Kafka's own requests.

struct group_request {
	struct coordinator *coordinator;
	struct bus_request *request;
};

static void group_replied(void *ctx, enum error error, struct bytes response)
{
	struct group_request *group_request = ctx;
	control_reply_kafka(group_request->coordinator, group_request->request, error, response);
	free(group_request);
}

static void kafka_call_groups(struct coordinator *coordinator, struct bus_request *request, struct shard *shard,
	const Weir__KafkaCallRequest *body, struct bytes kafka_body, struct arena *arena)
{
	struct group_topic *topics = arena_alloc(arena, body->n_topics * sizeof *topics);
	size_t count = 0;
	for (size_t i = 0; i < body->n_topics; i++) {
		if (!protobuf_get_uuid(body->topics[i]->id, &topics[count].id))
			continue;
		topics[count++].name = bytes_of(body->topics[i]->name);
	}
	const struct group_call call = {
		.api_key = (int16_t)body->api_key,
		.api_version = (int16_t)body->api_version,
		.client_id = bytes_of(body->client_id),
		.client_host = bytes_of(body->client_host),
		.body = kafka_body,
		.topics = topics,
		.topic_count = count,
	};
	struct group_request *group_request = memory_zalloc(sizeof *group_request);
	*group_request = (struct group_request){coordinator, request};
	groups_request(shard_groups(shard), &call, group_replied, group_request);
}

static void handle_kafka_call(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	const Weir__KafkaCallRequest *body = protobuf_unpack(&weir__kafka_call_request__descriptor, message->body, arena);
	enum error error;
	if (!body || message->frame_count != 1 || body->api_key > INT16_MAX || body->api_version > INT16_MAX) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	struct bytes kafka_body = slice_bytes(message->frames[0]);
	struct slot *slot = coordinator_slot(coordinator, body->shard, &error);
	if (!slot)
		control_reply_kafka(coordinator, request, error, BYTES_NULL);
	else if (groups_handle((int16_t)body->api_key))
		kafka_call_groups(coordinator, request, slot->shard, body, kafka_body, arena);
	else if (!coordinator->controller || body->shard != 0)
		control_reply_kafka(coordinator, request, ERROR_NOT_OWNER, BYTES_NULL);
	else if (!controller_kafka(coordinator->controller, request, body, kafka_body, message->remaining_ms))
		control_malformed(coordinator, request, message->type);
}

// Commands of shard 0's intents for shards of ours.

struct command_request {
	struct coordinator *coordinator;
	struct bus_request *request;
};

static void command_logged(void *ctx, enum error error, const struct apply_result *result)
{
	struct command_request *command = ctx;
	(void)result;
	control_reply_failed(command->coordinator, command->request, WEIR__MESSAGE_TYPE__SHARD_COMMAND, error);
	free(command);
}

static bool command_allowed(const Weir__Command *command)
{
	return command && (command->kind_case == WEIR__COMMAND__KIND_PARTITIONS_OPEN ||
				  command->kind_case == WEIR__COMMAND__KIND_TOPIC_DROP);
}

static void handle_shard_command(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	const Weir__ShardCommandRequest *body = protobuf_unpack(&weir__shard_command_request__descriptor, message->body, arena);
	enum error error;
	if (!body || !command_allowed(body->command)) {
		control_malformed(coordinator, request, message->type);
		return;
	}
	struct slot *slot = coordinator_slot(coordinator, body->shard, &error);
	if (!slot) {
		control_reply_failed(coordinator, request, message->type, error);
		return;
	}
	struct command_request *command = memory_zalloc(sizeof *command);
	*command = (struct command_request){coordinator, request};
	shard_propose(slot->shard, body->command, (struct slice){0}, command_logged, command);
}

void control_request(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	struct coordinator *coordinator = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	coordinator->counters.requests++;
	switch (message->type) {
	case WEIR__MESSAGE_TYPE__REGISTER:
		handle_register(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__COMMIT:
		commit_request(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__LOCATE:
		handle_locate(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__LOCATE_TIME:
		handle_locate_time(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__PARTITION_OFFSETS:
		handle_partition_offsets(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__SYNC_META:
		handle_sync_meta(coordinator, request, message);
		break;
	case WEIR__MESSAGE_TYPE__SYNC_WATERMARKS:
		handle_sync_watermarks(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__KAFKA_CALL:
		handle_kafka_call(coordinator, request, message, &arena);
		break;
	case WEIR__MESSAGE_TYPE__SHARD_COMMAND:
		handle_shard_command(coordinator, request, message, &arena);
		break;
	default:
		control_malformed(coordinator, request, message->type);
	}
	arena_done(&arena);
}
