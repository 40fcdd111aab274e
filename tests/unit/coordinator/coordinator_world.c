#include "tests/unit/coordinator/coordinator_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_messages.h"

enum { SETTLE_MS = 60000, CALL_TIMEOUT_MS = 2000, OBJECT_LEAD_BYTES = 64 };

void world_init(struct world *world, uint64_t seed)
{
	*world = (struct world){.env = {.now_us = 1000000, .wall_ms = 1700000000000}};
	log_set_level(LOG_LEVEL_COUNT);
	prng_init(&world->env.prng, seed);
	world->network = bus_memory_new(&world->env);
	world->metadata = metadata_store_memory_new(&world->env);
	world->objects = object_store_memory_new(&world->env);
	world->settings = coordinator_settings_default();
	world->settings.shards = 4;
	world->client = bus_memory_endpoint(world->network, "client", NULL);
}

void world_start(struct world *world, unsigned number)
{
	struct world_node *node = &world->nodes[number];
	CHECK(!node->coordinator);
	snprintf(node->address, sizeof node->address, "coordinator%u", ++world->started);
	snprintf(node->feed_address, sizeof node->feed_address, "feed%u", world->started);
	node->bus = bus_memory_endpoint(world->network, node->address, node->feed_address);
	node->metadata = metadata_store_memory_attach(world->metadata, &world->env);
	node->objects = object_store_memory_attach(world->objects, &world->env);
	const struct coordinator_deps deps = {
		.env = &world->env,
		.bus = node->bus,
		.metadata = node->metadata,
		.objects = node->objects,
		.settings = &world->settings,
		.instance = uuid_random(&world->env.prng),
		.address = node->address,
		.feed_address = node->feed_address,
		.apply_version_max = world->apply_version_max,
	};
	node->coordinator = coordinator_new(&deps);
	node->paused = false;
	world->links[number] = bus_link(world->client, node->address);
}

void world_kill(struct world *world, unsigned number)
{
	struct world_node *node = &world->nodes[number];
	if (!node->coordinator)
		return;
	bus_unlink(world->client, world->links[number]);
	coordinator_free(&node->coordinator);
	bus_memory_endpoint_free(&node->bus);
	object_store_free(&node->objects);
	metadata_store_free(&node->metadata);
}

void world_done(struct world *world)
{
	for (unsigned i = 0; i < WORLD_NODES; i++)
		world_kill(world, i);
	bus_memory_endpoint_free(&world->client);
	bus_memory_free(&world->network);
	object_store_free(&world->objects);
	metadata_store_free(&world->metadata);
}

void world_turn(struct world *world)
{
	world->env.now_us += WORLD_TURN_US;
	world->env.wall_ms += WORLD_TURN_US / 1000;
	bus_memory_step(world->network);
	metadata_store_memory_step(world->metadata);
	object_store_memory_step(world->objects);
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		struct world_node *node = &world->nodes[i];
		if (!node->coordinator || node->paused)
			continue;
		metadata_store_memory_step(node->metadata);
		object_store_memory_step(node->objects);
		coordinator_step(node->coordinator);
	}
}

void world_run_ms(struct world *world, uint64_t ms)
{
	uint64_t until_us = world->env.now_us + ms * 1000;
	while (world->env.now_us < until_us)
		world_turn(world);
}

static int owner_now(struct world *world, uint32_t shard)
{
	uint64_t hash;
	uint64_t position;
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		struct world_node *node = &world->nodes[i];
		if (node->coordinator && !node->paused && coordinator_shard_hash(node->coordinator, shard, &hash, &position))
			return (int)i;
	}
	return -1;
}

int world_owner(struct world *world, uint32_t shard)
{
	for (unsigned turn = 0; turn < SETTLE_MS && owner_now(world, shard) < 0; turn++)
		world_turn(world);
	return owner_now(world, shard);
}

static bool settled(struct world *world)
{
	for (uint32_t shard = 0; shard < world->settings.shards; shard++) {
		if (owner_now(world, shard) < 0)
			return false;
	}
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		if (world->nodes[i].coordinator && !world->nodes[i].paused && coordinator_ready(world->nodes[i].coordinator))
			return false;
	}
	return true;
}

bool world_settle(struct world *world)
{
	for (unsigned turn = 0; turn < SETTLE_MS && !settled(world); turn++)
		world_turn(world);
	return settled(world);
}

// Calls.

struct call {
	bool answered;
	struct world_answer *answer;
};

static void call_replied(void *ctx, enum error error, const struct bus_message *reply)
{
	struct call *call = ctx;
	call->answered = true;
	call->answer->error = error;
	if (error != ERROR_OK)
		return;
	call->answer->error = control_reply_error(reply->body);
	buffer_bytes(&call->answer->body, reply->body);
	if (reply->frame_count)
		call->answer->frame = slice_copy(slice_bytes(reply->frames[0]));
}

static void answer_init(struct world_answer *answer)
{
	*answer = (struct world_answer){0};
	buffer_init(&answer->body, SIZE_MAX);
}

void world_answer_done(struct world_answer *answer)
{
	buffer_done(&answer->body);
	slice_done(&answer->frame);
}

void world_call_node(struct world *world, unsigned node, uint32_t type, const ProtobufCMessage *body, struct bytes frame,
	uint32_t timeout_ms, struct world_answer *answer)
{
	struct call call = {false, answer};
	answer_init(answer);
	struct slice slice = frame.data ? slice_copy(frame) : (struct slice){0};
	const struct bus_send send = {
		.type = type, .body = body, .frames = &slice, .frame_count = frame.data != NULL, .timeout_ms = timeout_ms};
	bus_call(world->client, world->links[node], &send, call_replied, &call);
	slice_done(&slice);
	while (!call.answered)
		world_turn(world);
}

static bool call_again(enum error error, bool repeat)
{
	bool not_acted =
		error == ERROR_NOT_OWNER || error == ERROR_LOADING || error == ERROR_BUSY || error == ERROR_UNREACHABLE;
	return not_acted || (repeat && (error == ERROR_TIMED_OUT || error == ERROR_DISCONNECTED));
}

void world_call(struct world *world, uint32_t shard, uint32_t type, const ProtobufCMessage *body, struct bytes frame,
	bool repeat, struct world_answer *answer)
{
	for (unsigned attempt = 0; attempt < 200; attempt++) {
		int owner = world_owner(world, shard);
		if (owner < 0) {
			answer_init(answer);
			answer->error = ERROR_UNREACHABLE;
			return;
		}
		world_call_node(world, (unsigned)owner, type, body, frame, CALL_TIMEOUT_MS, answer);
		if (!call_again(answer->error, repeat))
			return;
		world_answer_done(answer);
		world_run_ms(world, 20);
	}
	answer_init(answer);
	answer->error = ERROR_TIMED_OUT;
}

uint64_t world_incarnation(struct world *world)
{
	struct world_answer answer;
	struct arena arena;
	Weir__SyncMetaRequest request = WEIR__SYNC_META_REQUEST__INIT;
	arena_init(&arena, 0);
	world_call(world, 0, WEIR__MESSAGE_TYPE__SYNC_META, &request.base, BYTES_NULL, true, &answer);
	const Weir__SyncMetaReply *reply =
		protobuf_unpack(&weir__sync_meta_reply__descriptor, buffer_view(&answer.body), &arena);
	uint64_t incarnation = reply && reply->view ? reply->view->incarnation : 0;
	world_answer_done(&answer);
	arena_done(&arena);
	return incarnation;
}

// Commits.

static void put_answered(void *ctx, enum error error)
{
	CHECK(error == ERROR_OK);
	*(bool *)ctx = true;
}

static void object_write(struct world *world, const struct world_commit *commit)
{
	static const uint8_t lead[OBJECT_LEAD_BYTES];
	char key[MIXED_OBJECT_KEY_SIZE];
	bool done = false;
	const struct mixed_object_id id = {commit->writer, commit->sequence, commit->created_ms};
	mixed_object_key(&id, key);
	struct slice parts[] = {slice_copy(bytes_view(lead, sizeof lead)), slice_copy(buffer_view(&commit->section))};
	object_put(world->objects, key, parts, 2, true, CALL_TIMEOUT_MS, put_answered, &done);
	slice_done(&parts[0]);
	slice_done(&parts[1]);
	while (!done)
		world_turn(world);
}

static void section_make(const struct uuid *topic, const struct world_batch *plan, size_t count, struct buffer *out)
{
	struct section_batch *batches = memory_zalloc(count * sizeof *batches);
	struct section_run *runs = memory_zalloc(count * sizeof *runs);
	struct section section = {0, runs};
	uint64_t position = OBJECT_LEAD_BYTES;
	for (size_t i = 0; i < count; i++) {
		batches[i] = (struct section_batch){.size = 70 + plan[i].records,
			.record_count = plan[i].records,
			.first_timestamp = 1000,
			.max_timestamp = 1000,
			.producer_id = plan[i].producer_id,
			.producer_epoch = plan[i].producer_id < 0 ? -1 : 0,
			.base_sequence = plan[i].producer_id < 0 ? -1 : plan[i].sequence};
		struct section_run *last = section.run_count ? &runs[section.run_count - 1] : NULL;
		if (!last || last->partition != plan[i].partition) {
			last = &runs[section.run_count++];
			*last = (struct section_run){*topic, plan[i].partition, position, 0, &batches[i]};
		}
		last->batch_count++;
		position += batches[i].size;
	}
	section_encode(&section, out);
	free(batches);
	free(runs);
}

void world_commit_make(struct world *world, struct world_writer *writer, uint32_t shard, const struct uuid *topic,
	const struct world_batch *batches, size_t count, struct world_commit *commit)
{
	*commit = (struct world_commit){.shard = shard,
		.sequence = ++writer->sequence,
		.previous = writer->previous[shard],
		.created_ms = world->env.wall_ms,
		.position = OBJECT_LEAD_BYTES,
		.writer = writer->instance};
	writer->previous[shard] = commit->sequence;
	buffer_init(&commit->section, SIZE_MAX);
	section_make(topic, batches, count, &commit->section);
	object_write(world, commit);
}

void world_commit_done(struct world_commit *commit)
{
	buffer_done(&commit->section);
}

enum error world_commit_send(
	struct world *world, const struct world_commit *commit, struct arena *arena, const Weir__CommitOutcome **ret_outcome)
{
	struct bytes section = buffer_view(&commit->section);
	Weir__CommitSection body = WEIR__COMMIT_SECTION__INIT;
	Weir__CommitSection *bodies[] = {&body};
	Weir__CommitRequest request = WEIR__COMMIT_REQUEST__INIT;
	struct world_answer answer;
	*ret_outcome = NULL;
	body.writer = protobuf_uuid(&commit->writer);
	body.sequence = commit->sequence;
	body.previous_sequence = commit->previous;
	body.created_ms = commit->created_ms;
	body.section_position = commit->position;
	body.section_length = (uint32_t)section.len;
	body.section_crc = crc32c(0, section.data, section.len);
	request.shard = commit->shard;
	request.writer = body.writer;
	request.incarnation = world_incarnation(world);
	request.sections = bodies;
	request.n_sections = 1;
	world_call(world, commit->shard, WEIR__MESSAGE_TYPE__COMMIT, &request.base, section, true, &answer);
	enum error error = answer.error;
	const Weir__CommitReply *reply = NULL;
	if (error == ERROR_OK)
		reply = protobuf_unpack(&weir__commit_reply__descriptor, arena_copy(arena, buffer_view(&answer.body)), arena);
	world_answer_done(&answer);
	if (error != ERROR_OK)
		return error;
	CHECK(reply && reply->n_results == 1 && reply->results[0]->sequence == commit->sequence);
	*ret_outcome = reply->results[0]->outcome;
	return (enum error)reply->results[0]->error;
}

// Topics.

enum error world_create_topic(
	struct world *world, const char *name, int32_t partitions, struct uuid *ret_id, int16_t *ret_error)
{
	enum { VERSION = 7 };
	struct kafka_create_topics_request request;
	struct kafka_create_topics_response response;
	struct kafka_writer writer;
	struct world_answer answer;
	struct arena arena;
	arena_init(&arena, 0);
	kafka_writer_init(&writer, SIZE_MAX);
	kafka_create_topics_request_init(&request);
	request.topics = kafka_create_topics_request_creatable_topic_array(&arena, 1);
	request.topics_count = 1;
	request.topics[0].name = bytes_of(name);
	request.topics[0].num_partitions = partitions;
	request.topics[0].replication_factor = -1;
	kafka_create_topics_request_encode(&request, &writer, VERSION);
	Weir__KafkaCallRequest call = WEIR__KAFKA_CALL_REQUEST__INIT;
	call.api_key = KAFKA_API_CREATE_TOPICS;
	call.api_version = VERSION;
	world_call(world, 0, WEIR__MESSAGE_TYPE__KAFKA_CALL, &call.base, buffer_view(&writer.buffer), false, &answer);
	enum error error = answer.error;
	if (error == ERROR_OK) {
		struct reader reader = reader_of(slice_bytes(answer.frame));
		error = kafka_create_topics_response_decode(&response, &reader, VERSION, &arena);
		CHECK(error == ERROR_OK && reader_finished(&reader) == ERROR_OK && response.topics_count == 1);
		*ret_error = response.topics[0].error_code;
		*ret_id = response.topics[0].topic_id;
	}
	world_answer_done(&answer);
	kafka_writer_done(&writer);
	arena_done(&arena);
	return error;
}
