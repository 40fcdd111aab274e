// Several writers commit at once while coordinators die, pause, join and leave, and calls to etcd and the bucket fail. Whatever
// happens: a commit has one answer for ever, offsets are dense, and whoever comes last knows all that was acknowledged. The
// seed is printed; WEIR_SEED repeats it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "tests/unit/base/unit.h"
#include "tests/unit/coordinator/coordinator_world.h"

enum { WRITERS = 5, PARTITIONS = 6, COMMITS_MAX = 400, ROUNDS = 12, ROUND_MS = 2500, CALL_MS = 1500, SHARDS = 2 };

// A commit and its one answer.
struct record {
	struct world_commit commit;
	int32_t partition;
	uint32_t records;
	int64_t base_offset; // -1: not answered yet
};

// One commit at a time, repeated until answered, to whichever node comes next.
struct writer {
	struct chaos *chaos;
	struct world_writer identity;
	struct record records[COMMITS_MAX];
	size_t count;
	bool waiting; // for the answer of the last record
	uint64_t call;
	unsigned call_node;
	unsigned next_node;
	uint64_t retry_us;
};

struct chaos {
	struct world world;
	struct prng prng;
	struct uuid topic;
	uint64_t incarnation;
	struct writer writers[WRITERS];
	unsigned faults_in_thousand;
	bool stopping;
};

static uint64_t seed_of_run(void)
{
	const char *text = getenv("WEIR_SEED");
	return text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
}

static enum metadata_fault metadata_script(void *ctx, uint64_t number)
{
	struct chaos *chaos = ctx;
	(void)number;
	if (prng_below(&chaos->prng, 1000) >= chaos->faults_in_thousand)
		return METADATA_FAULT_NONE;
	return METADATA_FAULT_BEFORE + (enum metadata_fault)prng_below(&chaos->prng, 4);
}

static enum object_fault object_script(void *ctx, uint64_t number)
{
	struct chaos *chaos = ctx;
	(void)number;
	if (prng_below(&chaos->prng, 1000) >= chaos->faults_in_thousand)
		return OBJECT_FAULT_NONE;
	return OBJECT_FAULT_BEFORE + (enum object_fault)prng_below(&chaos->prng, 4);
}

static void chaos_start(struct chaos *chaos, unsigned node)
{
	world_start(&chaos->world, node);
	metadata_store_memory_script(chaos->world.nodes[node].metadata, metadata_script, chaos);
	object_store_memory_script(chaos->world.nodes[node].objects, object_script, chaos);
}

static void chaos_kill(struct chaos *chaos, unsigned node)
{
	for (size_t i = 0; i < WRITERS; i++) {
		struct writer *writer = &chaos->writers[i];
		if (writer->call && writer->call_node == node) {
			bus_cancel(chaos->world.client, writer->call);
			writer->call = 0;
		}
	}
	world_kill(&chaos->world, node);
}

// Writers.

static struct record *writer_record(struct writer *writer)
{
	return &writer->records[writer->count - 1];
}

static void writer_replied(void *ctx, enum error error, const struct bus_message *message)
{
	struct writer *writer = ctx;
	struct record *record = writer_record(writer);
	struct arena arena;
	writer->call = 0;
	writer->next_node++;
	writer->retry_us = deadline_in_ms(&writer->chaos->world.env, 10);
	if (error != ERROR_OK || control_reply_error(message->body) != ERROR_OK)
		return;
	arena_init(&arena, 0);
	const Weir__CommitReply *reply = protobuf_unpack(&weir__commit_reply__descriptor, message->body, &arena);
	CU_ASSERT_FATAL(reply && reply->n_results == 1);
	CU_ASSERT_EQUAL_FATAL(reply->results[0]->error, ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(reply->results[0]->outcome->n_runs, 1);
	CU_ASSERT_EQUAL(reply->results[0]->outcome->runs[0]->n_exceptions, 0);
	record->base_offset = reply->results[0]->outcome->runs[0]->base_offset;
	writer->next_node--; // it is the owner
	writer->waiting = false;
	arena_done(&arena);
}

static void writer_send(struct writer *writer, unsigned node)
{
	struct chaos *chaos = writer->chaos;
	const struct world_commit *commit = &writer_record(writer)->commit;
	struct bytes section = buffer_view(&commit->section);
	struct slice frame = slice_copy(section);
	Weir__CommitSection body = WEIR__COMMIT_SECTION__INIT;
	Weir__CommitSection *bodies[] = {&body};
	Weir__CommitRequest request = WEIR__COMMIT_REQUEST__INIT;
	body.sequence = commit->sequence;
	body.previous_sequence = commit->previous;
	body.created_ms = commit->created_ms;
	body.section_position = commit->position;
	body.section_length = (uint32_t)section.len;
	body.section_crc = crc32c(0, section.data, section.len);
	request.shard = commit->shard;
	request.writer = protobuf_uuid(&commit->writer);
	request.incarnation = chaos->incarnation;
	request.sections = bodies;
	request.n_sections = 1;
	const struct bus_send send = {.type = WEIR__MESSAGE_TYPE__COMMIT,
		.body = &request.base,
		.frames = &frame,
		.frame_count = 1,
		.timeout_ms = CALL_MS};
	writer->call_node = node;
	writer->call = bus_call(chaos->world.client, chaos->world.links[node], &send, writer_replied, writer);
	slice_done(&frame);
}

static void writer_begin(struct writer *writer)
{
	enum { LARGE = 300 };
	struct chaos *chaos = writer->chaos;
	static struct world_batch batches[LARGE];
	struct record *record = &writer->records[writer->count++];
	size_t count = prng_below(&chaos->prng, 4) == 0 ? LARGE : 1 + prng_below(&chaos->prng, 3);
	record->partition = (int32_t)prng_below(&chaos->prng, PARTITIONS);
	record->base_offset = -1;
	for (size_t i = 0; i < count; i++) {
		batches[i] = (struct world_batch){record->partition, 1 + (uint32_t)prng_below(&chaos->prng, 500), -1, 0};
		record->records += batches[i].records;
	}
	uint32_t shard = placement_partition_shard(&chaos->topic, record->partition, SHARDS);
	writer->waiting = true;
	world_commit_make(&chaos->world, &writer->identity, shard, &chaos->topic, batches, count, &record->commit);
}

static void writer_step(struct writer *writer)
{
	struct chaos *chaos = writer->chaos;
	if (!writer->waiting && !chaos->stopping && writer->count < COMMITS_MAX && prng_below(&chaos->prng, 8) == 0)
		writer_begin(writer);
	if (!writer->waiting || writer->call || writer->retry_us > chaos->world.env.now_us)
		return;
	unsigned node = writer->next_node % WORLD_NODES;
	if (chaos->world.nodes[node].coordinator)
		writer_send(writer, node);
	else
		writer->next_node++;
}

static void chaos_run_ms(struct chaos *chaos, uint64_t ms)
{
	uint64_t until_us = chaos->world.env.now_us + ms * 1000;
	while (chaos->world.env.now_us < until_us) {
		world_turn(&chaos->world);
		for (size_t i = 0; i < WRITERS; i++)
			writer_step(&chaos->writers[i]);
	}
}

// One thing that happens to a node.
static void chaos_event(struct chaos *chaos)
{
	unsigned number = (unsigned)prng_below(&chaos->prng, WORLD_NODES);
	struct world_node *node = &chaos->world.nodes[number];
	if (!node->coordinator) {
		chaos_start(chaos, number);
		return;
	}
	switch (prng_below(&chaos->prng, 4)) {
	case 0:
		chaos_kill(chaos, number);
		break;
	case 1:
		node->paused = !node->paused;
		break;
	case 2:
		coordinator_drain(node->coordinator);
		chaos_run_ms(chaos, 400);
		chaos_kill(chaos, number);
		break;
	default:
		node->paused = false;
		break;
	}
}

// The end.

static int by_base_offset(const void *a, const void *b)
{
	const struct record *left = *(struct record *const *)a;
	const struct record *right = *(struct record *const *)b;
	return (left->base_offset > right->base_offset) - (left->base_offset < right->base_offset);
}

static void check_dense(struct chaos *chaos, int32_t partition)
{
	static const struct record *found[WRITERS * COMMITS_MAX];
	size_t count = 0;
	int64_t offset = 0;
	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < chaos->writers[i].count; j++) {
			if (chaos->writers[i].records[j].partition == partition)
				found[count++] = &chaos->writers[i].records[j];
		}
	}
	qsort(found, count, sizeof found[0], by_base_offset);
	for (size_t i = 0; i < count; i++) {
		CU_ASSERT_EQUAL_FATAL(found[i]->base_offset, offset);
		offset += found[i]->records;
	}
	Weir__PartitionRef ref = WEIR__PARTITION_REF__INIT;
	Weir__PartitionRef *refs[] = {&ref};
	Weir__PartitionOffsetsRequest request = WEIR__PARTITION_OFFSETS_REQUEST__INIT;
	struct world_answer answer;
	struct arena arena;
	arena_init(&arena, 0);
	ref.topic_id = protobuf_uuid(&chaos->topic);
	ref.partition = partition;
	request.partitions = refs;
	request.n_partitions = 1;
	world_call(&chaos->world, placement_partition_shard(&chaos->topic, partition, SHARDS),
		WEIR__MESSAGE_TYPE__PARTITION_OFFSETS, &request.base, BYTES_NULL, true, &answer);
	const Weir__PartitionOffsetsReply *reply =
		protobuf_unpack(&weir__partition_offsets_reply__descriptor, buffer_view(&answer.body), &arena);
	CU_ASSERT_FATAL(reply && reply->n_partitions == 1);
	CU_ASSERT_EQUAL(reply->partitions[0]->high_watermark, offset);
	world_answer_done(&answer);
	arena_done(&arena);
}

static bool all_answered(const struct chaos *chaos)
{
	for (size_t i = 0; i < WRITERS; i++) {
		if (chaos->writers[i].waiting)
			return false;
	}
	return true;
}

static void chaos_finish(struct chaos *chaos)
{
	size_t commits = 0;
	chaos->faults_in_thousand = 0;
	chaos->stopping = true;
	for (unsigned i = 0; i < WORLD_NODES; i++)
		chaos_kill(chaos, i);
	chaos_start(chaos, 0);
	for (int i = 0; i < 60 && !all_answered(chaos); i++)
		chaos_run_ms(chaos, 500);
	CU_ASSERT_FATAL(all_answered(chaos));
	for (size_t i = 0; i < WRITERS; i++)
		commits += chaos->writers[i].count;
	for (int32_t i = 0; i < PARTITIONS; i++)
		check_dense(chaos, i);
	printf(" %zu commits", commits);
	for (size_t i = 0; i < WRITERS; i++) {
		for (size_t j = 0; j < chaos->writers[i].count; j++)
			world_commit_done(&chaos->writers[i].records[j].commit);
	}
}

static void chaos_once(uint64_t seed)
{
	struct chaos *chaos = memory_zalloc(sizeof *chaos);
	int16_t error = -1;
	printf("\n  seed %llu", (unsigned long long)seed);
	prng_init(&chaos->prng, seed);
	world_init(&chaos->world, seed + 1);
	chaos->world.settings.shards = SHARDS;
	chaos->world.settings.lease_ttl_ms = 2000;
	chaos_start(chaos, 0);
	CU_ASSERT_EQUAL_FATAL(world_create_topic(&chaos->world, "t", PARTITIONS, &chaos->topic, &error), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(error, 0);
	chaos->incarnation = world_incarnation(&chaos->world);
	for (size_t i = 0; i < WRITERS; i++) {
		chaos->writers[i].chaos = chaos;
		chaos->writers[i].identity.instance = uuid_random(&chaos->prng);
	}
	chaos->faults_in_thousand = (unsigned)prng_below(&chaos->prng, 60);
	for (int i = 0; i < ROUNDS; i++) {
		chaos_event(chaos);
		chaos_run_ms(chaos, prng_below(&chaos->prng, ROUND_MS));
	}
	chaos_finish(chaos);
	world_done(&chaos->world);
	free(chaos);
}

static void test_chaos(void)
{
	const char *count = getenv("WEIR_CHAOS_RUNS");
	uint64_t seed = seed_of_run();
	for (int i = 0; i < (count ? atoi(count) : 10); i++)
		chaos_once(seed + (uint64_t)i * 1000);
	printf("\n");
}

UNIT_MAIN("coordinator_chaos", {"chaos", test_chaos})
