// History 2: two binary versions must not replay one log by different rules. The version in force is state, raised only when
// all live coordinators know the new rules; a binary that does not know them stops the shard instead of guessing.
#include "coordinator/shard_state.h"
#include "tests/unit/base/unit.h"
#include "tests/unit/coordinator/coordinator_world.h"

static struct world world;

static void begin(void)
{
	world_init(&world, 11);
	world.settings.shards = 4;
}

static void start(unsigned node, uint32_t apply_version_max)
{
	world.apply_version_max = apply_version_max;
	world_start(&world, node);
}

// The version in force in every shard, 0 if they differ or one is not served.
static uint32_t version_everywhere(void)
{
	uint32_t common = 0;
	for (uint32_t shard = 0; shard < 4; shard++) {
		uint32_t version = 0;
		for (unsigned node = 0; node < WORLD_NODES; node++)
			if (world.nodes[node].coordinator && !version)
				version = coordinator_apply_version(world.nodes[node].coordinator, shard);
		if (!version || (common && version != common))
			return 0;
		common = version;
	}
	return common;
}

static void test_an_old_binary_holds_the_version_down(void)
{
	begin();
	start(0, 2);
	start(1, 1);
	CU_ASSERT_TRUE(world_settle(&world));
	world_run_ms(&world, 3000);
	CU_ASSERT_EQUAL(version_everywhere(), 1);
	// The old one leaves: the rest may go on to the new rules.
	coordinator_drain(world.nodes[1].coordinator);
	while (!coordinator_drained(world.nodes[1].coordinator))
		world_turn(&world);
	world_kill(&world, 1);
	CU_ASSERT_TRUE(world_settle(&world));
	world_run_ms(&world, 1000);
	CU_ASSERT_EQUAL(version_everywhere(), 2);
	world_done(&world);
}

static void test_the_version_in_force_survives_a_take_over(void)
{
	uint64_t before[4], after[4], position;
	begin();
	start(0, 2);
	CU_ASSERT_TRUE(world_settle(&world));
	world_run_ms(&world, 1000);
	CU_ASSERT_EQUAL(version_everywhere(), 2);
	for (uint32_t shard = 0; shard < 4; shard++)
		CU_ASSERT_TRUE(coordinator_shard_hash(world.nodes[0].coordinator, shard, &before[shard], &position));
	world_kill(&world, 0);
	start(1, 3); // knows more, but nobody has said so in the log before it replays
	CU_ASSERT_TRUE(world_settle(&world));
	CU_ASSERT_TRUE(version_everywhere() >= 2);
	world_run_ms(&world, 8000); // the dead one's row has run out
	CU_ASSERT_EQUAL(version_everywhere(), 3);
	for (uint32_t shard = 0; shard < 4; shard++) {
		CU_ASSERT_TRUE(coordinator_shard_hash(world.nodes[1].coordinator, shard, &after[shard], &position));
		CU_ASSERT_NOT_EQUAL(before[shard], after[shard]); // the version is part of the state
	}
	world_done(&world);
}

static void test_a_binary_that_is_too_old_serves_nothing(void)
{
	begin();
	start(0, 2);
	CU_ASSERT_TRUE(world_settle(&world));
	world_run_ms(&world, 1000);
	CU_ASSERT_EQUAL(version_everywhere(), 2);
	world_kill(&world, 0);
	start(1, 1);
	world_run_ms(&world, 15000);
	CU_ASSERT_EQUAL(coordinator_shards_serving(world.nodes[1].coordinator), 0);
	CU_ASSERT_STRING_EQUAL(coordinator_ready(world.nodes[1].coordinator), "a shard is damaged");
	world_done(&world);
}

static void test_apply_never_lowers_it(void)
{
	struct shard_state *state = shard_state_new(0, 1, NULL);
	Weir__ApplyVersion raise = WEIR__APPLY_VERSION__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	struct apply_result result;
	const struct apply_at at = {1, 1000};
	command.kind_case = WEIR__COMMAND__KIND_APPLY_VERSION;
	command.apply_version = &raise;
	raise.version = 3;
	shard_state_apply(state, &command, &at, NULL, &result);
	CU_ASSERT_EQUAL(state->apply_version, 3);
	raise.version = 2;
	shard_state_apply(state, &command, &at, NULL, &result);
	CU_ASSERT_EQUAL(state->apply_version, 3);
	shard_state_free(&state);
}

UNIT_MAIN("coordinator_versions", {"an_old_binary_holds_the_version_down", test_an_old_binary_holds_the_version_down},
	{"the_version_in_force_survives_a_take_over", test_the_version_in_force_survives_a_take_over},
	{"a_binary_that_is_too_old_serves_nothing", test_a_binary_that_is_too_old_serves_nothing},
	{"apply_never_lowers_it", test_apply_never_lowers_it})
