// Frames over a socketpair: every way to cut them, order of answers, sizes, garbage, and clients that hang or leave.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/connection.h"
#include "tests/unit/frontend/frontend_suite.h"

WORLD_ENCODER(heartbeat_request)
WORLD_ENCODER(produce_request)

static struct world world;
static struct arena arena;
static struct loop *loop;
static struct connection_set *set;

static const struct connection_settings normal = {.request_bytes_max = 8 << 20,
	.connection_bytes_max = 16 << 20,
	.output_bytes_max = 1 << 20,
	.requests_max = 8,
	.idle_ms = 600000,
	.body_ms = 30000,
	.send_ms = 60000};

static void turn(void)
{
	loop_turn(loop, 0);
	world_turn(&world);
	connection_set_step(set);
}

static void turns(int count)
{
	for (int i = 0; i < count; i++)
		turn();
}

static void begin(const struct connection_settings *settings)
{
	set = connection_set_new(loop, settings);
	connection_set_serve(set, world.frontend);
}

static void setup(void)
{
	world = (struct world){0};
	arena_init(&arena, 0);
	loop = loop_new();
	world_add_topic(&world, "orders", 4);
	world_start(&world, loop_env(loop));
	for (int i = 0; i < 20000 && frontend_ready(world.frontend); i++) {
		loop_turn(loop, 0);
		world_turn(&world);
	}
	CU_ASSERT_PTR_NULL_FATAL(frontend_ready(world.frontend));
	begin(&normal);
}

static void teardown(void)
{
	connection_set_free(&set);
	world_stop(&world);
	loop_free(&loop);
	arena_done(&arena);
}

static int client(void)
{
	int fds[2];
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	connection_open(set, fds[0], "/127.0.0.1");
	return fds[1];
}

static struct bytes framed(int16_t key, int16_t version, int32_t correlation, const void *message, world_encode_fn encode)
{
	struct slice frame = world_frame(key, version, correlation, message, encode);
	uint8_t *data = arena_alloc(&arena, frame.len + 4);
	put_u32(data, (uint32_t)frame.len);
	memcpy(data + 4, frame.data, frame.len);
	struct bytes bytes = bytes_view(data, frame.len + 4);
	slice_done(&frame);
	return bytes;
}

static struct bytes api_versions(int32_t correlation)
{
	return framed(18, 0, correlation, NULL, NULL);
}

static struct bytes heartbeat(int32_t correlation, const char *group)
{
	struct kafka_heartbeat_request message;
	kafka_heartbeat_request_init(&message);
	message.group_id = bytes_of(group);
	return framed(12, 0, correlation, &message, world_encode_heartbeat_request);
}

static struct bytes produce(int32_t correlation, size_t size)
{
	struct kafka_produce_request message;
	kafka_produce_request_init(&message);
	message.acks = 1;
	message.timeout_ms = 10000;
	message.topic_data = kafka_produce_request_topic_produce_data_array(&arena, 1);
	message.topic_data_count = 1;
	message.topic_data[0].name = bytes_of("orders");
	message.topic_data[0].partition_data = kafka_produce_request_partition_produce_data_array(&arena, 1);
	message.topic_data[0].partition_data_count = 1;
	message.topic_data[0].partition_data[0].records.bytes = world_batch(&arena, 1, size);
	return framed(0, 7, correlation, &message, world_encode_produce_request);
}

static void put(int fd, struct bytes bytes)
{
	CU_ASSERT_EQUAL_FATAL(send(fd, bytes.data, bytes.len, MSG_NOSIGNAL), (ssize_t)bytes.len);
}

// The correlation id of the next whole answer; -1: none is there, -2: closed.
static int32_t next_answer(int fd)
{
	static uint8_t bytes[1 << 16];
	ssize_t got = recv(fd, bytes, 4, MSG_PEEK);
	if (got == 0 || (got < 0 && errno == ECONNRESET))
		return -2;
	if (got < 4)
		return -1;
	size_t len = get_u32(bytes) + 4;
	CU_ASSERT_TRUE_FATAL(len <= sizeof bytes);
	if (recv(fd, bytes, len, MSG_PEEK) < (ssize_t)len)
		return -1;
	CU_ASSERT_EQUAL(recv(fd, bytes, len, 0), (ssize_t)len);
	return (int32_t)get_u32(bytes + 4);
}

static void test_two_requests_cut_at_every_byte(void)
{
	struct bytes first = api_versions(1), second = api_versions(2);
	uint8_t both[256];
	size_t len = first.len + second.len;
	memcpy(both, first.data, first.len);
	memcpy(both + first.len, second.data, second.len);
	for (size_t cut = 1; cut < len; cut++) {
		int fd = client();
		put(fd, bytes_view(both, cut));
		turns(3);
		put(fd, bytes_view(both + cut, len - cut));
		turns(3);
		CU_ASSERT_EQUAL(next_answer(fd), 1);
		CU_ASSERT_EQUAL(next_answer(fd), 2);
		CU_ASSERT_EQUAL(next_answer(fd), -1);
		close(fd);
		turns(2);
	}
	CU_ASSERT_EQUAL(connection_set_count(set), 0);
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_OTHER), 0);
}

static void test_one_byte_at_a_time(void)
{
	struct bytes frame = produce(7, 500);
	int fd = client();
	for (size_t i = 0; i < frame.len; i++) {
		put(fd, bytes_view(frame.data + i, 1));
		turns(2);
	}
	turns(10);
	CU_ASSERT_EQUAL(next_answer(fd), 7);
	close(fd);
}

static void test_a_body_larger_than_the_staging_buffer_and_what_is_behind_it(void)
{
	struct bytes frame = produce(7, 60000), next = api_versions(8);
	int fd = client();
	put(fd, frame);
	put(fd, next);
	turns(20);
	CU_ASSERT_EQUAL(next_answer(fd), 7);
	CU_ASSERT_EQUAL(next_answer(fd), 8);
	close(fd);
}

// Three groups, answered last first: answers still leave in the order of the requests.
static void test_answers_leave_in_order(void)
{
	int fd = client();
	put(fd, heartbeat(1, "a"));
	put(fd, heartbeat(2, "b"));
	put(fd, heartbeat(3, "c"));
	put(fd, api_versions(4));
	turns(10);
	CU_ASSERT_EQUAL_FATAL(world.held_count, 3); // nobody waits for another group
	CU_ASSERT_EQUAL(next_answer(fd), -1);
	static const uint8_t body[] = {0, 0};
	world_release(&world, 2, bytes_view(body, sizeof body));
	turns(5);
	CU_ASSERT_EQUAL(next_answer(fd), -1);
	world_release(&world, 1, bytes_view(body, sizeof body));
	world_release(&world, 0, bytes_view(body, sizeof body));
	turns(5);
	for (int32_t i = 1; i <= 4; i++)
		CU_ASSERT_EQUAL(next_answer(fd), i);
	close(fd);
}

// History 11: of one group, the next leaves after the former's answer.
static void test_one_group_goes_one_by_one(void)
{
	static const uint8_t body[] = {0, 0};
	int fd = client();
	put(fd, heartbeat(1, "a"));
	put(fd, heartbeat(2, "a"));
	put(fd, heartbeat(3, "b"));
	turns(10);
	CU_ASSERT_EQUAL(world.held_count, 2);
	world_release(&world, 0, bytes_view(body, sizeof body));
	turns(10);
	CU_ASSERT_EQUAL_FATAL(world.held_count, 3);
	world_release(&world, 1, bytes_view(body, sizeof body));
	world_release(&world, 2, bytes_view(body, sizeof body));
	turns(10);
	for (int32_t i = 1; i <= 3; i++)
		CU_ASSERT_EQUAL(next_answer(fd), i);
	close(fd);
}

static void expect_closed(const uint8_t *bytes, size_t len)
{
	int fd = client();
	put(fd, bytes_view(bytes, len));
	turns(3);
	CU_ASSERT_EQUAL(next_answer(fd), -2);
	close(fd);
}

static void test_what_closes_the_connection(void)
{
	static const uint8_t negative[] = {0xff, 0xff, 0xff, 0xff, 0, 18, 0, 0, 0, 0, 0, 1};
	static const uint8_t tiny[] = {0, 0, 0, 7, 0, 18, 0, 0, 0, 0, 0, 1};
	static const uint8_t huge[] = {0x7f, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1};
	static const uint8_t unknown_api[] = {0, 0, 0, 20, 3, 231, 0, 0, 0, 0, 0, 1};
	static const uint8_t old_produce[] = {0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 1};
	static const uint8_t http[] = "GET / HTTP/1.1\r\n\r\n";
	// A heartbeat whose group id claims more bytes than there are.
	static const uint8_t lying[] = {0, 0, 0, 14, 0, 12, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0x10, 0, 0, 0};
	expect_closed(negative, sizeof negative);
	expect_closed(tiny, sizeof tiny);
	expect_closed(huge, sizeof huge);
	expect_closed(unknown_api, sizeof unknown_api);
	expect_closed(old_produce, sizeof old_produce);
	expect_closed(http, sizeof http - 1);
	expect_closed(lying, sizeof lying);
}

static void test_random_bytes_do_no_harm(void)
{
	struct prng prng;
	prng_init(&prng, 7);
	for (int i = 0; i < 300; i++) {
		uint8_t bytes[200];
		int fd = client();
		prng_fill(&prng, bytes, sizeof bytes);
		put_u32(bytes, 150); // a plausible length
		put_u16(bytes + 4, (uint16_t)prng_below(&prng, 61));
		put_u16(bytes + 6, (uint16_t)prng_below(&prng, 5));
		put_u16(bytes + 12, UINT16_MAX); // no client id
		put(fd, bytes_view(bytes, sizeof bytes));
		turns(3);
		close(fd);
		turns(2);
		world.held_count = 0;
	}
	CU_ASSERT_EQUAL(connection_set_count(set), 0);
}

static void test_a_client_that_leaves_with_requests_in_flight(void)
{
	world.hold_appends = true;
	int fd = client();
	put(fd, produce(1, 5000));
	put(fd, heartbeat(2, "a"));
	turns(10);
	CU_ASSERT_EQUAL(world.held_count, 2);
	close(fd);
	turns(3);
	CU_ASSERT_EQUAL(connection_set_count(set), 0);
	for (size_t i = 0; i < 2; i++)
		world_release(&world, i, bytes_of(""));
	turns(10);
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_PRODUCE), 0);
}

static void test_too_many_requests_are_not_read(void)
{
	int fd = client();
	for (int32_t i = 0; i < 12; i++) {
		char group[16];
		snprintf(group, sizeof group, "g%d", i);
		put(fd, heartbeat(i, group));
	}
	turns(20);
	CU_ASSERT_EQUAL(world.held_count, 8); // requests_max
	static const uint8_t body[] = {0, 0};
	for (size_t i = 0; i < 12; i++) {
		CU_ASSERT_TRUE_FATAL(i < world.held_count);
		world_release(&world, i, bytes_view(body, sizeof body));
		turns(10);
		CU_ASSERT_EQUAL(next_answer(fd), (int32_t)i);
	}
	close(fd);
}

// History 18 end to end: bodies that never end exhaust produce; a heartbeat passes.
static void test_half_read_produces_and_a_heartbeat(void)
{
	enum { CLIENTS = 40 };
	int fds[CLIENTS];
	struct bytes frame = produce(1, 4 << 20);
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = client();
		put(fds[i], bytes_view(frame.data, 100));
	}
	turns(5);
	CU_ASSERT_EQUAL(admission_waiting(world.frontend->admission, ADMISSION_PRODUCE), CLIENTS - 7); // of 32 MiB
	int fd = client();
	put(fd, heartbeat(9, "a"));
	turns(10);
	CU_ASSERT_EQUAL_FATAL(world.held_count, 1);
	static const uint8_t body[] = {0, 0};
	world_release(&world, 0, bytes_view(body, sizeof body));
	turns(10);
	CU_ASSERT_EQUAL(next_answer(fd), 9);
	close(fd);
	for (int i = 0; i < CLIENTS; i++)
		close(fds[i]);
	turns(10);
	CU_ASSERT_EQUAL(connection_set_count(set), 0);
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_PRODUCE), 0);
}

static void test_a_client_that_does_not_read_is_not_read(void)
{
	struct connection_settings small = normal;
	connection_set_free(&set);
	small.output_bytes_max = 10000;
	begin(&small);
	int fd = client();
	struct bytes frame = api_versions(1);
	int sent = 0;
	for (int i = 0; i < 20000; i++) {
		if (send(fd, frame.data, frame.len, MSG_NOSIGNAL) != (ssize_t)frame.len)
			break;
		sent++;
		if (i % 50 == 0)
			turn();
	}
	turns(50);
	CU_ASSERT_TRUE(world.frontend->counters.requests[18] < 20000); // it stopped
	int got = 0;
	for (int i = 0; i < 100000 && got < sent; i++) {
		while (next_answer(fd) == 1)
			got++;
		turn();
	}
	CU_ASSERT_EQUAL(got, sent); // and went on; nothing was dropped
	close(fd);
}

// Half of a body and then nothing; and a connection that never says anything.
static void test_half_open_and_idle_connections_are_closed(void)
{
	struct connection_settings hasty = normal;
	connection_set_free(&set);
	hasty.body_ms = hasty.idle_ms = 50;
	begin(&hasty);
	int half = client(), idle = client(), busy = client();
	put(half, bytes_view(produce(1, 5000).data, 100));
	put(busy, heartbeat(2, "a"));
	uint64_t give_up_us = loop_env(loop)->now_us + 10000000;
	while (connection_set_count(set) > 1 && loop_env(loop)->now_us < give_up_us) {
		loop_turn(loop, 10);
		turn();
	}
	CU_ASSERT_EQUAL(next_answer(half), -2);
	CU_ASSERT_EQUAL(next_answer(idle), -2);
	CU_ASSERT_EQUAL(next_answer(busy), -1); // it waits for us, not we for it
	CU_ASSERT_EQUAL(connection_set_count(set), 1);
	turns(2); // the freed block comes back by the next step
	CU_ASSERT_EQUAL(admission_used(world.frontend->admission, ADMISSION_PRODUCE), 0);
	close(half);
	close(idle);
	close(busy);
}

static void test_drain(void)
{
	static const uint8_t body[] = {0, 0};
	int busy = client(), idle = client();
	put(busy, heartbeat(1, "a"));
	turns(5);
	connection_set_drain(set);
	turns(3);
	CU_ASSERT_EQUAL(next_answer(idle), -2);
	CU_ASSERT_EQUAL(connection_set_count(set), 1);
	world_release(&world, 0, bytes_view(body, sizeof body));
	turns(5);
	CU_ASSERT_EQUAL(next_answer(busy), 1);
	CU_ASSERT_EQUAL(next_answer(busy), -2);
	CU_ASSERT_EQUAL(connection_set_count(set), 0);
	close(busy);
	close(idle);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite_with_setup_and_teardown("frontend_connection", NULL, NULL, setup, teardown);
	CU_ADD_TEST(suite, test_two_requests_cut_at_every_byte);
	CU_ADD_TEST(suite, test_one_byte_at_a_time);
	CU_ADD_TEST(suite, test_a_body_larger_than_the_staging_buffer_and_what_is_behind_it);
	CU_ADD_TEST(suite, test_answers_leave_in_order);
	CU_ADD_TEST(suite, test_one_group_goes_one_by_one);
	CU_ADD_TEST(suite, test_what_closes_the_connection);
	CU_ADD_TEST(suite, test_random_bytes_do_no_harm);
	CU_ADD_TEST(suite, test_a_client_that_leaves_with_requests_in_flight);
	CU_ADD_TEST(suite, test_too_many_requests_are_not_read);
	CU_ADD_TEST(suite, test_half_read_produces_and_a_heartbeat);
	CU_ADD_TEST(suite, test_a_client_that_does_not_read_is_not_read);
	CU_ADD_TEST(suite, test_half_open_and_idle_connections_are_closed);
	CU_ADD_TEST(suite, test_drain);
	return suite_run();
}
