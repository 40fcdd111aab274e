// The index against a list of batches that is searched from its beginning. Random; the seed is printed.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/prng.h"
#include "coordinator/partition_index.h"
#include "tests/unit/base/unit.h"

enum { BATCHES = 3000, LOOKUPS = 3000, OBJECTS = 40 };

struct known_batch {
	struct index_batch batch;
	uint64_t sequence;
};

struct fixture {
	struct prng prng;
	struct index_objects objects;
	struct partition_index index;
	struct known_batch known[BATCHES];
	size_t count;
	int64_t offset;
};

static uint64_t seed_of_run(void)
{
	const char *text = getenv("WEIR_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
	printf("seed %llu\n", (unsigned long long)seed);
	return seed;
}

static void add_run(struct fixture *fixture, uint64_t sequence)
{
	const struct uuid writer = {{1}};
	struct index_object *object = index_objects_ref(&fixture->objects, &writer, sequence, 5);
	uint64_t position = 64 + prng_below(&fixture->prng, 1000);
	bool joins = false;
	size_t batches = 1 + prng_below(&fixture->prng, 60);
	for (size_t i = 0; i < batches && fixture->count < BATCHES; i++) {
		uint32_t length = 1 + (uint32_t)prng_below(&fixture->prng, 300000);
		if (prng_below(&fixture->prng, 5) == 0) { // refused: a hole
			position += length;
			joins = false;
			continue;
		}
		struct index_batch batch = {fixture->offset, (int64_t)prng_below(&fixture->prng, 100000), position, length,
			1 + (uint32_t)prng_below(&fixture->prng, 50)};
		partition_index_add(&fixture->index, object, &batch, joins);
		fixture->known[fixture->count++] = (struct known_batch){batch, sequence};
		fixture->offset += batch.record_count;
		position += length;
		joins = true;
	}
	index_objects_unref(&fixture->objects, object);
}

static void fixture_init(struct fixture *fixture)
{
	*fixture = (struct fixture){0};
	prng_init(&fixture->prng, seed_of_run());
	for (uint64_t sequence = 1; fixture->count < BATCHES; sequence++)
		add_run(fixture, sequence);
}

static void fixture_done(struct fixture *fixture)
{
	partition_index_done(&fixture->index, &fixture->objects);
	CU_ASSERT_EQUAL(index_objects_count(&fixture->objects), 0);
}

static bool entry_holds(const struct index_entry *entry, const struct known_batch *known)
{
	return entry->object->key.sequence == known->sequence && entry->base_offset <= known->batch.base_offset &&
	       index_entry_last(entry) >= known->batch.base_offset + known->batch.record_count - 1 &&
	       entry->position <= known->batch.position &&
	       entry->position + entry->length >= known->batch.position + known->batch.length;
}

static void test_entries_tell_the_batches(void)
{
	struct fixture *fixture = malloc(sizeof *fixture);
	fixture_init(fixture);
	int64_t offset = 0;
	uint64_t bytes = 0;
	uint64_t batches = 0;
	for (size_t i = 0; i < fixture->index.count; i++) {
		const struct index_entry *entry = &fixture->index.entries[i];
		CU_ASSERT_EQUAL(entry->base_offset, offset);
		CU_ASSERT_EQUAL(entry->record_count, entry->offset_span + 1);
		CU_ASSERT(entry->length <= INDEX_ENTRY_BYTES_MAX);
		offset = index_entry_last(entry) + 1;
		bytes += entry->length;
		batches += entry->batch_count;
	}
	CU_ASSERT_EQUAL(offset, fixture->offset);
	CU_ASSERT_EQUAL(batches, fixture->count);
	CU_ASSERT_EQUAL(bytes, fixture->index.bytes);
	fixture_done(fixture);
	free(fixture);
}

static void test_find_offset(void)
{
	struct fixture *fixture = malloc(sizeof *fixture);
	fixture_init(fixture);
	for (size_t i = 0; i < LOOKUPS; i++) {
		int64_t offset = (int64_t)prng_below(&fixture->prng, (uint64_t)fixture->offset);
		size_t k = 0;
		while (fixture->known[k].batch.base_offset + fixture->known[k].batch.record_count <= offset)
			k++;
		size_t at = partition_index_find(&fixture->index, offset);
		CU_ASSERT_FATAL(at < fixture->index.count);
		CU_ASSERT(entry_holds(&fixture->index.entries[at], &fixture->known[k]));
	}
	CU_ASSERT_EQUAL(partition_index_find(&fixture->index, fixture->offset), fixture->index.count);
	fixture_done(fixture);
	free(fixture);
}

static void test_find_time(void)
{
	struct fixture *fixture = malloc(sizeof *fixture);
	fixture_init(fixture);
	for (size_t i = 0; i < LOOKUPS; i++) {
		int64_t timestamp = (int64_t)prng_below(&fixture->prng, 101000);
		size_t k = 0;
		while (k < fixture->count && fixture->known[k].batch.max_timestamp < timestamp)
			k++;
		size_t at = partition_index_find_time(&fixture->index, timestamp);
		CU_ASSERT_EQUAL(at == fixture->index.count, k == fixture->count);
		if (k < fixture->count)
			CU_ASSERT(entry_holds(&fixture->index.entries[at], &fixture->known[k]));
	}
	size_t greatest = 0;
	for (size_t k = 0; k < fixture->count; k++) {
		if (fixture->known[k].batch.max_timestamp > fixture->known[greatest].batch.max_timestamp)
			greatest = k;
	}
	CU_ASSERT(entry_holds(&fixture->index.entries[fixture->index.newest], &fixture->known[greatest]));
	fixture_done(fixture);
	free(fixture);
}

// Small batches that claim as many records as a header can: entries stay in order.
static void test_many_records_in_few_bytes(void)
{
	enum { COUNT = 8 };
	struct index_objects objects = {0};
	struct partition_index index = {0};
	const struct uuid writer = {{1}};
	struct index_object *object = index_objects_ref(&objects, &writer, 1, 5);
	for (int64_t i = 0; i < COUNT; i++) {
		const struct index_batch batch = {i * INT32_MAX, 7, 64 + (uint64_t)i * 70, 70, INT32_MAX};
		partition_index_add(&index, object, &batch, i > 0);
	}
	index_objects_unref(&objects, object);
	CU_ASSERT_EQUAL(index_entry_last(&index.entries[index.count - 1]), (int64_t)COUNT * INT32_MAX - 1);
	for (int64_t i = 0; i < COUNT; i++) {
		const struct index_entry *entry = &index.entries[partition_index_find(&index, i * INT32_MAX)];
		CU_ASSERT(entry->base_offset <= i * INT32_MAX && index_entry_last(entry) >= (i + 1) * INT32_MAX - 1);
	}
	partition_index_done(&index, &objects);
}

UNIT_MAIN("partition_index", {"entries_tell_the_batches", test_entries_tell_the_batches}, {"find_offset", test_find_offset},
	{"find_time", test_find_time}, {"many_records_in_few_bytes", test_many_records_in_few_bytes})
