#include "tests/unit/frontend/frontend_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"

static const char *const writer_addresses[WORLD_WRITERS] = {"mem://writer-0", "mem://writer-1"};
static const char *const reader_addresses[WORLD_READERS] = {"mem://reader-0", "mem://reader-1"};
#define COORDINATOR "mem://coordinator"
#define FEED "mem://feed"

// The view

struct view_rows {
	Weir__ClusterView view;
	Weir__CoordinatorInfo coordinator, *coordinators[1];
	Weir__ShardOwner owners[WORLD_SHARDS], *owner_rows[WORLD_SHARDS];
	Weir__Member members[WORLD_WRITERS + WORLD_READERS + 1], *member_rows[WORLD_WRITERS + WORLD_READERS + 1];
};

static void world_put_member(struct view_rows *rows, const struct uuid *id, Weir__Role role, const char *address)
{
	Weir__Member *member = &rows->members[rows->view.n_members];
	weir__member__init(member);
	member->instance = protobuf_uuid(id);
	member->role = role;
	member->address = (char *)(uintptr_t)address;
	rows->member_rows[rows->view.n_members++] = member;
}

static void world_fill_view(struct world *world, struct view_rows *rows)
{
	weir__cluster_view__init(&rows->view);
	weir__coordinator_info__init(&rows->coordinator);
	rows->coordinator.id = protobuf_uuid(&world->coordinator_id);
	rows->coordinator.address = (char *)(uintptr_t)COORDINATOR;
	rows->coordinator.feed_address = (char *)(uintptr_t)FEED;
	rows->coordinators[0] = &rows->coordinator;
	rows->view.incarnation = (3ull << 48) + 77;
	rows->view.cluster_id = (char *)(uintptr_t) "test-cluster";
	rows->view.shards = WORLD_SHARDS;
	rows->view.n_coordinators = 1;
	rows->view.coordinators = rows->coordinators;
	for (uint32_t i = 0; i < WORLD_SHARDS; i++) {
		weir__shard_owner__init(&rows->owners[i]);
		rows->owners[i].shard = i;
		rows->owners[i].coordinator = protobuf_uuid(&world->coordinator_id);
		rows->owner_rows[i] = &rows->owners[i];
	}
	rows->view.n_owners = WORLD_SHARDS;
	rows->view.owners = rows->owner_rows;
	rows->view.members = rows->member_rows;
	for (int i = 0; i < WORLD_WRITERS; i++) {
		if (world->writer_gone[i])
			continue;
		world_put_member(rows, &world->ids[i], WEIR__ROLE__WRITER, writer_addresses[i]);
		rows->members[rows->view.n_members - 1].draining = world->writer_draining[i];
	}
	for (int i = 0; i < WORLD_READERS; i++)
		world_put_member(rows, &world->ids[WORLD_WRITERS + i], WEIR__ROLE__READER, reader_addresses[i]);
	world_put_member(rows, &world->frontend_id, WEIR__ROLE__FRONTEND, "");
	Weir__Member *frontend = &rows->members[rows->view.n_members - 1];
	frontend->kafka_host = (char *)(uintptr_t) "localhost";
	frontend->kafka_port = 9092;
	frontend->node_id = 5;
}

static void world_reply(
	struct bus *bus, struct bus_request *request, const ProtobufCMessage *body, const struct slice *frames, size_t count)
{
	struct bus_send send = {.body = body, .frames = frames, .frame_count = count};
	bus_reply(bus, request, &send);
}

// The coordinator

static void world_on_register(struct world *world, struct bus_request *request)
{
	struct view_rows rows = {0};
	Weir__RegisterReply reply = WEIR__REGISTER_REPLY__INIT;
	world_fill_view(world, &rows);
	reply.view = &rows.view;
	reply.node_id = 5;
	reply.wall_ms = world->env->wall_ms;
	world_reply(world->coordinator, request, &reply.base, NULL, 0);
}

static void world_fill_topic(const struct world_topic *topic, uint64_t version, Weir__TopicInfo *info)
{
	weir__topic_info__init(info);
	info->id = protobuf_uuid(&topic->id);
	info->name = (char *)(uintptr_t)topic->name;
	info->partitions = topic->partitions;
	info->version = version;
}

static void world_on_sync_meta(struct world *world, struct bus_request *request)
{
	struct view_rows rows = {0};
	Weir__TopicInfo infos[WORLD_TOPICS_MAX], *topics[WORLD_TOPICS_MAX];
	Weir__SyncMetaReply reply = WEIR__SYNC_META_REPLY__INIT;
	world->syncs_meta++;
	world_fill_view(world, &rows);
	reply.view = &rows.view;
	reply.epoch = world->epoch;
	reply.number = world->meta_number;
	for (size_t i = 0; i < world->topic_count; i++) {
		world_fill_topic(&world->topics[i], 1, &infos[i]);
		topics[i] = &infos[i];
	}
	reply.topics = topics;
	reply.n_topics = world->topic_count;
	world_reply(world->coordinator, request, &reply.base, NULL, 0);
}

static void world_on_sync_watermarks(struct world *world, struct bus_request *request, uint32_t shard)
{
	Weir__SyncWatermarksReply reply = WEIR__SYNC_WATERMARKS_REPLY__INIT;
	Weir__TopicWatermarks rows[WORLD_TOPICS_MAX], *topics[WORLD_TOPICS_MAX];
	int32_t partitions[WORLD_TOPICS_MAX][WORLD_PARTITIONS];
	int64_t highs[WORLD_TOPICS_MAX][WORLD_PARTITIONS], starts[WORLD_TOPICS_MAX][WORLD_PARTITIONS];
	world->syncs_watermarks++;
	for (size_t t = 0; t < world->topic_count; t++) {
		struct world_topic *topic = &world->topics[t];
		size_t count = 0;
		weir__topic_watermarks__init(&rows[t]);
		for (int32_t p = 0; p < topic->partitions; p++) {
			if (placement_partition_shard(&topic->id, p, WORLD_SHARDS) != shard)
				continue;
			partitions[t][count] = p;
			highs[t][count] = topic->high[p];
			starts[t][count++] = topic->log_start[p];
		}
		rows[t].topic_id = protobuf_uuid(&topic->id);
		rows[t].partitions = partitions[t];
		rows[t].high_watermarks = highs[t];
		rows[t].log_starts = starts[t];
		rows[t].n_partitions = rows[t].n_high_watermarks = rows[t].n_log_starts = count;
		topics[t] = &rows[t];
	}
	reply.epoch = world->epoch;
	reply.number = world->hw_numbers[shard];
	reply.topics = topics;
	reply.n_topics = world->topic_count;
	world_reply(world->coordinator, request, &reply.base, NULL, 0);
}

static struct world_topic *world_topic_by_id(struct world *world, ProtobufCBinaryData data)
{
	struct uuid id;
	CHECK(protobuf_get_uuid(data, &id));
	for (size_t i = 0; i < world->topic_count; i++)
		if (uuid_equal(&world->topics[i].id, &id))
			return &world->topics[i];
	return NULL;
}

static void world_on_offsets(struct world *world, struct bus_request *request, struct bytes body, struct arena *arena)
{
	Weir__PartitionOffsetsRequest *message = protobuf_unpack(&weir__partition_offsets_request__descriptor, body, arena);
	Weir__PartitionOffsetsReply reply = WEIR__PARTITION_OFFSETS_REPLY__INIT;
	reply.partitions = arena_alloc(arena, message->n_partitions * sizeof *reply.partitions);
	reply.n_partitions = message->n_partitions;
	reply.error = world->offsets_fail ? ERROR_INTERNAL : ERROR_OK;
	world->offsets_asked++;
	for (size_t i = 0; i < message->n_partitions; i++) {
		struct world_topic *topic = world_topic_by_id(world, message->partitions[i]->topic_id);
		Weir__PartitionOffsets *row = arena_alloc(arena, sizeof *row);
		weir__partition_offsets__init(row);
		row->high_watermark = topic->high[message->partitions[i]->partition];
		row->log_start = topic->log_start[message->partitions[i]->partition];
		reply.partitions[i] = row;
	}
	world_reply(world->coordinator, request, &reply.base, NULL, 0);
}

static struct world_held *world_hold(struct world *world, struct bus_request *request, uint32_t type)
{
	CHECK(world->held_count < WORLD_HELD_MAX);
	struct world_held *held = &world->held[world->held_count++];
	*held = (struct world_held){.request = request, .type = type};
	return held;
}

static void world_on_call(
	struct world *world, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	Weir__KafkaCallRequest *call = protobuf_unpack(&weir__kafka_call_request__descriptor, message->body, arena);
	world->calls++;
	struct world_held *held = world_hold(world, request, WEIR__MESSAGE_TYPE__KAFKA_CALL);
	held->api_key = call->api_key;
	held->shard = call->shard;
	held->body = slice_ref(message->frames[0]);
}

static void world_on_coordinator(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	struct world *world = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	if (message->type == WEIR__MESSAGE_TYPE__REGISTER)
		world_on_register(world, request);
	else if (message->type == WEIR__MESSAGE_TYPE__SYNC_META)
		world_on_sync_meta(world, request);
	else if (message->type == WEIR__MESSAGE_TYPE__PARTITION_OFFSETS)
		world_on_offsets(world, request, message->body, &arena);
	else if (message->type == WEIR__MESSAGE_TYPE__KAFKA_CALL)
		world_on_call(world, request, message, &arena);
	else if (message->type == WEIR__MESSAGE_TYPE__SYNC_WATERMARKS) {
		Weir__SyncWatermarksRequest *sync =
			protobuf_unpack(&weir__sync_watermarks_request__descriptor, message->body, &arena);
		world_on_sync_watermarks(world, request, sync->shard);
	}
	arena_done(&arena);
}

// Writers

static void world_answer_append(struct world *world, int writer, struct bus_request *request, size_t parts)
{
	Weir__AppendReply reply = WEIR__APPEND_REPLY__INIT;
	Weir__AppendResult *rows = memory_zalloc((parts + 1) * sizeof *rows),
			   **results = memory_zalloc((parts + 1) * sizeof *results);
	reply.window_bytes = world->window_bytes;
	for (size_t i = 0; i < parts; i++) {
		weir__append_result__init(&rows[i]);
		rows[i].error = world->append_error;
		rows[i].base_offset = world->append_error ? -1 : world->next_offset++;
		rows[i].log_append_time_ms = -1;
		results[i] = &rows[i];
	}
	reply.results = results;
	reply.n_results = parts;
	world_reply(world->writers[writer], request, &reply.base, NULL, 0);
	free(rows);
	free(results);
}

static void world_on_append(struct world *world, int writer, struct bus_request *request, const struct bus_message *message)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__AppendRequest *append = protobuf_unpack(&weir__append_request__descriptor, message->body, &arena);
	world->appends++;
	world->append_frames += message->frame_count;
	world->last_writer = writer;
	for (size_t i = 0; i < append->n_partitions; i++) {
		const Weir__AppendPartition *part = append->partitions[i];
		CHECK(part->frame < message->frame_count && part->position + part->length <= message->frames[part->frame].len);
		CHECK(message->frames[part->frame].data[part->position + 16] == 2); // the batch begins there
	}
	if (world->hold_appends) {
		struct world_held *held = world_hold(world, request, WEIR__MESSAGE_TYPE__APPEND);
		held->parts = append->n_partitions;
		held->member = writer;
	} else {
		world_answer_append(world, writer, request, append->n_partitions);
	}
	arena_done(&arena);
}

static void world_on_writer_0(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	world_on_append(ctx, 0, request, message);
}

static void world_on_writer_1(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	world_on_append(ctx, 1, request, message);
}

// Readers

static void world_on_fetch(struct world *world, struct bus *bus, struct bus_request *request, const struct bus_message *message)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__FetchRequest *fetch = protobuf_unpack(&weir__fetch_request__descriptor, message->body, &arena);
	Weir__FetchReply reply = WEIR__FETCH_REPLY__INIT;
	struct slice *frames = arena_alloc(&arena, fetch->n_partitions * sizeof *frames);
	size_t frame_count = 0;
	world->fetches++;
	world->last_fetch_max_bytes = fetch->max_bytes;
	reply.results = arena_alloc(&arena, fetch->n_partitions * sizeof *reply.results);
	reply.n_results = fetch->n_partitions;
	for (size_t i = 0; i < fetch->n_partitions; i++) {
		const Weir__FetchPartition *part = fetch->partitions[i];
		struct world_topic *topic = world_topic_by_id(world, part->topic_id);
		Weir__FetchResult *row = arena_alloc(&arena, sizeof *row);
		weir__fetch_result__init(row);
		reply.results[i] = row;
		row->error = world->fetch_error;
		row->high_watermark = topic->high[part->partition] + world->reader_high_offset;
		row->log_start = topic->log_start[part->partition];
		if (row->error || part->offset >= topic->high[part->partition])
			continue;
		struct bytes batch = world_batch(&arena, 1, world->batch_bytes);
		frames[frame_count++] = slice_copy(batch);
		row->frame_count = 1;
		row->bytes = (uint32_t)batch.len;
	}
	world_reply(bus, request, &reply.base, frames, frame_count);
	for (size_t i = 0; i < frame_count; i++)
		slice_done(&frames[i]);
	arena_done(&arena);
}

static void world_on_time(struct world *world, struct bus *bus, struct bus_request *request)
{
	Weir__TimeOffsetReply reply = WEIR__TIME_OFFSET_REPLY__INIT;
	(void)world;
	reply.offset = 7;
	reply.timestamp = 1234;
	world_reply(bus, request, &reply.base, NULL, 0);
}

static void world_on_reader(
	struct world *world, struct bus *bus, struct bus_request *request, const struct bus_message *message)
{
	if (message->type == WEIR__MESSAGE_TYPE__TIME_OFFSET)
		world_on_time(world, bus, request);
	else if (world->hold_fetches)
		world_hold(world, request, WEIR__MESSAGE_TYPE__FETCH);
	else
		world_on_fetch(world, bus, request, message);
}

static void world_on_reader_0(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	world_on_reader(ctx, ((struct world *)ctx)->readers[0], request, message);
}

static void world_on_reader_1(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	world_on_reader(ctx, ((struct world *)ctx)->readers[1], request, message);
}

// Life

struct world_topic *world_add_topic(struct world *world, const char *name, int32_t partitions)
{
	struct world_topic *topic = &world->topics[world->topic_count++];
	CHECK(world->topic_count <= WORLD_TOPICS_MAX && partitions <= WORLD_PARTITIONS);
	*topic = (struct world_topic){.name = name, .partitions = partitions};
	memset(topic->id.bytes, (int)world->topic_count, sizeof topic->id.bytes);
	return topic;
}

void world_turn(struct world *world)
{
	bus_memory_step(world->network);
	frontend_step(world->frontend);
	if (world->env != &world->own_env)
		return;
	world->own_env.now_us += 1000;
	world->own_env.wall_ms++;
	if (world->own_env.now_us % 200000 == 0)
		world_beat(world);
}

void world_run(struct world *world, uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i++)
		world_turn(world);
}

void world_start(struct world *world, const struct env *env)
{
	static const bus_request_fn on_writer[] = {world_on_writer_0, world_on_writer_1};
	static const bus_request_fn on_reader[] = {world_on_reader_0, world_on_reader_1};
	log_set_level(LOG_ERROR);
	prng_init(&world->own_env.prng, 42);
	world->own_env.now_us = 1000000;
	world->own_env.wall_ms = 1700000000000;
	world->env = env ? env : &world->own_env;
	world->epoch = 9;
	world->batch_bytes = world->batch_bytes ? world->batch_bytes : 100;
	world->coordinator_id = uuid_random(&world->own_env.prng);
	world->frontend_id = uuid_random(&world->own_env.prng);
	client_session_init(&world->session, "/127.0.0.1");
	world->network = bus_memory_new(world->env);
	world->coordinator = bus_memory_endpoint(world->network, COORDINATOR, FEED);
	world->frontend_bus = bus_memory_endpoint(world->network, "mem://frontend", NULL);
	bus_serve(world->coordinator, world_on_coordinator, world);
	for (int i = 0; i < WORLD_WRITERS; i++) {
		world->ids[i] = uuid_random(&world->own_env.prng);
		world->writers[i] = bus_memory_endpoint(world->network, writer_addresses[i], NULL);
		bus_serve(world->writers[i], on_writer[i], world);
	}
	for (int i = 0; i < WORLD_READERS; i++) {
		world->ids[WORLD_WRITERS + i] = uuid_random(&world->own_env.prng);
		world->readers[i] = bus_memory_endpoint(world->network, reader_addresses[i], NULL);
		bus_serve(world->readers[i], on_reader[i], world);
	}
	struct frontend_settings settings = {.coordinators = COORDINATOR,
		.instance = world->frontend_id,
		.zone = "",
		.kafka_host = "localhost",
		.kafka_port = 9092,
		.auto_create_topics = true,
		.partitions_default = 1,
		.memory_bytes = 64 << 20,
		.request_bytes_max = 8 << 20,
		.fetch_bytes_max = 1 << 20,
		.message_bytes_max = 1048588,
		.window_bytes = 64 << 10,
		.call_timeout_ms = 2000,
		.auto_create_wait_ms = 3000};
	world->frontend = frontend_new(world->env, world->frontend_bus, &settings);
	if (!env) {
		for (int i = 0; i < 3000 && frontend_ready(world->frontend); i++)
			world_turn(world);
		CHECK(!frontend_ready(world->frontend));
	}
}

void world_stop(struct world *world)
{
	for (size_t i = 0; i < world->held_count; i++)
		slice_done(&world->held[i].body);
	frontend_free(&world->frontend);
	bus_memory_endpoint_free(&world->frontend_bus);
	for (int i = 0; i < WORLD_WRITERS; i++)
		if (world->writers[i])
			bus_memory_endpoint_free(&world->writers[i]);
	for (int i = 0; i < WORLD_READERS; i++)
		if (world->readers[i])
			bus_memory_endpoint_free(&world->readers[i]);
	bus_memory_endpoint_free(&world->coordinator);
	bus_memory_free(&world->network);
}

// The feed

void world_feed_topic(struct world *world, const struct world_topic *topic, bool gone)
{
	Weir__MetaFeed feed = WEIR__META_FEED__INIT;
	Weir__TopicInfo info, *infos[1] = {&info};
	ProtobufCBinaryData id = protobuf_uuid(&topic->id);
	feed.epoch = world->epoch;
	feed.number = ++world->meta_number;
	world_fill_topic(topic, world->meta_number + 1, &info);
	if (gone) {
		feed.deleted_topics = &id;
		feed.n_deleted_topics = 1;
	} else {
		feed.topics = infos;
		feed.n_topics = 1;
	}
	bus_publish(world->coordinator, bytes_of("meta/"), &feed.base);
}

void world_feed_view(struct world *world)
{
	struct view_rows rows = {0};
	Weir__MetaFeed feed = WEIR__META_FEED__INIT;
	world_fill_view(world, &rows);
	feed.epoch = world->epoch;
	feed.number = ++world->meta_number;
	feed.view = &rows.view;
	bus_publish(world->coordinator, bytes_of("meta/"), &feed.base);
}

static void world_publish_high(struct world *world, uint32_t shard, Weir__TopicWatermarks **topics, size_t count)
{
	Weir__WatermarkFeed feed = WEIR__WATERMARK_FEED__INIT;
	char prefix[16];
	snprintf(prefix, sizeof prefix, "hw/%04x", shard);
	feed.shard = shard;
	feed.epoch = world->epoch;
	feed.number = world->hw_numbers[shard];
	feed.topics = topics;
	feed.n_topics = count;
	bus_publish(world->coordinator, bytes_of(prefix), &feed.base);
}

void world_feed_high(struct world *world, struct world_topic *topic, int32_t partition, int64_t high, uint64_t skip)
{
	uint32_t shard = placement_partition_shard(&topic->id, partition, WORLD_SHARDS);
	Weir__TopicWatermarks row = WEIR__TOPIC_WATERMARKS__INIT, *rows[1] = {&row};
	topic->high[partition] = high;
	row.topic_id = protobuf_uuid(&topic->id);
	row.partitions = &partition;
	row.high_watermarks = &topic->high[partition];
	row.log_starts = &topic->log_start[partition];
	row.n_partitions = row.n_high_watermarks = row.n_log_starts = 1;
	world->hw_numbers[shard] += 1 + skip;
	world_publish_high(world, shard, rows, 1);
}

void world_beat(struct world *world)
{
	Weir__MetaFeed feed = WEIR__META_FEED__INIT;
	feed.epoch = world->epoch;
	feed.number = world->meta_number;
	bus_publish(world->coordinator, bytes_of("meta/"), &feed.base);
	for (uint32_t shard = 0; shard < WORLD_SHARDS; shard++)
		world_publish_high(world, shard, NULL, 0);
}

// What is held

void world_release(struct world *world, size_t index, struct bytes kafka_body)
{
	struct world_held *held = &world->held[index];
	if (held->type == WEIR__MESSAGE_TYPE__APPEND) {
		world_answer_append(world, held->member, held->request, held->parts);
	} else {
		Weir__KafkaCallReply reply = WEIR__KAFKA_CALL_REPLY__INIT;
		struct slice frame = slice_copy(kafka_body);
		world_reply(world->coordinator, held->request, &reply.base, &frame, 1);
		slice_done(&frame);
	}
	held->request = NULL;
}

void world_release_error(struct world *world, size_t index, enum error error)
{
	Weir__KafkaCallReply reply = WEIR__KAFKA_CALL_REPLY__INIT;
	reply.error = error;
	world_reply(world->coordinator, world->held[index].request, &reply.base, NULL, 0);
	world->held[index].request = NULL;
}

// Clients

struct slice world_frame(int16_t key, int16_t version, int32_t correlation, const void *message, world_encode_fn encode)
{
	struct kafka_request_header header;
	struct kafka_writer writer;
	kafka_request_header_init(&header);
	header.request_api_key = key;
	header.request_api_version = version;
	header.correlation_id = correlation;
	header.client_id = bytes_of("test");
	kafka_writer_init(&writer, 32 << 20);
	kafka_request_header_encode(&header, &writer, kafka_request_header_version(key, version));
	if (encode)
		encode(message, &writer, version);
	CHECK(!kafka_writer_failed(&writer));
	struct slice frame = slice_copy(buffer_view(&writer.buffer));
	kafka_writer_done(&writer);
	return frame;
}

static void world_on_done(struct request *request)
{
	((struct world_call *)request->owner)->done++;
}

void world_send(
	struct world *world, struct world_call *call, int16_t key, int16_t version, const void *message, world_encode_fn encode)
{
	*call = (struct world_call){0};
	call->request = request_new(world->frontend, &world->session, world_frame(key, version, 1, message, encode));
	call->request->owner = call;
	call->request->on_done = world_on_done;
	frontend_handle(call->request);
}

struct reader world_answer(struct world_call *call, struct arena *arena)
{
	struct request *request = call->request;
	struct buffer buffer;
	struct kafka_response_header header;
	CHECK(call->done == 1 && request->outcome == REQUEST_ANSWERED);
	buffer_init(&buffer, 64 << 20);
	kafka_writer_copy(&request->answer, &buffer);
	buffer_bytes(&buffer, slice_bytes(request->answer_tail));
	struct bytes bytes = arena_copy(arena, buffer_view(&buffer));
	buffer_done(&buffer);
	struct reader reader = reader_of(bytes);
	CHECK(reader_u32(&reader) == bytes.len - 4);
	CHECK(kafka_response_header_decode(
		      &header, &reader, kafka_response_header_version(request->key, request->version), arena) == ERROR_OK);
	CHECK(header.correlation_id == 1);
	return reader;
}

void world_call_done(struct world_call *call)
{
	request_free(&call->request);
}

struct bytes world_batch(struct arena *arena, int32_t records, size_t size)
{
	CHECK(size >= 61);
	uint8_t *data = arena_alloc(arena, size);
	put_u32(data + 8, (uint32_t)(size - 12));
	data[16] = 2;
	put_u32(data + 23, (uint32_t)(records - 1));
	put_u64(data + 43, UINT64_MAX);
	put_u16(data + 51, UINT16_MAX);
	put_u32(data + 53, UINT32_MAX);
	put_u32(data + 57, (uint32_t)records);
	return bytes_view(data, size);
}
