// CreateTopics, CreatePartitions, DeleteTopics and InitProducerId as clients see them, and intents that outlive their
// coordinator.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"
#include "proto/kafka/kafka_messages.h"
#include "tests/unit/base/unit.h"
#include "tests/unit/coordinator/coordinator_world.h"

enum { CREATE_VERSION = 7, DELETE_VERSION = 6, GROW_VERSION = 3, PRODUCER_VERSION = 5 };

struct fixture {
	struct world world;
	struct arena arena;
};

static void fixture_init(struct fixture *fixture)
{
	arena_init(&fixture->arena, 0);
	world_init(&fixture->world, 11);
	world_start(&fixture->world, 0);
}

static void fixture_done(struct fixture *fixture)
{
	world_done(&fixture->world);
	arena_done(&fixture->arena);
}

static struct bytes kafka_call(struct fixture *fixture, int16_t key, int16_t version, struct kafka_writer *writer)
{
	struct world_answer answer;
	Weir__KafkaCallRequest call = WEIR__KAFKA_CALL_REQUEST__INIT;
	call.api_key = (uint32_t)key;
	call.api_version = (uint32_t)version;
	CU_ASSERT_FALSE_FATAL(kafka_writer_failed(writer));
	world_call(
		&fixture->world, 0, WEIR__MESSAGE_TYPE__KAFKA_CALL, &call.base, buffer_view(&writer->buffer), false, &answer);
	CU_ASSERT_EQUAL_FATAL(answer.error, ERROR_OK);
	struct bytes response = arena_copy(&fixture->arena, slice_bytes(answer.frame));
	world_answer_done(&answer);
	kafka_writer_done(writer);
	return response;
}

// One topic to create, with what is special about it.
struct create {
	const char *name;
	int32_t partitions;
	int16_t replication_factor;
	const char *config_name, *config_value;
	int32_t assignments;
	bool validate_only, twice;
};

static struct kafka_create_topics_response_creatable_topic_result create(struct fixture *fixture, struct create plan)
{
	struct kafka_create_topics_request request;
	struct kafka_create_topics_response response;
	struct kafka_writer writer;
	int32_t count = plan.twice ? 2 : 1;
	kafka_writer_init(&writer, SIZE_MAX);
	kafka_create_topics_request_init(&request);
	request.validate_only = plan.validate_only;
	request.topics = kafka_create_topics_request_creatable_topic_array(&fixture->arena, count);
	request.topics_count = count;
	for (int32_t i = 0; i < count; i++) {
		struct kafka_create_topics_request_creatable_topic *topic = &request.topics[i];
		topic->name = bytes_of(plan.name);
		topic->num_partitions = plan.partitions;
		topic->replication_factor = plan.replication_factor;
		if (plan.config_name) {
			topic->configs = kafka_create_topics_request_creatable_topic_config_array(&fixture->arena, 1);
			topic->configs_count = 1;
			topic->configs[0].name = bytes_of(plan.config_name);
			topic->configs[0].value = plan.config_value ? bytes_of(plan.config_value) : BYTES_NULL;
		}
		topic->assignments =
			kafka_create_topics_request_creatable_replica_assignment_array(&fixture->arena, plan.assignments);
		topic->assignments_count = plan.assignments;
		for (int32_t j = 0; j < plan.assignments; j++) {
			topic->assignments[j].partition_index = j;
			topic->assignments[j].broker_ids = arena_alloc(&fixture->arena, sizeof(int32_t));
			topic->assignments[j].broker_ids_count = 1;
		}
	}
	kafka_create_topics_request_encode(&request, &writer, CREATE_VERSION);
	struct reader reader = reader_of(kafka_call(fixture, KAFKA_API_CREATE_TOPICS, CREATE_VERSION, &writer));
	CU_ASSERT_EQUAL_FATAL(
		kafka_create_topics_response_decode(&response, &reader, CREATE_VERSION, &fixture->arena), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(reader_finished(&reader), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(response.topics_count, count);
	return response.topics[0];
}

static int16_t create_error(struct fixture *fixture, struct create plan)
{
	return create(fixture, plan).error_code;
}

static int16_t grow(struct fixture *fixture, const char *name, int32_t count)
{
	struct kafka_create_partitions_request request;
	struct kafka_create_partitions_response response;
	struct kafka_writer writer;
	kafka_writer_init(&writer, SIZE_MAX);
	kafka_create_partitions_request_init(&request);
	request.topics = kafka_create_partitions_request_create_partitions_topic_array(&fixture->arena, 1);
	request.topics_count = 1;
	request.topics[0].name = bytes_of(name);
	request.topics[0].count = count;
	request.topics[0].assignments = NULL;
	request.timeout_ms = 10000;
	kafka_create_partitions_request_encode(&request, &writer, GROW_VERSION);
	struct reader reader = reader_of(kafka_call(fixture, KAFKA_API_CREATE_PARTITIONS, GROW_VERSION, &writer));
	CU_ASSERT_EQUAL_FATAL(
		kafka_create_partitions_response_decode(&response, &reader, GROW_VERSION, &fixture->arena), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(response.results_count, 1);
	return response.results[0].error_code;
}

static int16_t delete (struct fixture *fixture, const char *name, const struct uuid *id)
{
	struct kafka_delete_topics_request request;
	struct kafka_delete_topics_response response;
	struct kafka_writer writer;
	kafka_writer_init(&writer, SIZE_MAX);
	kafka_delete_topics_request_init(&request);
	request.topics = kafka_delete_topics_request_delete_topic_state_array(&fixture->arena, 1);
	request.topics_count = 1;
	request.timeout_ms = 10000;
	if (name)
		request.topics[0].name = bytes_of(name);
	if (id)
		request.topics[0].topic_id = *id;
	kafka_delete_topics_request_encode(&request, &writer, DELETE_VERSION);
	struct reader reader = reader_of(kafka_call(fixture, KAFKA_API_DELETE_TOPICS, DELETE_VERSION, &writer));
	CU_ASSERT_EQUAL_FATAL(
		kafka_delete_topics_response_decode(&response, &reader, DELETE_VERSION, &fixture->arena), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(response.responses_count, 1);
	return response.responses[0].error_code;
}

static int64_t init_producer_id(struct fixture *fixture, const char *transactional_id, int16_t *ret_error)
{
	struct kafka_init_producer_id_request request;
	struct kafka_init_producer_id_response response;
	struct kafka_writer writer;
	kafka_writer_init(&writer, SIZE_MAX);
	kafka_init_producer_id_request_init(&request);
	request.transactional_id = transactional_id ? bytes_of(transactional_id) : BYTES_NULL;
	kafka_init_producer_id_request_encode(&request, &writer, PRODUCER_VERSION);
	struct reader reader = reader_of(kafka_call(fixture, KAFKA_API_INIT_PRODUCER_ID, PRODUCER_VERSION, &writer));
	CU_ASSERT_EQUAL_FATAL(
		kafka_init_producer_id_response_decode(&response, &reader, PRODUCER_VERSION, &fixture->arena), ERROR_OK);
	*ret_error = response.error_code;
	return response.producer_id;
}

// The topic as published, NULL if it is not.
static const Weir__TopicInfo *published(struct fixture *fixture, const char *name)
{
	Weir__SyncMetaRequest request = WEIR__SYNC_META_REQUEST__INIT;
	struct world_answer answer;
	world_call(&fixture->world, 0, WEIR__MESSAGE_TYPE__SYNC_META, &request.base, BYTES_NULL, true, &answer);
	const Weir__SyncMetaReply *reply = protobuf_unpack(
		&weir__sync_meta_reply__descriptor, arena_copy(&fixture->arena, buffer_view(&answer.body)), &fixture->arena);
	world_answer_done(&answer);
	for (size_t i = 0; reply && i < reply->n_topics; i++) {
		if (strcmp(reply->topics[i]->name, name) == 0)
			return reply->topics[i];
	}
	return NULL;
}

static void test_create_errors(void)
{
	struct fixture fixture;
	char long_name[251];
	fixture_init(&fixture);
	memset(long_name, 'x', sizeof long_name - 1);
	long_name[250] = '\0';
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "a.b", .partitions = 2, .replication_factor = -1}),
		KAFKA_ERROR_NONE);
	const struct {
		struct create create;
		int16_t error;
	} cases[] = {
		{{.name = "a.b", .partitions = 2, .replication_factor = -1}, KAFKA_ERROR_TOPIC_ALREADY_EXISTS},
		{{.name = "a_b", .partitions = 2, .replication_factor = -1}, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
		{{.name = "", .partitions = 1, .replication_factor = -1}, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
		{{.name = ".", .partitions = 1, .replication_factor = -1}, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
		{{.name = "..", .partitions = 1, .replication_factor = -1}, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
		{{.name = "a@b", .partitions = 1, .replication_factor = -1}, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
		{{.name = long_name, .partitions = 1, .replication_factor = -1}, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION},
		{{.name = "t", .partitions = 0, .replication_factor = -1}, KAFKA_ERROR_INVALID_PARTITIONS},
		{{.name = "t", .partitions = -2, .replication_factor = -1}, KAFKA_ERROR_INVALID_PARTITIONS},
		{{.name = "t", .partitions = 300000, .replication_factor = -1}, KAFKA_ERROR_POLICY_VIOLATION},
		{{.name = "t", .partitions = 1, .replication_factor = 0}, KAFKA_ERROR_INVALID_REPLICATION_FACTOR},
		{{.name = "t", .partitions = 1, .replication_factor = -2}, KAFKA_ERROR_INVALID_REPLICATION_FACTOR},
		{{.name = "t", .partitions = 1, .replication_factor = -1, .config_name = "no.such.config", .config_value = "1"},
			KAFKA_ERROR_INVALID_CONFIG},
		{{.name = "t",
			 .partitions = 1,
			 .replication_factor = -1,
			 .config_name = "retention.ms",
			 .config_value = "soon"},
			KAFKA_ERROR_INVALID_CONFIG},
		{{.name = "t", .partitions = 1, .replication_factor = -1, .config_name = "retention.ms", .config_value = NULL},
			KAFKA_ERROR_INVALID_CONFIG},
		{{.name = "t",
			 .partitions = 1,
			 .replication_factor = -1,
			 .config_name = "cleanup.policy",
			 .config_value = "delete,burn"},
			KAFKA_ERROR_INVALID_CONFIG},
		{{.name = "t", .partitions = 1, .replication_factor = -1, .twice = true}, KAFKA_ERROR_INVALID_REQUEST},
		{{.name = "t", .partitions = 3, .replication_factor = -1, .assignments = 2}, KAFKA_ERROR_INVALID_REQUEST},
		{{.name = "t", .partitions = 1, .replication_factor = -1, .validate_only = true}, KAFKA_ERROR_NONE},
		{{.name = "t",
			 .partitions = 1,
			 .replication_factor = -1,
			 .config_name = "cleanup.policy",
			 .config_value = "compact, delete",
			 .validate_only = true},
			KAFKA_ERROR_NONE},
		{{.name = "t", .partitions = 1, .replication_factor = 3, .validate_only = true}, KAFKA_ERROR_NONE},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CU_ASSERT_EQUAL(create_error(&fixture, cases[i].create), cases[i].error);
	CU_ASSERT_PTR_NULL(published(&fixture, "t"));
	fixture_done(&fixture);
}

static void test_create(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	struct kafka_create_topics_response_creatable_topic_result result =
		create(&fixture, (struct create){.name = "orders",
					 .partitions = -1,
					 .replication_factor = -1,
					 .config_name = "retention.ms",
					 .config_value = "5000"});
	CU_ASSERT_EQUAL(result.error_code, KAFKA_ERROR_NONE);
	CU_ASSERT_EQUAL(result.num_partitions, 1);
	CU_ASSERT_EQUAL(result.replication_factor, 1);
	CU_ASSERT(result.configs_count > 20);
	const Weir__TopicInfo *info = published(&fixture, "orders");
	CU_ASSERT_FATAL(info != NULL);
	CU_ASSERT(bytes_equal(protobuf_view(info->id), uuid_view(&result.topic_id)));
	CU_ASSERT_STRING_EQUAL(info->directory, "orders");
	CU_ASSERT_EQUAL_FATAL(info->n_configs, 1);
	CU_ASSERT_STRING_EQUAL(info->configs[0]->value, "5000");
	CU_ASSERT(info->version > 0);
	CU_ASSERT_EQUAL(
		create(&fixture,
			(struct create){.name = "assigned", .partitions = -1, .replication_factor = -1, .assignments = 3})
			.num_partitions,
		3);
	fixture_done(&fixture);
}

static void test_grow_and_delete(void)
{
	struct fixture fixture;
	const struct uuid unknown = {{9}};
	fixture_init(&fixture);
	struct uuid id =
		create(&fixture, (struct create){.name = "orders", .partitions = 3, .replication_factor = -1}).topic_id;
	CU_ASSERT_EQUAL(grow(&fixture, "orders", 3), KAFKA_ERROR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(grow(&fixture, "orders", 2), KAFKA_ERROR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(grow(&fixture, "others", 4), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(grow(&fixture, "orders", 40), KAFKA_ERROR_NONE);
	const Weir__TopicInfo *info = published(&fixture, "orders");
	CU_ASSERT_FATAL(info != NULL);
	CU_ASSERT_EQUAL(info->partitions, 40);
	CU_ASSERT_EQUAL(delete (&fixture, "others", NULL), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(delete (&fixture, NULL, &unknown), KAFKA_ERROR_UNKNOWN_TOPIC_ID);
	CU_ASSERT_EQUAL(delete (&fixture, "orders", &id), KAFKA_ERROR_INVALID_REQUEST);
	CU_ASSERT_EQUAL(delete (&fixture, NULL, &id), KAFKA_ERROR_NONE);
	CU_ASSERT_PTR_NULL(published(&fixture, "orders"));
	// History 10: the name's directory may still hold segments of the old one.
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 1, .replication_factor = -1}),
		KAFKA_ERROR_NONE);
	info = published(&fixture, "orders");
	CU_ASSERT_FATAL(info != NULL);
	CU_ASSERT_EQUAL(strncmp(info->directory, "orders@", 7), 0);
	CU_ASSERT_EQUAL(delete (&fixture, "orders", NULL), KAFKA_ERROR_NONE);
	fixture_done(&fixture);
}

static void put_done(void *ctx, enum error error)
{
	(void)ctx;
	CU_ASSERT_EQUAL(error, ERROR_OK);
}

// A name that is new to the catalogue but not to the bucket.
static void test_directory_is_listed(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	struct slice bytes = slice_copy(bytes_of("x"));
	object_put(fixture.world.objects, "default/orders/0/segment-00000000000000000000.kfs", &bytes, 1, true, 1000, put_done,
		NULL);
	slice_done(&bytes);
	world_run_ms(&fixture.world, 10);
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 1, .replication_factor = -1}),
		KAFKA_ERROR_NONE);
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "order", .partitions = 1, .replication_factor = -1}),
		KAFKA_ERROR_NONE);
	CU_ASSERT_EQUAL(strncmp(published(&fixture, "orders")->directory, "orders@", 7), 0);
	CU_ASSERT_STRING_EQUAL(published(&fixture, "order")->directory, "order");
	fixture_done(&fixture);
}

static enum object_fault puts_hang(void *ctx, uint64_t number)
{
	(void)ctx;
	return number == 0 ? OBJECT_FAULT_NONE : OBJECT_FAULT_HANG; // the listing passes
}

// The client's time runs out, its coordinator dies, the topic comes all the same: the intent is in the log.
static void test_an_intent_outlives_its_coordinator(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	world_run_ms(&fixture.world, 100);
	object_store_memory_script(fixture.world.nodes[0].objects, puts_hang, NULL);
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 20, .replication_factor = -1}),
		KAFKA_ERROR_REQUEST_TIMED_OUT);
	CU_ASSERT_PTR_NULL(published(&fixture, "orders"));
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 20, .replication_factor = -1}),
		KAFKA_ERROR_TOPIC_ALREADY_EXISTS);
	world_kill(&fixture.world, 0);
	world_start(&fixture.world, 1);
	CU_ASSERT(world_settle(&fixture.world));
	world_run_ms(&fixture.world, 1000);
	const Weir__TopicInfo *info = published(&fixture, "orders");
	CU_ASSERT_FATAL(info != NULL);
	CU_ASSERT_EQUAL(info->partitions, 20);
	fixture_done(&fixture);
}

// Partitions of a topic lie in shards of several coordinators.
static void test_intents_across_coordinators(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	world_start(&fixture.world, 1);
	world_start(&fixture.world, 2);
	world_run_ms(&fixture.world, 3000);
	CU_ASSERT(world_settle(&fixture.world));
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 50, .replication_factor = -1}),
		KAFKA_ERROR_NONE);
	size_t partitions = 0;
	for (uint32_t shard = 0; shard < 4; shard++) {
		struct world_answer answer;
		Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
		request.shard = shard;
		world_call(
			&fixture.world, shard, WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, &request.base, BYTES_NULL, true, &answer);
		const Weir__SyncWatermarksReply *reply = protobuf_unpack(&weir__sync_watermarks_reply__descriptor,
			arena_copy(&fixture.arena, buffer_view(&answer.body)), &fixture.arena);
		partitions += reply->n_topics ? reply->topics[0]->n_partitions : 0;
		world_answer_done(&answer);
	}
	CU_ASSERT_EQUAL(partitions, 50);
	CU_ASSERT_EQUAL(delete (&fixture, "orders", NULL), KAFKA_ERROR_NONE);
	fixture_done(&fixture);
}

// The limit on partitions counts what the same request begins, too.
static void test_partitions_limit_of_one_request(void)
{
	struct fixture fixture;
	struct kafka_create_topics_request request;
	struct kafka_create_topics_response response;
	struct kafka_writer writer;
	const char *names[] = {"a", "b", "c"};
	arena_init(&fixture.arena, 0);
	world_init(&fixture.world, 11);
	fixture.world.settings.partitions_max = 50;
	world_start(&fixture.world, 0);
	kafka_writer_init(&writer, SIZE_MAX);
	kafka_create_topics_request_init(&request);
	request.topics = kafka_create_topics_request_creatable_topic_array(&fixture.arena, 3);
	request.topics_count = 3;
	for (int i = 0; i < 3; i++) {
		request.topics[i].name = bytes_of(names[i]);
		request.topics[i].num_partitions = i == 1 ? 40 : 20;
		request.topics[i].replication_factor = -1;
	}
	kafka_create_topics_request_encode(&request, &writer, CREATE_VERSION);
	struct reader reader = reader_of(kafka_call(&fixture, KAFKA_API_CREATE_TOPICS, CREATE_VERSION, &writer));
	CU_ASSERT_EQUAL_FATAL(
		kafka_create_topics_response_decode(&response, &reader, CREATE_VERSION, &fixture.arena), ERROR_OK);
	CU_ASSERT_EQUAL(response.topics[0].error_code, KAFKA_ERROR_NONE);
	CU_ASSERT_EQUAL(response.topics[1].error_code, KAFKA_ERROR_POLICY_VIOLATION);
	CU_ASSERT_EQUAL(response.topics[2].error_code, KAFKA_ERROR_NONE);
	// What was begun and has ended counts once.
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "d", .partitions = 11, .replication_factor = -1}),
		KAFKA_ERROR_POLICY_VIOLATION);
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "e", .partitions = 10, .replication_factor = -1}),
		KAFKA_ERROR_NONE);
	fixture_done(&fixture);
}

// History 1: whoever hears of a topic may produce to it, so all its shards know it first.
static void test_published_when_all_shards_know_it(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	world_start(&fixture.world, 1);
	world_start(&fixture.world, 2);
	world_run_ms(&fixture.world, 3000);
	CU_ASSERT(world_settle(&fixture.world));
	int owner = world_owner(&fixture.world, 0);
	CU_ASSERT_FATAL(owner >= 0);
	CU_ASSERT(coordinator_shards_serving(fixture.world.nodes[owner].coordinator) < 4);
	for (int i = 0; i < WORLD_NODES; i++)
		fixture.world.nodes[i].paused = i != owner;
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 50, .replication_factor = -1}),
		KAFKA_ERROR_REQUEST_TIMED_OUT);
	CU_ASSERT_PTR_NULL(published(&fixture, "orders"));
	for (int i = 0; i < WORLD_NODES; i++)
		fixture.world.nodes[i].paused = false;
	world_run_ms(&fixture.world, 10000);
	CU_ASSERT(world_settle(&fixture.world));
	CU_ASSERT_PTR_NOT_NULL(published(&fixture, "orders"));
	fixture_done(&fixture);
}

static enum object_fault notes_put(void *ctx, uint64_t number)
{
	bool *put = ctx;
	*put = *put || number > 0; // the listing comes first
	return OBJECT_FAULT_NONE;
}

static enum metadata_fault hangs_after_put(void *ctx, uint64_t number)
{
	const bool *put = ctx;
	(void)number;
	return *put ? METADATA_FAULT_HANG : METADATA_FAULT_NONE;
}

// The other shards of the same coordinator still have the intent's parts on their way to etcd when shard 0 goes.
static void test_shard_0_goes_before_the_parts_are_logged(void)
{
	struct fixture fixture;
	bool put = false;
	fixture_init(&fixture);
	CU_ASSERT(world_settle(&fixture.world));
	object_store_memory_script(fixture.world.nodes[0].objects, notes_put, &put);
	metadata_store_memory_script(fixture.world.nodes[0].metadata, hangs_after_put, &put);
	CU_ASSERT_EQUAL(create_error(&fixture, (struct create){.name = "orders", .partitions = 20, .replication_factor = -1}),
		KAFKA_ERROR_REQUEST_TIMED_OUT);
	CU_ASSERT(put);
	world_kill(&fixture.world, 0);
	world_start(&fixture.world, 1);
	CU_ASSERT(world_settle(&fixture.world));
	world_run_ms(&fixture.world, 1000);
	const Weir__TopicInfo *info = published(&fixture, "orders");
	CU_ASSERT_FATAL(info != NULL);
	CU_ASSERT_EQUAL(info->partitions, 20);
	fixture_done(&fixture);
}

static void test_producer_ids(void)
{
	struct fixture fixture;
	int16_t error = -1;
	fixture_init(&fixture);
	int64_t last = 0;
	for (int i = 0; i < 1100; i++) { // over the end of a block
		int64_t id = init_producer_id(&fixture, NULL, &error);
		CU_ASSERT_EQUAL_FATAL(error, KAFKA_ERROR_NONE);
		CU_ASSERT(id > last);
		last = id;
	}
	CU_ASSERT_EQUAL(last >> 40, 1); // the incarnation's number
	world_kill(&fixture.world, 0);
	world_start(&fixture.world, 1);
	int64_t id = init_producer_id(&fixture, NULL, &error);
	CU_ASSERT_EQUAL(error, KAFKA_ERROR_NONE);
	CU_ASSERT(id > last);
	CU_ASSERT_EQUAL(init_producer_id(&fixture, "mine", &error), -1);
	CU_ASSERT_EQUAL(error, KAFKA_ERROR_INVALID_REQUEST);
	fixture_done(&fixture);
}

UNIT_MAIN("coordinator_topics", {"create_errors", test_create_errors}, {"create", test_create},
	{"grow_and_delete", test_grow_and_delete}, {"directory_is_listed", test_directory_is_listed},
	{"an_intent_outlives_its_coordinator", test_an_intent_outlives_its_coordinator},
	{"intents_across_coordinators", test_intents_across_coordinators},
	{"partitions_limit_of_one_request", test_partitions_limit_of_one_request},
	{"published_when_all_shards_know_it", test_published_when_all_shards_know_it},
	{"shard_0_goes_before_the_parts_are_logged", test_shard_0_goes_before_the_parts_are_logged},
	{"producer_ids", test_producer_ids})
