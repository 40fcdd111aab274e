#include "common/base/prng.h"

#include <string.h>

#include "tests/unit/base/unit.h"

// From a Python transcription of the authors' public-domain splitmix64.c and xoshiro256starstar.c.
static void reference_values(void)
{
	static const uint64_t seeded_42[] = {0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0xae17533239e499a1, 0xecb8ad4703b360a1};
	static const uint64_t seeded_0[] = {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c};
	struct prng prng;
	prng_init(&prng, 42);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(prng_next(&prng), seeded_42[i]);
	prng_init(&prng, 0);
	CU_ASSERT_EQUAL(prng.state[0], 0xe220a8397b1dcdaf);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(prng_next(&prng), seeded_0[i]);
}

static void below_is_even(void)
{
	struct prng prng;
	unsigned counts[7] = {0};
	prng_init(&prng, 7);
	for (unsigned i = 0; i < 70000; i++) {
		uint64_t value = prng_below(&prng, 7);
		CU_ASSERT_TRUE_FATAL(value < 7);
		counts[value]++;
	}
	for (unsigned i = 0; i < 7; i++)
		CU_ASSERT_TRUE(counts[i] > 9500 && counts[i] < 10500);
	CU_ASSERT_EQUAL(prng_below(&prng, 1), 0);
	CU_ASSERT_TRUE(prng_below(&prng, UINT64_MAX) < UINT64_MAX);
}

static void fill_reaches_all_and_no_more(void)
{
	struct prng prng;
	uint8_t data[32] = {0};
	prng_init(&prng, 7);
	prng_fill(&prng, data, 21);
	for (unsigned i = 21; i < 32; i++)
		CU_ASSERT_EQUAL(data[i], 0);
	unsigned zeros = 0;
	for (unsigned i = 0; i < 21; i++)
		zeros += data[i] == 0;
	CU_ASSERT_TRUE(zeros < 4);
}

UNIT_MAIN("prng", {"reference values", reference_values}, {"below is even", below_is_even},
	{"fill reaches all and no more", fill_reaches_all_and_no_more})
