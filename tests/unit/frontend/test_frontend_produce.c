// Produce: checks, splitting by writer, stickiness, windows, and what a client is told when the outcome is not known.
#include <string.h>

#include "tests/unit/frontend/frontend_suite.h"

WORLD_ENCODER(produce_request)

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

struct produce {
	int16_t version;
	int16_t acks;
	int32_t first, count; // partitions
	struct bytes records;
	int32_t timeout_ms;
	const char *topic;
	const char *transactional_id;
};

static void produce(struct world_call *call, const struct produce *wish)
{
	struct kafka_produce_request message;
	kafka_produce_request_init(&message);
	message.acks = wish->acks;
	message.timeout_ms = wish->timeout_ms ? wish->timeout_ms : 10000;
	if (wish->transactional_id)
		message.transactional_id = bytes_of(wish->transactional_id);
	message.topic_data = kafka_produce_request_topic_produce_data_array(&arena, 1);
	message.topic_data_count = 1;
	message.topic_data[0].name = bytes_of(wish->topic ? wish->topic : "orders");
	if (wish->version >= 13)
		message.topic_data[0].topic_id = world.topics[0].id;
	message.topic_data[0].partition_data = kafka_produce_request_partition_produce_data_array(&arena, wish->count);
	message.topic_data[0].partition_data_count = wish->count;
	for (int32_t i = 0; i < wish->count; i++) {
		message.topic_data[0].partition_data[i].index = wish->first + i;
		message.topic_data[0].partition_data[i].records.bytes = wish->records;
	}
	WORLD_SEND(&world, call, produce_request, 0, wish->version, &message);
}

static struct kafka_produce_response answer(struct world_call *call)
{
	struct kafka_produce_response response;
	WORLD_ANSWER(call, &arena, produce_response, &response, call->request->version);
	return response;
}

static void expect_error(const struct produce *wish, int16_t error)
{
	struct world_call call;
	produce(&call, wish);
	world_run(&world, 5);
	struct kafka_produce_response response = answer(&call);
	CU_ASSERT_EQUAL(response.responses[0].partition_responses[0].error_code, error);
	CU_ASSERT_EQUAL(response.responses[0].partition_responses[0].base_offset, -1);
	world_call_done(&call);
}

static void test_all_versions(void)
{
	for (int16_t version = 3; version <= 13; version++) {
		struct produce wish = {version, -1, 0, 4, world_batch(&arena, 1, 200), 0, NULL, NULL};
		struct world_call call;
		world.next_offset = 100;
		produce(&call, &wish);
		world_run(&world, 5);
		struct kafka_produce_response response = answer(&call);
		CU_ASSERT_EQUAL(response.responses[0].partition_responses_count, 4);
		for (int i = 0; i < 4; i++) {
			CU_ASSERT_EQUAL(response.responses[0].partition_responses[i].error_code, 0);
			CU_ASSERT_TRUE(response.responses[0].partition_responses[i].base_offset >= 100);
		}
		world_call_done(&call);
	}
	// Both writers had work, and the batches of one writer travelled in few frames.
	CU_ASSERT_TRUE(world.appends <= 11 * WORLD_WRITERS && world.append_frames <= world.appends * 2);
}

static void test_what_is_refused_before_any_writer(void)
{
	struct bytes good = world_batch(&arena, 1, 200);
	uint8_t *old = arena_alloc(&arena, 200);
	memcpy(old, good.data, 200);
	old[16] = 1;
	uint8_t *two = arena_alloc(&arena, 400);
	memcpy(two, good.data, 200);
	memcpy(two + 200, good.data, 200);
	expect_error(&(struct produce){7, 2, 0, 1, good, 0, NULL, NULL}, KAFKA_ERROR_INVALID_REQUIRED_ACKS);
	expect_error(&(struct produce){7, 1, 9, 1, good, 0, NULL, NULL}, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	expect_error(&(struct produce){7, 1, -1, 1, good, 0, NULL, NULL}, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	expect_error(&(struct produce){7, 1, 0, 1, good, 0, "absent", NULL}, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	expect_error(&(struct produce){7, 1, 0, 1, bytes_view(old, 200), 0, NULL, NULL}, KAFKA_ERROR_INVALID_RECORD);
	expect_error(&(struct produce){7, 1, 0, 1, bytes_view(two, 400), 0, NULL, NULL}, KAFKA_ERROR_INVALID_RECORD);
	expect_error(&(struct produce){7, 1, 0, 1, bytes_view(good.data, 100), 0, NULL, NULL}, KAFKA_ERROR_CORRUPT_MESSAGE);
	expect_error(&(struct produce){7, 1, 0, 1, bytes_of(""), 0, NULL, NULL}, KAFKA_ERROR_INVALID_RECORD);
	expect_error(&(struct produce){7, -1, 0, 1, good, 0, NULL, "tx"}, KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
	CU_ASSERT_EQUAL(world.appends, 0);
}

static void test_acks_0(void)
{
	struct produce good = {7, 0, 0, 1, world_batch(&arena, 1, 200), 0, NULL, NULL};
	struct produce bad = {7, 0, 9, 1, world_batch(&arena, 1, 200), 0, NULL, NULL};
	struct world_call call;
	produce(&call, &good);
	world_run(&world, 5);
	CU_ASSERT_EQUAL(call.request->outcome, REQUEST_SILENT);
	world_call_done(&call);
	produce(&call, &bad);
	CU_ASSERT_EQUAL(call.request->outcome, REQUEST_CLOSE);
	world_call_done(&call);
	CU_ASSERT_EQUAL(world.appends, 1);
}

static void test_unknown_outcome_is_told_and_never_sent_again(void)
{
	struct produce wish = {7, 1, 0, 1, world_batch(&arena, 1, 200), 5000, NULL, NULL};
	struct world_call call;
	world.hold_appends = true;
	produce(&call, &wish);
	world_run(&world, 5200);
	struct kafka_produce_response response = answer(&call);
	CU_ASSERT_EQUAL(response.responses[0].partition_responses[0].error_code, KAFKA_ERROR_REQUEST_TIMED_OUT);
	CU_ASSERT_EQUAL(world.appends, 1);
	world_call_done(&call);
}

static void test_a_refused_batch_keeps_kafkas_code(void)
{
	world.append_error = ERROR_OUT_OF_ORDER_SEQUENCE;
	expect_error(&(struct produce){8, 1, 0, 1, world_batch(&arena, 1, 200), 0, NULL, NULL},
		KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
}

// A writer that drains takes nothing new, but what is in flight there goes first: order holds.
static void test_a_partition_stays_until_its_appends_are_answered(void)
{
	struct produce wish = {7, 1, 0, 1, world_batch(&arena, 1, 200), 20000, NULL, NULL};
	struct world_call first, second;
	world.hold_appends = true;
	produce(&first, &wish);
	world_run(&world, 5);
	int writer = world.last_writer;
	world.writer_draining[writer] = true;
	world_feed_view(&world);
	world_run(&world, 50);
	produce(&second, &wish);
	world_run(&world, 50);
	CU_ASSERT_EQUAL(world.appends, 1); // the second waits
	CU_ASSERT_EQUAL(router_waiting(world.frontend->router), 1);
	world_release(&world, 0, BYTES_NULL);
	world_run(&world, 50);
	CU_ASSERT_EQUAL(world.appends, 2);
	CU_ASSERT_EQUAL(world.last_writer, !writer);
	world_release(&world, 1, BYTES_NULL);
	world_run(&world, 5);
	CU_ASSERT_EQUAL(first.done, 1);
	CU_ASSERT_EQUAL(second.done, 1);
	world_call_done(&first);
	world_call_done(&second);
}

static void test_surely_not_sent_goes_to_another_writer(void)
{
	struct produce wish = {7, 1, 0, 4, world_batch(&arena, 1, 200), 20000, NULL, NULL};
	struct world_call call;
	bus_memory_endpoint_free(&world.writers[0]); // gone, but the view does not know
	produce(&call, &wish);
	world_run(&world, 100);
	struct kafka_produce_response response = answer(&call);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(response.responses[0].partition_responses[i].error_code, 0);
	world_call_done(&call);
}

static void test_what_comes_back_keeps_its_order(void)
{
	struct produce wish = {7, 1, 0, 1, world_batch(&arena, 1, 200), 20000, NULL, NULL};
	struct world_call calls[4];
	produce(&calls[0], &wish);
	world_run(&world, 5);
	bus_memory_endpoint_free(&world.writers[world.last_writer]);
	for (int i = 1; i < 4; i++)
		produce(&calls[i], &wish);
	world_run(&world, 100);
	for (int i = 0; i < 4; i++) {
		CU_ASSERT_EQUAL(answer(&calls[i]).responses[0].partition_responses[0].base_offset, i);
		world_call_done(&calls[i]);
	}
}

static enum bus_memory_fault refuse_the_first_append(void *ctx, const struct bus_memory_event *event)
{
	int *appends = ctx;
	if (event->kind != BUS_MEMORY_REQUEST || event->type != WEIR__MESSAGE_TYPE__APPEND)
		return BUS_MEMORY_DELIVER;
	return ++*appends == 1 ? BUS_MEMORY_REFUSE : BUS_MEMORY_DELIVER;
}

// What comes back while a later append of its partition is on the way may not follow that one.
static void test_what_comes_back_never_follows_what_overtook_it(void)
{
	struct produce wish = {7, 1, 0, 1, world_batch(&arena, 1, 200), 20000, NULL, NULL};
	struct world_call first, second;
	int appends = 0;
	bus_memory_script(world.network, refuse_the_first_append, &appends);
	world.hold_appends = true;
	produce(&first, &wish);
	produce(&second, &wish);
	world_run(&world, 3000);
	CU_ASSERT_EQUAL(appends, 2);
	CU_ASSERT_EQUAL(first.done, 0); // the second may come back too
	world_release(&world, 0, BYTES_NULL);
	world_run(&world, 3000);
	CU_ASSERT_EQUAL(appends, 2);
	CU_ASSERT_EQUAL(answer(&first).responses[0].partition_responses[0].error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
	CU_ASSERT_EQUAL(answer(&second).responses[0].partition_responses[0].error_code, 0);
	bus_memory_script(world.network, NULL, NULL);
	world_call_done(&first);
	world_call_done(&second);
}

static void test_the_window_holds_back_and_lets_go_in_order(void)
{
	struct produce wish = {7, 1, 0, 1, world_batch(&arena, 1, 30000), 20000, NULL, NULL};
	struct world_call calls[5];
	world.hold_appends = true;
	for (int i = 0; i < 5; i++)
		produce(&calls[i], &wish);
	world_run(&world, 10);
	CU_ASSERT_EQUAL(world.appends, 2); // 64 KiB of window
	CU_ASSERT_EQUAL(router_waiting(world.frontend->router), 3);
	world.window_bytes = 1 << 20;
	world_release(&world, 0, BYTES_NULL);
	world_run(&world, 10);
	CU_ASSERT_EQUAL(world.appends, 5);
	for (size_t i = 1; i < 5; i++)
		world_release(&world, i, BYTES_NULL);
	world_run(&world, 10);
	for (int i = 0; i < 5; i++) {
		struct kafka_produce_response response = answer(&calls[i]);
		CU_ASSERT_EQUAL(response.responses[0].partition_responses[0].base_offset, i);
		world_call_done(&calls[i]);
	}
	CU_ASSERT_EQUAL(router_in_flight_bytes(world.frontend->router), 0);
}

static void test_no_writer_at_all(void)
{
	struct produce wish = {7, 1, 0, 1, world_batch(&arena, 1, 200), 5000, NULL, NULL};
	struct world_call late, lucky;
	world.writer_gone[0] = world.writer_gone[1] = true;
	world_feed_view(&world);
	world_run(&world, 50);
	produce(&late, &wish);
	world_run(&world, 5100);
	CU_ASSERT_EQUAL(answer(&late).responses[0].partition_responses[0].error_code, KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER);
	world_call_done(&late);
	produce(&lucky, &wish);
	world_run(&world, 1000);
	CU_ASSERT_EQUAL(lucky.done, 0);
	world.writer_gone[1] = false;
	world_feed_view(&world);
	world_run(&world, 300);
	CU_ASSERT_EQUAL(answer(&lucky).responses[0].partition_responses[0].error_code, 0);
	world_call_done(&lucky);
}

static void test_a_client_that_leaves_with_appends_in_flight(void)
{
	struct produce wish = {7, 1, 0, 4, world_batch(&arena, 1, 30000), 20000, NULL, NULL};
	struct world_call calls[4];
	world.hold_appends = true;
	for (int i = 0; i < 4; i++)
		produce(&calls[i], &wish);
	world_run(&world, 5);
	for (int i = 0; i < 4; i++)
		world_call_done(&calls[i]);
	world.hold_appends = false;
	for (size_t i = 0; i < world.held_count; i++)
		world_release(&world, i, BYTES_NULL);
	world_run(&world, 50);
	CU_ASSERT_EQUAL(router_in_flight_bytes(world.frontend->router), 0); // what waited was sent all the same
	CU_ASSERT_EQUAL(router_waiting(world.frontend->router), 0);
}

static void test_what_was_acked_is_visible(void)
{
	struct produce wish = {7, 1, 2, 1, world_batch(&arena, 3, 200), 0, NULL, NULL};
	struct world_call call;
	world.next_offset = 50;
	produce(&call, &wish);
	world_run(&world, 5);
	world_call_done(&call);
	CU_ASSERT_EQUAL(watermarks_get(world.frontend->watermarks, &world.topics[0].id, 2).high, 53);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite_with_setup_and_teardown("frontend_produce", NULL, NULL, setup, teardown);
	CU_ADD_TEST(suite, test_all_versions);
	CU_ADD_TEST(suite, test_what_is_refused_before_any_writer);
	CU_ADD_TEST(suite, test_acks_0);
	CU_ADD_TEST(suite, test_unknown_outcome_is_told_and_never_sent_again);
	CU_ADD_TEST(suite, test_a_refused_batch_keeps_kafkas_code);
	CU_ADD_TEST(suite, test_a_partition_stays_until_its_appends_are_answered);
	CU_ADD_TEST(suite, test_surely_not_sent_goes_to_another_writer);
	CU_ADD_TEST(suite, test_what_comes_back_keeps_its_order);
	CU_ADD_TEST(suite, test_what_comes_back_never_follows_what_overtook_it);
	CU_ADD_TEST(suite, test_the_window_holds_back_and_lets_go_in_order);
	CU_ADD_TEST(suite, test_no_writer_at_all);
	CU_ADD_TEST(suite, test_a_client_that_leaves_with_appends_in_flight);
	CU_ADD_TEST(suite, test_what_was_acked_is_visible);
	return suite_run();
}
