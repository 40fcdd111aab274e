// ApiVersions by its bytes; Metadata, FindCoordinator, ListOffsets, DescribeConfigs and topic creation by script.
#include <string.h>

#include "frontend/kafka/serve.h"
#include "tests/unit/frontend/frontend_suite.h"

WORLD_ENCODER(api_versions_request)
WORLD_ENCODER(metadata_request)
WORLD_ENCODER(find_coordinator_request)
WORLD_ENCODER(list_offsets_request)
WORLD_ENCODER(describe_configs_request)
WORLD_ENCODER(describe_cluster_request)
WORLD_ENCODER(create_topics_request)
WORLD_ENCODER(offset_for_leader_epoch_request)

static struct world world;
static struct arena arena;

static void setup(void)
{
	world = (struct world){0};
	arena_init(&arena, 0);
	struct world_topic *topic = world_add_topic(&world, "orders", 3);
	topic->high[0] = 10;
	topic->log_start[0] = 2;
	world_start(&world, NULL);
}

static void teardown(void)
{
	world_stop(&world);
	arena_done(&arena);
}

// ApiVersions

static struct bytes answer_bytes(struct world_call *call)
{
	struct buffer buffer;
	buffer_init(&buffer, 1 << 20);
	kafka_writer_copy(&call->request->answer, &buffer);
	struct bytes bytes = arena_copy(&arena, buffer_view(&buffer));
	buffer_done(&buffer);
	return bytes;
}

static void test_unknown_version_is_answered_in_version_0_with_the_range(void)
{
	// Length 16, correlation 1, error 35, one row: key 18, versions 0 to 4.
	static const uint8_t expected[] = {0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4};
	struct world_call call;
	world_send(&world, &call, 18, 99, NULL, NULL);
	CU_ASSERT_TRUE(bytes_equal(answer_bytes(&call), bytes_view(expected, sizeof expected)));
	world_call_done(&call);
}

static void api_versions_expect(int16_t version)
{
	struct kafka_api_versions_request message;
	struct world_call call;
	kafka_api_versions_request_init(&message);
	message.client_software_name = bytes_of("librdkafka");
	message.client_software_version = bytes_of("2.0.2-rc.1");
	WORLD_SEND(&world, &call, api_versions_request, 18, version, &message);
	struct bytes bytes = answer_bytes(&call);
	struct reader reader = reader_of(bytes);
	CU_ASSERT_EQUAL(reader_u32(&reader), bytes.len - 4);
	CU_ASSERT_EQUAL(reader_u32(&reader), 1); // header version 0 always: no tagged section
	CU_ASSERT_EQUAL(reader_i16(&reader), 0);
	uint32_t count = version >= 3 ? reader_uvarint32(&reader) - 1 : reader_u32(&reader);
	CU_ASSERT_EQUAL(count, (uint32_t)serve_count());
	for (uint32_t i = 0; i < count; i++) {
		int16_t key = reader_i16(&reader), low = reader_i16(&reader), high = reader_i16(&reader);
		if (key == 0)
			CU_ASSERT_TRUE(low == 0 && high == 13); // or old librdkafka does not compress
		if (key == 1)
			CU_ASSERT_TRUE(low == 4 && high == 18);
		if (key == 18)
			CU_ASSERT_TRUE(low == 0 && high == 4);
		if (version >= 3)
			CU_ASSERT_EQUAL(reader_u8(&reader), 0);
	}
	if (version >= 1)
		CU_ASSERT_EQUAL(reader_u32(&reader), 0); // throttle
	if (version >= 3)
		CU_ASSERT_EQUAL(reader_u8(&reader), 0); // no features, so no tags: KAFKA-17011 cannot bite
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
	world_call_done(&call);
}

static void test_versions_0_to_4(void)
{
	for (int16_t version = 0; version <= 4; version++)
		api_versions_expect(version);
}

static void test_a_bad_software_name_is_an_invalid_request(void)
{
	static const char *const names[] = {"", "-x", "x-", "a b", "x\n"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct kafka_api_versions_request message;
		struct kafka_api_versions_response response;
		struct world_call call;
		kafka_api_versions_request_init(&message);
		message.client_software_name = bytes_of(names[i]);
		message.client_software_version = bytes_of("1");
		WORLD_SEND(&world, &call, api_versions_request, 18, 3, &message);
		WORLD_ANSWER(&call, &arena, api_versions_response, &response, 3);
		CU_ASSERT_EQUAL(response.error_code, KAFKA_ERROR_INVALID_REQUEST);
		world_call_done(&call);
	}
}

static void test_every_served_range_has_a_codec(void)
{
	for (int i = 0; i < serve_count(); i++) {
		const struct kafka_api *api = kafka_api_find(serve_at(i)->key);
		CU_ASSERT_PTR_NOT_NULL_FATAL(api);
		CU_ASSERT_TRUE(
			frontend_api_served(api->key, api->min_version) && frontend_api_served(api->key, api->max_version));
		if (api->key != KAFKA_API_API_VERSIONS)
			CU_ASSERT_FALSE(frontend_api_served(api->key, (int16_t)(api->max_version + 1)));
	}
	CU_ASSERT_FALSE(frontend_api_served(KAFKA_API_PRODUCE, 2)); // advertised, not accepted
}

// Metadata

static void metadata_ask(struct world_call *call, int16_t version, const char *name)
{
	struct kafka_metadata_request message;
	kafka_metadata_request_init(&message);
	message.topics_count = name ? 1 : version == 0 ? 0 : -1;
	message.topics = kafka_metadata_request_metadata_request_topic_array(&arena, 1);
	if (name)
		message.topics[0].name = bytes_of(name);
	WORLD_SEND(&world, call, metadata_request, 3, version, &message);
}

static void test_metadata_of_all_topics_in_all_versions(void)
{
	for (int16_t version = 0; version <= 13; version++) {
		struct kafka_metadata_response response;
		struct world_call call;
		metadata_ask(&call, version, NULL);
		WORLD_ANSWER(&call, &arena, metadata_response, &response, version);
		CU_ASSERT_EQUAL(response.brokers_count, 1);
		CU_ASSERT_EQUAL(response.brokers[0].node_id, 5);
		CU_ASSERT_TRUE(bytes_equal(response.brokers[0].host, bytes_of("localhost")));
		CU_ASSERT_EQUAL_FATAL(response.topics_count, 1);
		CU_ASSERT_EQUAL(response.topics[0].partitions_count, 3);
		CU_ASSERT_EQUAL(response.topics[0].partitions[2].leader_id, 5);
		if (version >= 7)
			CU_ASSERT_EQUAL(response.topics[0].partitions[2].leader_epoch, 3);
		if (version >= 2)
			CU_ASSERT_TRUE(bytes_equal(response.cluster_id, bytes_of("test-cluster")));
		world_call_done(&call);
	}
}

static void test_metadata_refuses_a_bad_name_at_once(void)
{
	struct kafka_metadata_response response;
	struct world_call call;
	metadata_ask(&call, 9, "no/slash");
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 9);
	CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(world.calls, 0);
	world_call_done(&call);
}

static void test_metadata_by_unknown_id(void)
{
	struct kafka_metadata_request message;
	struct kafka_metadata_response response;
	struct world_call call;
	kafka_metadata_request_init(&message);
	message.topics_count = 1;
	message.topics = kafka_metadata_request_metadata_request_topic_array(&arena, 1);
	message.topics[0].name = BYTES_NULL;
	message.topics[0].topic_id.bytes[3] = 0xee;
	WORLD_SEND(&world, &call, metadata_request, 3, 12, &message);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 12);
	CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_UNKNOWN_TOPIC_ID);
	world_call_done(&call);
}

// Java's client asks by id with "" for a name, not null.
static void test_metadata_by_id_ignores_the_name(void)
{
	struct kafka_metadata_request message;
	struct kafka_metadata_response response;
	struct world_call call;
	kafka_metadata_request_init(&message);
	message.topics_count = 1;
	message.topics = kafka_metadata_request_metadata_request_topic_array(&arena, 1);
	message.topics[0].name = bytes_of("");
	message.topics[0].topic_id = world.topics[0].id;
	WORLD_SEND(&world, &call, metadata_request, 3, 12, &message);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 12);
	CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_NONE);
	CU_ASSERT_TRUE(bytes_equal(response.topics[0].name, bytes_of(world.topics[0].name)));
	CU_ASSERT_EQUAL(response.topics[0].partitions_count, 3);
	world_call_done(&call);
}

static void test_metadata_of_a_topic_named_often_has_it_once(void)
{
	struct kafka_metadata_request message;
	struct kafka_metadata_response response;
	struct world_call call;
	const char *const names[] = {"no/slash", world.topics[0].name, "also/none", world.topics[0].name, "no/slash"};
	kafka_metadata_request_init(&message);
	message.topics_count = 5;
	message.topics = kafka_metadata_request_metadata_request_topic_array(&arena, 5);
	for (size_t i = 0; i < 5; i++)
		message.topics[i].name = bytes_of(names[i]);
	WORLD_SEND(&world, &call, metadata_request, 3, 9, &message);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 9);
	CU_ASSERT_EQUAL_FATAL(response.topics_count, 3);
	for (int32_t i = 0; i < 3; i++)
		CU_ASSERT_TRUE(bytes_equal(response.topics[i].name, bytes_of(names[i])));
	world_call_done(&call);
}

// Captured from librdkafka 2.16: three bytes behind the tags of a request for all topics. Kafka ignores what it does not read.
static void encode_metadata_and_more(const void *message, struct kafka_writer *writer, int16_t version)
{
	kafka_metadata_request_encode(message, writer, version);
	buffer_append(&writer->buffer, "\1\0\0", 3);
}

static void test_bytes_behind_a_request_are_ignored(void)
{
	struct kafka_metadata_request message;
	struct kafka_metadata_response response;
	struct world_call call;
	kafka_metadata_request_init(&message);
	message.topics_count = -1;
	message.allow_auto_topic_creation = false;
	world_send(&world, &call, 3, 13, &message, encode_metadata_and_more);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 13);
	CU_ASSERT_EQUAL(response.topics_count, 1);
	world_call_done(&call);
}

// A CreateTopics answer for one topic.
static struct bytes created_body(const char *name, int16_t version, int16_t error)
{
	struct kafka_create_topics_response response;
	struct kafka_writer writer;
	kafka_create_topics_response_init(&response);
	response.topics = kafka_create_topics_response_creatable_topic_result_array(&arena, 1);
	response.topics_count = 1;
	response.topics[0].name = bytes_of(name);
	response.topics[0].error_code = error;
	kafka_writer_init(&writer, 4096);
	kafka_create_topics_response_encode(&response, &writer, version);
	struct bytes body = arena_copy(&arena, buffer_view(&writer.buffer));
	kafka_writer_done(&writer);
	return body;
}

static void test_metadata_creates_and_waits_for_the_catalog(void)
{
	struct kafka_metadata_response response;
	struct world_call call;
	metadata_ask(&call, 9, "fresh");
	world_run(&world, 10);
	CU_ASSERT_EQUAL_FATAL(world.held_count, 1);
	CU_ASSERT_EQUAL(world.held[0].api_key, KAFKA_API_CREATE_TOPICS);
	CU_ASSERT_EQUAL(world.held[0].shard, 0);
	world_release(&world, 0, created_body("fresh", 7, 0));
	world_run(&world, 10);
	CU_ASSERT_EQUAL(call.done, 0); // created, but not known here yet
	world_feed_topic(&world, world_add_topic(&world, "fresh", 2), false);
	world_run(&world, 10);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 9);
	CU_ASSERT_EQUAL(response.topics[0].error_code, 0);
	CU_ASSERT_EQUAL(response.topics[0].partitions_count, 2);
	world_call_done(&call);
}

static void test_metadata_gives_up_waiting(void)
{
	struct kafka_metadata_response response;
	struct world_call call;
	metadata_ask(&call, 9, "never");
	world_run(&world, 3100);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 9);
	CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_LEADER_NOT_AVAILABLE);
	world_call_done(&call);
}

static void test_metadata_without_leave_to_create(void)
{
	struct kafka_metadata_request message;
	struct kafka_metadata_response response;
	struct world_call call;
	kafka_metadata_request_init(&message);
	message.allow_auto_topic_creation = false;
	message.topics_count = 1;
	message.topics = kafka_metadata_request_metadata_request_topic_array(&arena, 1);
	message.topics[0].name = bytes_of("absent");
	WORLD_SEND(&world, &call, metadata_request, 3, 8, &message);
	WORLD_ANSWER(&call, &arena, metadata_response, &response, 8);
	CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	world_call_done(&call);
}

static void test_a_client_that_leaves_while_it_waits(void)
{
	struct world_call call;
	metadata_ask(&call, 9, "fresh");
	world_run(&world, 10);
	world_call_done(&call);
	world_release(&world, 0, created_body("fresh", 7, 0));
	world_feed_topic(&world, world_add_topic(&world, "fresh", 2), false);
	world_run(&world, 4000);
}

// Topics

static void test_create_topics_answers_when_the_catalog_shows_it(void)
{
	struct kafka_create_topics_request message;
	struct kafka_create_topics_response response;
	struct world_call call;
	kafka_create_topics_request_init(&message);
	message.topics = kafka_create_topics_request_creatable_topic_array(&arena, 1);
	message.topics_count = 1;
	message.topics[0].name = bytes_of("made");
	message.topics[0].num_partitions = 1;
	message.topics[0].replication_factor = 1;
	WORLD_SEND(&world, &call, create_topics_request, 19, 5, &message);
	world_run(&world, 5);
	world_release(&world, 0, created_body("made", 5, 0));
	world_run(&world, 5);
	CU_ASSERT_EQUAL(call.done, 0);
	world_feed_topic(&world, world_add_topic(&world, "made", 1), false);
	world_run(&world, 5);
	WORLD_ANSWER(&call, &arena, create_topics_response, &response, 5);
	CU_ASSERT_EQUAL(response.topics[0].error_code, 0);
	world_call_done(&call);
}

static void test_create_topics_when_nobody_answers(void)
{
	for (int16_t version = 2; version <= 7; version++) {
		struct kafka_create_topics_request message;
		struct kafka_create_topics_response response;
		struct world_call call;
		kafka_create_topics_request_init(&message);
		message.topics = kafka_create_topics_request_creatable_topic_array(&arena, 1);
		message.topics_count = 1;
		message.topics[0].name = bytes_of("made");
		WORLD_SEND(&world, &call, create_topics_request, 19, version, &message);
		world_run(&world, 5);
		world_release_error(&world, world.held_count - 1, ERROR_INTERNAL);
		world_run(&world, 5);
		WORLD_ANSWER(&call, &arena, create_topics_response, &response, version);
		CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
		world_call_done(&call);
	}
}

// The rest

static void test_find_coordinator(void)
{
	for (int16_t version = 0; version <= 6; version++) {
		struct kafka_find_coordinator_request message;
		struct kafka_find_coordinator_response response;
		struct world_call call;
		struct bytes keys[] = {bytes_of("g1"), bytes_of("g2")};
		kafka_find_coordinator_request_init(&message);
		if (version < 4)
			message.key = keys[0];
		message.coordinator_keys = keys;
		message.coordinator_keys_count = version < 4 ? 0 : 2;
		WORLD_SEND(&world, &call, find_coordinator_request, 10, version, &message);
		WORLD_ANSWER(&call, &arena, find_coordinator_response, &response, version);
		int32_t node = version < 4 ? response.node_id : response.coordinators[1].node_id;
		int16_t error = version < 4 ? response.error_code : response.coordinators[1].error_code;
		CU_ASSERT_EQUAL(node, 5);
		CU_ASSERT_EQUAL(error, 0);
		world_call_done(&call);
	}
}

static void list_offsets_expect(int16_t version, int64_t timestamp, int16_t error, int64_t offset)
{
	struct kafka_list_offsets_request message;
	struct kafka_list_offsets_response response;
	struct world_call call;
	kafka_list_offsets_request_init(&message);
	message.replica_id = -1;
	message.topics = kafka_list_offsets_request_list_offsets_topic_array(&arena, 1);
	message.topics_count = 1;
	message.topics[0].name = bytes_of("orders");
	message.topics[0].partitions = kafka_list_offsets_request_list_offsets_partition_array(&arena, 1);
	message.topics[0].partitions_count = 1;
	message.topics[0].partitions[0].timestamp = timestamp;
	WORLD_SEND(&world, &call, list_offsets_request, 2, version, &message);
	world_run(&world, 5);
	WORLD_ANSWER(&call, &arena, list_offsets_response, &response, version);
	CU_ASSERT_EQUAL(response.topics[0].partitions[0].error_code, error);
	CU_ASSERT_EQUAL(response.topics[0].partitions[0].offset, offset);
	world_call_done(&call);
}

static void test_list_offsets(void)
{
	for (int16_t version = 1; version <= 11; version++) {
		list_offsets_expect(version, -1, 0, 10);
		list_offsets_expect(version, -2, 0, 2);
		list_offsets_expect(version, 5000, 0, 7);
		list_offsets_expect(version, -3, version >= 7 ? 0 : KAFKA_ERROR_UNSUPPORTED_VERSION, version >= 7 ? 7 : -1);
		list_offsets_expect(version, -4, version >= 8 ? 0 : KAFKA_ERROR_UNSUPPORTED_VERSION, version >= 8 ? 2 : -1);
		list_offsets_expect(version, -5, version >= 9 ? 0 : KAFKA_ERROR_UNSUPPORTED_VERSION, -1);
		list_offsets_expect(version, -9, KAFKA_ERROR_UNSUPPORTED_VERSION, -1);
	}
	world.offsets_fail = true;
	list_offsets_expect(7, -1, KAFKA_ERROR_UNKNOWN_SERVER_ERROR, -1);
}

static void test_offset_for_leader_epoch(void)
{
	struct kafka_offset_for_leader_epoch_request message;
	struct kafka_offset_for_leader_epoch_response response;
	struct world_call call;
	kafka_offset_for_leader_epoch_request_init(&message);
	message.topics = kafka_offset_for_leader_epoch_request_offset_for_leader_topic_array(&arena, 1);
	message.topics_count = 1;
	message.topics[0].topic = bytes_of("orders");
	message.topics[0].partitions = kafka_offset_for_leader_epoch_request_offset_for_leader_partition_array(&arena, 3);
	message.topics[0].partitions_count = 3;
	message.topics[0].partitions[0].leader_epoch = 3; // ours
	message.topics[0].partitions[1].leader_epoch = 4; // not yet
	message.topics[0].partitions[2].current_leader_epoch = 2;
	WORLD_SEND(&world, &call, offset_for_leader_epoch_request, 23, 3, &message);
	world_run(&world, 5);
	WORLD_ANSWER(&call, &arena, offset_for_leader_epoch_response, &response, 3);
	CU_ASSERT_EQUAL(response.topics[0].partitions[0].end_offset, 10);
	CU_ASSERT_EQUAL(response.topics[0].partitions[0].leader_epoch, 3);
	CU_ASSERT_EQUAL(response.topics[0].partitions[1].end_offset, -1);
	CU_ASSERT_EQUAL(response.topics[0].partitions[2].error_code, KAFKA_ERROR_FENCED_LEADER_EPOCH);
	world_call_done(&call);
}

static void test_describe_configs(void)
{
	for (int16_t version = 1; version <= 4; version++) {
		struct kafka_describe_configs_request message;
		struct kafka_describe_configs_response response;
		struct world_call call;
		struct bytes keys[] = {bytes_of("retention.ms")};
		kafka_describe_configs_request_init(&message);
		message.include_synonyms = true;
		message.resources = kafka_describe_configs_request_describe_configs_resource_array(&arena, 3);
		message.resources_count = 3;
		message.resources[0] =
			(struct kafka_describe_configs_request_describe_configs_resource){2, bytes_of("orders"), keys, 1};
		message.resources[1] =
			(struct kafka_describe_configs_request_describe_configs_resource){4, bytes_of("5"), NULL, -1};
		message.resources[2] =
			(struct kafka_describe_configs_request_describe_configs_resource){2, bytes_of("absent"), NULL, -1};
		WORLD_SEND(&world, &call, describe_configs_request, 32, version, &message);
		WORLD_ANSWER(&call, &arena, describe_configs_response, &response, version);
		CU_ASSERT_EQUAL_FATAL(response.results[0].configs_count, 1);
		CU_ASSERT_TRUE(bytes_equal(response.results[0].configs[0].value, bytes_of("604800000")));
		CU_ASSERT_EQUAL(response.results[0].configs[0].synonyms_count, 1);
		CU_ASSERT_TRUE(response.results[1].configs_count > 5);
		CU_ASSERT_EQUAL(response.results[2].error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
		world_call_done(&call);
	}
}

static void test_describe_cluster(void)
{
	for (int16_t version = 0; version <= 2; version++) {
		struct kafka_describe_cluster_request message;
		struct kafka_describe_cluster_response response;
		struct world_call call;
		kafka_describe_cluster_request_init(&message);
		WORLD_SEND(&world, &call, describe_cluster_request, 60, version, &message);
		WORLD_ANSWER(&call, &arena, describe_cluster_response, &response, version);
		CU_ASSERT_EQUAL(response.brokers_count, 1);
		CU_ASSERT_EQUAL(response.controller_id, 5);
		world_call_done(&call);
	}
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite_with_setup_and_teardown("frontend_api", NULL, NULL, setup, teardown);
	CU_ADD_TEST(suite, test_unknown_version_is_answered_in_version_0_with_the_range);
	CU_ADD_TEST(suite, test_versions_0_to_4);
	CU_ADD_TEST(suite, test_a_bad_software_name_is_an_invalid_request);
	CU_ADD_TEST(suite, test_every_served_range_has_a_codec);
	CU_ADD_TEST(suite, test_metadata_of_all_topics_in_all_versions);
	CU_ADD_TEST(suite, test_metadata_refuses_a_bad_name_at_once);
	CU_ADD_TEST(suite, test_metadata_by_unknown_id);
	CU_ADD_TEST(suite, test_metadata_by_id_ignores_the_name);
	CU_ADD_TEST(suite, test_metadata_of_a_topic_named_often_has_it_once);
	CU_ADD_TEST(suite, test_bytes_behind_a_request_are_ignored);
	CU_ADD_TEST(suite, test_metadata_creates_and_waits_for_the_catalog);
	CU_ADD_TEST(suite, test_metadata_gives_up_waiting);
	CU_ADD_TEST(suite, test_metadata_without_leave_to_create);
	CU_ADD_TEST(suite, test_a_client_that_leaves_while_it_waits);
	CU_ADD_TEST(suite, test_create_topics_answers_when_the_catalog_shows_it);
	CU_ADD_TEST(suite, test_create_topics_when_nobody_answers);
	CU_ADD_TEST(suite, test_find_coordinator);
	CU_ADD_TEST(suite, test_list_offsets);
	CU_ADD_TEST(suite, test_offset_for_leader_epoch);
	CU_ADD_TEST(suite, test_describe_configs);
	CU_ADD_TEST(suite, test_describe_cluster);
	return suite_run();
}
