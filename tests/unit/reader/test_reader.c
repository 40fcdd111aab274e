// The reader's core behind a real writer's core, a fake coordinator, a bucket and a bus in memory, in virtual time. The oracle
// is a list of what was sent and which offsets the writer answered.

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/storage/object_store_memory.h"
#include "tests/support/pipeline_world.h"
#include "tests/unit/base/unit.h"

enum { PARTITIONS = 6, BATCHES_MAX = 2000, RECORDS_MAX = 20 };
#define DUPLICATE_OFFSET INT64_C(77777777) // what the fake coordinator says of duplicates

// What the log must hold, a partition.
struct truth_batch {
	struct slice bytes; // as a client must get it
	int64_t base_offset, last_offset;
	int64_t timestamps[RECORDS_MAX];
};
struct truth {
	struct truth_batch batches[BATCHES_MAX];
	size_t count;
};

struct bed {
	struct world world;
	struct truth truths[PARTITIONS];
	uint64_t refuse_one_in; // 0: none
};

static enum error judge_random(void *ctx, const struct section_run *run, uint32_t batch, int64_t *ret_offset)
{
	struct bed *bed = ctx;
	(void)run, (void)batch;
	if (!bed->refuse_one_in || prng_below(&bed->world.env.prng, bed->refuse_one_in))
		return ERROR_OK;
	*ret_offset = DUPLICATE_OFFSET;
	return prng_below(&bed->world.env.prng, 2) ? ERROR_DUPLICATE_SEQUENCE : ERROR_OUT_OF_ORDER_SEQUENCE;
}

static struct bed *bed_new(const char *test, const struct writer_settings *settings)
{
	struct bed *bed = memory_zalloc(sizeof *bed);
	world_init(&bed->world, test);
	fake_coordinator_judge(bed->world.coordinator, judge_random, bed);
	for (int32_t partition = 0; partition < PARTITIONS; partition++)
		fake_coordinator_log_start(bed->world.coordinator, &bed->world.topic, partition, 0); // it exists
	world_add_writer(&bed->world, settings);
	return bed;
}

static void bed_free(struct bed *bed)
{
	for (int i = 0; i < PARTITIONS; i++)
		for (size_t j = 0; j < bed->truths[i].count; j++)
			slice_done(&bed->truths[i].batches[j].bytes);
	world_done(&bed->world);
	free(bed);
}

static struct slice bed_batch(struct bed *bed, uint32_t value_bytes_max, struct truth_batch *batch)
{
	struct prng *prng = &bed->world.env.prng;
	int32_t deltas[RECORDS_MAX];
	uint32_t records = 1 + (uint32_t)prng_below(prng, RECORDS_MAX);
	int64_t base = 1000000 + (int64_t)prng_below(prng, 5000);
	for (uint32_t i = 0; i < records; i++) {
		deltas[i] = (int32_t)prng_below(prng, 400) - 200;
		batch->timestamps[i] = base + deltas[i];
	}
	batch->last_offset = records - 1;
	return batch_build(&(struct batch_plan){.records = records,
		.value_bytes = (uint32_t)prng_below(prng, value_bytes_max / records + 1),
		.base_timestamp = base,
		.timestamp_deltas = deltas,
		.producer_id = -1,
		.fill = (uint8_t)prng_next(prng)});
}

static void truth_add(struct truth *truth, struct truth_batch *batch, struct bytes sent, int64_t base_offset)
{
	CHECK(truth->count < BATCHES_MAX);
	batch->base_offset = base_offset;
	batch->last_offset += base_offset;
	batch->bytes = batch_expected(sent, base_offset, WORLD_EPOCH);
	truth->batches[truth->count++] = *batch;
}

// One append of several batches to random partitions (or to `only`), answered.
static void bed_append_some(struct bed *bed, uint32_t value_bytes_max, int32_t only)
{
	enum { MAX = 30 };
	struct world_append append;
	struct world_batch batches[MAX];
	struct truth_batch facts[MAX];
	size_t count = 1 + prng_below(&bed->world.env.prng, MAX);
	for (size_t i = 0; i < count; i++) {
		int32_t partition = only >= 0 ? only : (int32_t)prng_below(&bed->world.env.prng, PARTITIONS);
		batches[i] = (struct world_batch){.partition = partition, .bytes = bed_batch(bed, value_bytes_max, &facts[i])};
	}
	world_append(&bed->world, batches, count, &append);
	while (!append.answered)
		world_turn(&bed->world);
	for (size_t i = 0; i < count; i++) {
		struct truth *truth = &bed->truths[batches[i].partition];
		if (append.results[i].error == ERROR_OK && append.results[i].base_offset != DUPLICATE_OFFSET)
			truth_add(truth, &facts[i], slice_bytes(batches[i].bytes), append.results[i].base_offset);
		slice_done(&batches[i].bytes);
	}
}

static int64_t truth_end(const struct truth *truth)
{
	return truth->count ? truth->batches[truth->count - 1].last_offset + 1 : 0;
}

static size_t truth_find(const struct truth *truth, int64_t offset)
{
	size_t at = 0;
	while (at < truth->count && truth->batches[at].last_offset < offset)
		at++;
	return at;
}

// bytes must be whole batches from the one that holds offset on; returns the offset behind them.
static int64_t check_bytes(const struct truth *truth, int64_t offset, struct bytes bytes)
{
	size_t at = truth_find(truth, offset);
	while (bytes.len > 0) {
		CU_ASSERT_TRUE_FATAL(at < truth->count);
		const struct truth_batch *batch = &truth->batches[at++];
		CU_ASSERT_TRUE_FATAL(batch->bytes.len <= bytes.len);
		CU_ASSERT_EQUAL_FATAL(memcmp(batch->bytes.data, bytes.data, batch->bytes.len), 0);
		bytes.data += batch->bytes.len;
		bytes.len -= batch->bytes.len;
		offset = batch->last_offset + 1;
	}
	return offset;
}

static struct world_fetch_part part_at(int32_t partition, int64_t offset, uint32_t max_bytes)
{
	return (struct world_fetch_part){partition, offset, max_bytes, true, -1, -1};
}

// The fetch and its rules; returns the next offset.
static int64_t fetch_and_check(struct bed *bed, const struct world_fetch_part *part)
{
	const struct truth *truth = &bed->truths[part->partition];
	struct world_fetch fetch;
	world_fetch(&bed->world, part, &fetch);
	CU_ASSERT_EQUAL_FATAL(fetch.error, ERROR_OK);
	CU_ASSERT_TRUE(fetch.high_watermark >= part->known_high_watermark);
	CU_ASSERT_TRUE(fetch.high_watermark <= truth_end(truth));
	int64_t next = check_bytes(truth, part->offset, slice_bytes(fetch.bytes));
	CU_ASSERT_TRUE(next <= fetch.high_watermark);
	size_t first = truth_find(truth, part->offset);
	if (fetch.bytes.len > part->max_bytes)
		CU_ASSERT_TRUE(part->at_least_one && fetch.bytes.len == truth->batches[first].bytes.len);
	if (part->offset < fetch.high_watermark && (part->at_least_one || truth->batches[first].bytes.len <= part->max_bytes))
		CU_ASSERT_TRUE_FATAL(fetch.bytes.len > 0);
	world_fetch_done(&fetch);
	return next;
}

static void read_everything(struct bed *bed, int32_t partition, uint32_t max_bytes)
{
	int64_t end = truth_end(&bed->truths[partition]);
	for (int64_t offset = 0; offset < end;) {
		struct world_fetch_part part = part_at(partition, offset, max_bytes);
		part.known_high_watermark = end;
		offset = fetch_and_check(bed, &part);
	}
}

static void read_at_random(struct bed *bed, int count)
{
	struct prng *prng = &bed->world.env.prng;
	for (int i = 0; i < count; i++) {
		int32_t partition = (int32_t)prng_below(prng, PARTITIONS);
		int64_t end = truth_end(&bed->truths[partition]);
		struct world_fetch_part part = part_at(
			partition, (int64_t)prng_below(prng, (uint64_t)end + 1), 1 + (uint32_t)prng_below(prng, 1 << 20));
		part.known_high_watermark = end;
		part.at_least_one = prng_below(prng, 2);
		fetch_and_check(bed, &part);
	}
}

static struct reader_counters counters(const struct bed *bed)
{
	struct reader_counters result;
	reader_count(bed->world.reader, &result);
	return result;
}

// Large objects with batches that straddle blocks, refused and duplicate batches in between.
static struct bed *bed_with_log(const char *test, int appends, uint32_t value_bytes_max)
{
	struct writer_settings settings = world_writer_settings();
	settings.put_rate = 50;
	struct bed *bed = bed_new(test, &settings);
	bed->refuse_one_in = 5;
	for (int i = 0; i < appends; i++)
		bed_append_some(bed, value_bytes_max, -1);
	return bed;
}

static void test_byte_exact_from_tail(void)
{
	struct bed *bed = bed_with_log(__func__, 40, 200000);
	struct reader_settings settings = world_reader_settings();
	settings.cache_bytes = 256 << 20;
	// Everything is still in the writer's ring.
	world_add_reader(&bed->world, &settings);
	for (int32_t partition = 0; partition < PARTITIONS; partition++)
		read_everything(bed, partition, 1 << 20);
	read_at_random(bed, 100);
	CU_ASSERT_TRUE(counters(bed).tail_hits > 0);
	CU_ASSERT_EQUAL(counters(bed).corrupt, 0);
	bed_free(bed);
}

static void test_byte_exact_from_store(void)
{
	struct bed *bed = bed_with_log(__func__, 60, 300000);
	struct reader_settings settings = world_reader_settings();
	settings.cache_bytes = 8 << 20; // smaller than the log
	world_kill_writer(&bed->world);
	world_add_reader(&bed->world, &settings);
	for (int32_t partition = 0; partition < PARTITIONS; partition++)
		read_everything(bed, partition, 1 + (uint32_t)prng_below(&bed->world.env.prng, 3 << 20));
	read_at_random(bed, 200);
	CU_ASSERT_EQUAL(counters(bed).tail_requests, 0);
	CU_ASSERT_TRUE(counters(bed).store_gets > 0);
	CU_ASSERT_EQUAL(counters(bed).corrupt, 0);
	CU_ASSERT_TRUE(counters(bed).cache_bytes <= 8 << 20);
	bed_free(bed);
}

// Consumers that keep up: each append is read right after, and no GET reaches the store.
static void test_keeping_up_costs_no_get(void)
{
	struct bed *bed = bed_with_log(__func__, 3, 5000);
	struct reader_settings settings = world_reader_settings();
	int64_t offsets[PARTITIONS] = {0};
	world_add_reader(&bed->world, &settings);
	for (int round = 0; round < 100; round++) {
		for (int32_t partition = 0; partition < PARTITIONS; partition++) {
			struct world_fetch_part part = part_at(partition, offsets[partition], 10 << 20);
			part.known_high_watermark = truth_end(&bed->truths[partition]);
			offsets[partition] = fetch_and_check(bed, &part);
			CU_ASSERT_EQUAL(offsets[partition], truth_end(&bed->truths[partition]));
		}
		bed_append_some(bed, 5000, -1);
	}
	CU_ASSERT_EQUAL(counters(bed).store_gets, 0);
	CU_ASSERT_TRUE(counters(bed).locates <= PARTITIONS); // the feed brings the rest
	bed_free(bed);
}

static void test_limits_over_partitions(void)
{
	struct bed *bed = bed_with_log(__func__, 30, 20000);
	struct reader_settings settings = world_reader_settings();
	struct prng *prng = &bed->world.env.prng;
	world_add_reader(&bed->world, &settings);
	for (int round = 0; round < 100; round++) {
		struct world_fetch_part parts[PARTITIONS];
		struct world_fetch fetches[PARTITIONS];
		uint32_t max_bytes = 1 + (uint32_t)prng_below(prng, 200000);
		for (int32_t i = 0; i < PARTITIONS; i++) {
			int64_t end = truth_end(&bed->truths[i]);
			int64_t offset = prng_below(prng, 3) ? (int64_t)prng_below(prng, (uint64_t)end + 1) : end;
			parts[i] = part_at(i, offset, 1 + (uint32_t)prng_below(prng, 60000));
		}
		world_fetch_start(&bed->world, parts, PARTITIONS, max_bytes, fetches);
		while (!fetches[0].answered)
			world_turn(&bed->world);
		size_t total = 0;
		bool first = true;
		for (int32_t i = 0; i < PARTITIONS; i++) {
			const struct truth *truth = &bed->truths[i];
			CU_ASSERT_EQUAL(fetches[i].error, ERROR_OK);
			CU_ASSERT_EQUAL(fetches[i].high_watermark, truth_end(truth));
			check_bytes(truth, parts[i].offset, slice_bytes(fetches[i].bytes));
			size_t len = fetches[i].bytes.len;
			bool one = len == truth->batches[truth_find(truth, parts[i].offset)].bytes.len;
			if (len > 0 && (len > parts[i].max_bytes || total + len > max_bytes))
				CU_ASSERT_TRUE(first && one);
			if (first && parts[i].offset < truth_end(truth))
				CU_ASSERT_TRUE(len > 0);
			first &= len == 0;
			total += len;
			world_fetch_done(&fetches[i]);
		}
	}
	bed_free(bed);
}

// ---- marks and the feed

static void test_out_of_range_is_checked(void)
{
	struct bed *bed = bed_with_log(__func__, 10, 1000);
	struct reader_settings settings = world_reader_settings();
	struct world_fetch fetch;
	int64_t end = truth_end(&bed->truths[0]);
	world_add_reader(&bed->world, &settings);
	struct world_fetch_part part = part_at(0, end + 1, 1000);
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(fetch.high_watermark, end);
	uint64_t locates = counters(bed).locates;
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_TRUE(counters(bed).locates > locates);
	part.offset = end;
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_OK);
	CU_ASSERT_EQUAL(fetch.bytes.len, 0);
	world_fetch_done(&fetch);
	fake_coordinator_log_start(bed->world.coordinator, &bed->world.topic, 0, 7);
	part.offset = 3;
	part.known_log_start = 7;
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(fetch.log_start, 7);
	part = (struct world_fetch_part){99, 0, 1000, true, -1, -1};
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_UNKNOWN_TOPIC_ID);
	bed_free(bed);
}

enum feed_mode { FEED_ALL, FEED_NONE, FEED_SOME };
struct feed_script {
	struct prng *prng;
	enum feed_mode mode;
};

static enum bus_memory_fault feed_faults(void *ctx, const struct bus_memory_event *event)
{
	struct feed_script *script = ctx;
	if (event->kind != BUS_MEMORY_FEED || script->mode == FEED_ALL)
		return BUS_MEMORY_DELIVER;
	return script->mode == FEED_NONE || prng_below(script->prng, 3) == 0 ? BUS_MEMORY_LOSE : BUS_MEMORY_DELIVER;
}

static void test_feed_gap_locates_again(void)
{
	struct bed *bed = bed_with_log(__func__, 5, 1000);
	struct reader_settings settings = world_reader_settings();
	struct feed_script script = {&bed->world.env.prng, FEED_ALL};
	world_add_reader(&bed->world, &settings);
	bus_memory_script(bed->world.network, feed_faults, &script);
	for (int32_t partition = 0; partition < PARTITIONS; partition++)
		read_everything(bed, partition, 1 << 20);
	script.mode = FEED_NONE;
	bed_append_some(bed, 1000, 0);
	int64_t end = truth_end(&bed->truths[0]);
	read_everything(bed, 0, 1 << 20); // by the known watermark
	bed_append_some(bed, 1000, 1);
	script.mode = FEED_ALL;
	world_run_ms(&bed->world, 300); // the beat shows the gap
	CU_ASSERT_TRUE(counters(bed).feed_gaps > 0);
	struct world_fetch fetch;
	struct world_fetch_part part = part_at(1, truth_end(&bed->truths[1]), 1000);
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_OK);
	CU_ASSERT_EQUAL(fetch.high_watermark, truth_end(&bed->truths[1]));
	world_fetch_done(&fetch);
	CU_ASSERT_TRUE(end > 0);
	bed_free(bed);
}

// History 16: the last message is lost and the shard falls silent; the reader must find out by itself.
static void test_silence_locates_again(void)
{
	struct bed *bed = bed_with_log(__func__, 5, 1000);
	struct reader_settings settings = world_reader_settings();
	struct feed_script script = {&bed->world.env.prng, FEED_ALL};
	struct world_fetch fetch;
	world_add_reader(&bed->world, &settings);
	bus_memory_script(bed->world.network, feed_faults, &script);
	read_everything(bed, 2, 1 << 20);
	script.mode = FEED_NONE;
	int64_t before = truth_end(&bed->truths[2]);
	bed->refuse_one_in = 0;
	bed_append_some(bed, 1000, 2);
	world_run_ms(&bed->world, 1100);
	struct world_fetch_part part = part_at(2, before, 1 << 20); // the frontend knows no more than the reader
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.high_watermark, truth_end(&bed->truths[2]));
	CU_ASSERT_TRUE(fetch.bytes.len > 0);
	world_fetch_done(&fetch);
	bed_free(bed);
}

// Reads and appends while a third of the feed is lost and the owner changes; every fetch is exact.
static void test_feed_storm(void)
{
	struct bed *bed = bed_with_log(__func__, 5, 3000);
	struct reader_settings settings = world_reader_settings();
	struct feed_script script = {&bed->world.env.prng, FEED_SOME};
	settings.locate_entries = 3;
	settings.index_entries = 200;
	world_add_reader(&bed->world, &settings);
	bus_memory_script(bed->world.network, feed_faults, &script);
	for (uint64_t round = 0; round < 80; round++) {
		bed_append_some(bed, 3000, -1);
		read_at_random(bed, 10);
		if (round % 10 == 9)
			fake_coordinator_epoch(bed->world.coordinator, 2 + round);
	}
	for (int32_t partition = 0; partition < PARTITIONS; partition++)
		read_everything(bed, partition, 50000);
	CU_ASSERT_TRUE(counters(bed).feed_gaps > 0);
	bed_free(bed);
}

static void test_owner_away(void)
{
	struct bed *bed = bed_with_log(__func__, 5, 1000);
	struct reader_settings settings = world_reader_settings();
	struct world_fetch fetch;
	struct feed_script script = {&bed->world.env.prng, FEED_NONE};
	world_add_reader(&bed->world, &settings);
	read_everything(bed, 0, 1 << 20);
	int64_t end = truth_end(&bed->truths[0]);
	bus_serve(bed->world.coordinator_bus, NULL, NULL);
	bus_memory_script(bed->world.network, feed_faults, &script);
	world_run_ms(&bed->world, 2000);
	read_everything(bed, 0, 1 << 20); // what is known is served
	struct world_fetch_part part = part_at(0, end, 1000);
	part.known_high_watermark = end + 1;
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_STORAGE); // never a watermark that goes back
	part.known_high_watermark = -1;
	part.offset = end + 1;
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_STORAGE); // never out of range without the owner
	bed_free(bed);
}

// ---- objects that are gone, moved, wrong

static void on_done(void *ctx, enum error error)
{
	CHECK(error == ERROR_OK);
	*(bool *)ctx = true;
}

static void on_got(void *ctx, enum error error, struct slice bytes)
{
	CHECK(error == ERROR_OK);
	*(struct slice *)ctx = slice_ref(bytes);
}

static struct slice bucket_get(struct world *world, const struct mixed_object_id *id)
{
	char key[MIXED_OBJECT_KEY_SIZE];
	struct slice bytes = {0};
	mixed_object_key(id, key);
	object_get(world->store, key, 0, 0, 1000, on_got, &bytes);
	while (!bytes.data)
		object_store_memory_step(world->store);
	return bytes;
}

static void bucket_put(struct world *world, const struct mixed_object_id *id, struct slice bytes)
{
	char key[MIXED_OBJECT_KEY_SIZE];
	bool done = false;
	mixed_object_key(id, key);
	object_put(world->store, key, &bytes, 1, false, 1000, on_done, &done);
	while (!done)
		object_store_memory_step(world->store);
}

static void bucket_delete(struct world *world, const struct mixed_object_id *id)
{
	char key[MIXED_OBJECT_KEY_SIZE];
	const char *keys[] = {key};
	bool done = false;
	mixed_object_key(id, key);
	object_delete_many(world->store, keys, 1, 1000, on_done, &done);
	while (!done)
		object_store_memory_step(world->store);
}

static struct fake_entry *bed_entry(struct bed *bed, int32_t partition, size_t index)
{
	return fake_coordinator_entry(bed->world.coordinator, &bed->world.topic, partition, index);
}

static void test_missing_object(void)
{
	struct bed *bed = bed_with_log(__func__, 5, 1000);
	struct reader_settings settings = world_reader_settings();
	struct world_fetch fetch;
	world_kill_writer(&bed->world);
	world_add_reader(&bed->world, &settings);
	bucket_delete(&bed->world, &bed_entry(bed, 0, 0)->object);
	struct world_fetch_part part = part_at(0, 0, 1000);
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(counters(bed).second_looks, 1);
	CU_ASSERT_EQUAL(counters(bed).locates, 2);
	bed_free(bed);
}

// Compaction moved the records: the old object is gone, the owner knows the new place (history 13).
static void test_moved_object(void)
{
	struct bed *bed = bed_with_log(__func__, 5, 1000);
	struct reader_settings settings = world_reader_settings();
	world_kill_writer(&bed->world);
	settings.cache_bytes = 0; // every fetch goes to the store
	world_add_reader(&bed->world, &settings);
	read_everything(bed, 0, 1 << 20);
	struct mixed_object_id old = bed_entry(bed, 0, 0)->object;
	struct mixed_object_id moved = {uuid_random(&bed->world.env.prng), 1, old.created_ms};
	struct slice bytes = bucket_get(&bed->world, &old);
	bucket_put(&bed->world, &moved, bytes);
	slice_done(&bytes);
	bucket_delete(&bed->world, &old);
	struct fake_entry *entry;
	for (size_t i = 0; (entry = bed_entry(bed, 0, i)); i++)
		if (uuid_equal(&entry->object.writer, &old.writer) && entry->object.sequence == old.sequence)
			entry->object = moved;
	read_everything(bed, 0, 1 << 20);
	CU_ASSERT_EQUAL(counters(bed).second_looks, 1);
	bed_free(bed);
}

static void test_corrupt_batch(void)
{
	struct bed *bed = bed_with_log(__func__, 8, 1000);
	struct reader_settings settings = world_reader_settings();
	struct world_fetch fetch;
	world_kill_writer(&bed->world);
	world_add_reader(&bed->world, &settings);
	const struct fake_entry *entry = bed_entry(bed, 1, 0);
	struct slice bytes = bucket_get(&bed->world, &entry->object);
	struct slice copy = slice_copy(slice_bytes(bytes));
	copy.block->data[entry->position + 40] ^= 0x10;
	bucket_put(&bed->world, &entry->object, copy);
	struct world_fetch_part part = part_at(1, 0, 1000);
	world_fetch(&bed->world, &part, &fetch);
	CU_ASSERT_EQUAL(fetch.error, ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(counters(bed).corrupt, 2);
	read_everything(bed, 0, 1 << 20); // others go on
	read_everything(bed, 2, 1 << 20);
	bucket_put(&bed->world, &entry->object, bytes);
	read_everything(bed, 1, 1 << 20); // and so does this one, once its bytes are right again
	slice_done(&bytes);
	slice_done(&copy);
	bed_free(bed);
}

static enum object_fault get_faults(void *ctx, uint64_t call_number)
{
	static const enum object_fault faults[] = {OBJECT_FAULT_BEFORE, OBJECT_FAULT_HANG, OBJECT_FAULT_THROTTLE};
	(void)call_number;
	uint64_t draw = prng_below(ctx, 12);
	return draw < 3 ? faults[draw] : OBJECT_FAULT_NONE;
}

static void test_store_stutters(void)
{
	struct bed *bed = bed_with_log(__func__, 20, 50000);
	struct reader_settings settings = world_reader_settings();
	settings.cache_bytes = 2 << 20;
	settings.gets_max = 2;
	world_kill_writer(&bed->world);
	world_add_reader(&bed->world, &settings);
	object_store_memory_script(bed->world.reader_store, get_faults, &bed->world.env.prng);
	int read = 0;
	for (int i = 0; i < 200; i++) {
		int32_t partition = (int32_t)prng_below(&bed->world.env.prng, PARTITIONS);
		const struct truth *truth = &bed->truths[partition];
		struct world_fetch fetch;
		struct world_fetch_part part =
			part_at(partition, (int64_t)prng_below(&bed->world.env.prng, (uint64_t)truth_end(truth)), 100000);
		world_fetch(&bed->world, &part, &fetch);
		CU_ASSERT_TRUE(fetch.error == ERROR_OK || fetch.error == ERROR_STORAGE);
		read += fetch.bytes.len > 0;
		check_bytes(truth, part.offset, slice_bytes(fetch.bytes));
		world_fetch_done(&fetch);
	}
	CU_ASSERT_TRUE(read > 150);
	bed_free(bed);
}

// ---- time

static void naive_time(const struct truth *truth, int64_t wanted, int64_t *offset, int64_t *timestamp)
{
	*offset = *timestamp = -1;
	for (size_t i = 0; i < truth->count; i++) {
		const struct truth_batch *batch = &truth->batches[i];
		for (int64_t o = batch->base_offset; o <= batch->last_offset; o++) {
			int64_t at = batch->timestamps[o - batch->base_offset];
			if (wanted == -3 ? at > *timestamp : *offset < 0 && at >= wanted) {
				*offset = o;
				*timestamp = at;
			}
		}
	}
}

static void test_time_lookup(void)
{
	struct bed *bed = bed_with_log(__func__, 40, 5000);
	struct reader_settings settings = world_reader_settings();
	world_add_reader(&bed->world, &settings);
	for (int i = 0; i < 300; i++) {
		struct world_time lookup;
		int64_t offset, timestamp;
		int32_t partition = i % PARTITIONS;
		int64_t wanted = i % 20 == 0 ? -3 : 999000 + (int64_t)prng_below(&bed->world.env.prng, 7000);
		naive_time(&bed->truths[partition], wanted, &offset, &timestamp);
		world_time_lookup(&bed->world, partition, wanted, &lookup);
		CU_ASSERT_EQUAL(lookup.error, ERROR_OK);
		CU_ASSERT_EQUAL(lookup.offset, offset);
		CU_ASSERT_EQUAL(lookup.timestamp, timestamp);
	}
	read_at_random(bed, 50);
	bed_free(bed);
}

static void test_drain(void)
{
	struct bed *bed = bed_with_log(__func__, 3, 1000);
	struct reader_settings settings = world_reader_settings();
	world_add_reader(&bed->world, &settings);
	CU_ASSERT_PTR_NULL(reader_ready(bed->world.reader));
	read_everything(bed, 0, 1 << 20);
	reader_drain(bed->world.reader);
	CU_ASSERT_PTR_NOT_NULL(reader_ready(bed->world.reader));
	read_everything(bed, 1, 1 << 20); // still asked by frontends that do not know yet
	world_run_ms(&bed->world, 300);
	CU_ASSERT_TRUE(reader_drained(bed->world.reader));
	bed_free(bed);
}

UNIT_MAIN("reader", {"byte exact from the tail", test_byte_exact_from_tail},
	{"byte exact from the store", test_byte_exact_from_store}, {"keeping up costs no get", test_keeping_up_costs_no_get},
	{"limits over partitions", test_limits_over_partitions}, {"out of range is checked", test_out_of_range_is_checked},
	{"feed gap locates again", test_feed_gap_locates_again}, {"silence locates again", test_silence_locates_again},
	{"feed storm", test_feed_storm}, {"owner away", test_owner_away}, {"missing object", test_missing_object},
	{"moved object", test_moved_object}, {"corrupt batch", test_corrupt_batch}, {"store stutters", test_store_stutters},
	{"time lookup", test_time_lookup}, {"drain", test_drain})
