// When a rebalance begins and ends, and which protocol it chooses.

#include <stdio.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void open_two(void)
{
	script_open(&world);
	script_run(&world, "a join v=3 p=range:1  : gen 1 range leader a of a=1\n"
			   "a sync for=a:x        : assigned x\n"
			   "b join v=3 p=range:2  : -\n"
			   "a heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "a join p=range:1      : gen 2 range leader a of a=1,b=2\n"
			   "b gets                : gen 2 range leader a\n"
			   "b sync                : -\n"
			   "a sync for=a:x,b:y    : assigned x\n"
			   "b gets                : assigned y\n");
}

static void test_rejoin_unchanged(void)
{
	open_two();
	script_run(&world,
		"b join p=range:2      : gen 2 range leader a\n" // a follower with nothing new
		"b sync                : assigned y\n"
		"a heartbeat           : ok\n"
		"b join p=range:3      : -\n" // changed: a rebalance
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"a join p=range:1      : gen 3 range leader a of a=1,b=3\n"
		"a join p=range:1      : gen 3 range leader a of a=1,b=3\n" // the answer was lost
		"b gets                : gen 3 range leader a\n"
		"b sync                : -\n"
		"a join p=range:2      : -\n" // changed before the assignment
		"b gets                : REBALANCE_IN_PROGRESS\n"
		"b join p=range:3      : gen 4 range leader a\n"
		"a gets                : gen 4 range leader a of a=2,b=3\n");
	script_close(&world);
}

static void test_rebalance_timeout(void)
{
	open_two();
	script_run(&world, "a join p=range:1 rebalance=30000 : -\n"
			   "time 9000\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 9000\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 9000\n"
			   "b heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 3000\n"
			   "a gets                : gen 3 range leader a of a=1\n"
			   "b heartbeat           : UNKNOWN_MEMBER_ID\n");
	script_close(&world);
}

static void test_never_syncs(void)
{
	open_two();
	script_run(&world,
		"a join p=range:1 rebalance=20000 : -\n"
		"b join p=range:2 rebalance=20000 : gen 3 range leader a\n"
		"a gets                : gen 3 range leader a of a=1,b=2\n"
		"a sync for=a:x,b:y    : assigned x\n"
		"time 9000\n"
		"a heartbeat           : ok\n"
		"b heartbeat           : ok\n"
		"time 9000\n"
		"a heartbeat           : ok\n"
		"b heartbeat           : ok\n" // alive, but it never asks for its assignment
		"time 2000\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"b heartbeat           : UNKNOWN_MEMBER_ID\n"
		"a join p=range:1      : gen 4 range leader a of a=1\n");
	script_close(&world);
}

static void test_leader_changes(void)
{
	open_two();
	script_run(&world,
		"b join p=range:3 rebalance=20000 : -\n"
		"time 9000\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"time 9000\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"time 9000\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"time 3000\n" // the longest timeout is a's: 30 s
		"b gets                : gen 3 range leader b of b=3\n"
		"a heartbeat           : UNKNOWN_MEMBER_ID\n");
	script_close(&world);
}

static void test_initial_delay(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 3000;
	script_run(&world,
		"a join v=3 rebalance=8000 : -\n"
		"time 2000\n"
		"b join v=3 rebalance=8000 : -\n" // extends to 6 s
		"time 2000\n"
		"c join v=3 rebalance=8000 : -\n" // extends to 8 s: the rebalance timeout
		"time 3000\n"
		"d join v=3 rebalance=8000 : -\n"
		"time 900\n"
		"a gets                : -\n"
		"time 100\n"
		"a gets                : gen 1 range leader a of a=,b=,c=,d=\n"
		"d gets                : gen 1 range leader a\n");
	script_close(&world);
}

static void test_initial_all_leave(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 3000;
	script_run(&world, "a join                : MEMBER_ID_REQUIRED\n"
			   "a join                : -\n"
			   "b leave members=a     : ok ok\n"
			   "a gets                : UNKNOWN_MEMBER_ID\n"
			   "x describe            : ok PreparingRebalance \n"
			   "time 3000\n"
			   "x describe            : ok Empty \n");
	script_close(&world);
}

static void test_protocols(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 1000;
	script_run(&world,
		"a join v=3 p=range:r1,sticky:s1,rr:q1 : -\n"
		"b join v=3 p=sticky:s2,range:r2       : -\n"
		"c join v=3 p=other:o3,sticky:s3,range:r3 : -\n"
		"d join v=3 p=other                    : INCONSISTENT_GROUP_PROTOCOL\n"
		"d join v=3 p=range type=connect       : INCONSISTENT_GROUP_PROTOCOL\n"
		"d join v=3 p=rr                       : INCONSISTENT_GROUP_PROTOCOL\n" // b has no rr
		"d join v=3 g=h type=                  : INCONSISTENT_GROUP_PROTOCOL\n"
		"time 2000\n"
		"a gets                : gen 1 sticky leader a of a=s1,b=s2,c=s3\n"
		"a join p=rr           : INCONSISTENT_GROUP_PROTOCOL\n");
	CU_ASSERT_EQUAL(groups_count(world.groups), 1);
	script_close(&world);
}

static void test_join_twice(void)
{
	open_two();
	script_run(&world, "a join p=range:1 : -\n");
	size_t answers = world.answers;
	script_run(&world, "a join p=range:1 : -\n"); // the former is told to join again
	CU_ASSERT_EQUAL(world.answers, answers + 1);
	script_run(&world, "b join p=range:2 : gen 3 range leader a\n");
	CU_ASSERT_EQUAL(world.answers, answers + 3);
	script_close(&world);
}

static void test_sync_in_flight_outdated(void)
{
	open_two();
	script_run(&world,
		"a join p=range:1      : -\n"
		"b join p=range:2      : gen 3 range leader a\n"
		"a gets                : gen 3 range leader a of a=1,b=2\n"
		"log hold\n"
		"a sync for=a:x,b:y    : -\n"
		"b sync                : -\n"
		"c join v=3            : -\n" // a rebalance overtakes the log
		"a gets                : REBALANCE_IN_PROGRESS\n"
		"b gets                : REBALANCE_IN_PROGRESS\n"
		"log release\n"
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"a join p=range:1      : -\n"
		"b join p=range:2      : gen 4 range leader a\n"
		"c gets                : gen 4 range leader a\n"
		"b sync                : -\n"
		"a sync for=a:1,b:2,c:3 : -\n"
		"log release\n"
		"b gets                : assigned 2\n"
		"c sync                : assigned 3\n");
	script_close(&world);
}

// Generation 3 becomes durable when generation 4 is waiting for its assignment.
static void test_sync_in_flight_of_former_generation(void)
{
	open_two();
	script_run(&world, "a join p=range:1      : -\n"
			   "b join p=range:2      : gen 3 range leader a\n"
			   "a gets                : gen 3 range leader a of a=1,b=2\n"
			   "log hold\n"
			   "a sync for=a:x,b:y    : -\n"
			   "b join p=range:new    : -\n"
			   "a gets                : REBALANCE_IN_PROGRESS\n"
			   "a join p=range:1      : gen 4 range leader a of a=1,b=new\n"
			   "b gets                : gen 4 range leader a\n"
			   "b sync                : -\n"
			   "log release\n"
			   "b gets                : -\n"
			   "x describe            : ok CompletingRebalance  a=/ b=/\n"
			   "a sync for=a:1,b:2    : -\n"
			   "log release\n"
			   "b gets                : assigned 2\n");
	script_close(&world);
}

static void test_sync_not_logged(void)
{
	open_two();
	script_run(&world, "a join p=range:1      : -\n"
			   "b join p=range:2      : gen 3 range leader a\n"
			   "a gets                : gen 3 range leader a of a=1,b=2\n"
			   "b sync                : -\n"
			   "log fail\n"
			   "a sync for=a:x,b:y    : !not_owner\n"
			   "b gets                : !not_owner\n"
			   "a heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "log next\n"
			   "a join p=range:1      : -\n"
			   "b join p=range:2      : gen 4 range leader a\n");
	script_close(&world);
}

UNIT_MAIN("groups: rebalance", {"rejoining", test_rejoin_unchanged}, {"rebalance timeout", test_rebalance_timeout},
	{"a member never syncs", test_never_syncs}, {"the leader does not rejoin", test_leader_changes},
	{"initial delay", test_initial_delay}, {"all leave before the first generation", test_initial_all_leave},
	{"protocol votes", test_protocols}, {"joining twice", test_join_twice},
	{"overtaken by a rebalance", test_sync_in_flight_outdated},
	{"overtaken by a generation", test_sync_in_flight_of_former_generation},
	{"assignment not logged", test_sync_not_logged})
