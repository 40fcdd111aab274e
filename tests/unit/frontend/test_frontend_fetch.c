// Fetch: rounds, long polls on the watermarks, limits, errors, readers that fail, sessions that were never given.
#include <string.h>

#include "tests/unit/frontend/frontend_suite.h"

WORLD_ENCODER(fetch_request)

static struct world world;
static struct arena arena;

static void setup(void)
{
	world = (struct world){0};
	arena_init(&arena, 0);
	struct world_topic *topic = world_add_topic(&world, "orders", 4);
	topic->high[0] = 10;
	topic->high[1] = 5;
	world_start(&world, NULL);
}

static void teardown(void)
{
	world_stop(&world);
	arena_done(&arena);
}

struct fetch {
	int16_t version;
	int32_t first, count; // partitions
	int64_t offset;
	int32_t min_bytes, max_wait_ms, max_bytes;
	int32_t session_id, session_epoch;
	int32_t leader_epoch;
	int8_t isolation;
};
// A usual fetch with some of it told otherwise; that is what overriding initialisers are for.
#pragma GCC diagnostic ignored "-Woverride-init"
#define FETCH(...)                                                                                                             \
	((struct fetch){.version = 11,                                                                                         \
		.count = 1,                                                                                                    \
		.min_bytes = 1,                                                                                                \
		.max_wait_ms = 500,                                                                                            \
		.max_bytes = 1 << 20,                                                                                          \
		.session_epoch = -1,                                                                                           \
		.leader_epoch = -1,                                                                                            \
		__VA_ARGS__})

static void fetch(struct world_call *call, struct fetch wish)
{
	struct kafka_fetch_request message;
	kafka_fetch_request_init(&message);
	message.min_bytes = wish.min_bytes;
	message.max_wait_ms = wish.max_wait_ms;
	message.max_bytes = wish.max_bytes;
	message.session_id = wish.session_id;
	message.session_epoch = wish.session_epoch;
	message.isolation_level = wish.isolation;
	message.topics = kafka_fetch_request_fetch_topic_array(&arena, 1);
	message.topics_count = 1;
	if (wish.version >= 13)
		message.topics[0].topic_id = world.topics[0].id;
	else
		message.topics[0].topic = bytes_of("orders");
	message.topics[0].partitions = kafka_fetch_request_fetch_partition_array(&arena, wish.count);
	message.topics[0].partitions_count = wish.count;
	for (int32_t i = 0; i < wish.count; i++) {
		message.topics[0].partitions[i].partition = wish.first + i;
		message.topics[0].partitions[i].fetch_offset = wish.offset;
		message.topics[0].partitions[i].partition_max_bytes = 100000;
		message.topics[0].partitions[i].current_leader_epoch = wish.version >= 9 ? wish.leader_epoch : -1;
	}
	WORLD_SEND(&world, call, fetch_request, 1, wish.version, &message);
}

static struct kafka_fetch_response answer(struct world_call *call)
{
	struct kafka_fetch_response response;
	WORLD_ANSWER(call, &arena, fetch_response, &response, call->request->version);
	return response;
}

static struct kafka_fetch_response_partition_data fetch_one(struct fetch wish, uint64_t ms)
{
	struct world_call call;
	fetch(&call, wish);
	world_run(&world, ms);
	struct kafka_fetch_response_partition_data row = answer(&call).responses[0].partitions[0];
	world_call_done(&call);
	return row;
}

static void test_all_versions(void)
{
	for (int16_t version = 4; version <= 18; version++) {
		struct world_call call;
		fetch(&call, FETCH(.version = version, .count = 2));
		world_run(&world, 5);
		struct kafka_fetch_response response = answer(&call);
		CU_ASSERT_EQUAL(response.session_id, 0);
		for (int i = 0; i < 2; i++) {
			struct kafka_fetch_response_partition_data *row = &response.responses[0].partitions[i];
			CU_ASSERT_EQUAL(row->error_code, 0);
			CU_ASSERT_EQUAL(row->high_watermark, i ? 5 : 10);
			CU_ASSERT_EQUAL(row->last_stable_offset, row->high_watermark);
			CU_ASSERT_EQUAL(row->records.bytes.len, 100);
			CU_ASSERT_EQUAL(row->aborted_transactions_count, -1);
			CU_ASSERT_EQUAL(row->preferred_read_replica, -1);
		}
		world_call_done(&call);
	}
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_FETCH), 0);
}

static void test_read_committed_has_a_list(void)
{
	CU_ASSERT_EQUAL(fetch_one(FETCH(.isolation = 1), 5).aborted_transactions_count, 0);
}

static void test_a_long_poll_ends_when_the_watermark_rises(void)
{
	struct world_call call;
	fetch(&call, FETCH(.offset = 10, .count = 1));
	world_run(&world, 300);
	CU_ASSERT_EQUAL(call.done, 0);
	CU_ASSERT_EQUAL(world.fetches, 0); // nothing to read: no reader was asked
	world_feed_high(&world, &world.topics[0], 0, 12, 0);
	world_run(&world, 5);
	struct kafka_fetch_response response = answer(&call);
	CU_ASSERT_EQUAL(response.responses[0].partitions[0].records.bytes.len, 100);
	CU_ASSERT_EQUAL(response.responses[0].partitions[0].high_watermark, 12);
	world_call_done(&call);
}

// History 20: one partition of many, on another reader, is enough.
static void test_one_of_many_partitions_wakes_it(void)
{
	struct world_call call;
	world_feed_high(&world, &world.topics[0], 0, 20, 0);
	world_feed_high(&world, &world.topics[0], 1, 20, 0);
	world_feed_high(&world, &world.topics[0], 2, 20, 0);
	world_feed_high(&world, &world.topics[0], 3, 20, 0);
	world_run(&world, 5);
	fetch(&call, FETCH(.offset = 20, .count = 4));
	world_run(&world, 100);
	world_feed_high(&world, &world.topics[0], 3, 21, 0);
	world_run(&world, 5);
	struct kafka_fetch_response response = answer(&call);
	CU_ASSERT_EQUAL(response.responses[0].partitions[3].records.bytes.len, 100);
	CU_ASSERT_EQUAL(response.responses[0].partitions[0].records.bytes.len, 0);
	CU_ASSERT_PTR_NOT_NULL(response.responses[0].partitions[0].records.bytes.data); // empty, not null
	world_call_done(&call);
}

static void test_nothing_comes(void)
{
	struct world_call call;
	fetch(&call, FETCH(.offset = 10));
	world_run(&world, 499);
	CU_ASSERT_EQUAL(call.done, 0);
	world_run(&world, 5);
	CU_ASSERT_EQUAL(answer(&call).responses[0].partitions[0].records.bytes.len, 0);
	world_call_done(&call);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.offset = 10, .max_wait_ms = 0), 1).high_watermark, 10);
}

static void test_min_bytes_waits_for_more(void)
{
	struct world_call call;
	fetch(&call, FETCH(.min_bytes = 150, .max_wait_ms = 400));
	world_run(&world, 100);
	CU_ASSERT_EQUAL(call.done, 0);
	CU_ASSERT_EQUAL(world.fetches, 1);
	world.batch_bytes = 200;
	world_feed_high(&world, &world.topics[0], 0, 11, 0);
	world_run(&world, 30);
	CU_ASSERT_EQUAL(answer(&call).responses[0].partitions[0].records.bytes.len, 200);
	world_call_done(&call);
	world.batch_bytes = 100;
	fetch(&call, FETCH(.min_bytes = 150, .max_wait_ms = 400));
	world_run(&world, 405);
	CU_ASSERT_EQUAL(answer(&call).responses[0].partitions[0].records.bytes.len, 100); // what there was, at the end
	world_call_done(&call);
}

// A long poll that looks again and again must not pile up what each look needed.
static void test_rounds_do_not_pile_up(void)
{
	struct world_call call;
	size_t after_few = 0;
	int64_t high = 10;
	fetch(&call, FETCH(.min_bytes = 1 << 20, .max_wait_ms = 60000));
	for (unsigned round = 0; round < 60; round++) {
		world_feed_high(&world, &world.topics[0], 0, ++high, 0);
		world_run(&world, 600);
		if (round == 5)
			after_few = call.request->round.used;
	}
	CU_ASSERT_TRUE(world.fetches > 20);
	CU_ASSERT_EQUAL(call.done, 0);
	CU_ASSERT_TRUE(after_few > 0 && call.request->round.used <= after_few);
	world_run(&world, 30000);
	CU_ASSERT_TRUE(answer(&call).responses[0].partitions[0].records.bytes.len > 0);
	world_call_done(&call);
}

static void test_errors(void)
{
	CU_ASSERT_EQUAL(fetch_one(FETCH(.first = 9), 1).error_code, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.leader_epoch = 2), 1).error_code, KAFKA_ERROR_FENCED_LEADER_EPOCH);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.leader_epoch = 4), 1).error_code, KAFKA_ERROR_UNKNOWN_LEADER_EPOCH);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.leader_epoch = 3), 5).error_code, 0);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.offset = -5), 1).error_code, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
	world.fetch_error = ERROR_OFFSET_OUT_OF_RANGE;
	struct kafka_fetch_response_partition_data row = fetch_one(FETCH(.offset = 99), 5);
	CU_ASSERT_EQUAL(row.error_code, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(row.high_watermark, -1);
	world.fetch_error = ERROR_CORRUPT;
	CU_ASSERT_EQUAL(fetch_one(FETCH(), 5).error_code, KAFKA_ERROR_KAFKA_STORAGE_ERROR);
}

static void test_sessions_are_never_given(void)
{
	struct world_call call;
	fetch(&call, FETCH(.session_id = 7, .session_epoch = 3));
	CU_ASSERT_EQUAL(answer(&call).error_code, KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND);
	world_call_done(&call);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.session_id = 0, .session_epoch = 0), 5).error_code, 0);
	CU_ASSERT_EQUAL(fetch_one(FETCH(.session_id = 7, .session_epoch = -1), 5).error_code, 0);
}

// History 12: another reader, or a late feed, never shows a lower watermark.
static void test_the_watermark_never_goes_back(void)
{
	world.reader_high_offset = -4;
	CU_ASSERT_EQUAL(fetch_one(FETCH(), 5).high_watermark, 10);
	world.reader_high_offset = 7;
	CU_ASSERT_EQUAL(fetch_one(FETCH(), 5).high_watermark, 17);
	world.reader_high_offset = 0;
	CU_ASSERT_EQUAL(fetch_one(FETCH(), 5).high_watermark, 17);
}

static void test_a_reader_that_is_gone(void)
{
	bus_memory_endpoint_free(&world.readers[0]);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(fetch_one(FETCH(.count = 2), 50).error_code, 0);
	bus_memory_endpoint_free(&world.readers[1]);
	CU_ASSERT_EQUAL(fetch_one(FETCH(), 50).error_code, KAFKA_ERROR_KAFKA_STORAGE_ERROR);
}

static void test_limits_are_shared_out(void)
{
	struct world_call call;
	fetch(&call, FETCH(.count = 2, .max_bytes = 50000));
	world_run(&world, 5);
	CU_ASSERT_TRUE(world.last_fetch_max_bytes <= 50000);
	world_call_done(&call);
	fetch(&call, FETCH(.count = 1, .max_bytes = 0)); // the first batch comes all the same
	world_run(&world, 5);
	CU_ASSERT_EQUAL(answer(&call).responses[0].partitions[0].records.bytes.len, 100);
	world_call_done(&call);
}

static void test_clients_that_leave_at_any_point(void)
{
	for (uint64_t ms = 0; ms < 8; ms++) {
		struct world_call waiting, reading;
		fetch(&waiting, FETCH(.offset = 10 + (int64_t)ms));
		fetch(&reading, FETCH(.offset = 1));
		world_run(&world, ms);
		world_call_done(&waiting);
		world_call_done(&reading);
		world_feed_high(&world, &world.topics[0], 0, 11 + (int64_t)ms, 0);
		world_run(&world, 10);
	}
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_FETCH), 0);
}

static void test_a_topic_deleted_under_a_long_poll(void)
{
	struct world_call call;
	fetch(&call, FETCH(.version = 13, .offset = 10));
	world_run(&world, 50);
	world_feed_topic(&world, &world.topics[0], true);
	world_run(&world, 50);
	CU_ASSERT_EQUAL(answer(&call).responses[0].partitions[0].error_code, KAFKA_ERROR_UNKNOWN_TOPIC_ID);
	world_call_done(&call);
}

static void test_memory_is_granted_before_readers_are_asked(void)
{
	enum { CLIENTS = 200 };
	struct world_call calls[CLIENTS];
	world.hold_fetches = true;
	for (int i = 0; i < CLIENTS; i++)
		fetch(&calls[i], FETCH(.count = 2, .max_wait_ms = 3000));
	world_run(&world, 20);
	CU_ASSERT_TRUE(admission_used(world.frontend->admission, ADMISSION_FETCH) <=
		       admission_budget(world.frontend->admission, ADMISSION_FETCH));
	CU_ASSERT_TRUE(admission_waiting(world.frontend->admission, ADMISSION_FETCH) > 50);
	for (int i = 0; i < CLIENTS; i++)
		world_call_done(&calls[i]);
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_FETCH), 0);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite_with_setup_and_teardown("frontend_fetch", NULL, NULL, setup, teardown);
	CU_ADD_TEST(suite, test_all_versions);
	CU_ADD_TEST(suite, test_read_committed_has_a_list);
	CU_ADD_TEST(suite, test_a_long_poll_ends_when_the_watermark_rises);
	CU_ADD_TEST(suite, test_one_of_many_partitions_wakes_it);
	CU_ADD_TEST(suite, test_nothing_comes);
	CU_ADD_TEST(suite, test_min_bytes_waits_for_more);
	CU_ADD_TEST(suite, test_rounds_do_not_pile_up);
	CU_ADD_TEST(suite, test_errors);
	CU_ADD_TEST(suite, test_sessions_are_never_given);
	CU_ADD_TEST(suite, test_the_watermark_never_goes_back);
	CU_ADD_TEST(suite, test_a_reader_that_is_gone);
	CU_ADD_TEST(suite, test_limits_are_shared_out);
	CU_ADD_TEST(suite, test_clients_that_leave_at_any_point);
	CU_ADD_TEST(suite, test_a_topic_deleted_under_a_long_poll);
	CU_ADD_TEST(suite, test_memory_is_granted_before_readers_are_asked);
	return suite_run();
}
