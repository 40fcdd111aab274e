#include "common/base/crc32c.h"

#include <string.h>

#include "common/base/prng.h"
#include "tests/unit/base/unit.h"

// One bit at a time, reflected polynomial 0x82f63b78.
static uint32_t bitwise(uint32_t crc, const uint8_t *data, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

// RFC 3720, B.4, and the usual check value.
static void known_vectors(void)
{
	uint8_t data[32];
	CU_ASSERT_EQUAL(crc32c(0, "", 0), 0);
	CU_ASSERT_EQUAL(crc32c(0, "123456789", 9), 0xe3069283);
	memset(data, 0, sizeof data);
	CU_ASSERT_EQUAL(crc32c(0, data, sizeof data), 0x8a9136aa);
	memset(data, 0xff, sizeof data);
	CU_ASSERT_EQUAL(crc32c(0, data, sizeof data), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (uint8_t)i;
	CU_ASSERT_EQUAL(crc32c(0, data, sizeof data), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (uint8_t)(31 - i);
	CU_ASSERT_EQUAL(crc32c(0, data, sizeof data), 0x113fdb5c);
}

static uint8_t data[100000];

static void agrees_with_bitwise(void)
{
	struct prng prng;
	prng_init(&prng, 1);
	prng_fill(&prng, data, sizeof data);
	for (size_t len = 0; len < 1200; len++)
		CU_ASSERT_EQUAL_FATAL(crc32c(0, data + len % 9, len), bitwise(0, data + len % 9, len));
	CU_ASSERT_EQUAL(crc32c(0, data, sizeof data), bitwise(0, data, sizeof data));
}

static void continues(void)
{
	uint32_t whole = crc32c(0, data, sizeof data);
	for (size_t cut = 0; cut < sizeof data; cut += 7919)
		CU_ASSERT_EQUAL(crc32c(crc32c(0, data, cut), data + cut, sizeof data - cut), whole);
}

UNIT_MAIN("crc32c", {"known vectors", known_vectors}, {"agrees with a bitwise one", agrees_with_bitwise},
	{"continues", continues})
