// What is full answers with an error, and nothing else changes.

#include <stdio.h>
#include <string.h>

#include "common/base/memory.h"
#include "groups_script.h"
#include "proto/kafka/kafka_api.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

static void test_group_size(void)
{
	script_open(&world);
	world.settings.members_max = 2;
	world.settings.initial_rebalance_delay_ms = 1000;
	script_run(&world,
		"a join v=3            : -\n"
		"b join v=3            : -\n"
		"c join v=3            : GROUP_MAX_SIZE_REACHED\n"
		"time 2000\n"
		"a gets                : gen 1 range leader a of a=,b=\n"
		"c join v=3            : GROUP_MAX_SIZE_REACHED\n"
		"b sync                : -\n"
		"a sync for=a:x,b:y    : assigned x\n"
		"c join                : GROUP_MAX_SIZE_REACHED\n"
		"a join                : -\n" // who is in may rejoin
		"b join                : gen 2 range leader a\n"
		"b sync                : -\n");
	script_close(&world);
}

static void test_lowered_limit(void)
{
	script_open(&world);
	world.settings.initial_rebalance_delay_ms = 1000;
	script_run(&world, "a join v=3            : -\n"
			   "b join v=3            : -\n"
			   "c join v=3            : -\n"
			   "time 2000\n"
			   "a gets                : gen 1 range leader a of a=,b=,c=\n");
	world.settings.members_max = 2;
	script_run(&world,
		"a join p=range:new    : -\n"
		"b join                : -\n"
		"c join                : GROUP_MAX_SIZE_REACHED\n" // the last one to rejoin is turned away
		"a gets                : gen 2 range leader a of a=new,b=\n");
	script_close(&world);
}

static void test_pending(void)
{
	script_open(&world);
	world.settings.members_max = 2;
	script_run(&world, "a join                : MEMBER_ID_REQUIRED\n"
			   "b join                : MEMBER_ID_REQUIRED\n"
			   "c join                : GROUP_MAX_SIZE_REACHED\n"
			   "time 10000\n"
			   "c join                : MEMBER_ID_REQUIRED\n");
	script_close(&world);
}

static void test_groups(void)
{
	script_open(&world);
	world.settings.groups_max = 2;
	script_run(&world, "a join g=g1           : MEMBER_ID_REQUIRED\n"
			   "x commit g=g2 o=t-0@1 : ok\n"
			   "a join g=g3 id=new    : COORDINATOR_NOT_AVAILABLE\n"
			   "x commit g=g3 o=t-0@1 : COORDINATOR_NOT_AVAILABLE\n"
			   "x commit g=g2 o=t-0@2 : ok\n"
			   "x delete groups=g2    : ok\n"
			   "x commit g=g3 o=t-0@1 : ok\n");
	CU_ASSERT_EQUAL(groups_count(world.groups), 2);
	script_close(&world);
}

static void test_session_timeout(void)
{
	script_open(&world);
	script_run(&world, "a join session=5999   : INVALID_SESSION_TIMEOUT\n"
			   "a join session=1800001 : INVALID_SESSION_TIMEOUT\n"
			   "a join session=-1     : INVALID_SESSION_TIMEOUT\n"
			   "a join session=6000   : MEMBER_ID_REQUIRED\n"
			   "b join inst=          : MEMBER_ID_REQUIRED\n");
	script_close(&world);
}

struct last_answer {
	int answers;
	int16_t code;
};

static void read_code(void *ctx, enum error error, struct bytes body)
{
	struct last_answer *last = ctx;
	CU_ASSERT_EQUAL(error, ERROR_OK);
	struct arena arena;
	arena_init(&arena, 0);
	struct reader reader = reader_of(body);
	struct kafka_join_group_response response;
	CU_ASSERT_EQUAL(kafka_join_group_response_decode(&response, &reader, 5, &arena), ERROR_OK);
	last->code = response.error_code;
	last->answers++;
	arena_done(&arena);
}

static int16_t join_with(
	struct bytes group, struct bytes client_id, struct bytes instance_id, int32_t protocols, struct bytes metadata)
{
	struct arena arena;
	struct kafka_writer writer;
	arena_init(&arena, 0);
	kafka_writer_init(&writer, 64 << 20);
	struct kafka_join_group_request message;
	kafka_join_group_request_init(&message);
	message.group_id = group;
	message.session_timeout_ms = 10000;
	message.member_id = bytes_of("");
	message.group_instance_id = instance_id;
	message.protocol_type = bytes_of("consumer");
	message.protocols = kafka_join_group_request_join_group_request_protocol_array(&arena, protocols);
	message.protocols_count = protocols;
	for (int32_t i = 0; i < protocols; i++) {
		message.protocols[i].name = bytes_of("range");
		message.protocols[i].metadata = metadata;
	}
	kafka_join_group_request_encode(&message, &writer, 5);
	struct group_call call = {KAFKA_API_JOIN_GROUP, 5, client_id, BYTES_NULL, buffer_view(&writer.buffer), NULL, 0};
	struct last_answer last = {0, 0};
	groups_request(world.groups, &call, read_code, &last);
	groups_step(world.groups);
	CU_ASSERT_EQUAL(last.answers, 1);
	kafka_writer_done(&writer);
	arena_done(&arena);
	return last.code;
}

// Kafka's error codes by number here: 24 INVALID_GROUP_ID, 42 INVALID_REQUEST, 79 MEMBER_ID_REQUIRED, 81
// GROUP_MAX_SIZE_REACHED.
static void test_texts(void)
{
	static uint8_t large[20 << 20];
	static uint8_t letters[600];
	memset(letters, 'x', sizeof letters);
	struct bytes none = bytes_of("");
	script_open(&world);
	CU_ASSERT_EQUAL(join_with(bytes_view("g\0h", 3), none, BYTES_NULL, 1, none), 24);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), bytes_view("c\0d", 3), BYTES_NULL, 1, none), 42);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, bytes_view("i\0j", 3), 1, none), 42);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, bytes_of(""), 1, none), 42);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, bytes_view(letters, 250), 1, none), 42);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, BYTES_NULL, 65, none), 23);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, BYTES_NULL, 0, none), 23);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, BYTES_NULL, 1, bytes_view(large, sizeof large)), 81);
	CU_ASSERT_EQUAL(groups_count(world.groups), 0);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), bytes_view(letters, 600), BYTES_NULL, 1, none), 79);
	// A client id is cut between characters: 0xC3 0xA4 is one.
	memcpy(letters + 254, "\xC3\xA4", 2);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), bytes_view(letters, 600), BYTES_NULL, 1, none), 79);
	memset(letters, 'x', sizeof letters);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), BYTES_NULL, BYTES_NULL, 1, bytes_view("\0\0", 2)), 79);
	CU_ASSERT_EQUAL(join_with(bytes_of("g"), none, bytes_view(letters, 249), 1, bytes_view("\0\0", 2)), 0);
	script_close(&world);
}

// Many groups and members, so that the heap of deadlines moves: each expires when it should.
static void test_deadlines(void)
{
	script_open(&world);
	world.settings.groups_max = 1000;
	for (int i = 0; i < 300; i++) {
		char line[128];
		snprintf(
			line, sizeof line, "a join g=g%d id=new session=%d : MEMBER_ID_REQUIRED\n", i, 6000 + (i * 7919) % 300);
		script_run(&world, line);
	}
	CU_ASSERT_EQUAL(groups_count(world.groups), 300);
	script_advance(&world, 5999);
	for (int i = 0; i < 300; i++) {
		script_advance(&world, 1);
		CU_ASSERT_EQUAL(groups_count(world.groups), (size_t)(299 - i));
	}
	CU_ASSERT_EQUAL(groups_step(world.groups), DEADLINE_NEVER);
	script_close(&world);
}

UNIT_MAIN("groups: limits", {"members", test_group_size}, {"a lowered limit", test_lowered_limit},
	{"ids given out", test_pending}, {"groups", test_groups}, {"session timeout", test_session_timeout},
	{"texts", test_texts}, {"deadlines", test_deadlines})
