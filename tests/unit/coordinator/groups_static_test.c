// Static members (KIP-345).

#include <stdio.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void open_two(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 1000;
	script_run(&world, "a join inst=i1 p=range:1 : -\n"
			   "b join inst=i2 p=range:2 : -\n"
			   "time 2000\n"
			   "a gets                : gen 1 range leader a of a=1,b=2\n"
			   "b sync                : -\n"
			   "a sync for=a:x,b:y    : assigned x\n"
			   "b gets                : assigned y\n");
}

static void test_restart_follower(void)
{
	open_two();
	script_run(&world,
		"b2 join inst=i2 p=range:2 : gen 1 range leader a\n"
		"b2 sync               : assigned y\n"
		"a heartbeat           : ok\n" // no rebalance
		"b heartbeat           : FENCED_INSTANCE_ID\n"
		"b sync                : FENCED_INSTANCE_ID\n"
		"b join p=range:2      : FENCED_INSTANCE_ID\n"
		"b commit o=t-0@1      : FENCED_INSTANCE_ID\n"
		"b2 heartbeat          : ok\n");
	CU_ASSERT_EQUAL(world.durable, 2);
	script_close(&world);
}

static void test_restart_leader(void)
{
	open_two();
	// Before version 9 it is told that the former leads, so that it assigns nothing; from then on it is told to skip that.
	script_run(&world, "c join v=8 inst=i1 p=range:1 : gen 1 range leader a\n"
			   "c sync                : assigned x\n"
			   "d join v=9 inst=i1 p=range:1 : gen 1 range leader d of b=2,d=1 skip\n"
			   "d sync                : assigned x\n"
			   "b heartbeat           : ok\n"
			   "c heartbeat           : FENCED_INSTANCE_ID\n");
	script_close(&world);
}

static void test_restart_other_metadata(void)
{
	open_two();
	script_run(&world,
		"c join inst=i2 p=range:new,sticky : gen 1 range leader a\n" // the choice of protocol stands
		"c heartbeat           : ok\n"
		"d join inst=i2 p=sticky : INCONSISTENT_GROUP_PROTOCOL\n");
	script_close(&world);
}

static void test_restart_while_waiting(void)
{
	open_two();
	script_run(&world,
		"a join p=range:1      : -\n"
		"b join p=range:2      : gen 2 range leader a\n"
		"a gets                : gen 2 range leader a of a=1,b=2\n"
		"b sync                : -\n"
		"c join inst=i2 p=range:2 : -\n" // the leader knows b only: once more
		"b gets                : FENCED_INSTANCE_ID\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"d join inst=i2 p=range:2 : -\n"
		"c gets                : FENCED_INSTANCE_ID\n"
		"a join p=range:1      : gen 3 range leader a of a=1,d=2\n"
		"d gets                : gen 3 range leader a\n");
	script_close(&world);
}

static void test_restart_not_logged(void)
{
	open_two();
	script_run(&world, "log fail\n"
			   "c join inst=i2 p=range:2 : !not_owner\n"
			   "log next\n"
			   "c join id=new p=range:2 : gen 1 range leader a\n"
			   "c sync                : assigned y\n");
	script_close(&world);
}

static void test_restart_overtaken(void)
{
	open_two();
	script_run(&world,
		"log hold\n"
		"c join inst=i2 p=range:2 : -\n"
		"a join p=range:1      : gen 2 range leader a of a=1,c=2\n" // c counts as one that has joined
		"c gets                : gen 2 range leader a\n"
		"log release\n"
		"c sync                : -\n"
		"a sync for=a:1,c:2    : -\n"
		"log release\n"
		"c gets                : assigned 2\n");
	script_close(&world);
}

static void test_restart_durable_in_rebalance(void)
{
	open_two();
	script_run(&world,
		"log hold\n"
		"c join inst=i2 p=range:2 : -\n"
		"d join v=3 p=range:3  : -\n"
		"log release\n"
		"c gets                : -\n" // it takes part in the rebalance
		"a join p=range:1      : gen 2 range leader a of a=1,c=2,d=3\n"
		"c gets                : gen 2 range leader a\n");
	script_close(&world);
}

static void test_leave_by_instance(void)
{
	open_two();
	script_run(&world, "x leave members==i2,=i9 : ok ok UNKNOWN_MEMBER_ID\n"
			   "b heartbeat           : UNKNOWN_MEMBER_ID\n"
			   "a heartbeat           : REBALANCE_IN_PROGRESS\n");
	script_close(&world);
}

static void test_absent_static(void)
{
	open_two();
	// A static member that does not rejoin in time stays until its session is over.
	script_run(&world, "a join p=range:1 rebalance=5000 : -\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 9000\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 9000\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 9000\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 3000\n"
			   "a gets                : gen 2 range leader a of a=1,b=2\n");
	script_close(&world);
}

UNIT_MAIN("groups: static members", {"a follower restarts", test_restart_follower},
	{"the leader restarts", test_restart_leader}, {"restart with other metadata", test_restart_other_metadata},
	{"restart while waiting", test_restart_while_waiting}, {"restart not logged", test_restart_not_logged},
	{"restart overtaken by a rebalance", test_restart_overtaken},
	{"restart durable in a rebalance", test_restart_durable_in_rebalance}, {"leaving by instance", test_leave_by_instance},
	{"absent in a rebalance", test_absent_static})
