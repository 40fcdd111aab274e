#include "common/base/placement.h"

#include <stdio.h>

#include "tests/unit/base/unit.h"

// Where keys live is part of the formats: a change here would lose every log. The values come from a Python transcription
// of FNV-1a and the splitmix64 finaliser.

static void hashes_are_pinned(void)
{
	CU_ASSERT_EQUAL(placement_hash(BYTES_NULL), 0x8035f29acc108b3);
	CU_ASSERT_EQUAL(placement_hash(bytes_of("a")), 0xbe714aadd7ded67a);
	CU_ASSERT_EQUAL(placement_hash(bytes_of("consumer-group")), 0x881dba2722e43f4);
	CU_ASSERT_EQUAL(placement_mix(1, 2), 0x975835de1c9756ce);
}

static void partitions_are_pinned(void)
{
	static const struct {
		int32_t partition;
		uint64_t key;
		uint32_t of_8, of_64;
	} rows[] = {{0, 0xd38287e21033fa0d, 5, 13}, {1, 0xb4ef4d5ba329979c, 4, 28}, {INT32_MAX, 0x7e19c35b3be6b492, 2, 18}};
	struct uuid topic;
	for (unsigned i = 0; i < 16; i++)
		topic.bytes[i] = (uint8_t)i;
	for (size_t i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(placement_partition_key(&topic, rows[i].partition), rows[i].key);
		CU_ASSERT_EQUAL(placement_partition_shard(&topic, rows[i].partition, 1), 0);
		CU_ASSERT_EQUAL(placement_partition_shard(&topic, rows[i].partition, 8), rows[i].of_8);
		CU_ASSERT_EQUAL(placement_partition_shard(&topic, rows[i].partition, 64), rows[i].of_64);
	}
}

static void names_are_pinned(void)
{
	CU_ASSERT_EQUAL(placement_name_shard(bytes_of("payments"), 8), 3);
	CU_ASSERT_EQUAL(placement_name_shard(bytes_of("payments"), 64), 19);
	CU_ASSERT_EQUAL(placement_name_shard(bytes_of("group-1"), 8), 1);
	CU_ASSERT_EQUAL(placement_name_shard(bytes_of("group-1"), 64), 9);
}

static void fill_members(uint64_t *members, size_t count)
{
	char name[32];
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "writer-%zu", i);
		members[i] = placement_hash(bytes_of(name));
	}
}

static void choices_are_pinned(void)
{
	static const size_t expected[] = {4, 3, 0, 4, 3, 4, 3, 2, 3, 0, 0, 3, 3, 2, 2, 3};
	uint64_t members[5];
	fill_members(members, 5);
	for (uint64_t key = 0; key < 16; key++)
		CU_ASSERT_EQUAL(placement_choose(key, members, 5), expected[key]);
}

// The order of members does not matter, and a member that leaves moves only its own keys.
static void choices_are_stable(void)
{
	uint64_t members[5], reversed[5];
	unsigned counts[5] = {0};
	fill_members(members, 5);
	for (unsigned i = 0; i < 5; i++)
		reversed[i] = members[4 - i];
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t key = placement_mix(i, 77);
		size_t all = placement_choose(key, members, 5);
		CU_ASSERT_EQUAL(placement_choose(key, reversed, 5), 4 - all);
		if (all != 4)
			CU_ASSERT_EQUAL(placement_choose(key, members, 4), all);
		counts[all]++;
	}
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_TRUE(counts[i] > 1800 && counts[i] < 2200);
}

UNIT_MAIN("placement", {"hashes are pinned", hashes_are_pinned}, {"partitions are pinned", partitions_are_pinned},
	{"names are pinned", names_are_pinned}, {"choices are pinned", choices_are_pinned},
	{"choices are stable", choices_are_stable})
