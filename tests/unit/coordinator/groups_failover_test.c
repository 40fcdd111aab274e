// A new owner: no rebalance for a stable group, a fresh start for one between generations; apply gives every replica the same.

#include <stdio.h>
#include <stdlib.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void open_two(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 1000;
	script_run(&world, "a join v=3 p=range:1,sticky:s : -\n"
			   "b join inst=i2 p=range:2,sticky:s : -\n"
			   "time 2000\n"
			   "a gets                : gen 1 range leader a of a=1,b=2\n"
			   "b sync                : -\n"
			   "a sync for=a:x,b:y    : assigned x\n"
			   "b gets                : assigned y\n"
			   "a commit o=t-0@7/m    : ok\n");
}

static void test_no_rebalance(void)
{
	open_two();
	script_run(&world,
		"crash\n"
		"a heartbeat           : ok\n"
		"b heartbeat           : ok\n"
		"a commit o=t-1@8      : ok\n"
		"b fetch               : t-0@7/m t-1@8\n"
		"b join p=range:2,sticky:s : gen 1 range leader a\n" // unchanged, as before
		"b sync                : assigned y\n"
		"a sync                : assigned x\n"
		"x describe            : ok Stable range a=1/x b=2/y\n"
		"b2 join inst=i2 p=range:2,sticky:s : gen 1 range leader a\n"
		"b heartbeat           : FENCED_INSTANCE_ID\n"
		"crash\n"
		"b heartbeat           : FENCED_INSTANCE_ID\n"
		"b2 heartbeat          : ok\n"
		"a join p=range:1,sticky:s : -\n" // still the leader
		"b2 join p=range:2,sticky:s : gen 2 range leader a\n");
	CU_ASSERT_EQUAL(groups_member_count(world.groups), 2);
	script_close(&world);
}

static void test_sessions_restart(void)
{
	open_two();
	script_run(&world,
		"time 9000\n"
		"crash\n"
		"time 9000\n"
		"a heartbeat           : ok\n"
		"time 1000\n" // b was not heard of since the take-over
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"b heartbeat           : UNKNOWN_MEMBER_ID\n");
	script_close(&world);
}

static void test_in_rebalance(void)
{
	open_two();
	script_run(&world,
		"c join v=3            : -\n"
		"a join p=range:1,sticky:s : -\n"
		"crash\n"
		"c gets                : !not_owner\n"
		"a gets                : !not_owner\n"
		"a heartbeat           : ok\n" // generation 1 stands
		"c join id=new v=3     : -\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n");
	script_close(&world);
}

static void test_in_sync(void)
{
	open_two();
	script_run(&world, "a join p=range:1,sticky:s : -\n"
			   "b join p=range:2,sticky:s : gen 2 range leader a\n"
			   "a gets                : gen 2 range leader a of a=1,b=2\n"
			   "log hold\n"
			   "b sync                : -\n"
			   "a sync for=a:x,b:y    : -\n"
			   "crash\n"
			   "a gets                : !not_owner\n"
			   "b gets                : !not_owner\n"
			   "a sync for=a:x,b:y    : ILLEGAL_GENERATION\n"
			   "a heartbeat           : ILLEGAL_GENERATION\n"
			   "log next\n"
			   "a join p=range:1,sticky:s : -\n"
			   "b join p=range:2,sticky:s : gen 2 range leader a\n");
	script_close(&world);
}

static void test_empty_keeps_generation(void)
{
	open_two();
	script_run(&world, "a leave members=a,b   : ok ok ok\n"
			   "crash\n"
			   "x describe            : ok Empty\n"
			   "a heartbeat           : UNKNOWN_MEMBER_ID\n"
			   "c join v=3            : -\n"
			   "time 1000\n"
			   "c gets                : gen 3 range leader c of c=\n"
			   "c fetch               : t-0@7/m\n");
	script_close(&world);
}

static void make_history(void)
{
	open_two();
	script_run(&world, "x commit g=h o=t-0@1,u-5@2/note : ok ok\n"
			   "x commit g=i o=t-0@1  : ok\n"
			   "x commit g=h o=t-0@3  : ok\n"
			   "x offsets-delete g=h o=u-5 : ok ok\n"
			   "x delete groups=i     : ok\n"
			   "x commit g=i o=u-0@9  : ok\n"
			   "b2 join inst=i2 p=range:2,sticky:s : gen 1 range leader a\n"
			   "a leave members=a     : ok ok\n"
			   "b2 join p=range:3     : gen 2 range leader b2 of b2=3\n"
			   "b2 sync for=b2:all    : assigned all\n");
}

static void copy_command(void *ctx, const Weir__Command *command)
{
	groups_apply(ctx, command, 0);
}

static void check_same(const struct groups *one, const struct groups *other)
{
	char *left = script_state(one);
	char *right = script_state(other);
	CU_ASSERT_STRING_EQUAL(left, right);
	free(left);
	free(right);
}

static void test_deterministic(void)
{
	make_history();
	struct groups *one = script_replay(&world);
	// Whatever the clock and the random numbers are.
	world.env.now_us += 12345;
	world.env.wall_ms -= 99999;
	prng_init(&world.env.prng, 99);
	struct groups *other = script_replay(&world);
	struct groups *copy = groups_new(&world.deps);
	groups_export(one, copy_command, copy);
	check_same(one, world.groups);
	check_same(one, other);
	check_same(one, copy);
	CU_ASSERT_EQUAL(groups_count(copy), 3);
	groups_take_over(copy);
	CU_ASSERT_EQUAL(groups_member_count(copy), 1);
	check_same(one, copy);
	groups_free(&one);
	groups_free(&other);
	groups_free(&copy);
	script_close(&world);
}

static void test_export_in_pieces(void)
{
	script_open(&world);
	for (int i = 0; i < 2500; i++) {
		Weir__GroupOffset offset = WEIR__GROUP_OFFSET__INIT;
		offset.topic_id = (ProtobufCBinaryData){16, world.topics[i % 2].id.bytes};
		offset.partition = i;
		offset.offset = i;
		Weir__GroupOffset *offsets[] = {&offset};
		Weir__GroupOffsets message = WEIR__GROUP_OFFSETS__INIT;
		message.group = (char[]){"big"};
		message.n_offsets = 1;
		message.offsets = offsets;
		Weir__Command command = WEIR__COMMAND__INIT;
		command.kind_case = WEIR__COMMAND__KIND_GROUP_OFFSETS;
		command.group_offsets = &message;
		groups_apply(world.groups, &command, 0);
	}
	struct groups *copy = groups_new(&world.deps);
	groups_export(world.groups, copy_command, copy);
	check_same(world.groups, copy);
	groups_free(&copy);
	script_close(&world);
}

static void test_before_take_over(void)
{
	open_two();
	groups_free(&world.groups);
	world.groups = script_replay(&world);
	CU_ASSERT_EQUAL(groups_step(world.groups), DEADLINE_NEVER);
	CU_ASSERT_EQUAL(groups_count(world.groups), 1);
	script_run(&world, "a heartbeat : !loading\n");
	groups_take_over(world.groups);
	script_run(&world, "a heartbeat : ok\n");
	script_close(&world);
}

// The wait for every SyncGroup ends with the last one; it must not disturb a group that has long been stable.
static void test_long_stable(void)
{
	open_two();
	for (int i = 0; i < 20; i++)
		script_run(&world, "time 5000\n"
				   "a heartbeat : ok\n"
				   "b heartbeat : ok\n");
	CU_ASSERT_EQUAL(world.durable, 2);
	script_close(&world);
}

UNIT_MAIN("groups: failover", {"no rebalance", test_no_rebalance}, {"before take-over", test_before_take_over},
	{"long stable", test_long_stable}, {"sessions restart", test_sessions_restart},
	{"in the middle of a rebalance", test_in_rebalance}, {"in the middle of a sync", test_in_sync},
	{"an empty group keeps its generation", test_empty_keeps_generation}, {"apply is deterministic", test_deterministic},
	{"export in pieces", test_export_in_pieces})
