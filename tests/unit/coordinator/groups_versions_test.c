// Every version of every API that groups answer, asked and answered in its own encoding; and bodies that are none.

#include <stdio.h>
#include <string.h>

#include "groups_script.h"
#include "proto/kafka/kafka_api.h"
#include "tests/unit/base/unit.h"

static struct script_world world;

// lines has %d for the version, in each line once.
static void run_version(const char *lines, int version)
{
	char line[256];
	char text[300];
	while (*lines) {
		int len = 0;
		while (lines[len] && lines[len] != '\n')
			len++;
		snprintf(line, sizeof line, "%.*s", len, lines);
		char *at = strstr(line, "%d");
		if (at)
			snprintf(text, sizeof text, "%.*s%d%s", (int)(at - line), line, version, at + 2);
		else
			snprintf(text, sizeof text, "%s", line);
		script_run(&world, text);
		lines += len + (lines[len] == '\n');
	}
}

static void run_versions(int16_t api_key, const char *lines)
{
	const struct kafka_api *api = kafka_api_find(api_key);
	for (int version = api->min_version; version <= api->max_version; version++) {
		script_open(&world);
		run_version("a join v=3 g=known : gen 1 range leader a of a=\n"
			    "a sync v=0 g=known for=a:x : assigned x\n"
			    "y commit g=idle o=t-0@1/m : ok\n",
			0);
		run_version(lines, version);
		script_close(&world);
	}
}

static void test_join(void)
{
	for (int version = 0; version <= 9; version++) {
		script_open(&world);
		if (version >= 4)
			run_version("b join v=%d : MEMBER_ID_REQUIRED\n", version);
		run_version("b join v=%d p=range:m : gen 1 range leader b of b=m\n"
			    "b join v=%d p=no : INCONSISTENT_GROUP_PROTOCOL\n"
			    "b join v=%d session=1 : INVALID_SESSION_TIMEOUT\n"
			    "b join v=%d g= : INVALID_GROUP_ID\n"
			    "c join v=%d id=none : UNKNOWN_MEMBER_ID\n"
			    "c join v=%d g=other id=none : UNKNOWN_MEMBER_ID\n",
			version);
		script_close(&world);
	}
}

static void test_sync(void)
{
	run_versions(KAFKA_API_SYNC_GROUP, "b join v=3 p=range:m : gen 1 range leader b of b=m\n"
					   "b sync v=%d gen=9 : ILLEGAL_GENERATION\n"
					   "b sync v=%d g= : INVALID_GROUP_ID\n"
					   "b sync v=%d for=b:xyz : assigned xyz\n"
					   "b sync v=%d : assigned xyz\n");
}

static void test_heartbeat(void)
{
	run_versions(KAFKA_API_HEARTBEAT, "a heartbeat v=%d g=known : ok\n"
					  "a heartbeat v=%d g= : INVALID_GROUP_ID\n"
					  "a heartbeat v=%d : UNKNOWN_MEMBER_ID\n");
}

static void test_leave(void)
{
	for (int version = 0; version <= 5; version++) {
		script_open(&world);
		run_version("a join v=3 : gen 1 range leader a of a=\n", version);
		run_version("b leave v=%d g= members=a : INVALID_GROUP_ID\n", version);
		if (version < 3)
			run_version("b leave v=%d members=none : UNKNOWN_MEMBER_ID\n"
				    "b leave v=%d members=a : ok\n",
				version);
		else
			run_version("b leave v=%d members=none,a : ok UNKNOWN_MEMBER_ID ok\n", version);
		script_close(&world);
	}
}

static void test_offsets(void)
{
	run_versions(KAFKA_API_OFFSET_COMMIT, "a commit v=%d g=known o=t-0@5/m,u-1@6 : ok ok\n"
					      "a commit v=%d g=known gen=7 o=t-0@5 : ILLEGAL_GENERATION\n"
					      "a fetch g=known : t-0@5/m u-1@6\n");
	for (int version = 1; version <= 9; version++) {
		script_open(&world);
		run_version("y commit g=idle o=t-0@1/m,u-1@2 : ok ok\n"
			    "y fetch v=%d g=idle o=t-0,t-1 : t-0@1/m t-1@-1\n"
			    "y fetch v=%d g=other o=t-0,z-1 : t-0@-1 z-1@-1\n",
			version);
		if (version >= 2)
			run_version("y fetch v=%d g=idle : t-0@1/m u-1@2\n", version);
		script_close(&world);
	}
	script_open(&world);
	script_run(&world, "y commit v=10 g=idle o=t-0@1/m : ok\n"
			   "y fetch v=10 g=idle o=t-0,t-1 : 1-0@1/m 1-1@-1\n"
			   "y fetch v=10 g=idle : 1-0@1/m\n");
	script_close(&world);
}

static void test_admin(void)
{
	for (int version = 0; version <= 5; version++) {
		script_open(&world);
		run_version("y commit g=idle o=t-0@1/m : ok\n", version);
		// The state is told from version 4 on.
		run_version(version < 4 ? "x list v=%d : ok idle=\n" : "x list v=%d : ok idle=Empty\n", version);
		script_close(&world);
	}
	run_versions(KAFKA_API_DELETE_GROUPS, "x delete v=%d groups=idle,known : ok NON_EMPTY_GROUP\n");
	run_versions(KAFKA_API_DESCRIBE_GROUPS, "x describe v=%d groups=known,idle : ok Stable range a=/x; ok Empty\n");
	run_versions(KAFKA_API_OFFSET_DELETE, "x offsets-delete v=%d g=idle o=t-0 : ok ok\n");
}

static void count_malformed(void *ctx, enum error error, struct bytes body)
{
	size_t *malformed = ctx;
	CU_ASSERT_EQUAL(error, ERROR_MALFORMED);
	CU_ASSERT_EQUAL(body.len, 0);
	*malformed += 1;
}

static void test_malformed(void)
{
	script_open(&world);
	size_t asked = 0;
	size_t malformed = 0;
	for (int i = 0; i < kafka_api_count(); i++) {
		const struct kafka_api *api = kafka_api_at(i);
		if (!groups_handle(api->key))
			continue;
		for (int16_t version = api->min_version; version <= api->max_version + 2; version++) {
			struct group_call call = {
				.api_key = api->key, .api_version = version, .body = bytes_of("\x7f\xff\xff")};
			groups_request(world.groups, &call, count_malformed, &malformed);
			asked++;
		}
	}
	CU_ASSERT_EQUAL(malformed, asked);
	CU_ASSERT(asked > 60);
	CU_ASSERT_FALSE(groups_handle(KAFKA_API_PRODUCE));
	script_close(&world);
}

UNIT_MAIN("groups: versions", {"JoinGroup", test_join}, {"SyncGroup", test_sync}, {"Heartbeat", test_heartbeat},
	{"LeaveGroup", test_leave}, {"OffsetCommit and OffsetFetch", test_offsets}, {"administration", test_admin},
	{"malformed", test_malformed})
