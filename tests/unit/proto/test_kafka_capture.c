// What real clients sent (capture/README.md): each request is read to its end, written again as the same bytes, and holds what
// the client was told to do.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_messages.h"
#include "tests/unit/proto/kafka_fill.h"

enum { FRAME_BYTES_MAX = 4096 };

// What each client was told, and the versions it chose.
struct client {
	const char *name; // of the file
	const char *id;
	int requests;
	int16_t produce_version;
	const char *transactional_id;
	int64_t producer_id;
	int16_t fetch_version;
	int8_t isolation_level;
	const char *rack;
	int16_t join_version;
	const char *first_assignor;
	int16_t subscription_version;
	const char *instance;
	int16_t sync_version;
	int32_t assigned; // partitions
	int16_t commit_version;
	int64_t committed;
	int16_t create_version;
	int16_t api_versions_version;
	const char *software;
};

static const struct client clients[] = {
	{"kafka_python", "weir-kafka-python", 16, 7, NULL, -1, 4, 0, "", 2, "range", 0, NULL, 1, 0, 2, 0, 3, 0, ""},
	{"librdkafka", "weir-librdkafka", 17, 7, "weir-transaction", 7, 11, 1, "", 5, "range", 1, "weir-instance", 3, 2, 7, 5,
		4, 3, "confluent-kafka-python"},
	{"kafkajs", "weir-kafkajs", 19, 7, NULL, -1, 11, 1, "", 5, "RoundRobinAssigner", 0, NULL, 3, 2, 5, 5, 3, 2, ""},
	{"java", "weir-java", 22, 11, "weir-transaction", 7, 18, 0, "weir-rack", 9, "range", 3, NULL, 5, 2, 9, 5, 7, 4,
		"apache-kafka-java"},
};

enum { CLIENTS = sizeof clients / sizeof clients[0] };

struct frame {
	int16_t key;
	int16_t version;
	size_t len;
	uint8_t data[FRAME_BYTES_MAX];
};

static FILE *open_capture(const struct client *client)
{
	char path[512];
	CHECK(snprintf(path, sizeof path, "%s/%s.txt", KAFKA_CAPTURES, client->name) < (int)sizeof path);
	FILE *file = fopen(path, "r");
	CHECK(file);
	return file;
}

static bool next_frame(FILE *file, struct frame *ret_frame)
{
	static char hex[2 * FRAME_BYTES_MAX + 1];
	if (fscanf(file, "%hd %hd %8192s", &ret_frame->key, &ret_frame->version, hex) != 3)
		return false;
	ret_frame->len = strlen(hex) / 2;
	for (size_t i = 0; i < ret_frame->len; i++)
		CHECK(sscanf(hex + 2 * i, "%2hhx", &ret_frame->data[i]) == 1);
	return true;
}

static struct reader body_of(const struct client *client, const struct frame *frame, struct arena *arena)
{
	struct reader reader = reader_of(bytes_view(frame->data, frame->len));
	struct kafka_request_header header;
	int16_t header_version = kafka_request_header_version(frame->key, frame->version);
	CU_ASSERT_EQUAL_FATAL(kafka_request_header_decode(&header, &reader, header_version, arena), ERROR_OK);
	CU_ASSERT_EQUAL(header.request_api_key, frame->key);
	CU_ASSERT_EQUAL(header.request_api_version, frame->version);
	CU_ASSERT(bytes_equal(header.client_id, bytes_of(client->id)));
	return reader;
}

static const struct kafka_test_message *request_of(int16_t key)
{
	for (int i = 0; i < kafka_test_message_count; i++)
		if (kafka_test_messages[i].key == key && kafka_test_messages[i].is_request)
			return &kafka_test_messages[i];
	return NULL;
}

static void check_same_bytes(const struct client *client, const struct frame *frame)
{
	struct arena arena;
	arena_init(&arena, 0);
	const struct kafka_test_message *type = request_of(frame->key);
	CU_ASSERT_PTR_NOT_NULL_FATAL(type);
	struct reader reader = body_of(client, frame, &arena);
	struct bytes body = bytes_view(reader.pos, reader_left(&reader));
	void *message = arena_alloc(&arena, type->size);
	CU_ASSERT_EQUAL(type->decode(message, &reader, frame->version, &arena), ERROR_OK);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
	struct kafka_writer writer;
	kafka_writer_init(&writer, FRAME_BYTES_MAX);
	type->encode(message, &writer, frame->version);
	CU_ASSERT_FALSE(kafka_writer_failed(&writer));
	CU_ASSERT(bytes_equal(buffer_view(&writer.buffer), body));
	kafka_writer_done(&writer);
	arena_done(&arena);
}

static void test_same_bytes(void)
{
	static struct frame frame;
	for (int i = 0; i < CLIENTS; i++) {
		FILE *file = open_capture(&clients[i]);
		int count = 0;
		for (; next_frame(file, &frame); count++)
			check_same_bytes(&clients[i], &frame);
		CU_ASSERT_EQUAL(count, clients[i].requests);
		(void)fclose(file);
	}
}

// The body of the client's request of that key and version.
static struct reader find_request(const struct client *client, int16_t key, int16_t version, struct arena *arena)
{
	static struct frame frame;
	FILE *file = open_capture(client);
	while (next_frame(file, &frame)) {
		if (frame.key == key && frame.version == version) {
			(void)fclose(file);
			return body_of(client, &frame, arena);
		}
	}
	(void)fclose(file);
	CU_FAIL_FATAL("the capture lacks it");
	return reader_of(BYTES_NULL);
}

static bool is_text(struct bytes bytes, const char *text)
{
	return text ? bytes.data && bytes_equal(bytes, bytes_of(text)) : !bytes.data;
}

// One record batch of magic 2 with one record. Record batch format: base offset, length, leader epoch, magic, CRC, attributes,
// last offset delta, two timestamps, producer id.
static void check_batch(struct bytes records, int64_t producer_id)
{
	CU_ASSERT_FATAL(records.len > 61);
	CU_ASSERT_EQUAL(get_u32(records.data + 8), records.len - 12);
	CU_ASSERT_EQUAL(records.data[16], 2);
	CU_ASSERT_EQUAL(get_u64(records.data + 27), 1700000000000);
	CU_ASSERT_EQUAL((int64_t)get_u64(records.data + 43), producer_id);
	CU_ASSERT_EQUAL(get_u32(records.data + 57), 1);
}

static void check_produce(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_PRODUCE, client->produce_version, arena);
	struct kafka_produce_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_produce_request_decode(&request, &reader, client->produce_version, arena), ERROR_OK);
	CU_ASSERT(is_text(request.transactional_id, client->transactional_id));
	CU_ASSERT_EQUAL(request.acks, -1);
	CU_ASSERT_EQUAL_FATAL(request.topic_data_count, 1);
	CU_ASSERT(is_text(request.topic_data[0].name, "weir-capture"));
	CU_ASSERT_EQUAL_FATAL(request.topic_data[0].partition_data_count, 1);
	CU_ASSERT_EQUAL(request.topic_data[0].partition_data[0].index, 1);
	check_batch(request.topic_data[0].partition_data[0].records.bytes, client->producer_id);
}

// The Java client's producer without a transaction names the topic by its id, which the recording broker made of 0 to 15.
static void test_produce_by_id(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct reader reader = find_request(&clients[CLIENTS - 1], KAFKA_API_PRODUCE, 13, &arena);
	struct kafka_produce_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_produce_request_decode(&request, &reader, 13, &arena), ERROR_OK);
	CU_ASSERT_PTR_NULL(request.transactional_id.data);
	CU_ASSERT_EQUAL_FATAL(request.topic_data_count, 1);
	CU_ASSERT(is_text(request.topic_data[0].name, "")); // version 13 has none
	for (uint8_t i = 0; i < 16; i++)
		CU_ASSERT_EQUAL(request.topic_data[0].topic_id.bytes[i], i);
	check_batch(request.topic_data[0].partition_data[0].records.bytes, 7);
	arena_done(&arena);
}

static void check_fetch(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_FETCH, client->fetch_version, arena);
	struct kafka_fetch_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_fetch_request_decode(&request, &reader, client->fetch_version, arena), ERROR_OK);
	CU_ASSERT_EQUAL(request.replica_id, -1);
	CU_ASSERT_EQUAL(request.isolation_level, client->isolation_level);
	CU_ASSERT_EQUAL(request.min_bytes, 1);
	CU_ASSERT(is_text(request.rack_id, client->rack));
	CU_ASSERT_EQUAL_FATAL(request.topics_count, 1);
	CU_ASSERT(is_text(request.topics[0].topic, client->fetch_version < 13 ? "weir-capture" : ""));
	CU_ASSERT(request.topics[0].partitions_count >= 1);
	CU_ASSERT_EQUAL(request.topics[0].partitions[0].fetch_offset, 0);
	CU_ASSERT_EQUAL(request.topics[0].partitions[0].partition_max_bytes, 1048576);
}

static void check_subscription(const struct client *client, struct bytes metadata, struct arena *arena)
{
	struct reader reader = reader_of(metadata);
	CU_ASSERT_EQUAL(reader_i16(&reader), client->subscription_version);
	struct kafka_consumer_protocol_subscription subscription;
	enum error error =
		kafka_consumer_protocol_subscription_decode(&subscription, &reader, client->subscription_version, arena);
	CU_ASSERT_EQUAL_FATAL(error, ERROR_OK);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(subscription.topics_count, 1);
	CU_ASSERT(is_text(subscription.topics[0], "weir-capture"));
	CU_ASSERT(is_text(subscription.rack_id, client->rack[0] ? client->rack : NULL));
}

static void check_join(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_JOIN_GROUP, client->join_version, arena);
	struct kafka_join_group_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_join_group_request_decode(&request, &reader, client->join_version, arena), ERROR_OK);
	CU_ASSERT(is_text(request.group_id, "weir-group"));
	CU_ASSERT(is_text(request.group_instance_id, client->instance));
	CU_ASSERT(is_text(request.member_id, ""));
	CU_ASSERT(is_text(request.protocol_type, "consumer"));
	CU_ASSERT_FATAL(request.protocols_count >= 1);
	CU_ASSERT(is_text(request.protocols[0].name, client->first_assignor));
	check_subscription(client, request.protocols[0].metadata, arena);
}

static void check_sync(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_SYNC_GROUP, client->sync_version, arena);
	struct kafka_sync_group_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_sync_group_request_decode(&request, &reader, client->sync_version, arena), ERROR_OK);
	CU_ASSERT_EQUAL(request.generation_id, 1);
	CU_ASSERT(is_text(request.member_id, "member-1"));
	CU_ASSERT_EQUAL_FATAL(request.assignments_count, 1);
	CU_ASSERT(is_text(request.assignments[0].member_id, "member-1"));

	reader = reader_of(request.assignments[0].assignment);
	int16_t version = reader_i16(&reader);
	struct kafka_consumer_protocol_assignment assignment;
	CU_ASSERT_EQUAL_FATAL(kafka_consumer_protocol_assignment_decode(&assignment, &reader, version, arena), ERROR_OK);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(assignment.assigned_partitions_count, client->assigned ? 1 : 0);
	if (client->assigned) {
		CU_ASSERT(is_text(assignment.assigned_partitions[0].topic, "weir-capture"));
		CU_ASSERT_EQUAL_FATAL(assignment.assigned_partitions[0].partitions_count, client->assigned);
		CU_ASSERT_EQUAL(assignment.assigned_partitions[0].partitions[1], 1);
	}
}

static void check_commit(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_OFFSET_COMMIT, client->commit_version, arena);
	struct kafka_offset_commit_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_offset_commit_request_decode(&request, &reader, client->commit_version, arena), ERROR_OK);
	CU_ASSERT(is_text(request.group_id, "weir-group"));
	CU_ASSERT(is_text(request.group_instance_id, client->instance));
	CU_ASSERT_EQUAL(request.generation_id_or_member_epoch, 1);
	CU_ASSERT_EQUAL_FATAL(request.topics_count, 1);
	CU_ASSERT_FATAL(request.topics[0].partitions_count >= 1);
	CU_ASSERT_EQUAL(request.topics[0].partitions[0].committed_offset, client->committed);
	CU_ASSERT_EQUAL(request.topics[0].partitions[0].committed_leader_epoch, -1);
}

static void check_create(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_CREATE_TOPICS, client->create_version, arena);
	struct kafka_create_topics_request request;
	CU_ASSERT_EQUAL_FATAL(kafka_create_topics_request_decode(&request, &reader, client->create_version, arena), ERROR_OK);
	CU_ASSERT_FALSE(request.validate_only);
	CU_ASSERT_EQUAL_FATAL(request.topics_count, 1);
	CU_ASSERT(is_text(request.topics[0].name, "weir-created"));
	CU_ASSERT_EQUAL(request.topics[0].num_partitions, 3);
	CU_ASSERT_EQUAL(request.topics[0].replication_factor, 1);
	CU_ASSERT_EQUAL(request.topics[0].assignments_count, 0);
	if (request.topics[0].configs_count) { // told to kafka-python only
		CU_ASSERT(is_text(request.topics[0].configs[0].name, "retention.ms"));
		CU_ASSERT(is_text(request.topics[0].configs[0].value, "1000"));
	}
}

static void check_api_versions(const struct client *client, struct arena *arena)
{
	struct reader reader = find_request(client, KAFKA_API_API_VERSIONS, client->api_versions_version, arena);
	struct kafka_api_versions_request request;
	enum error error = kafka_api_versions_request_decode(&request, &reader, client->api_versions_version, arena);
	CU_ASSERT_EQUAL_FATAL(error, ERROR_OK);
	CU_ASSERT(is_text(request.client_software_name, client->software));
}

static void each_client(void (*check)(const struct client *client, struct arena *arena))
{
	for (int i = 0; i < CLIENTS; i++) {
		struct arena arena;
		arena_init(&arena, 0);
		check(&clients[i], &arena);
		arena_done(&arena);
	}
}

static void test_produce(void)
{
	each_client(check_produce);
}

static void test_fetch(void)
{
	each_client(check_fetch);
}

static void test_groups(void)
{
	each_client(check_join);
	each_client(check_sync);
	each_client(check_commit);
}

static void test_create(void)
{
	each_client(check_create);
}

static void test_api_versions(void)
{
	each_client(check_api_versions);
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("kafka captures", NULL, NULL);
	CU_add_test(suite, "read and written again, the bytes are the same", test_same_bytes);
	CU_add_test(suite, "Produce", test_produce);
	CU_add_test(suite, "Produce by topic id", test_produce_by_id);
	CU_add_test(suite, "Fetch", test_fetch);
	CU_add_test(suite, "consumer groups", test_groups);
	CU_add_test(suite, "CreateTopics", test_create);
	CU_add_test(suite, "ApiVersions", test_api_versions);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
