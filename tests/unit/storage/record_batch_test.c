// The oracle is kafka-python: vectors/generate_batches.py wrote the batches and what it had put into them.
#include "common/storage/record_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "common/base/prng.h"
#include "common/storage/compression.h"
#include "test_support.h"

struct vector {
	char name[64];
	struct bytes batch;
	struct record_batch header;
	struct record records[64];
	size_t record_count;
};

static struct vector vectors[64];
static size_t vector_count;
static struct arena vectors_arena;

static void load_record(struct vector *vector, char *line)
{
	long long offset, timestamp;
	char key[256], value[1024];
	unsigned headers;
	CHECK(sscanf(line, "record %lld %lld %255s %1023s %u", &offset, &timestamp, key, value, &headers) == 5);
	CHECK(vector->record_count < 64);
	vector->records[vector->record_count++] = (struct record){
		.offset = offset,
		.timestamp = timestamp,
		.key = test_unhex(&vectors_arena, key),
		.value = test_unhex(&vectors_arena, value),
		.header_count = headers,
	};
}

static void load_header(struct record_batch *header, const char *line)
{
	long long base, max, producer;
	int attributes, delta, epoch, sequence, count;
	CHECK(sscanf(line, "header %d %d %lld %lld %lld %d %d %d", &attributes, &delta, &base, &max, &producer, &epoch,
		      &sequence, &count) == 8);
	*header = (struct record_batch){
		.attributes = (uint16_t)attributes,
		.last_offset_delta = delta,
		.base_timestamp = base,
		.max_timestamp = max,
		.producer_id = producer,
		.producer_epoch = (int16_t)epoch,
		.base_sequence = sequence,
		.record_count = count,
	};
}

static void load_vectors(void)
{
	FILE *file = fopen(RECORD_BATCH_VECTORS, "r");
	CHECK(file != NULL);
	char *line = NULL;
	size_t capacity = 0;
	struct vector *vector = NULL;
	while (getline(&line, &capacity, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "batch ", 6) == 0) {
			CHECK(vector_count < 64);
			vector = &vectors[vector_count++];
			char *space = strchr(line + 6, ' ');
			CHECK(space != NULL);
			*space = '\0';
			snprintf(vector->name, sizeof vector->name, "%s", line + 6);
			vector->batch = test_unhex(&vectors_arena, space + 1);
		} else if (strncmp(line, "header ", 7) == 0) {
			load_header(&vector->header, line);
			vector->header.size = (uint32_t)vector->batch.len;
		} else if (strncmp(line, "record ", 7) == 0) {
			load_record(vector, line);
		}
	}
	free(line);
	fclose(file);
	CHECK(vector_count == 30);
}

static bool headers_equal(const struct record_batch *a, const struct record_batch *b)
{
	return a->size == b->size && a->attributes == b->attributes && a->last_offset_delta == b->last_offset_delta &&
	       a->base_timestamp == b->base_timestamp && a->max_timestamp == b->max_timestamp &&
	       a->producer_id == b->producer_id && a->producer_epoch == b->producer_epoch &&
	       a->base_sequence == b->base_sequence && a->record_count == b->record_count;
}

static bool nullable_equal(struct bytes a, struct bytes b)
{
	return !a.data == !b.data && bytes_equal(a, b);
}

struct walk {
	const struct vector *vector;
	size_t seen;
	size_t wrong;
	size_t stop_after;
	int64_t base_offset;
};

static bool walk_record(void *ctx, const struct record *record)
{
	struct walk *walk = ctx;
	const struct record *expected = &walk->vector->records[walk->seen++];
	bool equal = walk->seen <= walk->vector->record_count && record->offset == expected->offset + walk->base_offset &&
		     record->timestamp == expected->timestamp && nullable_equal(record->key, expected->key) &&
		     nullable_equal(record->value, expected->value) && record->header_count == expected->header_count;
	walk->wrong += !equal;
	return walk->seen != walk->stop_after;
}

static void test_vectors(void)
{
	for (size_t i = 0; i < vector_count; i++) {
		const struct vector *vector = &vectors[i];
		struct record_batch parsed, validated;
		enum error error = record_batch_parse(vector->batch, &parsed);
		if (!error)
			error = record_batch_validate(vector->batch, &validated);
		struct walk walk = {.vector = vector};
		if (!error)
			error = record_batch_each(vector->batch, 1 << 20, walk_record, &walk);
		bool right = !error && headers_equal(&parsed, &vector->header) && headers_equal(&validated, &vector->header) &&
			     walk.seen == vector->record_count && !walk.wrong;
		if (!right)
			printf("%s: %s\n", vector->name, error_text(error));
		CU_ASSERT(right);
	}
}

static void test_patch_leaves_crc(void)
{
	const struct vector *vector = &vectors[1];
	struct bytes copy = arena_copy(&vectors_arena, vector->batch);
	record_batch_patch((uint8_t *)(uintptr_t)copy.data, INT64_C(1) << 40, 77);
	struct record_batch batch;
	CU_ASSERT_EQUAL(record_batch_validate(copy, &batch), ERROR_OK);
	CU_ASSERT_EQUAL(batch.base_offset, INT64_C(1) << 40);
	CU_ASSERT_EQUAL(batch.leader_epoch, 77);
	struct walk walk = {.vector = vector, .base_offset = INT64_C(1) << 40, .stop_after = 5};
	CU_ASSERT_EQUAL(record_batch_each(copy, 1 << 20, walk_record, &walk), ERROR_OK);
	CU_ASSERT_EQUAL(walk.seen, 5);
	CU_ASSERT_EQUAL(walk.wrong, 0);
}

static bool all_at(void *ctx, const struct record *record)
{
	return record->timestamp == *(const int64_t *)ctx;
}

static void test_append_time(void)
{
	int64_t now_ms = 1800000000000;
	struct bytes copy = arena_copy(&vectors_arena, vectors[1].batch);
	record_batch_set_append_time((uint8_t *)(uintptr_t)copy.data, copy.len, now_ms);
	struct record_batch batch;
	CU_ASSERT_EQUAL(record_batch_parse(copy, &batch), ERROR_OK);
	CU_ASSERT_EQUAL(batch.attributes, RECORD_BATCH_LOG_APPEND_TIME);
	CU_ASSERT_EQUAL(batch.max_timestamp, now_ms);
	CU_ASSERT_EQUAL(crc32c(0, copy.data + 21, copy.len - 21), get_u32(copy.data + 17));
	CU_ASSERT_EQUAL(record_batch_each(copy, 1 << 20, all_at, &now_ms), ERROR_OK);
	// A producer has no business to set the bit.
	CU_ASSERT_EQUAL(record_batch_validate(copy, &batch), ERROR_INVALID_RECORD);
}

// Any byte but those of base offset and leader epoch is under the CRC, or changes the framing.
static void test_every_byte_matters(void)
{
	for (size_t i = 0; i < vector_count; i++) {
		struct bytes copy = arena_copy(&vectors_arena, vectors[i].batch);
		uint8_t *data = (uint8_t *)(uintptr_t)copy.data;
		size_t accepted = 0;
		for (size_t at = 0; at < copy.len; at++) {
			for (unsigned bit = 0; bit < 8; bit++) {
				data[at] ^= (uint8_t)(1 << bit);
				struct record_batch batch;
				bool patched = at < 8 || (at >= 12 && at < 16);
				if ((record_batch_validate(copy, &batch) == ERROR_OK) != patched)
					accepted++;
				data[at] ^= (uint8_t)(1 << bit);
			}
		}
		CU_ASSERT_EQUAL(accepted, 0);
	}
}

static void fix_crc(uint8_t *data, size_t len)
{
	put_u32(data + 17, crc32c(0, data + 21, len - 21));
}

static bool count_record(void *ctx, const struct record *record)
{
	size_t *bytes = ctx;
	*bytes += record->key.len + record->value.len;
	return true;
}

// With the CRC made right again, what is wrong inside must still be found, or be harmless.
static void test_hostile_with_crc(void)
{
	struct prng prng;
	prng_init(&prng, 1);
	for (size_t i = 0; i < vector_count; i++) {
		if (vectors[i].batch.len > 4096)
			continue;
		for (size_t round = 0; round < 400; round++) {
			// Exactly as long as it is, so that a sanitizer sees a step over the end.
			size_t len = vectors[i].batch.len;
			uint8_t *data = memory_alloc(len);
			memcpy(data, vectors[i].batch.data, len);
			data[21 + prng_below(&prng, len - 21)] = (uint8_t)prng_next(&prng);
			fix_crc(data, len);
			struct record_batch batch;
			size_t bytes = 0;
			(void)(record_batch_validate((struct bytes){data, len}, &batch) == ERROR_OK);
			enum error error = record_batch_each((struct bytes){data, len}, 1 << 20, count_record, &bytes);
			CU_ASSERT(error == ERROR_OK || bytes <= 1 << 20);
			free(data);
		}
	}
}

static void test_truncated(void)
{
	for (size_t i = 0; i < vector_count; i++) {
		for (size_t len = 0; len < vectors[i].batch.len; len++) {
			uint8_t *data = memory_alloc(len);
			memcpy(data, vectors[i].batch.data, len);
			struct record_batch batch;
			CU_ASSERT_EQUAL(record_batch_parse((struct bytes){data, len}, &batch), ERROR_MALFORMED);
			free(data);
			if (len > 300)
				len += 97;
		}
	}
}

struct edit {
	size_t at;
	size_t len;
	uint64_t value;
	enum error expected;
};

// Edits of a good uncompressed batch of 12 records without producer.
static void test_header_rules(void)
{
	static const struct edit edits[] = {
		{16, 1, 0, ERROR_UNSUPPORTED_FORMAT}, {16, 1, 1, ERROR_UNSUPPORTED_FORMAT}, {16, 1, 3, ERROR_INVALID_RECORD},
		{21, 2, 0x20, ERROR_INVALID_RECORD},   // control
		{21, 2, 0x08, ERROR_INVALID_RECORD},   // LogAppendTime
		{21, 2, 0x40, ERROR_INVALID_RECORD},   // delete horizon
		{21, 2, 0x8000, ERROR_INVALID_RECORD}, // not assigned
		{21, 2, 5, ERROR_INVALID_RECORD},      // no such compression
		{21, 2, 0x10, ERROR_INVALID_RECORD},   // transactional without producer
		{23, 4, 10, ERROR_INVALID_RECORD},     // last offset delta
		{57, 4, 11, ERROR_INVALID_RECORD},     // count
		{57, 4, 0, ERROR_INVALID_RECORD}, {57, 4, UINT32_MAX, ERROR_INVALID_RECORD},
		{43, 8, 5, ERROR_INVALID_RECORD},            // id without epoch and sequence
		{43, 8, (uint64_t)-2, ERROR_INVALID_RECORD}, // no such id
		{53, 4, 0, ERROR_OK},                        // what Sarama writes without id
		{35, 8, UINT64_C(1800000000000), ERROR_OK},  // max timestamp above
		{35, 8, UINT64_C(1600000000000), ERROR_OK},  // and below the records'
		{63, 1, 1, ERROR_OK},                        // the first record's attributes, behind two bytes of length
		{65, 1, 2, ERROR_INVALID_RECORD},            // its offset delta
		{61, 1, 0x04, ERROR_INVALID_RECORD},         // a record's length
	};
	const struct vector *vector = &vectors[1];
	for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
		struct bytes copy = arena_copy(&vectors_arena, vector->batch);
		uint8_t *data = (uint8_t *)(uintptr_t)copy.data;
		for (size_t b = 0; b < edits[i].len; b++)
			data[edits[i].at + b] = (uint8_t)(edits[i].value >> 8 * (edits[i].len - 1 - b));
		fix_crc(data, copy.len);
		struct record_batch batch = {0};
		enum error error = record_batch_validate(copy, &batch);
		if (error != edits[i].expected)
			printf("edit %zu: %s\n", i, error_text(error));
		CU_ASSERT_EQUAL(error, edits[i].expected);
		if (error)
			continue;
		CU_ASSERT_EQUAL(batch.base_sequence, -1);
		CU_ASSERT(batch.max_timestamp >= 1700000000033);
	}
}

// Counts 12 but holds 11, with the 12th as left-over, and the other way round.
static void test_left_over(void)
{
	struct bytes copy = arena_copy(&vectors_arena, vectors[1].batch);
	uint8_t *data = (uint8_t *)(uintptr_t)copy.data;
	struct record_batch batch;
	put_u32(data + 23, 10);
	put_u32(data + 57, 11);
	fix_crc(data, copy.len);
	CU_ASSERT_EQUAL(record_batch_validate(copy, &batch), ERROR_INVALID_RECORD);
	put_u32(data + 23, 12);
	put_u32(data + 57, 13);
	fix_crc(data, copy.len);
	CU_ASSERT_EQUAL(record_batch_validate(copy, &batch), ERROR_INVALID_RECORD);
}

// The batch is the first one; what lies behind it is the caller's business.
static void test_bytes_behind(void)
{
	const struct vector *vector = &vectors[1];
	uint8_t *data = arena_alloc(&vectors_arena, vector->batch.len + 5);
	memcpy(data, vector->batch.data, vector->batch.len);
	struct record_batch batch;
	CU_ASSERT_EQUAL(record_batch_validate((struct bytes){data, vector->batch.len + 5}, &batch), ERROR_OK);
	CU_ASSERT_EQUAL(batch.size, vector->batch.len);
}

static void test_each_is_bounded(void)
{
	for (size_t i = 0; i < vector_count; i++) {
		if (!strstr(vectors[i].name, "_big"))
			continue;
		struct walk walk = {.vector = &vectors[i]};
		CU_ASSERT_EQUAL(record_batch_each(vectors[i].batch, 100000, walk_record, &walk), ERROR_TOO_LARGE);
		CU_ASSERT_EQUAL(walk.seen, 0);
	}
}

static const struct test_case cases[] = {
	{"what kafka-python writes", test_vectors},
	{"base offset and epoch can be patched", test_patch_leaves_crc},
	{"log append time", test_append_time},
	{"every byte matters", test_every_byte_matters},
	{"hostile bytes under a right CRC", test_hostile_with_crc},
	{"truncated", test_truncated},
	{"rules of the header", test_header_rules},
	{"records and count disagree", test_left_over},
	{"bytes behind the batch", test_bytes_behind},
	{"memory of a walk is bounded", test_each_is_bounded},
};

int main(void)
{
	arena_init(&vectors_arena, 0);
	load_vectors();
	int status = TEST_MAIN("record batches", cases);
	arena_done(&vectors_arena);
	return status;
}
