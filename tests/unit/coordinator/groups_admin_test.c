// DescribeGroups, ListGroups, DeleteGroups.

#include <stdio.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void test_describe(void)
{
	script_open(&world);
	script_run(&world, "x describe            : ok Dead\n"
			   "x describe v=6        : GROUP_ID_NOT_FOUND Dead\n"
			   "a join v=3 p=range:m  : gen 1 range leader a of a=m\n"
			   "x describe            : ok CompletingRebalance  a=/\n"
			   "a sync for=a:x        : assigned x\n"
			   "x describe groups=g,h : ok Stable range a=m/x; ok Dead\n"
			   "b join v=3            : -\n"
			   "x describe            : ok PreparingRebalance  a=/x ?=/\n");
	script_close(&world);
}

static void test_list(void)
{
	script_open(&world);
	script_run(&world, "x list                : ok\n"
			   "a join g=g1 v=3       : gen 1 range leader a of a=\n"
			   "a sync g=g1 for=a:x   : assigned x\n"
			   "a commit g=g2 gen=-1 id=new o=t-0@1 : ok\n"
			   "x list                : ok g1=Stable g2=Empty\n"
			   "x list states=Empty   : ok g2=Empty\n"
			   "x list states=stable,PreparingRebalance : ok g1=Stable\n"
			   "x list states=nonsense : ok\n"
			   "x list v=5 types=classic : ok g1=Stable g2=Empty\n"
			   "x list v=5 types=Classic,consumer states=EMPTY : ok g2=Empty\n"
			   "x list v=5 types=consumer : ok\n");
	script_close(&world);
}

static void test_delete(void)
{
	script_open(&world);
	script_run(&world, "a join v=3            : gen 1 range leader a of a=\n"
			   "a sync for=a:x        : assigned x\n"
			   "a commit o=t-0@1      : ok\n"
			   "x commit g=h o=t-0@1  : ok\n"
			   "x delete groups=g,h,i : NON_EMPTY_GROUP ok GROUP_ID_NOT_FOUND\n"
			   "x fetch g=h           :\n"
			   "a leave               : ok ok\n"
			   "x fetch               : t-0@1\n"
			   "log hold\n"
			   "x delete              : -\n"
			   "log release\n"
			   "x gets                : ok\n"
			   "x fetch               :\n"
			   "x list                : ok\n"
			   "x delete              : GROUP_ID_NOT_FOUND\n"
			   "a heartbeat           : UNKNOWN_MEMBER_ID\n");
	CU_ASSERT_EQUAL(groups_count(world.groups), 0);
	script_close(&world);
}

static void test_delete_several(void)
{
	script_open(&world);
	script_run(&world, "x commit g=g o=t-0@1  : ok\n"
			   "x commit g=h o=t-0@1  : ok\n"
			   "log hold\n"
			   "x delete groups=g,h,g : -\n");
	CU_ASSERT_EQUAL(world.proposed, 5);
	script_release(&world, 2, ERROR_OK);
	script_run(&world, "x gets : -\n");
	script_release(&world, 1, ERROR_OK);
	script_run(&world, "x gets : ok ok ok\n");
	script_close(&world);
}

static void test_delete_and_join(void)
{
	script_open(&world);
	script_run(&world,
		"x commit o=t-0@1      : ok\n"
		"log hold\n"
		"x delete              : -\n"
		"a join v=3            : gen 1 range leader a of a=\n" // while the group is being deleted: a new one
		"log next\n"
		"x gets                : ok\n"
		"a sync for=a:x        : assigned x\n"
		"a fetch               :\n"
		"a heartbeat           : ok\n");
	script_close(&world);
}

static void test_delete_not_durable(void)
{
	script_open(&world);
	script_run(&world, "x commit g=g o=t-0@1  : ok\n"
			   "x commit g=h o=t-0@1  : ok\n"
			   "log fail\n"
			   "x delete groups=g,h   : !not_owner\n"
			   "x list                : ok g=Empty h=Empty\n");
	script_close(&world);
}

static void test_delete_pending(void)
{
	script_open(&world);
	script_run(&world, "a join                : MEMBER_ID_REQUIRED\n"
			   "x delete              : ok\n"
			   "a join                : UNKNOWN_MEMBER_ID\n");
	CU_ASSERT_EQUAL(groups_count(world.groups), 0);
	script_close(&world);
}

UNIT_MAIN("groups: administration", {"describe", test_describe}, {"list", test_list}, {"delete", test_delete},
	{"delete several", test_delete_several}, {"delete and join", test_delete_and_join},
	{"delete not durable", test_delete_not_durable}, {"delete with an id given out", test_delete_pending})
