// Round trips, limits and damage. What other programs write is in record_batch_test's vectors.
#include "common/storage/compression.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/prng.h"
#include "test_support.h"

enum { PLAIN_BYTES_MAX = 300000 };

// Half noise, half repetition.
static struct bytes some_plain(struct prng *prng, uint8_t *data, size_t len)
{
	prng_fill(prng, data, len / 2);
	memset(data + len / 2, 'x', len - len / 2);
	return (struct bytes){data, len};
}

static bool round_trip(enum compression codec, struct bytes plain, size_t limit, enum error expected)
{
	struct buffer packed, out;
	buffer_init(&packed, 1 << 20);
	buffer_init(&out, limit);
	buffer_append(&out, "pre", 3);
	enum error error = compression_encode(codec, plain, &packed);
	if (!error)
		error = compression_decode(codec, buffer_view(&packed), &out);
	bool right = error == expected && !out.failed;
	if (right && !error)
		right = out.len == plain.len + 3 && bytes_equal((struct bytes){out.data + 3, out.len - 3}, plain);
	else if (right)
		right = out.len == 3;
	buffer_done(&packed);
	buffer_done(&out);
	return right;
}

static void test_round_trips(void)
{
	static const size_t lens[] = {0, 1, 100, 32768, 65533, 65536, 65537, 131072, PLAIN_BYTES_MAX};
	struct prng prng;
	prng_init(&prng, 3);
	uint8_t *data = memory_alloc(PLAIN_BYTES_MAX);
	for (int codec = 0; codec < COMPRESSION_COUNT; codec++) {
		for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
			struct bytes plain = some_plain(&prng, data, lens[i]);
			CU_ASSERT(round_trip((enum compression)codec, plain, 1 << 20, ERROR_OK));
			CU_ASSERT(round_trip((enum compression)codec, plain, 3 + lens[i], ERROR_OK)); // just fits
			if (lens[i])
				CU_ASSERT(round_trip((enum compression)codec, plain, 2 + lens[i], ERROR_TOO_LARGE));
		}
	}
	free(data);
}

static void test_bombs(void)
{
	uint8_t *zeros = memory_zalloc(32 << 20);
	for (int codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++)
		CU_ASSERT(round_trip((enum compression)codec, (struct bytes){zeros, 32 << 20}, 4096, ERROR_TOO_LARGE) ||
			  codec == COMPRESSION_SNAPPY); // packs to more than this test's buffer
	CU_ASSERT(round_trip(COMPRESSION_SNAPPY, (struct bytes){zeros, 4 << 20}, 4096, ERROR_TOO_LARGE));
	free(zeros);
}

static void decode_damaged(enum compression codec, struct bytes packed, size_t plain_len)
{
	struct buffer out;
	buffer_init(&out, 1 << 20);
	enum error error = compression_decode(codec, packed, &out);
	CU_ASSERT(error == ERROR_OK || out.len == 0);
	(void)plain_len;
	buffer_done(&out);
}

static void test_damage(void)
{
	struct prng prng;
	prng_init(&prng, 5);
	uint8_t *data = memory_alloc(70000);
	struct bytes plain = some_plain(&prng, data, 70000);
	for (int codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
		struct buffer packed;
		buffer_init(&packed, 1 << 20);
		CU_ASSERT_EQUAL(compression_encode((enum compression)codec, plain, &packed), ERROR_OK);
		for (size_t round = 0; round < 300; round++) {
			size_t len = round < 100 ? packed.len : prng_below(&prng, packed.len);
			uint8_t *copy = memory_alloc(len);
			memcpy(copy, packed.data, len);
			size_t near = len < 64 || round % 2 ? len : 64;
			if (len && (round < 100 || round % 2))
				copy[prng_below(&prng, near)] ^= (uint8_t)(1 << prng_below(&prng, 8));
			decode_damaged((enum compression)codec, (struct bytes){copy, len}, plain.len);
			free(copy);
		}
		buffer_done(&packed);
	}
	free(data);
}

// Cut anywhere, none of them may pass for whole; but snappy's framing ends where a block ends.
static void test_cut(void)
{
	struct prng prng;
	prng_init(&prng, 6);
	uint8_t data[500];
	struct bytes plain = some_plain(&prng, data, sizeof data);
	for (int codec = COMPRESSION_GZIP; codec < COMPRESSION_COUNT; codec++) {
		struct buffer packed, out;
		buffer_init(&packed, 1 << 20);
		CU_ASSERT_EQUAL(compression_encode((enum compression)codec, plain, &packed), ERROR_OK);
		for (size_t len = 0; len < packed.len; len++) {
			if (codec == COMPRESSION_SNAPPY && len == 16)
				continue;
			buffer_init(&out, 1 << 20);
			CU_ASSERT_EQUAL(compression_decode((enum compression)codec, (struct bytes){packed.data, len}, &out),
				ERROR_CORRUPT);
			buffer_done(&out);
		}
		buffer_done(&packed);
	}
}

static void test_two_gzip_members(void)
{
	struct buffer packed, out;
	buffer_init(&packed, 4096);
	buffer_init(&out, 6);
	CU_ASSERT_EQUAL(compression_encode(COMPRESSION_GZIP, bytes_of("abc"), &packed), ERROR_OK);
	CU_ASSERT_EQUAL(compression_encode(COMPRESSION_GZIP, bytes_of("def"), &packed), ERROR_OK);
	CU_ASSERT_EQUAL(compression_decode(COMPRESSION_GZIP, buffer_view(&packed), &out), ERROR_OK);
	CU_ASSERT(bytes_equal(buffer_view(&out), bytes_of("abcdef")));
	buffer_done(&packed);
	buffer_done(&out);
}

static void test_unknown(void)
{
	struct buffer out;
	buffer_init(&out, 10);
	CU_ASSERT_EQUAL(compression_decode(COMPRESSION_COUNT, bytes_of("x"), &out), ERROR_UNSUPPORTED_COMPRESSION);
	CU_ASSERT_EQUAL(compression_encode(COMPRESSION_COUNT, bytes_of("x"), &out), ERROR_UNSUPPORTED_COMPRESSION);
	buffer_done(&out);
}

static const struct test_case cases[] = {
	{"round trips and exact limits", test_round_trips},
	{"bombs", test_bombs},
	{"damage", test_damage},
	{"cut short", test_cut},
	{"two gzip members", test_two_gzip_members},
	{"unknown codecs", test_unknown},
};

int main(void)
{
	return TEST_MAIN("compression", cases);
}
