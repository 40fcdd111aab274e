// Round trips of sections of every make, what they cost, and what hostile bytes can do.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/prng.h"
#include "common/storage/mixed_object.h"
#include "test_support.h"

static bool batches_equal(const struct section_batch *a, const struct section_batch *b)
{
	return a->size == b->size && a->record_count == b->record_count && a->attributes == b->attributes &&
	       a->first_timestamp == b->first_timestamp && a->max_timestamp == b->max_timestamp &&
	       a->producer_id == b->producer_id && a->producer_epoch == b->producer_epoch &&
	       a->base_sequence == b->base_sequence;
}

static bool sections_equal(const struct section *a, const struct section *b)
{
	if (a->run_count != b->run_count)
		return false;
	for (uint32_t i = 0; i < a->run_count; i++) {
		const struct section_run *x = &a->runs[i], *y = &b->runs[i];
		if (!uuid_equal(&x->topic_id, &y->topic_id) || x->partition != y->partition || x->position != y->position ||
			x->batch_count != y->batch_count)
			return false;
		for (uint32_t j = 0; j < x->batch_count; j++)
			if (!batches_equal(&x->batches[j], &y->batches[j]))
				return false;
	}
	return true;
}

// The encoded bytes; 0 if it did not come back the same.
static size_t encoded_bytes(const struct section *section)
{
	struct buffer out;
	struct arena arena;
	struct section decoded;
	buffer_init(&out, 64 << 20);
	arena_init(&arena, 0);
	section_encode(section, &out);
	bool same = !out.failed && section_decode(buffer_view(&out), &arena, &decoded) == ERROR_OK &&
		    sections_equal(section, &decoded);
	size_t len = out.len;
	arena_done(&arena);
	buffer_done(&out);
	return same ? len : 0;
}

struct make {
	struct arena arena;
	struct prng prng;
	struct section section;
	uint64_t position;
};

static void make_init(struct make *make, uint64_t seed, uint32_t run_count)
{
	*make = (struct make){.position = MIXED_OBJECT_HEADER_BYTES};
	arena_init(&make->arena, 0);
	prng_init(&make->prng, seed);
	make->section.run_count = run_count;
	make->section.runs = arena_alloc(&make->arena, (run_count + 1) * sizeof *make->section.runs);
}

static struct section_run *make_run(struct make *make, uint32_t index, uint32_t batch_count)
{
	struct section_run *run = &make->section.runs[index];
	run->batch_count = batch_count;
	run->position = make->position;
	run->partition = (int32_t)index;
	run->batches = arena_alloc(&make->arena, batch_count * sizeof *run->batches);
	return run;
}

static void make_placed(struct make *make, const struct section_run *run)
{
	make->position = run->position;
	for (uint32_t i = 0; i < run->batch_count; i++)
		make->position += run->batches[i].size;
}

// One producer that sends size_jitter and time_jitter about the same; 10 records a batch.
static void make_plain_run(struct make *make, struct section_run *run, int64_t producer_id, uint64_t size_jitter)
{
	int64_t now_ms = 1700000000000;
	for (uint32_t i = 0; i < run->batch_count; i++) {
		int64_t first_ms = now_ms + (int64_t)(size_jitter ? prng_below(&make->prng, 5) : 0);
		now_ms = first_ms + 5;
		run->batches[i] = (struct section_batch){
			.size = 16000 + (uint32_t)(size_jitter ? prng_below(&make->prng, size_jitter) : 0),
			.record_count = 10,
			.attributes = 4,
			.first_timestamp = first_ms,
			.max_timestamp = now_ms,
			.producer_id = producer_id,
			.producer_epoch = producer_id < 0 ? -1 : 0,
			.base_sequence = producer_id < 0 ? -1 : (int32_t)(5000 + i * 10),
		};
	}
	make_placed(make, run);
}

static size_t plain_run_bytes(uint32_t batches, int64_t producer_id, uint64_t jitter)
{
	struct make make;
	make_init(&make, 1, 1);
	struct section_run *run = make_run(&make, 0, batches);
	run->topic_id = uuid_random(&make.prng);
	make_plain_run(&make, run, producer_id, jitter);
	size_t len = encoded_bytes(&make.section);
	printf("    %u batches, producer %lld, jitter %llu: %zu bytes\n", batches, (long long)producer_id,
		(unsigned long long)jitter, len);
	CU_ASSERT(len > 0);
	arena_done(&make.arena);
	return len;
}

// 25 bytes are the section's own: codec, lengths, topic id, partition, position, count.
enum { OWN_BYTES = 26 };

static void test_cost_of_plain_runs(void)
{
	CU_ASSERT(plain_run_bytes(8, -1, 0) < OWN_BYTES + 40);
	CU_ASSERT(plain_run_bytes(8, 1007, 0) < OWN_BYTES + 40);
	CU_ASSERT(plain_run_bytes(8, 1007, 60) < OWN_BYTES + 60);
	CU_ASSERT(plain_run_bytes(1000, 1007, 0) < 80);
	CU_ASSERT(plain_run_bytes(1000, -1, 60) < 4096);
	CU_ASSERT(plain_run_bytes(1000, 1007, 60) < 4096);
	CU_ASSERT(plain_run_bytes(1000, 1007, 4000) < 4096);
}

// A busy object: many partitions with a few batches each, four producers mixed into each run.
static void test_cost_of_many_partitions(void)
{
	enum { RUNS = 1250, BATCHES = 4 };
	struct make make;
	make_init(&make, 2, RUNS);
	struct uuid topics[10];
	for (size_t i = 0; i < 10; i++)
		topics[i] = uuid_random(&make.prng);
	for (uint32_t r = 0; r < RUNS; r++) {
		struct section_run *run = make_run(&make, r, BATCHES);
		run->topic_id = topics[r / (RUNS / 10)];
		run->partition = (int32_t)(r % (RUNS / 10) * 8 + prng_below(&make.prng, 8));
		make_plain_run(&make, run, 0, 300);
		for (uint32_t b = 0; b < BATCHES; b++) {
			run->batches[b].producer_id = (int64_t)(1000 + prng_below(&make.prng, 4));
			run->batches[b].base_sequence = (int32_t)prng_below(&make.prng, 100000);
			run->batches[b].record_count = (uint32_t)(1 + prng_below(&make.prng, 100));
		}
	}
	size_t len = encoded_bytes(&make.section);
	printf("    %d partitions, %d batches each, 4 producers: %zu bytes, %.1f a batch\n", RUNS, BATCHES, len,
		(double)len / (RUNS * BATCHES));
	CU_ASSERT(len > 0 && len < RUNS * BATCHES * 12);
	arena_done(&make.arena);
}

static int64_t any_i64(struct prng *prng)
{
	static const int64_t edges[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN, 1700000000000};
	uint64_t kind = prng_below(prng, 12);
	return kind < 8 ? edges[kind] : kind < 10 ? (int64_t)prng_below(prng, 100) : (int64_t)prng_next(prng);
}

static uint32_t any_size(struct prng *prng, uint32_t max)
{
	return prng_below(prng, 3) ? 1 + (uint32_t)prng_below(prng, 20) : 1 + (uint32_t)prng_below(prng, max);
}

static void make_wild(struct make *make, uint64_t seed)
{
	struct prng prng;
	prng_init(&prng, seed);
	make_init(make, seed, (uint32_t)prng_below(&prng, 8));
	struct uuid topic_id = uuid_random(&prng);
	for (uint32_t r = 0; r < make->section.run_count; r++) {
		make->position += prng_below(&prng, 3) ? 0 : prng_next(&prng) >> 8;
		struct section_run *run = make_run(make, r, 1 + (uint32_t)prng_below(&prng, 30));
		if (prng_below(&prng, 2))
			topic_id = uuid_random(&prng);
		run->topic_id = topic_id;
		run->partition = prng_below(&prng, 3) ? (int32_t)r : (int32_t)(any_i64(&prng) & INT32_MAX);
		for (uint32_t b = 0; b < run->batch_count; b++)
			run->batches[b] = (struct section_batch){
				.size = any_size(&prng, UINT32_MAX - 1),
				.record_count = any_size(&prng, INT32_MAX - 1),
				.attributes = (uint16_t)(any_i64(&prng) & UINT16_MAX),
				.first_timestamp = any_i64(&prng),
				.max_timestamp = any_i64(&prng),
				.producer_id = prng_below(&prng, 4) ? (int64_t)prng_below(&prng, 40) - 1 : any_i64(&prng),
				.producer_epoch = (int16_t)(any_i64(&prng) & 0xffff),
				.base_sequence = (int32_t)(any_i64(&prng) & 0xffffffff),
			};
		make_placed(make, run);
	}
}

static void test_wild_round_trips(void)
{
	size_t wrong = 0;
	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct make make;
		make_wild(&make, seed);
		wrong += encoded_bytes(&make.section) == 0;
		arena_done(&make.arena);
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_empty(void)
{
	struct section section = {0};
	CU_ASSERT_EQUAL(encoded_bytes(&section), 5);
}

// Whatever it decodes to obeys the promises of a section, within the arena's limit.
static void decode_hostile(const uint8_t *data, size_t len)
{
	enum { LIMIT = 1 << 20 };
	uint8_t *copy = memory_alloc(len);
	memcpy(copy, data, len);
	struct arena arena;
	struct section section;
	arena_init(&arena, LIMIT);
	if (section_decode((struct bytes){copy, len}, &arena, &section) == ERROR_OK) {
		uint64_t end = 0;
		bool sane = true;
		for (uint32_t r = 0; r < section.run_count; r++) {
			const struct section_run *run = &section.runs[r];
			sane = sane && run->position >= end && run->batch_count && run->partition >= 0;
			end = run->position;
			for (uint32_t b = 0; b < run->batch_count; b++) {
				sane = sane && run->batches[b].size && run->batches[b].record_count &&
				       run->batches[b].record_count <= INT32_MAX;
				end += run->batches[b].size;
			}
		}
		CU_ASSERT(sane);
		CU_ASSERT(encoded_bytes(&section) > 0);
	}
	CU_ASSERT(arena.used <= LIMIT);
	arena_done(&arena);
	free(copy);
}

static void test_damage(void)
{
	struct prng prng;
	prng_init(&prng, 9);
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct make make;
		struct buffer out;
		make_wild(&make, seed);
		buffer_init(&out, 1 << 20);
		section_encode(&make.section, &out);
		for (size_t len = 0; len < out.len && len < 300; len++)
			decode_hostile(out.data, len);
		for (size_t round = 0; round < 300; round++) {
			size_t at = prng_below(&prng, out.len < 40 || round % 2 ? out.len : 40);
			uint8_t before = out.data[at];
			out.data[at] ^= (uint8_t)(1 + prng_below(&prng, 255));
			decode_hostile(out.data, out.len);
			out.data[at] = before;
		}
		buffer_done(&out);
		arena_done(&make.arena);
	}
}

// Raw sections by hand: counts that a few bytes claim.
static void test_lying_counts(void)
{
	static const char *const sections[] = {
		"-", "00",
		"0000",               // no version
		"000102",             // a version of tomorrow
		"0003010100",         // a run without batches
		"0003010001",         // a batch without run
		"000701ffffffff0f01", // 2^32 - 1 runs
		"0009010180808080808001",
		"01ffffff7f00",       // 256 MiB of zstd
		"018380802028b52ffd", // 64 MiB and a bit
		"0203010000",         // no such codec
	};
	struct arena arena;
	arena_init(&arena, 0);
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		struct section section;
		CU_ASSERT_EQUAL(section_decode(test_unhex(&arena, sections[i]), &arena, &section), ERROR_CORRUPT);
	}
	arena_done(&arena);
}

static enum error decode_raw(struct arena *arena, const char *plain_hex)
{
	struct bytes plain = test_unhex(arena, plain_hex);
	struct buffer out;
	struct section section;
	buffer_init(&out, 4096);
	buffer_u8(&out, 0);
	buffer_uvarint(&out, plain.len);
	buffer_bytes(&out, plain);
	enum error error = section_decode(buffer_view(&out), arena, &section);
	buffer_done(&out);
	return error;
}

// One batch of one run, then the same with one thing wrong.
static void test_wrong_columns(void)
{
#define HEAD "010101abababababababababababababababab"
	static const struct {
		const char *plain;
		enum error expected;
	} sections[] = {
		{HEAD "01020002400201020202020200020002000210010102 00", ERROR_OK},
		{HEAD "02020002400201020202020200020002000210010102 00", ERROR_CORRUPT},        // two runs of the topic
		{HEAD "01020102400201020202020200020002000210010102 00", ERROR_CORRUPT},        // partition -1
		{HEAD "01020002400202020202020200020002000210010102 00", ERROR_CORRUPT},        // two batches in the run
		{HEAD "01020002400201020002020200020002000210010102 00", ERROR_CORRUPT},        // size 0
		{HEAD "01020002400201020202000200020002000210010102 00", ERROR_CORRUPT},        // no records
		{HEAD "01020002400201020202020201020002000210010102 00", ERROR_CORRUPT},        // attributes -1
		{HEAD "01020002400201020202020500020002000210010102 00", ERROR_CORRUPT},        // a group of two
		{HEAD "01020002400201020202020000020002000210010102 00", ERROR_CORRUPT},        // a group of none
		{HEAD "01020002400201020202020200020002000211010102 00", ERROR_CORRUPT},        // no such producer code
		{HEAD "01020002400201020202020200020002000200010102 00", ERROR_CORRUPT},        // none before it
		{HEAD "010200024002010202020202000200020002100180800802 00", ERROR_CORRUPT},    // epoch 65536
		{HEAD "010200024002010202020202000200020002100101028080808020", ERROR_CORRUPT}, // sequence 2^32
		{HEAD "01020002400201020202020200020002000210010102 0000", ERROR_CORRUPT},      // a byte left over
		{HEAD "010200 02ffffffffffffffffff01 0201020202020200020002000210010102 00", ERROR_CORRUPT}, // past 2^64
	};
#undef HEAD
	struct arena arena;
	arena_init(&arena, 0);
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		char packed[256];
		size_t len = 0;
		for (const char *at = sections[i].plain; *at; at++)
			if (*at != ' ')
				packed[len++] = *at;
		packed[len] = '\0';
		enum error error = decode_raw(&arena, packed);
		if (error != sections[i].expected)
			printf("section %zu: %s\n", i, error_text(error));
		CU_ASSERT_EQUAL(error, sections[i].expected);
	}
	arena_done(&arena);
}

// Sequences that wrap (2^31 - 1, then 0) are as expected.
static void test_cost_of_wrapping(void)
{
	struct make make;
	make_init(&make, 1, 1);
	struct section_run *run = make_run(&make, 0, 1000);
	make_plain_run(&make, run, 7, 0);
	for (uint32_t i = 0; i < run->batch_count; i++)
		run->batches[i].base_sequence = (int32_t)((2147480000u + i * 10) & INT32_MAX);
	size_t len = encoded_bytes(&make.section);
	CU_ASSERT(len > 0 && len < 80);
	arena_done(&make.arena);
}

// A million batches cost a few bytes; the arena's limit must stop them.
static void test_arena_limit(void)
{
	enum { BATCHES = 100000 };
	struct make make;
	make_init(&make, 1, 1);
	struct section_run *run = make_run(&make, 0, BATCHES);
	make_plain_run(&make, run, 7, 0);
	struct buffer out;
	buffer_init(&out, 4096);
	section_encode(&make.section, &out);
	CU_ASSERT(!out.failed && out.len < 100);
	struct arena arena;
	struct section section;
	arena_init(&arena, 1 << 20);
	CU_ASSERT_EQUAL(section_decode(buffer_view(&out), &arena, &section), ERROR_CORRUPT);
	CU_ASSERT(arena.used <= 1 << 20);
	arena_done(&arena);
	buffer_done(&out);
	arena_done(&make.arena);
}

// The format of version 1, byte by byte: two runs of one topic.
static void test_pinned(void)
{
	struct section_batch batches[3] = {
		{.size = 100,
			.record_count = 2,
			.attributes = 0,
			.first_timestamp = 1000,
			.max_timestamp = 1001,
			.producer_id = 7,
			.producer_epoch = 1,
			.base_sequence = 40},
		{.size = 100,
			.record_count = 2,
			.attributes = 0,
			.first_timestamp = 1001,
			.max_timestamp = 1002,
			.producer_id = 7,
			.producer_epoch = 1,
			.base_sequence = 42},
		{.size = 90,
			.record_count = 1,
			.attributes = 3,
			.first_timestamp = 1000,
			.max_timestamp = 1000,
			.producer_id = -1,
			.producer_epoch = -1,
			.base_sequence = -1},
	};
	struct section_run runs[2] = {
		{.partition = 0, .position = 64, .batch_count = 2, .batches = batches},
		{.partition = 3, .position = 300, .batch_count = 1, .batches = batches + 2},
	};
	memset(runs[0].topic_id.bytes, 0xab, 16);
	runs[1].topic_id = runs[0].topic_id;
	struct section section = {2, runs};
	struct arena arena;
	struct buffer out;
	arena_init(&arena, 0);
	buffer_init(&out, 4096);
	section_encode(&section, &out);
	struct bytes expected = test_unhex(&arena,
		"00"
		"3f" // raw, plain length
		"01"
		"02"
		"03" // version, runs, batches
		"abababababababababababababababab"
		"02" // topic, its runs
		"04"
		"00"
		"04" // partitions: 0, then 2 further than expected
		"04"
		"40"
		"24" // gaps: 64, 36
		"04"
		"02"
		"01" // batches
		"06"
		"c801"
		"00"
		"13" // sizes: +100, 0, -10
		"06"
		"04"
		"00"
		"01" // record counts
		"06"
		"00"
		"00"
		"06" // attributes
		"06"
		"d00f"
		"00"
		"01" // first timestamps: 1000; at the max before; 1 before the former run's
		"06"
		"02"
		"02"
		"00" // spans
		"06"
		"10"
		"00"
		"10" // producers: new, the last one, new
		"0e"
		"02"
		"0f"
		"01" // 7, epoch 1; 8 less, epoch -1
		"06"
		"50"
		"00"
		"00"); // sequences: 40; as expected; none
	if (!bytes_equal(buffer_view(&out), expected)) {
		for (size_t i = 0; i < out.len; i++)
			printf("%02x", out.data[i]);
		printf("\n");
	}
	CU_ASSERT(bytes_equal(buffer_view(&out), expected));
	CU_ASSERT(encoded_bytes(&section) > 0);
	buffer_done(&out);
	arena_done(&arena);
}

static const struct test_case cases[] = {
	{"the format, pinned", test_pinned},
	{"what plain runs cost", test_cost_of_plain_runs},
	{"what many partitions cost", test_cost_of_many_partitions},
	{"wild values come back", test_wild_round_trips},
	{"empty", test_empty},
	{"damage", test_damage},
	{"lying counts", test_lying_counts},
	{"wrong columns", test_wrong_columns},
	{"sequences that wrap", test_cost_of_wrapping},
	{"the arena's limit", test_arena_limit},
};

int main(void)
{
	return TEST_MAIN("sections", cases);
}
