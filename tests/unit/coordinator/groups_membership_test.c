// Who gets in, who gets what, who gets out: joins with and without ids, SyncGroup, heartbeats, leaving, expiring.

#include <stdio.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void open_three(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 3000;
	script_run(&world, "a join p=range:1      : MEMBER_ID_REQUIRED\n"
			   "b join p=range:2      : MEMBER_ID_REQUIRED\n"
			   "c join p=range:3      : MEMBER_ID_REQUIRED\n"
			   "a join p=range:1      : -\n"
			   "b join p=range:2      : -\n"
			   "c join p=range:3      : -\n"
			   "time 2900\n"
			   "a gets                : -\n"
			   "time 3200\n"
			   "a gets                : gen 1 range leader a of a=1,b=2,c=3\n"
			   "b gets                : gen 1 range leader a\n"
			   "c gets                : gen 1 range leader a\n");
}

static void sync_three(void)
{
	script_run(&world, "b sync                : -\n"
			   "a sync for=a:x,b:y,c:z : assigned x\n"
			   "b gets                : assigned y\n"
			   "c sync                : assigned z\n"
			   "a heartbeat           : ok\n"
			   "b heartbeat           : ok\n"
			   "c heartbeat           : ok\n"
			   "x describe            : ok Stable range a=1/x b=2/y c=3/z\n");
}

static void test_three(void)
{
	open_three();
	CU_ASSERT_EQUAL(world.proposed, 0);
	script_run(&world, "x describe : ok CompletingRebalance  a=/ b=/ c=/\n");
	sync_three();
	CU_ASSERT_EQUAL(world.durable, 1);
	CU_ASSERT_EQUAL(groups_count(world.groups), 1);
	CU_ASSERT_EQUAL(groups_member_count(world.groups), 3);
	script_close(&world);
}

static void test_no_id(void)
{
	script_open(&world);
	script_run(&world,
		"a join v=0            : gen 1 range leader a of a=\n"
		"a sync v=0 for=a:x    : assigned x\n"
		"a sync v=0            : assigned x\n" // again: the answer was lost
		"a heartbeat v=0       : ok\n"
		"a leave v=0           : ok\n"
		"a leave v=0           : UNKNOWN_MEMBER_ID\n"
		"x describe            : ok Empty \n");
	script_close(&world);
}

static void test_sync_errors(void)
{
	open_three();
	script_run(&world, "a sync gen=7          : ILLEGAL_GENERATION\n"
			   "a sync id=none        : UNKNOWN_MEMBER_ID\n"
			   "a sync g=other        : UNKNOWN_MEMBER_ID\n"
			   "a sync v=5 p=other    : INCONSISTENT_GROUP_PROTOCOL\n"
			   "a sync v=5 type=other : INCONSISTENT_GROUP_PROTOCOL\n"
			   "a heartbeat           : ok\n"
			   "a heartbeat gen=0     : ILLEGAL_GENERATION\n"
			   "a heartbeat id=none   : UNKNOWN_MEMBER_ID\n"
			   "a heartbeat g=other   : UNKNOWN_MEMBER_ID\n"
			   "a leave g=other       : ok UNKNOWN_MEMBER_ID\n");
	sync_three();
	script_close(&world);
}

static void test_sync_twice_before_durable(void)
{
	open_three();
	script_run(&world,
		"log hold\n"
		"a sync for=a:x,b:y,c:z : -\n"
		"a sync for=a:1,b:1,c:1 : -\n" // sent again by an impatient client: the first counts
		"b sync                : -\n");
	CU_ASSERT_EQUAL(world.proposed, 1);
	script_run(&world, "log release\n"
			   "a gets                : assigned x\n"
			   "b gets                : assigned y\n");
	script_close(&world);
}

static void test_leave(void)
{
	open_three();
	sync_three();
	script_run(&world, "b leave members=b,none : ok ok UNKNOWN_MEMBER_ID\n"
			   "b heartbeat           : UNKNOWN_MEMBER_ID\n"
			   "a heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "a sync                : REBALANCE_IN_PROGRESS\n"
			   "a join p=range:1      : -\n"
			   "c heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "c join p=range:3      : gen 2 range leader a\n"
			   "a gets                : gen 2 range leader a of a=1,c=3\n"
			   "a sync for=a:xy,c:z   : assigned xy\n"
			   "c sync                : assigned z\n"
			   "a leave members=a,c   : ok ok ok\n"
			   "x describe            : ok Empty \n");
	CU_ASSERT_EQUAL(world.durable, 3);
	CU_ASSERT_EQUAL(groups_member_count(world.groups), 0);
	script_close(&world);
}

static void test_pending_leaves_and_expires(void)
{
	script_open(&world);
	script_run(&world, "a join                : MEMBER_ID_REQUIRED\n"
			   "a leave               : ok ok\n"
			   "a join                : UNKNOWN_MEMBER_ID\n"
			   "b join id=new         : MEMBER_ID_REQUIRED\n"
			   "time 9999\n");
	CU_ASSERT_EQUAL(groups_count(world.groups), 1);
	script_run(&world, "time 1\n");
	CU_ASSERT_EQUAL(groups_count(world.groups), 0);
	script_run(&world, "b join : UNKNOWN_MEMBER_ID\n");
	script_close(&world);
}

static void test_crash_of_member(void)
{
	open_three();
	sync_three();
	script_run(&world,
		"time 9000\n"
		"a heartbeat           : ok\n"
		"b heartbeat           : ok\n"
		"time 1000\n" // c was last heard of 10 s ago
		"a heartbeat           : REBALANCE_IN_PROGRESS\n"
		"c heartbeat           : UNKNOWN_MEMBER_ID\n"
		"a join p=range:1      : -\n"
		"b join p=range:2      : gen 2 range leader a\n"
		"a gets                : gen 2 range leader a of a=1,b=2\n");
	script_close(&world);
}

static void test_leader_crash(void)
{
	open_three();
	sync_three();
	script_run(&world, "time 9000\n"
			   "c heartbeat           : ok\n"
			   "b heartbeat           : ok\n"
			   "time 1000\n"
			   "c join p=range:3      : -\n"
			   "b join p=range:2      : gen 2 range leader b of b=2,c=3\n"
			   "c gets                : gen 2 range leader b\n"
			   // Nobody hears of the leader any more: its SyncGroup is waited for until its session is over.
			   "c sync                : -\n"
			   "time 10000\n"
			   "c gets                : REBALANCE_IN_PROGRESS\n"
			   "c join p=range:3      : gen 3 range leader c of c=3\n");
	script_close(&world);
}

static void test_waiting_keeps_session(void)
{
	open_three();
	sync_three();
	script_run(&world,
		"a join p=range:1      : -\n" // the leader wants a rebalance
		"b heartbeat           : REBALANCE_IN_PROGRESS\n"
		"time 9000\n"
		"b heartbeat           : REBALANCE_IN_PROGRESS\n"
		"c heartbeat           : REBALANCE_IN_PROGRESS\n"
		"time 9000\n" // far beyond a's session, but a waits
		"b join p=range:2      : -\n"
		"c join p=range:3      : gen 2 range leader a\n"
		"a gets                : gen 2 range leader a of a=1,b=2,c=3\n");
	script_close(&world);
}

static void test_members_never_rejoin(void)
{
	open_three();
	sync_three();
	script_run(&world, "d join v=0            : -\n"
			   "a heartbeat           : REBALANCE_IN_PROGRESS\n"
			   "time 30000\n"
			   "d gets                : gen 2 range leader d of d=\n"
			   "a heartbeat           : UNKNOWN_MEMBER_ID\n");
	script_close(&world);
}

// Nothing tells us that a client that has no member id yet is gone; so its JoinGroup does not wait longer than five minutes.
static void test_new_member_gives_up(void)
{
	script_open(&world);
	script_run(&world, "a join v=3 rebalance=900000 : gen 1 range leader a of a=\n"
			   "a sync for=a:x        : assigned x\n"
			   "d join v=3            : -\n");
	for (int i = 0; i < 60; i++)
		script_run(&world, "d gets : -\n"
				   "a heartbeat : REBALANCE_IN_PROGRESS\n"
				   "time 5000\n");
	script_run(&world, "d gets                : UNKNOWN_MEMBER_ID\n"
			   "a join                : gen 2 range leader a of a=\n");
	script_close(&world);
}

UNIT_MAIN("groups: membership", {"three join and sync", test_three}, {"oldest versions", test_no_id},
	{"sync and heartbeat errors", test_sync_errors}, {"leader syncs twice", test_sync_twice_before_durable},
	{"leaving", test_leave}, {"pending ids", test_pending_leaves_and_expires}, {"a member crashes", test_crash_of_member},
	{"the leader crashes", test_leader_crash}, {"waiting keeps the session", test_waiting_keeps_session},
	{"members that never rejoin", test_members_never_rejoin}, {"a new member gives up", test_new_member_gives_up})
