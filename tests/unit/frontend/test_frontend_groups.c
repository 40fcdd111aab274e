// Group requests: passed on verbatim, split over shards and merged, and well-formed errors in every version.
#include <stdio.h>

#include "common/base/placement.h"
#include "tests/unit/frontend/frontend_suite.h"

WORLD_ENCODER(join_group_request)
WORLD_ENCODER(sync_group_request)
WORLD_ENCODER(heartbeat_request)
WORLD_ENCODER(leave_group_request)
WORLD_ENCODER(offset_commit_request)
WORLD_ENCODER(offset_fetch_request)
WORLD_ENCODER(offset_delete_request)
WORLD_ENCODER(describe_groups_request)
WORLD_ENCODER(delete_groups_request)
WORLD_ENCODER(list_groups_request)
WORLD_ENCODER(init_producer_id_request)

static struct world world;
static struct arena arena;

static void setup(void)
{
	world = (struct world){0};
	arena_init(&arena, 0);
	world_add_topic(&world, "orders", 4);
	world_start(&world, NULL);
}

static void teardown(void)
{
	world_stop(&world);
	arena_done(&arena);
}

// The owner fails every call that is held.
static void fail_held(enum error error)
{
	world_run(&world, 5);
	for (size_t i = 0; i < world.held_count; i++) {
		if (!world.held[i].request)
			continue;
		world_release_error(&world, i, error);
		slice_done(&world.held[i].body);
	}
	world.held_count = 0;
	world_run(&world, 5);
}

#define FOR_VERSIONS(key, version)                                                                                             \
	for (int16_t version = kafka_api_find(key)->min_version; version <= kafka_api_find(key)->max_version; version++)

// Sends a request of each version of an API, lets the owner fail, and decodes the answer.
#define EXPECT_ERROR(key, request, response_name, fill, code_of)                                                               \
	FOR_VERSIONS((key), version)                                                                                           \
	{                                                                                                                      \
		struct kafka_##request message;                                                                                \
		struct kafka_##response_name response;                                                                         \
		struct world_call call;                                                                                        \
		kafka_##request##_init(&message);                                                                              \
		fill;                                                                                                          \
		WORLD_SEND(&world, &call, request, (key), version, &message);                                                  \
		fail_held(ERROR_INTERNAL);                                                                                     \
		WORLD_ANSWER(&call, &arena, response_name, &response, version);                                                \
		CU_ASSERT_EQUAL(code_of, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);                                                    \
		world_call_done(&call);                                                                                        \
	}

static void commit_fill(struct kafka_offset_commit_request *message, int16_t version)
{
	message->group_id = bytes_of("g");
	message->topics = kafka_offset_commit_request_offset_commit_request_topic_array(&arena, 1);
	message->topics_count = 1;
	if (version >= 10)
		message->topics[0].topic_id = world.topics[0].id;
	else
		message->topics[0].name = bytes_of("orders");
	message->topics[0].partitions = kafka_offset_commit_request_offset_commit_request_partition_array(&arena, 1);
	message->topics[0].partitions_count = 1;
}

static void fetch_fill(struct kafka_offset_fetch_request *message, int16_t version)
{
	if (version < 8) {
		message->group_id = bytes_of("g");
		message->topics = kafka_offset_fetch_request_offset_fetch_request_topic_array(&arena, 1);
		message->topics_count = 1;
		message->topics[0].name = bytes_of("orders");
		message->topics[0].partition_indexes = arena_alloc(&arena, sizeof(int32_t));
		message->topics[0].partition_indexes_count = 1;
		return;
	}
	message->groups = kafka_offset_fetch_request_offset_fetch_request_group_array(&arena, 1);
	message->groups_count = 1;
	message->groups[0].group_id = bytes_of("g");
}

static int16_t fetch_code(const struct kafka_offset_fetch_response *response, int16_t version)
{
	if (version >= 8)
		return response->groups[0].error_code;
	return version >= 2 ? response->error_code : response->topics[0].partitions[0].error_code;
}

static void test_errors_are_well_formed_in_every_version(void)
{
	struct bytes names[] = {bytes_of("g")};
	EXPECT_ERROR(11, join_group_request, join_group_response, message.group_id = names[0], response.error_code);
	EXPECT_ERROR(14, sync_group_request, sync_group_response, message.group_id = names[0], response.error_code);
	EXPECT_ERROR(12, heartbeat_request, heartbeat_response, message.group_id = names[0], response.error_code);
	EXPECT_ERROR(13, leave_group_request, leave_group_response, message.group_id = names[0], response.error_code);
	EXPECT_ERROR(8, offset_commit_request, offset_commit_response, commit_fill(&message, version),
		response.topics[0].partitions[0].error_code);
	EXPECT_ERROR(
		9, offset_fetch_request, offset_fetch_response, fetch_fill(&message, version), fetch_code(&response, version));
	EXPECT_ERROR(47, offset_delete_request, offset_delete_response, message.group_id = names[0], response.error_code);
	EXPECT_ERROR(15, describe_groups_request, describe_groups_response, (message.groups = names, message.groups_count = 1),
		response.groups[0].error_code);
	EXPECT_ERROR(42, delete_groups_request, delete_groups_response,
		(message.groups_names = names, message.groups_names_count = 1), response.results[0].error_code);
	EXPECT_ERROR(16, list_groups_request, list_groups_response, (void)0, response.error_code);
	EXPECT_ERROR(22, init_producer_id_request, init_producer_id_response, (void)0, response.error_code);
}

static void test_a_group_is_passed_on_verbatim_to_its_shard(void)
{
	struct kafka_heartbeat_request message;
	struct kafka_heartbeat_response response;
	struct world_call call;
	static const uint8_t body[] = {0, 0, 0, 0, 0, 27}; // version 1: throttle, REBALANCE_IN_PROGRESS
	kafka_heartbeat_request_init(&message);
	message.group_id = bytes_of("some-group");
	message.member_id = bytes_of("me");
	WORLD_SEND(&world, &call, heartbeat_request, 12, 1, &message);
	world_run(&world, 5);
	CU_ASSERT_EQUAL_FATAL(world.held_count, 1);
	CU_ASSERT_EQUAL(world.held[0].shard, placement_name_shard(bytes_of("some-group"), WORLD_SHARDS));
	struct reader reader = reader_of(slice_bytes(world.held[0].body));
	struct kafka_heartbeat_request passed;
	CU_ASSERT_EQUAL(kafka_heartbeat_request_decode(&passed, &reader, 1, &arena), ERROR_OK);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
	CU_ASSERT_TRUE(bytes_equal(passed.group_id, message.group_id) && bytes_equal(passed.member_id, message.member_id));
	world_release(&world, 0, bytes_view(body, sizeof body));
	world_run(&world, 5);
	WORLD_ANSWER(&call, &arena, heartbeat_response, &response, 1);
	CU_ASSERT_EQUAL(response.error_code, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
	world_call_done(&call);
}

// The owner's answer for the groups that a held DeleteGroups names: 69 for each.
static void answer_delete_groups(size_t index)
{
	struct kafka_delete_groups_request asked;
	struct kafka_delete_groups_response response;
	struct kafka_writer writer;
	struct reader reader = reader_of(slice_bytes(world.held[index].body));
	CU_ASSERT_EQUAL_FATAL(kafka_delete_groups_request_decode(&asked, &reader, 2, &arena), ERROR_OK);
	kafka_delete_groups_response_init(&response);
	response.results = kafka_delete_groups_response_deletable_group_result_array(&arena, asked.groups_names_count);
	response.results_count = asked.groups_names_count;
	for (int32_t i = 0; i < asked.groups_names_count; i++) {
		CU_ASSERT_EQUAL(placement_name_shard(asked.groups_names[i], WORLD_SHARDS), world.held[index].shard);
		response.results[i].group_id = asked.groups_names[i];
		response.results[i].error_code = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
	}
	kafka_writer_init(&writer, 4096);
	kafka_delete_groups_response_encode(&response, &writer, 2);
	world_release(&world, index, buffer_view(&writer.buffer));
	kafka_writer_done(&writer);
}

static void test_many_groups_are_split_and_merged_in_order(void)
{
	enum { GROUPS = 20 };
	struct kafka_delete_groups_request message;
	struct kafka_delete_groups_response response;
	struct world_call call;
	struct bytes names[GROUPS];
	char texts[GROUPS][24];
	for (int i = 0; i < GROUPS; i++) {
		snprintf(texts[i], sizeof texts[i], "group-%d", i);
		names[i] = bytes_of(texts[i]);
	}
	kafka_delete_groups_request_init(&message);
	message.groups_names = names;
	message.groups_names_count = GROUPS;
	WORLD_SEND(&world, &call, delete_groups_request, 42, 2, &message);
	world_run(&world, 5);
	CU_ASSERT_EQUAL_FATAL(world.held_count, WORLD_SHARDS);
	uint32_t failed = world.held[0].shard;
	world_release_error(&world, 0, ERROR_INTERNAL);
	for (size_t i = WORLD_SHARDS - 1; i > 0; i--)
		answer_delete_groups(i);
	world_run(&world, 5);
	WORLD_ANSWER(&call, &arena, delete_groups_response, &response, 2);
	for (int i = 0; i < GROUPS; i++) {
		bool bad = placement_name_shard(names[i], WORLD_SHARDS) == failed;
		CU_ASSERT_TRUE(bytes_equal(response.results[i].group_id, names[i]));
		CU_ASSERT_EQUAL(response.results[i].error_code,
			bad ? KAFKA_ERROR_UNKNOWN_SERVER_ERROR : KAFKA_ERROR_GROUP_ID_NOT_FOUND);
	}
	world_call_done(&call);
}

static void test_an_owner_that_does_not_answer(void)
{
	struct kafka_heartbeat_request message;
	struct kafka_heartbeat_response response;
	struct world_call call;
	kafka_heartbeat_request_init(&message);
	message.group_id = bytes_of("g");
	WORLD_SEND(&world, &call, heartbeat_request, 12, 4, &message);
	world_run(&world, 2100); // call_timeout_ms
	WORLD_ANSWER(&call, &arena, heartbeat_response, &response, 4);
	CU_ASSERT_EQUAL(response.error_code, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
	world_call_done(&call);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite_with_setup_and_teardown("frontend_groups", NULL, NULL, setup, teardown);
	CU_ADD_TEST(suite, test_errors_are_well_formed_in_every_version);
	CU_ADD_TEST(suite, test_a_group_is_passed_on_verbatim_to_its_shard);
	CU_ADD_TEST(suite, test_many_groups_are_split_and_merged_in_order);
	CU_ADD_TEST(suite, test_an_owner_that_does_not_answer);
	return suite_run();
}
