// The writer's core against a fake coordinator, a bucket and a bus in memory, in virtual time.

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/storage/object_store_memory.h"
#include "proto/bus.pb-c.h"
#include "proto/tail.pb-c.h"
#include "tests/support/pipeline_world.h"
#include "tests/unit/base/unit.h"

static struct slice plain_batch(uint32_t records, uint32_t value_bytes, uint8_t fill)
{
	return batch_build(&(struct batch_plan){
		.records = records, .value_bytes = value_bytes, .base_timestamp = 1000, .producer_id = -1, .fill = fill});
}

// One batch to one partition.
static void append_one(struct world *world, int32_t partition, struct slice bytes, struct world_append *append)
{
	world_append(world, &(struct world_batch){.partition = partition, .bytes = bytes}, 1, append);
}

static void run_until_answered(struct world *world, struct world_append *append, uint64_t ms_max)
{
	for (uint64_t ms = 0; ms < ms_max && !append->answered; ms++)
		world_turn(world);
	CU_ASSERT_TRUE(append->answered);
	CU_ASSERT_EQUAL(append->call_error, ERROR_OK);
}

// ---- what lies in the bucket

struct got {
	bool done;
	enum error error;
	struct slice bytes;
};

static void on_got(void *ctx, enum error error, struct slice bytes)
{
	struct got *got = ctx;
	*got = (struct got){true, error, error == ERROR_OK ? slice_ref(bytes) : (struct slice){0}};
}

static struct slice stored(struct world *world, const struct mixed_object_id *id, uint64_t position, uint64_t len)
{
	char key[MIXED_OBJECT_KEY_SIZE];
	struct got got = {0};
	mixed_object_key(id, key);
	object_get(world->store, key, position, len, 1000, on_got, &got);
	while (!got.done)
		object_store_memory_step(world->store);
	CU_ASSERT_EQUAL_FATAL(got.error, ERROR_OK);
	return got.bytes;
}

// ---- tests

static void test_append_is_answered(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	CU_ASSERT_PTR_NULL(writer_ready(world.writer));
	struct slice batch = plain_batch(3, 100, 'a');
	append_one(&world, 0, batch, &append);
	run_until_answered(&world, &append, 50);
	CU_ASSERT_EQUAL(append.results[0].error, ERROR_OK);
	CU_ASSERT_EQUAL(append.results[0].base_offset, 0);
	CU_ASSERT_EQUAL(append.results[0].log_append_time_ms, -1);
	CU_ASSERT_EQUAL(append.window_bytes, (uint64_t)settings.memory_bytes);
	append_one(&world, 0, batch, &append);
	run_until_answered(&world, &append, 50);
	CU_ASSERT_EQUAL(append.results[0].base_offset, 3);
	CU_ASSERT_EQUAL(writer_pinned_bytes(world.writer), 0);
	slice_done(&batch);
	world_done(&world);
}

static void test_not_before_registered(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	world_init(&world, __func__);
	struct bus *coordinator = world.coordinator_bus;
	bus_serve(coordinator, NULL, NULL);
	world_add_writer(&world, &settings);
	CU_ASSERT_PTR_NOT_NULL(writer_ready(world.writer));
	struct slice batch = plain_batch(1, 10, 'a');
	append_one(&world, 0, batch, &append);
	run_until_answered(&world, &append, 50);
	CU_ASSERT_EQUAL(append.results[0].error, ERROR_BUSY);
	slice_done(&batch);
	world_done(&world);
}

static void test_clock_far_off(void)
{
	struct world world;
	struct writer_settings settings = world_writer_settings();
	world_init(&world, __func__);
	fake_coordinator_skew(world.coordinator, -90000);
	world_add_writer(&world, &settings);
	const char *reason = writer_ready(world.writer);
	CU_ASSERT_PTR_NOT_NULL_FATAL(reason);
	CU_ASSERT_PTR_NOT_NULL(strstr(reason, "clock differs by -"));
	world_done(&world);
}

static void test_bad_batches_alone(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	struct slice good = plain_batch(2, 50, 'g');
	struct slice bad = plain_batch(2, 50, 'b');
	bad.block->data[70] ^= 1;
	struct buffer twice;
	buffer_init(&twice, SIZE_MAX);
	buffer_bytes(&twice, slice_bytes(good));
	buffer_bytes(&twice, slice_bytes(good));
	struct slice two = slice_copy(buffer_view(&twice));
	buffer_done(&twice);
	struct world_batch batches[] = {
		{.partition = 1, .bytes = good},
		{.partition = 1, .bytes = bad},
		{.partition = 1, .bytes = two},
		{.partition = 1, .bytes = good, .message_bytes_max = 20},
		{.partition = 2, .bytes = good, .message_bytes_max = (uint32_t)good.len, .log_append_time = true},
		{.partition = 1, .bytes = good},
	};
	world_append(&world, batches, 6, &append);
	run_until_answered(&world, &append, 50);
	CU_ASSERT_EQUAL(append.results[0].base_offset, 0);
	CU_ASSERT_EQUAL(append.results[1].error, ERROR_CORRUPT);
	CU_ASSERT_NOT_EQUAL(append.results[2].error, ERROR_OK);
	CU_ASSERT_EQUAL(append.results[3].error, ERROR_TOO_LARGE);
	CU_ASSERT_EQUAL(append.results[4].error, ERROR_OK);
	CU_ASSERT_TRUE(append.results[4].log_append_time_ms >= world.env.wall_ms - 50);
	CU_ASSERT_EQUAL(append.results[5].error, ERROR_OK);
	CU_ASSERT_EQUAL(append.results[5].base_offset, 2);
	const struct fake_entry *entry = fake_coordinator_entry(world.coordinator, &world.topic, 2, 0);
	CU_ASSERT_EQUAL(entry->max_timestamp, append.results[4].log_append_time_ms);
	slice_done(&good);
	slice_done(&bad);
	slice_done(&two);
	world_done(&world);
}

// Batches 1 and 4 of each run of partition 0 are refused, batch 2 is a duplicate of offset 777.
static enum error judge_some(void *ctx, const struct section_run *run, uint32_t batch, int64_t *ret_offset)
{
	(void)ctx;
	if (run->partition != 0)
		return ERROR_OK;
	if (batch == 2)
		*ret_offset = 777;
	return batch == 1 || batch == 4 ? ERROR_OUT_OF_ORDER_SEQUENCE : batch == 2 ? ERROR_DUPLICATE_SEQUENCE : ERROR_OK;
}

static void test_exceptions(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	struct world_batch batches[7];
	static const enum error errors[7] = {[1] = ERROR_OUT_OF_ORDER_SEQUENCE, [4] = ERROR_OUT_OF_ORDER_SEQUENCE};
	static const int64_t offsets[7] = {0, -1, 777, 4, -1, 10, 16};
	world_init(&world, __func__);
	fake_coordinator_judge(world.coordinator, judge_some, NULL);
	world_add_writer(&world, &settings);
	for (uint32_t i = 0; i < 7; i++)
		batches[i] = (struct world_batch){.partition = 0, .bytes = plain_batch(i == 0 ? 4 : 6, 20, 'x')};
	world_append(&world, batches, 7, &append);
	run_until_answered(&world, &append, 50);
	for (int i = 0; i < 7; i++) {
		CU_ASSERT_EQUAL(append.results[i].error, errors[i]);
		CU_ASSERT_EQUAL(append.results[i].base_offset, offsets[i]);
		slice_done(&batches[i].bytes);
	}
	world_done(&world);
}

static void test_too_old_is_retriable(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	struct slice batch = plain_batch(1, 10, 'o');
	fake_coordinator_refuse(world.coordinator, ERROR_TOO_OLD);
	append_one(&world, 0, batch, &append);
	run_until_answered(&world, &append, 50);
	CU_ASSERT_EQUAL(append.results[0].error, ERROR_TOO_OLD);
	CU_ASSERT_PTR_NULL(world.fatal);
	fake_coordinator_refuse(world.coordinator, ERROR_OK);
	append_one(&world, 0, batch, &append);
	run_until_answered(&world, &append, 300);
	CU_ASSERT_EQUAL(append.results[0].error, ERROR_OK);
	CU_ASSERT_EQUAL(fake_coordinator_counters(world.coordinator)->chain_breaches, 0);
	slice_done(&batch);
	world_done(&world);
}

static void test_lost_place_is_fatal(void)
{
	for (int variant = 0; variant < 3; variant++) {
		struct world world;
		struct world_append append;
		struct writer_settings settings = world_writer_settings();
		world_init(&world, __func__);
		world_add_writer(&world, &settings);
		struct slice batch = plain_batch(1, 10, 'f');
		if (variant == 0)
			fake_coordinator_refuse(world.coordinator, ERROR_OUT_OF_CHAIN);
		if (variant == 1)
			fake_coordinator_refuse_all(world.coordinator, ERROR_FENCED);
		if (variant == 2)
			fake_coordinator_incarnation(world.coordinator, UINT64_C(8) << 48);
		else
			append_one(&world, 0, batch, &append);
		world_run_ms(&world, 2500);
		CU_ASSERT_PTR_NOT_NULL(world.fatal);
		slice_done(&batch);
		world_done(&world); // answers what waits
	}
}

static void on_put(void *ctx, enum error error)
{
	*(bool *)ctx = error == ERROR_OK;
}

// "Already exists" is an earlier attempt of ours only if it has our size: what lies there else was never written by us.
static void test_a_taken_key_is_fatal(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	char key[MIXED_OBJECT_KEY_SIZE];
	bool put = false;
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	mixed_object_key(&(struct mixed_object_id){world.writer_id, 1, world.env.wall_ms}, key);
	struct slice batch = plain_batch(1, 10, 'f');
	object_put(world.store, key, &batch, 1, true, 1000, on_put, &put);
	while (!put)
		world_turn(&world);
	append_one(&world, 0, batch, &append);
	world_run_ms(&world, 2500);
	CU_ASSERT_PTR_NOT_NULL(world.fatal);
	CU_ASSERT_EQUAL(fake_coordinator_counters(world.coordinator)->sections, 0);
	CU_ASSERT_FALSE(append.answered && append.results[0].error == ERROR_OK);
	slice_done(&batch);
	world_done(&world);
}

// Object store: every third call or so goes wrong in some way. Bus: so do commits.
static enum object_fault store_faults(void *ctx, uint64_t call_number)
{
	static const enum object_fault faults[] = {
		OBJECT_FAULT_BEFORE, OBJECT_FAULT_AFTER, OBJECT_FAULT_HANG, OBJECT_FAULT_THROTTLE};
	struct world *world = ctx;
	(void)call_number;
	uint64_t draw = prng_below(&world->env.prng, 12);
	return draw < 4 ? faults[draw] : OBJECT_FAULT_NONE;
}

static enum bus_memory_fault commit_faults(void *ctx, const struct bus_memory_event *event)
{
	struct world *world = ctx;
	if (event->kind == BUS_MEMORY_FEED || event->type != WEIR__MESSAGE_TYPE__COMMIT)
		return BUS_MEMORY_DELIVER;
	uint64_t draw = prng_below(&world->env.prng, 10);
	return draw == 0   ? BUS_MEMORY_LOSE
	       : draw == 1 ? BUS_MEMORY_DISCONNECT
	       : draw < 4  ? BUS_MEMORY_HOLD
			   : BUS_MEMORY_DELIVER;
}

enum { STORM_APPENDS = 600, STORM_PARTITIONS = 24 };

struct storm {
	struct world_append append;
	int32_t partition;
	struct slice bytes;
};

static void storm_check_bytes(struct world *world, const struct storm *storms)
{
	for (int i = 0; i < STORM_APPENDS; i++) {
		int64_t offset = storms[i].append.results[0].base_offset;
		size_t at = 0;
		struct fake_entry *entry;
		while ((entry = fake_coordinator_entry(world->coordinator, &world->topic, storms[i].partition, at)) &&
			entry->last_offset < offset)
			at++;
		CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
		struct slice run = stored(world, &entry->object, entry->position, entry->length);
		CU_ASSERT_PTR_NOT_NULL(memmem(run.data, run.len, storms[i].bytes.data, storms[i].bytes.len));
		slice_done(&run);
	}
}

// Every batch of a partition has one record, is sent after the one before, and must stand behind it, though uploads end in any
// order, puts take effect without an answer and commits are lost and doubled.
static void test_order_through_storm(void)
{
	struct world world;
	struct writer_settings settings = world_writer_settings();
	struct storm *storms = memory_zalloc(STORM_APPENDS * sizeof *storms);
	int64_t next[STORM_PARTITIONS] = {0};
	settings.object_bytes = 64 << 10;
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	object_store_memory_script(world.writer_store, store_faults, &world);
	bus_memory_script(world.network, commit_faults, &world);
	for (int i = 0; i < STORM_APPENDS; i++) {
		storms[i].partition = (int32_t)prng_below(&world.env.prng, STORM_PARTITIONS);
		storms[i].bytes = plain_batch(1, 16 + (uint32_t)prng_below(&world.env.prng, 4000), (uint8_t)i);
		append_one(&world, storms[i].partition, storms[i].bytes, &storms[i].append);
		if (prng_below(&world.env.prng, 4) == 0)
			world_run_ms(&world, prng_below(&world.env.prng, 10));
	}
	for (int i = 0; i < STORM_APPENDS; i++)
		run_until_answered(&world, &storms[i].append, 600000);
	for (int i = 0; i < STORM_APPENDS; i++) {
		CU_ASSERT_EQUAL(storms[i].append.results[0].error, ERROR_OK);
		CU_ASSERT_EQUAL(storms[i].append.results[0].base_offset, next[storms[i].partition]);
		next[storms[i].partition]++;
	}
	CU_ASSERT_EQUAL(fake_coordinator_counters(world.coordinator)->chain_breaches, 0);
	CU_ASSERT_TRUE(fake_coordinator_counters(world.coordinator)->repeated_sections > 0);
	CU_ASSERT_EQUAL(writer_pinned_bytes(world.writer), 0);
	bus_memory_script(world.network, NULL, NULL);
	storm_check_bytes(&world, storms);
	for (int i = 0; i < STORM_APPENDS; i++)
		slice_done(&storms[i].bytes);
	free(storms);
	world_done(&world);
}

static enum object_fault store_down(void *ctx, uint64_t call_number)
{
	(void)call_number;
	return *(bool *)ctx ? OBJECT_FAULT_BEFORE : OBJECT_FAULT_NONE;
}

static void test_memory_budget(void)
{
	struct world world;
	struct writer_settings settings = world_writer_settings();
	struct world_append appends[40];
	bool down = true;
	int busy = 0, good = 0;
	settings.memory_bytes = 1 << 20;
	settings.object_bytes = 128 << 10;
	settings.uploads_max = 2;
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	object_store_memory_script(world.writer_store, store_down, &down);
	struct slice batch = plain_batch(1, 64 << 10, 'm');
	for (int i = 0; i < 40; i++) {
		append_one(&world, i, batch, &appends[i]);
		world_run_ms(&world, 20);
		CU_ASSERT_TRUE(writer_pinned_bytes(world.writer) <= (uint64_t)settings.memory_bytes + 4096);
	}
	down = false;
	for (int i = 0; i < 40; i++) {
		run_until_answered(&world, &appends[i], 60000);
		good += appends[i].results[0].error == ERROR_OK;
		busy += appends[i].results[0].error == ERROR_BUSY;
	}
	CU_ASSERT_EQUAL(good, 15);
	CU_ASSERT_EQUAL(busy, 25);
	append_one(&world, 0, batch, &appends[0]);
	run_until_answered(&world, &appends[0], 1000);
	CU_ASSERT_EQUAL(appends[0].results[0].error, ERROR_OK);
	slice_done(&batch);
	world_done(&world);
}

static enum bus_memory_fault stall_shard_0(void *ctx, const struct bus_memory_event *event)
{
	(void)ctx;
	bool commit = event->kind == BUS_MEMORY_REQUEST && event->type == WEIR__MESSAGE_TYPE__COMMIT;
	// Field 1 (shard) is left out by protobuf when it is 0.
	return commit && event->body.data[0] != 0x08 ? BUS_MEMORY_LOSE : BUS_MEMORY_DELIVER;
}

static void partition_of_shard(const struct world *world, uint32_t shard, bool same, int32_t *ret_partition)
{
	for (*ret_partition = 0;; ++*ret_partition)
		if ((placement_partition_shard(&world->topic, *ret_partition, WORLD_SHARDS) == shard) == same)
			return;
}

// One owner is away: its partitions are pushed back, all others go on (history 17).
static void test_stalled_shard(void)
{
	struct world world;
	struct writer_settings settings = world_writer_settings();
	enum { ROUNDS = 120 };
	struct world_append stalled[ROUNDS], other[ROUNDS];
	int32_t stalled_partition, other_partition;
	int busy = 0;
	settings.memory_bytes = 2 << 20;
	settings.object_bytes = 64 << 10;
	world_init(&world, __func__);
	partition_of_shard(&world, 0, true, &stalled_partition);
	partition_of_shard(&world, 0, false, &other_partition);
	world_add_writer(&world, &settings);
	bus_memory_script(world.network, stall_shard_0, NULL);
	struct slice batch = plain_batch(1, 32 << 10, 's');
	for (int i = 0; i < ROUNDS; i++) {
		append_one(&world, stalled_partition, batch, &stalled[i]);
		append_one(&world, other_partition, batch, &other[i]);
		run_until_answered(&world, &other[i], 1000);
		CU_ASSERT_EQUAL(other[i].results[0].error, ERROR_OK);
	}
	bus_memory_script(world.network, NULL, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		run_until_answered(&world, &stalled[i], 20000);
		busy += stalled[i].results[0].error == ERROR_BUSY;
	}
	CU_ASSERT_TRUE(busy > ROUNDS / 2 && busy < ROUNDS);
	CU_ASSERT_EQUAL(fake_coordinator_counters(world.coordinator)->chain_breaches, 0);
	slice_done(&batch);
	world_done(&world);
}

// 10 s of small appends to so many partitions; how many PUTs.
static uint64_t puts_for(int32_t partitions)
{
	struct world world;
	struct writer_settings settings = world_writer_settings();
	enum { APPENDS = 5000 };
	struct world_append *appends = memory_zalloc(APPENDS * sizeof *appends);
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	struct slice batch = plain_batch(1, 100, 'p');
	for (int i = 0; i < APPENDS; i++) {
		append_one(&world, i % partitions, batch, &appends[i]);
		world_run_ms(&world, 2);
	}
	world_run_ms(&world, 1000);
	for (int i = 0; i < APPENDS; i++)
		CU_ASSERT_TRUE(appends[i].answered && appends[i].results[0].error == ERROR_OK);
	uint64_t puts = world.writer_store->counters.puts;
	CU_ASSERT_EQUAL(puts, writer_counters(world.writer)->objects);
	slice_done(&batch);
	free(appends);
	world_done(&world);
	return puts;
}

static void test_puts_do_not_depend_on_partitions(void)
{
	uint64_t one = puts_for(1), thousand = puts_for(1000);
	printf("puts in 10 s: 1 partition %llu, 1000 partitions %llu\n", (unsigned long long)one, (unsigned long long)thousand);
	CU_ASSERT_TRUE(one >= 45 && one <= 55);
	CU_ASSERT_TRUE(thousand * 10 <= one * 11 && one * 10 <= thousand * 11);
}

static void test_linger(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	settings.put_rate = 1;
	settings.put_burst = 1;
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	struct slice batch = plain_batch(1, 10, 'l');
	for (int i = 0; i < 3; i++) {
		append_one(&world, 0, batch, &append);
		run_until_answered(&world, &append, 270);
	}
	CU_ASSERT_EQUAL(writer_counters(world.writer)->flushes[FLUSH_BUDGET], 1);
	CU_ASSERT_EQUAL(writer_counters(world.writer)->flushes[FLUSH_LINGER], 2);
	slice_done(&batch);
	world_done(&world);
}

// ---- tail

struct tail_answer {
	bool answered;
	enum error error;
	uint64_t object_bytes;
	struct buffer bytes;
};

static void on_tail(void *ctx, enum error error, const struct bus_message *reply)
{
	struct tail_answer *answer = ctx;
	struct arena arena;
	CHECK(error == ERROR_OK);
	arena_init(&arena, 0);
	const Weir__TailReply *body = (const Weir__TailReply *)protobuf_c_message_unpack(
		&weir__tail_reply__descriptor, NULL, reply->body.len, reply->body.data);
	answer->answered = true;
	answer->error = error_from_wire(body->error);
	answer->object_bytes = body->object_bytes;
	for (size_t i = 0; i < reply->frame_count; i++)
		buffer_bytes(&answer->bytes, slice_bytes(reply->frames[i]));
	union {
		const Weir__TailReply *constant;
		Weir__TailReply *mutable;
	} freed = {body};
	weir__tail_reply__free_unpacked(freed.mutable, NULL);
	arena_done(&arena);
}

static void ask_tail(
	struct world *world, const struct mixed_object_id *id, uint64_t position, uint64_t length, struct tail_answer *answer)
{
	Weir__TailRequest request = WEIR__TAIL_REQUEST__INIT;
	union {
		const uint8_t *constant;
		uint8_t *mutable;
	} writer = {id->writer.bytes};
	request.writer = (ProtobufCBinaryData){sizeof id->writer.bytes, writer.mutable};
	request.sequence = id->sequence;
	request.position = position;
	request.length = length;
	*answer = (struct tail_answer){0};
	buffer_init(&answer->bytes, SIZE_MAX);
	bus_call(world->client_bus, world->writer_link,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__TAIL, .body = &request.base, .timeout_ms = 1000}, on_tail,
		answer);
	while (!answer->answered)
		world_turn(world);
}

static void test_tail_is_the_object(void)
{
	struct world world;
	struct world_append append;
	struct writer_settings settings = world_writer_settings();
	struct world_batch batches[60];
	settings.ring_bytes = 8 << 20; // more than one object of all large batches
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	for (int i = 0; i < 60; i++) {
		uint32_t bytes = prng_below(&world.env.prng, 3) ? 100 : 60000;
		batches[i] = (struct world_batch){.partition = i / 3, .bytes = plain_batch(2, bytes, (uint8_t)i)};
	}
	world_append(&world, batches, 60, &append);
	run_until_answered(&world, &append, 50);
	struct mixed_object_id id = fake_coordinator_entry(world.coordinator, &world.topic, 0, 0)->object;
	struct slice whole = stored(&world, &id, 0, 0);
	for (int i = 0; i < 500; i++) {
		uint64_t position = prng_below(&world.env.prng, whole.len);
		uint64_t length = 1 + prng_below(&world.env.prng, i % 2 ? 300 : 400000);
		struct tail_answer answer;
		ask_tail(&world, &id, position, length, &answer);
		uint64_t expected = length < whole.len - position ? length : whole.len - position;
		CU_ASSERT_EQUAL(answer.error, ERROR_OK);
		CU_ASSERT_EQUAL(answer.object_bytes, whole.len);
		CU_ASSERT_EQUAL_FATAL(answer.bytes.len, expected);
		CU_ASSERT_EQUAL(memcmp(answer.bytes.data, whole.data + position, expected), 0);
		buffer_done(&answer.bytes);
	}
	struct tail_answer answer;
	ask_tail(&world, &(struct mixed_object_id){.writer = id.writer, .sequence = 99}, 0, 100, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_NOT_FOUND);
	buffer_done(&answer.bytes);
	for (int round = 0; round < 10; round++) { // the ring gives way
		world_append(&world, batches, 60, &append);
		run_until_answered(&world, &append, 300);
	}
	ask_tail(&world, &id, 0, 100, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_NOT_FOUND);
	buffer_done(&answer.bytes);
	for (int i = 0; i < 60; i++)
		slice_done(&batches[i].bytes);
	slice_done(&whole);
	world_done(&world);
}

static void test_drain(void)
{
	struct world world;
	struct world_append appends[5];
	struct writer_settings settings = world_writer_settings();
	settings.put_rate = 1;
	settings.linger_max_ms = 60000;
	world_init(&world, __func__);
	world_add_writer(&world, &settings);
	struct slice batch = plain_batch(1, 10, 'd');
	bool down = false;
	object_store_memory_script(world.writer_store, store_down, &down);
	for (int i = 0; i < 5; i++) {
		append_one(&world, 0, batch, &appends[i]);
		world_run_ms(&world, 5);
	}
	CU_ASSERT_FALSE(appends[4].answered);
	down = true;
	writer_drain(world.writer);
	CU_ASSERT_PTR_NOT_NULL(writer_ready(world.writer));
	world_run_ms(&world, 1000);
	CU_ASSERT_FALSE(appends[4].answered);
	CU_ASSERT_FALSE(writer_drained(world.writer)); // it may not go before what it took is answered
	down = false;
	run_until_answered(&world, &appends[4], 6000);
	CU_ASSERT_EQUAL(appends[4].results[0].error, ERROR_OK);
	world_run_ms(&world, 300);
	CU_ASSERT_TRUE(writer_drained(world.writer));
	CU_ASSERT_TRUE(fake_coordinator_draining(world.coordinator, &world.writer_id));
	slice_done(&batch);
	world_done(&world);
}

UNIT_MAIN("writer", {"append is answered", test_append_is_answered}, {"not before registered", test_not_before_registered},
	{"clock far off", test_clock_far_off}, {"bad batches alone", test_bad_batches_alone}, {"exceptions", test_exceptions},
	{"too old is retriable", test_too_old_is_retriable}, {"lost place is fatal", test_lost_place_is_fatal},
	{"a taken key is fatal", test_a_taken_key_is_fatal}, {"order through storm", test_order_through_storm},
	{"memory budget", test_memory_budget}, {"stalled shard", test_stalled_shard},
	{"puts do not depend on partitions", test_puts_do_not_depend_on_partitions}, {"linger", test_linger},
	{"tail is the object", test_tail_is_the_object}, {"drain", test_drain})
