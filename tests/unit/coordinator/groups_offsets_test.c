// Committed offsets: who may commit, what comes back, in which order.

#include <stdio.h>
#include <string.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void test_simple_consumer(void)
{
	script_open(&world);
	script_run(&world,
		"a fetch o=t-0,u-3     : t-0@-1 u-3@-1\n" // an unknown group has no offsets; that is no error
		"a fetch               :\n"
		"a commit o=t-0@5,t-1@6/note,u-0@0 : ok ok ok\n"
		"a fetch o=t-0,t-1,u-9 : t-0@5 t-1@6/note u-9@-1\n"
		"a fetch               : t-0@5 t-1@6/note u-0@0\n"
		"a commit o=t-1@7      : ok\n"
		"a fetch o=t-1         : t-1@7\n"
		"a commit o=z-0@1,t-0@9 : UNKNOWN_TOPIC_OR_PARTITION ok\n"
		"a commit v=10 o=z-0@1,t-0@9 : UNKNOWN_TOPIC_ID ok\n"
		"a commit o=t--1@1     : UNKNOWN_TOPIC_OR_PARTITION\n"
		"x describe            : ok Empty\n"
		"x list                : ok g=Empty\n");
	script_close(&world);
}

// A frontend that has not heard of the topic yet must not make the consumer begin anew.
static void test_a_topic_the_frontend_does_not_know(void)
{
	script_open(&world);
	script_run(&world, "a commit o=t-0@5      : ok\n");
	struct bytes name = world.topics[0].name;
	world.topics[0].name = bytes_of("another");
	script_run(&world, "a fetch o=t-0,t-1     : t-0@5 t-1@-1\n");
	world.topics[0].name = name;
	script_close(&world);
}

static void test_members_only(void)
{
	script_open(&world);
	script_run(&world,
		"a commit gen=1 id=none o=t-0@1 : UNKNOWN_MEMBER_ID\n"
		"a join v=3            : gen 1 range leader a of a=\n"
		"a commit o=t-0@1      : REBALANCE_IN_PROGRESS\n"
		"a sync for=a:x        : assigned x\n"
		"a commit o=t-0@1      : ok\n"
		"a commit gen=0 o=t-0@2 : ILLEGAL_GENERATION\n"
		"a commit gen=2 o=t-0@2 : ILLEGAL_GENERATION\n"
		"a commit id=none o=t-0@2 : UNKNOWN_MEMBER_ID\n"
		"x commit o=t-0@2      : UNKNOWN_MEMBER_ID\n" // a simple consumer in a group with members
		"b join v=3            : -\n"
		"a commit o=t-0@3      : ok\n" // before it gives the partition up
		"a fetch o=t-0         : t-0@3\n"
		"a leave               : ok ok\n"
		"b gets                : gen 2 range leader b of b=\n"
		"b leave               : ok ok\n"
		"x commit o=t-0@4      : ok\n"
		"a fetch o=t-0         : t-0@4\n");
	script_close(&world);
}

static void test_commit_keeps_session(void)
{
	script_open(&world);
	script_run(&world, "a join v=3            : gen 1 range leader a of a=\n"
			   "a sync for=a:x        : assigned x\n"
			   "time 9000\n"
			   "a commit o=t-0@1      : ok\n"
			   "time 9000\n"
			   "a heartbeat           : ok\n"
			   "time 10000\n"
			   "a heartbeat           : UNKNOWN_MEMBER_ID\n");
	script_close(&world);
}

// Several commits before the first is durable: the log has them in their order, so the last one stands.
static void test_order(void)
{
	script_open(&world);
	script_run(&world,
		"log hold\n"
		"a commit o=t-0@5      : -\n"
		"b commit o=t-0@10     : -\n"
		"c commit o=t-0@15     : -\n"
		"x fetch o=t-0         : t-0@-1\n" // not durable, not visible
	);
	script_release(&world, 1, ERROR_OK);
	script_run(&world, "a gets                : ok\n"
			   "b gets                : -\n"
			   "x fetch o=t-0         : t-0@5\n"
			   "log release\n"
			   "x fetch o=t-0         : t-0@15\n"
			   "crash\n"
			   "x fetch o=t-0         : t-0@15\n");
	script_close(&world);
}

static void test_not_durable(void)
{
	script_open(&world);
	script_run(&world, "a commit o=t-0@5      : ok\n"
			   "log hold\n"
			   "a commit o=t-0@6      : -\n"
			   "crash\n"
			   "a gets                : !not_owner\n"
			   "x fetch o=t-0         : t-0@5\n"
			   "log fail\n"
			   "a commit o=t-0@7      : !not_owner\n"
			   "x fetch o=t-0         : t-0@5\n");
	script_close(&world);
}

static void test_metadata(void)
{
	script_open(&world);
	world.settings.offset_metadata_bytes_max = 5;
	script_run(&world, "a commit o=t-0@1/12345,t-1@1/123456,t-2@1 : ok OFFSET_METADATA_TOO_LARGE ok\n"
			   "a fetch               : t-0@1/12345 t-2@1\n");
	script_close(&world);
}

static void test_dropped_topic(void)
{
	script_open(&world);
	script_run(&world, "a commit o=t-0@5,u-0@6 : ok ok\n");
	struct uuid former = world.topics[0].id;
	groups_drop_topic(world.groups, &former);
	script_run(&world, "a fetch : u-0@6\n");
	// Of the same name, but another one.
	memset(world.topics[0].id.bytes, 7, 16);
	script_run(&world, "a fetch o=t-0         : t-0@-1\n"
			   "a commit o=t-0@1      : ok\n"
			   "a fetch v=10 o=t-0    : 7-0@1\n");
	groups_drop_topic(world.groups, &world.topics[0].id);
	groups_drop_topic(world.groups, &world.topics[1].id);
	CU_ASSERT_EQUAL(groups_count(world.groups), 0);
	script_close(&world);
}

static void test_recreated_topic(void)
{
	script_open(&world);
	script_run(&world, "a commit o=t-0@500 : ok\n");
	memset(world.topics[0].id.bytes, 7, 16);
	script_run(&world, "a fetch o=t-0 : t-0@-1\n");
	script_close(&world);
}

static void test_several_groups(void)
{
	script_open(&world);
	script_run(&world, "a commit g=g1 o=t-0@1 : ok\n"
			   "a commit g=g2 o=t-0@2 : ok\n"
			   "a fetch g=g1 v=8      : t-0@1\n"
			   "a fetch g=g2 v=9      : t-0@2\n"
			   "a fetch g=g2 v=10     : 1-0@2\n"
			   "a fetch g=g2 v=10 o=t-0,z-0 : 1-0@2 9-0@-1 UNKNOWN_TOPIC_ID\n");
	script_close(&world);
}

static void test_delete_offsets(void)
{
	script_open(&world);
	script_run(&world,
		"x offsets-delete o=t-0 : GROUP_ID_NOT_FOUND\n"
		"x offsets-delete g= o=t-0 : INVALID_GROUP_ID\n"
		"a commit o=t-0@5,t-1@6,u-0@7 : ok ok ok\n"
		"x offsets-delete o=t-0,z-0,t-8 : ok ok UNKNOWN_TOPIC_OR_PARTITION ok\n"
		"x fetch               : t-1@6 u-0@7\n"
		"c join v=3 g=connect type=connect : gen 1 range leader c of c=\n"
		"x offsets-delete g=connect o=t-0 : NON_EMPTY_GROUP\n"
		"a join v=3            : gen 1 range leader a of a=\n"
		"a sync for=a:x        : assigned x\n"
		"x offsets-delete o=u-0 : ok GROUP_SUBSCRIBED_TO_TOPIC\n" // unreadable subscription: any topic
		"a leave               : ok ok\n"
		"x offsets-delete o=u-0 : ok ok\n"
		"x fetch               : t-1@6\n");
	script_close(&world);
}

static void test_delete_offsets_of_consumers(void)
{
	script_open(&world);
	script_run(&world, "x commit o=t-0@5,u-0@7 : ok ok\n"
			   "a join v=3 p=range:@t,sticky:@u : *\n"
			   "a sync for=a:x        : assigned x\n"
			   "x offsets-delete o=t-0,u-0 : ok GROUP_SUBSCRIBED_TO_TOPIC ok\n"
			   "x fetch               : t-0@5\n");
	script_close(&world);
}

// For backward compatibility Kafka lets simple consumers have no group id.
static void test_empty_group_id(void)
{
	script_open(&world);
	script_run(&world, "x commit g= o=t-0@5   : ok\n"
			   "crash\n"
			   "x fetch g=            : t-0@5\n"
			   "x fetch g= v=10       : 1-0@5\n");
	script_close(&world);
}

UNIT_MAIN("groups: offsets", {"a simple consumer", test_simple_consumer},
	{"a topic the frontend does not know", test_a_topic_the_frontend_does_not_know}, {"members only", test_members_only},
	{"a commit keeps the session", test_commit_keeps_session}, {"order", test_order}, {"not durable", test_not_durable},
	{"metadata", test_metadata}, {"a dropped topic", test_dropped_topic}, {"a re-created topic", test_recreated_topic},
	{"several groups", test_several_groups}, {"OffsetDelete", test_delete_offsets},
	{"OffsetDelete of consumers", test_delete_offsets_of_consumers}, {"empty group id", test_empty_group_id})
