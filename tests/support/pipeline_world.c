#include "tests/support/pipeline_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "common/storage/object_store_memory.h"
#include "proto/append.pb-c.h"
#include "proto/bus.pb-c.h"
#include "proto/fetch.pb-c.h"

static uint64_t world_seed(void)
{
	const char *text = getenv("WEIR_TEST_SEED");
	return text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
}

void world_init(struct world *world, const char *test)
{
	*world = (struct world){0};
	uint64_t seed = world_seed();
	printf("%s: WEIR_TEST_SEED=%llu\n", test, (unsigned long long)seed);
	prng_init(&world->env.prng, seed);
	world->env.now_us = 1000000;
	world->env.wall_ms = 1750000000000;
	world->network = bus_memory_new(&world->env);
	world->store = object_store_memory_new(&world->env);
	world->coordinator_bus = bus_memory_endpoint(world->network, "coordinator", "coordinator-feed");
	world->client_bus = bus_memory_endpoint(world->network, "client", NULL);
	world->coordinator = fake_coordinator_new(&world->env, world->coordinator_bus, WORLD_SHARDS);
	world->writer_link = bus_link(world->client_bus, "writer");
	world->reader_link = bus_link(world->client_bus, "reader");
	memset(world->topic.bytes, 0x70, sizeof world->topic.bytes);
}

static void world_remove_writer(struct world *world)
{
	writer_free(&world->writer);
	if (world->writer_store)
		object_store_free(&world->writer_store);
	if (world->writer_bus)
		bus_memory_endpoint_free(&world->writer_bus);
}

void world_done(struct world *world)
{
	reader_free(&world->reader);
	if (world->reader_store)
		object_store_free(&world->reader_store);
	if (world->reader_bus)
		bus_memory_endpoint_free(&world->reader_bus);
	world_remove_writer(world);
	bus_memory_endpoint_free(&world->client_bus);
	fake_coordinator_free(&world->coordinator);
	bus_memory_endpoint_free(&world->coordinator_bus);
	object_store_free(&world->store);
	bus_memory_free(&world->network);
}

struct writer_settings world_writer_settings(void)
{
	return (struct writer_settings){.object_bytes = 8 << 20,
		.put_rate = 5,
		.put_burst = 2,
		.linger_max_ms = 250,
		.uploads_max = 8,
		.upload_timeout_ms = 1000,
		.memory_bytes = 256 << 20,
		.ring_bytes = 64 << 20};
}

struct reader_settings world_reader_settings(void)
{
	return (struct reader_settings){.cache_bytes = 64 << 20,
		.replies_bytes = 64 << 20,
		.gets_max = 16,
		.get_timeout_ms = 1000,
		.index_entries = 100000,
		.locate_entries = 16};
}

static struct cluster_client_settings world_cluster(struct world *world, Weir__Role role, const char *address)
{
	return (struct cluster_client_settings){.coordinators = "coordinator",
		.instance = uuid_random(&world->env.prng),
		.role = role,
		.address = address,
		.kafka_host = "",
		.zone = ""};
}

static void world_on_fatal(void *ctx, const char *reason)
{
	((struct world *)ctx)->fatal = reason;
}

void world_add_writer(struct world *world, const struct writer_settings *settings)
{
	struct cluster_client_settings cluster = world_cluster(world, WEIR__ROLE__WRITER, "writer");
	world->writer_id = cluster.instance;
	world->writer_bus = bus_memory_endpoint(world->network, "writer", NULL);
	world->writer_store = object_store_memory_attach(world->store, &world->env);
	world->writer = writer_new(
		&(struct writer_deps){&world->env, world->writer_bus, world->writer_store, &cluster, world_on_fatal, world},
		settings);
	world_run_ms(world, 200);
}

void world_kill_writer(struct world *world)
{
	world_remove_writer(world);
	fake_coordinator_forget(world->coordinator, &world->writer_id);
	world_run_ms(world, 1500); // everybody has registered again
}

void world_add_reader(struct world *world, const struct reader_settings *settings)
{
	struct cluster_client_settings cluster = world_cluster(world, WEIR__ROLE__READER, "reader");
	world->reader_bus = bus_memory_endpoint(world->network, "reader", NULL);
	world->reader_store = object_store_memory_attach(world->store, &world->env);
	world->reader =
		reader_new(&(struct reader_deps){&world->env, world->reader_bus, world->reader_store, &cluster}, settings);
	world_run_ms(world, 1500);
}

void world_turn(struct world *world)
{
	world->env.now_us += WORLD_TURN_US;
	world->env.wall_ms += WORLD_TURN_US / 1000;
	fake_coordinator_step(world->coordinator);
	bus_memory_step(world->network);
	object_store_memory_step(world->store);
	if (world->writer_store)
		object_store_memory_step(world->writer_store);
	if (world->reader_store)
		object_store_memory_step(world->reader_store);
	if (world->writer)
		writer_step(world->writer);
	if (world->reader)
		reader_step(world->reader);
}

void world_run_ms(struct world *world, uint64_t ms)
{
	for (uint64_t us = 0; us < ms * 1000; us += WORLD_TURN_US)
		world_turn(world);
}

// Appends.

static void on_append(void *ctx, enum error error, const struct bus_message *reply)
{
	struct world_append *append = ctx;
	struct arena arena;
	CHECK(!append->answered);
	append->answered = true;
	append->call_error = error;
	if (error != ERROR_OK)
		return;
	arena_init(&arena, 0);
	const Weir__AppendReply *body = protobuf_unpack(&weir__append_reply__descriptor, reply->body, &arena);
	CHECK(body && body->n_results == append->count);
	append->window_bytes = body->window_bytes;
	for (size_t i = 0; i < body->n_results; i++) {
		append->results[i].error = error_from_wire(body->results[i]->error);
		append->results[i].base_offset = body->results[i]->base_offset;
		append->results[i].log_append_time_ms = body->results[i]->log_append_time_ms;
		append->results[i].log_start = body->results[i]->log_start;
	}
	arena_done(&arena);
}

void world_append(struct world *world, const struct world_batch *batches, size_t count, struct world_append *append)
{
	Weir__AppendRequest request = WEIR__APPEND_REQUEST__INIT;
	Weir__AppendPartition parts[64];
	Weir__AppendPartition *pointers[64];
	struct slice frames[64];
	CHECK(count <= 64);
	*append = (struct world_append){.count = count};
	for (size_t i = 0; i < count; i++) {
		weir__append_partition__init(&parts[i]);
		parts[i].topic_id = protobuf_uuid(&world->topic);
		parts[i].partition = batches[i].partition;
		parts[i].frame = (uint32_t)i;
		parts[i].length = (uint32_t)batches[i].bytes.len;
		parts[i].message_bytes_max = batches[i].message_bytes_max;
		parts[i].log_append_time = batches[i].log_append_time;
		pointers[i] = &parts[i];
		frames[i] = batches[i].bytes;
	}
	request.n_partitions = count;
	request.partitions = pointers;
	bus_call(world->client_bus, world->writer_link,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__APPEND,
			.body = &request.base,
			.frames = frames,
			.frame_count = count,
			.timeout_ms = 3600000},
		on_append, append);
}

// Fetches.

struct fetch_ctx {
	struct world_fetch *fetches;
	size_t count;
};

static size_t join_frames(const struct slice *frames, size_t count, struct slice *ret_bytes)
{
	size_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += frames[i].len;
	if (len == 0)
		return 0;
	struct block *block = block_new(len);
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(block->data + at, frames[i].data, frames[i].len);
		at += frames[i].len;
	}
	*ret_bytes = slice_take(&block);
	return len;
}

static void on_fetch(void *ctx, enum error error, const struct bus_message *reply)
{
	struct fetch_ctx *fetch = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	const Weir__FetchReply *body =
		error == ERROR_OK ? protobuf_unpack(&weir__fetch_reply__descriptor, reply->body, &arena) : NULL;
	size_t frame = 0;
	for (size_t i = 0; i < fetch->count; i++) {
		struct world_fetch *part = &fetch->fetches[i];
		part->answered = true;
		part->call_error = error;
		if (!body)
			continue;
		const Weir__FetchResult *result = body->results[i];
		part->error = error_from_wire(result->error);
		part->high_watermark = result->high_watermark;
		part->log_start = result->log_start;
		part->frame_count = result->frame_count;
		CHECK(frame + result->frame_count <= reply->frame_count);
		size_t len = join_frames(reply->frames + frame, result->frame_count, &part->bytes);
		CHECK(len == result->bytes);
		frame += result->frame_count;
	}
	CHECK(!body || frame == reply->frame_count);
	arena_done(&arena);
	free(fetch);
}

void world_fetch_start(struct world *world, const struct world_fetch_part *parts, size_t count, uint32_t max_bytes,
	struct world_fetch *fetches)
{
	Weir__FetchRequest request = WEIR__FETCH_REQUEST__INIT;
	Weir__FetchPartition *messages = memory_alloc(count * sizeof *messages);
	Weir__FetchPartition **pointers = memory_alloc(count * sizeof *pointers);
	for (size_t i = 0; i < count; i++) {
		fetches[i] = (struct world_fetch){0};
		weir__fetch_partition__init(&messages[i]);
		messages[i].topic_id = protobuf_uuid(&world->topic);
		messages[i].partition = parts[i].partition;
		messages[i].offset = parts[i].offset;
		messages[i].max_bytes = parts[i].max_bytes;
		messages[i].at_least_one_batch = parts[i].at_least_one;
		messages[i].known_high_watermark = parts[i].known_high_watermark;
		messages[i].known_log_start = parts[i].known_log_start;
		pointers[i] = &messages[i];
	}
	request.n_partitions = count;
	request.partitions = pointers;
	request.max_bytes = max_bytes;
	struct fetch_ctx *ctx = memory_alloc(sizeof *ctx);
	*ctx = (struct fetch_ctx){fetches, count};
	bus_call(world->client_bus, world->reader_link,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__FETCH, .body = &request.base, .timeout_ms = 10000}, on_fetch,
		ctx);
	free(pointers);
	free(messages);
}

void world_fetch_done(struct world_fetch *fetch)
{
	slice_done(&fetch->bytes);
}

void world_fetch(struct world *world, const struct world_fetch_part *part, struct world_fetch *fetch)
{
	world_fetch_start(world, part, 1, part->max_bytes, fetch);
	for (int turn = 0; turn < 20000 && !fetch->answered; turn++)
		world_turn(world);
	CHECK(fetch->answered && fetch->call_error == ERROR_OK);
}

static void on_time(void *ctx, enum error error, const struct bus_message *reply)
{
	struct world_time *lookup = ctx;
	struct arena arena;
	CHECK(error == ERROR_OK);
	arena_init(&arena, 0);
	const Weir__TimeOffsetReply *body = protobuf_unpack(&weir__time_offset_reply__descriptor, reply->body, &arena);
	*lookup = (struct world_time){true, error_from_wire(body->error), body->offset, body->timestamp};
	arena_done(&arena);
}

void world_time_lookup(struct world *world, int32_t partition, int64_t timestamp, struct world_time *lookup)
{
	Weir__TimeOffsetRequest request = WEIR__TIME_OFFSET_REQUEST__INIT;
	*lookup = (struct world_time){0};
	request.topic_id = protobuf_uuid(&world->topic);
	request.partition = partition;
	request.timestamp = timestamp;
	request.known_high_watermark = -1;
	bus_call(world->client_bus, world->reader_link,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__TIME_OFFSET, .body = &request.base, .timeout_ms = 10000},
		on_time, lookup);
	for (int turn = 0; turn < 20000 && !lookup->answered; turn++)
		world_turn(world);
	CHECK(lookup->answered);
}
