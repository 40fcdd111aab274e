#include "common/runtime/bus_zmq.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/prng.h"
#include "common/runtime/bus_header.pb-c.h"
#include "common/runtime/protobuf.h"
#include "tests/unit/base/unit.h"

// Any protobuf message does as a body: BusHeader is at hand, its id and correlation carry the test's numbers.

enum { LONG_MS = 60000, TYPE_ECHO = 1, TYPE_HOLD = 2 };

// A place with sockets, and one loop for all buses of a test, unless it needs to keep a side from turning.

static char directory[64];
static struct loop *loop;
static struct metrics *metrics; // of the server

static const char *address_of(const char *name)
{
	static char address[128];
	snprintf(address, sizeof address, "ipc://%s/%s", directory, name);
	return address;
}

static void setup(void)
{
	snprintf(directory, sizeof directory, "/tmp/weir-bus-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
	loop = loop_new();
	metrics = metrics_new();
}

static void teardown(void)
{
	char path[128];
	loop_free(&loop);
	metrics_free(&metrics);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", directory, i ? "feed" : "server");
		unlink(path);
	}
	CU_ASSERT_EQUAL(rmdir(directory), 0);
}

static uint64_t metric(const char *name)
{
	struct buffer page;
	char key[128];
	uint64_t value = UINT64_MAX;
	buffer_init(&page, 1 << 20);
	metrics_render(metrics, "test", &page);
	buffer_u8(&page, 0);
	snprintf(key, sizeof key, "\nweir_test_%s ", name);
	const char *at = strstr((const char *)page.data, key);
	if (at)
		value = strtoull(at + strlen(key), NULL, 10);
	buffer_done(&page);
	return value;
}

static struct bus *bus_new(struct bus_zmq_settings settings)
{
	struct bus *bus = NULL;
	if (settings.bind) { // a server registers its counters; an earlier one's are gone
		metrics_free(&metrics);
		metrics = metrics_new();
	}
	CHECK(bus_zmq_new(loop, &settings, settings.bind ? metrics : NULL, &bus) == ERROR_OK);
	return bus;
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// The server: echoes body and frames, or keeps the request.

struct server {
	struct bus *bus;
	uint64_t last_id;
	bool in_order;
	unsigned requests;
	struct bus_request *held[64];
	unsigned held_count;
	uint32_t remaining_ms;
	uint64_t correlation;
};

static void server_request(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	struct server *server = ctx;
	struct arena arena;
	arena_init(&arena, 1 << 16);
	Weir__BusHeader *body = protobuf_unpack(&weir__bus_header__descriptor, message->body, &arena);
	CHECK(body); // not CUnit's: this also runs in a process of its own
	server->requests++;
	server->in_order &= body->id == server->last_id + 1;
	server->last_id = body->id;
	server->remaining_ms = message->remaining_ms;
	server->correlation = message->correlation;
	if (message->type == TYPE_HOLD) {
		if (server->held_count < 64)
			server->held[server->held_count++] = request;
	} else {
		bus_reply(server->bus, request,
			&(struct bus_send){.type = message->type,
				.body = &body->base,
				.frames = message->frames,
				.frame_count = message->frame_count});
	}
	arena_done(&arena);
}

static struct server server_new(struct bus_zmq_settings settings)
{
	return (struct server){.bus = bus_new(settings), .in_order = true};
}

static struct bus_zmq_settings at_server(void)
{
	return (struct bus_zmq_settings){.bind = address_of("server")};
}

// The client

struct client {
	unsigned replies;
	unsigned errors[ERROR_COUNT];
	uint64_t last_id;
	bool in_order;
	bool inside_call;
	struct slice frames[8]; // of the last reply, held
	size_t frame_count;
};

static struct client client;

static unsigned client_ended(void)
{
	unsigned ended = client.replies;
	for (unsigned i = 1; i < ERROR_COUNT; i++)
		ended += client.errors[i];
	return ended;
}

static void client_reply(void *ctx, enum error error, const struct bus_message *reply)
{
	(void)ctx;
	CU_ASSERT_FALSE(client.inside_call);
	CU_ASSERT_EQUAL(reply != NULL, error == ERROR_OK);
	if (!reply) {
		client.errors[error]++;
		return;
	}
	struct arena arena;
	arena_init(&arena, 1 << 16);
	Weir__BusHeader *body = protobuf_unpack(&weir__bus_header__descriptor, reply->body, &arena);
	CU_ASSERT_PTR_NOT_NULL_FATAL(body);
	client.in_order &= body->id == client.last_id + 1;
	client.last_id = body->id;
	client.replies++;
	for (size_t i = 0; i < reply->frame_count && i < 8; i++) {
		slice_done(&client.frames[i]);
		client.frames[i] = slice_ref(reply->frames[i]);
	}
	client.frame_count = reply->frame_count;
	arena_done(&arena);
}

static uint64_t client_call(struct bus *bus, struct bus_link *link, uint32_t type, uint64_t number, uint32_t timeout_ms,
	const struct slice *frames, size_t frame_count)
{
	Weir__BusHeader body = WEIR__BUS_HEADER__INIT;
	body.id = number;
	client.inside_call = true;
	uint64_t id = bus_call(bus, link,
		&(struct bus_send){.type = type,
			.body = &body.base,
			.frames = frames,
			.frame_count = frame_count,
			.timeout_ms = timeout_ms,
			.correlation = number + 7},
		client_reply, NULL);
	client.inside_call = false;
	CU_ASSERT_TRUE(id != 0);
	return id;
}

static void until_ended(unsigned count)
{
	while (client_ended() < count)
		loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(client_ended(), count);
}

static void client_reset(void)
{
	memset(&client, 0, sizeof client);
	client.in_order = true;
}

// Tests

static void call_and_reply(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	CU_ASSERT_PTR_EQUAL(bus_link(bus, bus_zmq_address(server.bus)), link);
	client_call(bus, link, TYPE_ECHO, 1, 5000, NULL, 0);
	until_ended(1);
	CU_ASSERT_EQUAL(client.replies, 1);
	CU_ASSERT_TRUE(client.in_order);
	CU_ASSERT_TRUE(server.remaining_ms > 0 && server.remaining_ms <= 5000);
	CU_ASSERT_EQUAL(server.correlation, 8);
	bus_unlink(bus, link);
	client_call(bus, link, TYPE_ECHO, 2, 5000, NULL, 0); // one hold is left
	until_ended(2);
	client_call(bus, link, TYPE_HOLD, 3, 5000, NULL, 0);
	client_call(bus, link, TYPE_ECHO, 4, 5000, NULL, 0);
	until_ended(3);
	bus_unlink(bus, link);
	CU_ASSERT_EQUAL(client.errors[ERROR_CANCELED], 1);
	CU_ASSERT_TRUE(bus_zmq_idle(bus) && bus_zmq_idle(server.bus));
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

static atomic_uint blocks_freed;

static void test_block_free(struct block *block)
{
	free(block->data);
	free(block);
	atomic_fetch_add(&blocks_freed, 1);
}

static struct slice test_slice(size_t len, uint64_t seed)
{
	struct block *block = malloc(sizeof *block);
	struct prng prng;
	atomic_init(&block->refs, 1);
	block->data = malloc(len ? len : 1);
	block->len = len;
	block->free = test_block_free;
	prng_init(&prng, seed);
	prng_fill(&prng, block->data, len);
	return slice_take(&block);
}

static void frames_arrive_whole(void)
{
	static const size_t sizes[] = {0, 10, 33, 1023, 1024, 5000, 300000, 6 << 20};
	static uint8_t outliving[2000];
	struct slice frames[9];
	setup();
	client_reset();
	atomic_store(&blocks_freed, 0);
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	for (unsigned i = 0; i < 8; i++)
		frames[i] = test_slice(sizes[i], i);
	client_call(bus, link, TYPE_ECHO, 1, LONG_MS, frames, 8);
	for (unsigned i = 0; i < 8; i++)
		slice_done(&frames[i]);
	until_ended(1);
	CU_ASSERT_EQUAL(client.frame_count, 8);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	CU_ASSERT_EQUAL(atomic_load(&blocks_freed), 8);
	for (unsigned i = 0; i < 8; i++) { // what was received outlives the bus
		struct slice expected = test_slice(sizes[i], i);
		CU_ASSERT_TRUE(bytes_equal(slice_bytes(client.frames[i]), slice_bytes(expected)));
		slice_done(&expected);
		slice_done(&client.frames[i]);
	}
	server = server_new(at_server());
	bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	frames[0] = (struct slice){NULL, outliving, sizeof outliving};
	client_call(bus, bus_link(bus, bus_zmq_address(server.bus)), TYPE_ECHO, 1, LONG_MS, frames, 1);
	until_ended(2);
	CU_ASSERT_TRUE(bytes_equal(slice_bytes(client.frames[0]), bytes_view(outliving, sizeof outliving)));
	slice_done(&client.frames[0]);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

static void calls_are_batched_in_order(void)
{
	enum { CALLS = 10000 };
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	for (uint64_t i = 1; i <= CALLS; i++)
		client_call(bus, link, TYPE_ECHO, i, LONG_MS, NULL, 0);
	until_ended(CALLS);
	CU_ASSERT_EQUAL(client.replies, CALLS);
	CU_ASSERT_TRUE(client.in_order);
	CU_ASSERT_TRUE(server.in_order);
	CU_ASSERT_TRUE(metric("bus_parcels_received_total") < 10);
	CU_ASSERT_TRUE(metric("bus_parcels_sent_total") < 10);
	CU_ASSERT_EQUAL(metric("bus_requests_total"), CALLS);
	CU_ASSERT_EQUAL(metric("bus_replies_owed"), 0);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

// Payload beyond a parcel's limit leaves in several, in order.
static void large_turns_are_split(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	struct slice frame = test_slice(1 << 20, 1);
	for (uint64_t i = 1; i <= 20; i++)
		client_call(bus, link, TYPE_ECHO, i, LONG_MS, i % 2 ? &frame : NULL, i % 2);
	slice_done(&frame);
	while (client_ended() < 20) {
		loop_turn(loop, LONG_MS);
		for (unsigned i = 0; i < 8; i++)
			slice_done(&client.frames[i]);
	}
	CU_ASSERT_TRUE(client.in_order && server.in_order);
	CU_ASSERT_TRUE(metric("bus_parcels_received_total") >= 3);
	CU_ASSERT_EQUAL(metric("bus_payload_received_bytes_total"), 10 << 20);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

static void calls_time_out(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
	until_ended(1);
	client_call(bus, link, TYPE_HOLD, 2, 30, NULL, 0);
	until_ended(2);
	CU_ASSERT_EQUAL(client.errors[ERROR_TIMED_OUT], 1);
	CU_ASSERT_EQUAL(server.held_count, 1);
	Weir__BusHeader body = WEIR__BUS_HEADER__INIT;
	bus_reply(server.bus, server.held[0], &(struct bus_send){.type = TYPE_HOLD, .body = &body.base}); // too late
	client_call(bus, link, TYPE_ECHO, 3, LONG_MS, NULL, 0);
	until_ended(3);
	CU_ASSERT_EQUAL(client.replies, 2);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

static void limits_refuse_calls(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){.calls_max = 10, .message_bytes_max = 1 << 20});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	struct slice frame = test_slice((1 << 20) + 1, 1);
	client_call(bus, link, TYPE_ECHO, 1, LONG_MS, &frame, 1);
	slice_done(&frame);
	until_ended(1);
	CU_ASSERT_EQUAL(client.errors[ERROR_TOO_LARGE], 1);
	for (unsigned i = 1; i <= 15; i++)
		client_call(bus, link, TYPE_ECHO, i, LONG_MS, NULL, 0);
	until_ended(16);
	CU_ASSERT_EQUAL(client.errors[ERROR_BUSY], 5);
	CU_ASSERT_EQUAL(client.replies, 10);
	CU_ASSERT_EQUAL(server.requests, 10);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

static void cancelled_calls_stay_silent(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	uint64_t unsent = client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
	bus_cancel(bus, unsent);
	bus_cancel(bus, unsent);
	client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
	until_ended(1);
	CU_ASSERT_EQUAL(server.requests, 1);
	uint64_t sent = client_call(bus, link, TYPE_ECHO, 2, LONG_MS, NULL, 0);
	while (server.requests < 2)
		loop_turn(loop, LONG_MS);
	bus_cancel(bus, sent);
	client_call(bus, link, TYPE_ECHO, 2, LONG_MS, NULL, 0);
	until_ended(2);
	CU_ASSERT_EQUAL(client.replies, 2);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

// A high-water mark of one parcel and a side that does not turn: everything waits, nothing is lost, in both directions.
static void back_pressure_loses_nothing(void)
{
	enum { CALLS = 200 };
	setup();
	client_reset();
	struct bus_zmq_settings settings = at_server();
	settings.hwm = 1;
	struct server server = server_new(settings);
	struct bus *bus;
	struct loop *server_loop = loop;
	struct loop *client_loop = loop_new();
	CU_ASSERT_EQUAL_FATAL(bus_zmq_new(client_loop, &(struct bus_zmq_settings){.hwm = 1}, NULL, &bus), ERROR_OK);
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	struct slice frame = test_slice(256 << 10, 1); // beyond what the kernel buffers
	client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
	while (client_ended() < 1) {
		loop_turn(client_loop, 1);
		loop_turn(server_loop, 1);
	}
	for (uint64_t i = 2; i <= CALLS; i++) { // one a turn: one a parcel
		client_call(bus, link, TYPE_ECHO, i, LONG_MS, &frame, 1);
		loop_turn(client_loop, 0);
	}
	CU_ASSERT_FALSE(bus_zmq_idle(bus));
	while (server.requests < CALLS) { // the client only sends on: replies pile up at the server
		loop_turn(server_loop, 1);
		if (!bus_zmq_idle(bus))
			loop_turn(client_loop, 1);
		for (unsigned i = 0; i < 8; i++)
			slice_done(&client.frames[i]);
	}
	while (client_ended() < CALLS) {
		loop_turn(server_loop, 1);
		loop_turn(client_loop, 1);
		for (unsigned i = 0; i < 8; i++)
			slice_done(&client.frames[i]);
	}
	CU_ASSERT_EQUAL(client.replies, CALLS);
	CU_ASSERT_TRUE(client.in_order && server.in_order);
	slice_done(&frame);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	loop_free(&client_loop);
	teardown();
}

// A peer in a process of its own: this program, started anew.

static int serve_main(const char *address)
{
	loop = loop_new();
	metrics = metrics_new();
	struct server server = server_new((struct bus_zmq_settings){.bind = address});
	bus_serve(server.bus, server_request, &server);
	loop_run(loop);
	return 0;
}

static pid_t spawn_server(const char *address)
{
	pid_t pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "test_runtime_bus", "serve", address, (char *)NULL);
		_exit(127);
	}
	CU_ASSERT_TRUE_FATAL(pid > 0);
	return pid;
}

static void kill_server(pid_t pid)
{
	int status;
	CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
}

// Waits until the server answers, however long it takes to start.
static void until_answered(struct bus *bus, struct bus_link *link)
{
	unsigned replies = client.replies;
	while (client.replies == replies) {
		unsigned ended = client_ended();
		client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
		until_ended(ended + 1);
	}
}

static void death_of_a_peer(void)
{
	setup();
	client_reset();
	const char *address = address_of("server");
	pid_t pid = spawn_server(address);
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	struct bus_link *link = bus_link(bus, address);
	until_answered(bus, link);
	for (unsigned round = 0; round < 3; round++) {
		client_reset();
		for (unsigned i = 0; i < 50; i++)
			client_call(bus, link, TYPE_HOLD, 1, LONG_MS, NULL, 0);
		client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
		until_ended(1); // so the held ones are there too
		kill_server(pid);
		uint64_t killed_ms = now_ms();
		until_ended(51);
		CU_ASSERT_EQUAL(client.errors[ERROR_DISCONNECTED], 50);
		CU_ASSERT_TRUE(now_ms() - killed_ms < 500); // milliseconds, on a busy machine some more
		client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
		uint64_t called_ms = now_ms();
		until_ended(52);
		CU_ASSERT_EQUAL(client.errors[ERROR_UNREACHABLE], 1);
		CU_ASSERT_TRUE(now_ms() - called_ms < 3000);
		client_call(bus, link, TYPE_ECHO, 1, 1, NULL, 0); // its own timeout comes first
		until_ended(53);
		CU_ASSERT_EQUAL(client.errors[ERROR_UNREACHABLE], 2);
		pid = spawn_server(address);
		until_answered(bus, link);
	}
	bus_zmq_free(&bus);
	kill_server(pid);
	teardown();
}

// A stopped process keeps its connection; only heartbeats tell.
static void hang_of_a_peer(void)
{
	setup();
	client_reset();
	const char *address = address_of("server");
	pid_t pid = spawn_server(address);
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	struct bus_link *link = bus_link(bus, address);
	until_answered(bus, link);
	client_reset();
	CU_ASSERT_EQUAL(kill(pid, SIGSTOP), 0);
	client_call(bus, link, TYPE_ECHO, 1, LONG_MS, NULL, 0);
	uint64_t called_ms = now_ms();
	until_ended(1);
	CU_ASSERT_EQUAL(client.errors[ERROR_DISCONNECTED], 1);
	CU_ASSERT_TRUE(now_ms() - called_ms < 8000);
	CU_ASSERT_EQUAL(kill(pid, SIGCONT), 0);
	until_answered(bus, link);
	bus_zmq_free(&bus);
	kill_server(pid);
	teardown();
}

static void replies_to_the_dead_are_dropped(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	struct bus_link *link = bus_link(bus, bus_zmq_address(server.bus));
	for (unsigned i = 1; i <= 10; i++)
		client_call(bus, link, TYPE_HOLD, i, LONG_MS, NULL, 0);
	while (server.held_count < 10)
		loop_turn(loop, LONG_MS);
	bus_zmq_free(&bus);
	CU_ASSERT_EQUAL(client_ended(), 0); // a bus that is freed tells nobody
	Weir__BusHeader body = WEIR__BUS_HEADER__INIT;
	for (unsigned i = 0; i < 10; i++) {
		bus_reply(server.bus, server.held[i], &(struct bus_send){.type = TYPE_HOLD, .body = &body.base});
		loop_turn(loop, 1);
	}
	CU_ASSERT_TRUE(bus_zmq_idle(server.bus));
	bus_zmq_free(&server.bus);
	teardown();
}

// Strangers

static void send_frames(void *socket, const struct bytes *frames, size_t count)
{
	for (size_t i = 0; i < count; i++)
		CU_ASSERT_TRUE(zmq_send(socket, frames[i].data, frames[i].len, i + 1 < count ? ZMQ_SNDMORE : 0) >= 0);
}

static void garbage_is_refused(void)
{
	// By hand from bus_parcel.h and bus_header.proto: type 1, id 5; type 1, reply_to 5; a body of 3 bytes; 2 frames.
	static const struct {
		const char *head;
		size_t len;
		unsigned frames;
	} rows[] = {
		{"", 0, 0}, {"W", 1, 0}, {"\x00\x00\x00\x01", 4, 0}, {"WR\x00\x02", 4, 0}, // another version
		{"WR\x00\x01\x04\x08\x01\x10", 8, 0},                                      // cut
		{"WR\x00\x01\xff\xff\xff\xff\x0f", 9, 0},                                  // a length beyond the end
		{"WR\x00\x01\xff\xff\xff\xff\xff\xff", 10, 0},                             // no length
		{"WR\x00\x01\x02\x08\x01", 7, 0},                                          // neither request nor reply
		{"WR\x00\x01\x06\x08\x01\x10\x05\x18\x05", 11, 0},                         // both
		{"WR\x00\x01\x04\x08\x01\x18\x05", 9, 0},                                  // a reply to a server
		{"WR\x00\x01\x06\x08\x01\x10\x05\x38\x03", 11, 0},                         // the body is missing
		{"WR\x00\x01\x06\x08\x01\x10\x05\x30\x02", 11, 0},                         // frames are missing
		{"WR\x00\x01\x06\x08\x01\x10\x05\x30\x02", 11, 1},                         // one is
		{"WR\x00\x01\x04\x08\x01\x10\x05", 9, 3},                                  // nobody's frames
		{"WR\x00\x01\x04\x08\x01\x10\x05z", 10, 0},                                // left over
		{"WR\x00\x01\x0a\x08\x01\x10\x05\x38\xff\xff\xff\xff\x0f", 15, 0},         // a body of 4 GiB
		{"WR\x00\x01\x04\xff\xff\xff\xff", 9, 0},                                  // no protobuf
	};
	enum { ROWS = sizeof rows / sizeof *rows };
	setup();
	client_reset();
	struct server server = server_new(at_server());
	bus_serve(server.bus, server_request, &server);
	void *zmq = zmq_ctx_new();
	void *stranger = zmq_socket(zmq, ZMQ_DEALER);
	int linger = 0;
	zmq_setsockopt(stranger, ZMQ_LINGER, &linger, sizeof linger);
	CU_ASSERT_EQUAL(zmq_connect(stranger, bus_zmq_address(server.bus)), 0);
	for (unsigned i = 0; i < ROWS; i++) {
		struct bytes frames[4] = {bytes_view(rows[i].head, rows[i].len), bytes_of("x"), bytes_of("y"), bytes_of("z")};
		send_frames(stranger, frames, 1 + rows[i].frames);
	}
	while (metric("bus_parcels_refused_total") < ROWS)
		loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(server.requests, 0);
	struct bus *bus = bus_new((struct bus_zmq_settings){0}); // and it serves on
	client_call(bus, bus_link(bus, bus_zmq_address(server.bus)), TYPE_ECHO, 1, LONG_MS, NULL, 0);
	until_ended(1);
	CU_ASSERT_EQUAL(client.replies, 1);
	CU_ASSERT_EQUAL(metric("bus_parcels_refused_total"), ROWS);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	zmq_close(stranger);
	zmq_ctx_term(zmq);
	teardown();
}

static unsigned mutants_served;

static void mutant_request(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	Weir__BusHeader body = WEIR__BUS_HEADER__INIT;
	volatile uint8_t sum = 0;
	for (size_t i = 0; i < message->body.len; i++)
		sum = (uint8_t)(sum + message->body.data[i]);
	for (size_t i = 0; i < message->frame_count; i++)
		for (size_t k = 0; k < message->frames[i].len; k++)
			sum = (uint8_t)(sum + message->frames[i].data[k]);
	mutants_served++;
	bus_reply(ctx, request, &(struct bus_send){.type = 1, .body = &body.base});
}

static void mutants_do_no_harm(void)
{
	enum { MUTANTS = 3000 };
	static const char valid[] = "WR\x00\x01\x08\x08\x01\x10\x05\x38\x03\x30\x01"
				    "abc"
				    "\x06\x08\x02\x10\x06\x38\x01"
				    "d";
	struct prng prng;
	setup();
	prng_init(&prng, 11);
	mutants_served = 0;
	struct bus *bus = bus_new(at_server());
	bus_serve(bus, mutant_request, bus);
	void *zmq = zmq_ctx_new();
	void *stranger = zmq_socket(zmq, ZMQ_DEALER);
	int linger = 0;
	zmq_setsockopt(stranger, ZMQ_LINGER, &linger, sizeof linger);
	CU_ASSERT_EQUAL(zmq_connect(stranger, bus_zmq_address(bus)), 0);
	for (unsigned i = 0; i < MUTANTS; i++) {
		char head[sizeof valid - 1];
		memcpy(head, valid, sizeof head);
		for (uint64_t edits = i % 4; edits; edits--)
			head[prng_below(&prng, sizeof head)] = (char)prng_next(&prng);
		struct bytes frames[2] = {
			bytes_view(head, i % 5 ? sizeof head : prng_below(&prng, sizeof head)), bytes_of("payload")};
		send_frames(stranger, frames, 2);
		loop_turn(loop, 0);
	}
	while (metric("bus_parcels_refused_total") + metric("bus_parcels_received_total") < MUTANTS)
		loop_turn(loop, LONG_MS);
	CU_ASSERT_TRUE(mutants_served >= MUTANTS / 4);
	bus_zmq_free(&bus);
	zmq_close(stranger);
	zmq_ctx_term(zmq);
	teardown();
}

// A server that does not speak our protocol: its callers hear DISCONNECTED, at once.
static void garbage_from_a_server(void)
{
	setup();
	client_reset();
	void *zmq = zmq_ctx_new();
	void *stranger = zmq_socket(zmq, ZMQ_ROUTER);
	char id[256];
	int linger = 0;
	zmq_setsockopt(stranger, ZMQ_LINGER, &linger, sizeof linger);
	CU_ASSERT_EQUAL(zmq_bind(stranger, address_of("server")), 0);
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	client_call(bus, bus_link(bus, address_of("server")), TYPE_ECHO, 1, LONG_MS, NULL, 0);
	int len = -1;
	while (len < 0) {
		loop_turn(loop, 1);
		len = zmq_recv(stranger, id, sizeof id, ZMQ_DONTWAIT);
	}
	struct bytes frames[] = {bytes_view(id, (size_t)len), bytes_of("nonsense")};
	send_frames(stranger, frames, 2);
	until_ended(1);
	CU_ASSERT_EQUAL(client.errors[ERROR_DISCONNECTED], 1);
	bus_zmq_free(&bus);
	zmq_close(stranger);
	zmq_ctx_term(zmq);
	teardown();
}

static void nonsense_addresses_are_unreachable(void)
{
	setup();
	client_reset();
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	client_call(bus, bus_link(bus, "nonsense"), TYPE_ECHO, 1, 20, NULL, 0);
	client_call(bus, bus_link(bus, "tcp://127.0.0.1:1"), TYPE_ECHO, 1, 20, NULL, 0);
	until_ended(2);
	CU_ASSERT_EQUAL(client.errors[ERROR_UNREACHABLE], 2);
	bus_zmq_free(&bus);
	CU_ASSERT_EQUAL(bus_zmq_new(loop, &(struct bus_zmq_settings){.bind = "nonsense"}, NULL, &bus), ERROR_UNREACHABLE);
	CU_ASSERT_EQUAL(bus_zmq_new(loop, &(struct bus_zmq_settings){.feed_bind = "nonsense"}, NULL, &bus), ERROR_UNREACHABLE);
	teardown();
}

static void tcp_takes_a_free_port(void)
{
	setup();
	client_reset();
	struct server server =
		server_new((struct bus_zmq_settings){.bind = "tcp://127.0.0.1:*", .feed_bind = "tcp://127.0.0.1:*"});
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	CU_ASSERT_EQUAL(strncmp(bus_zmq_address(server.bus), "tcp://127.0.0.1:", 16), 0);
	CU_ASSERT_STRING_NOT_EQUAL(bus_zmq_address(server.bus), bus_zmq_feed_address(server.bus));
	client_call(bus, bus_link(bus, bus_zmq_address(server.bus)), TYPE_ECHO, 1, LONG_MS, NULL, 0);
	until_ended(1);
	CU_ASSERT_EQUAL(client.replies, 1);
	bus_zmq_free(&bus);
	bus_zmq_free(&server.bus);
	teardown();
}

// Callbacks that pull the rug

static struct bus *rug_bus;
static struct bus_link *rug_link;

static void rug_reply(void *ctx, enum error error, const struct bus_message *reply)
{
	(void)ctx;
	(void)reply;
	client.errors[error]++;
	if (!rug_link)
		return;
	struct bus_link *link = rug_link;
	rug_link = NULL;
	bus_unlink(rug_bus, link);
}

static void unlink_inside_a_reply(void)
{
	setup();
	client_reset();
	struct server server = server_new(at_server());
	rug_bus = bus_new((struct bus_zmq_settings){0});
	bus_serve(server.bus, server_request, &server);
	rug_link = bus_link(rug_bus, bus_zmq_address(server.bus));
	for (uint64_t i = 1; i <= 10; i++) {
		Weir__BusHeader body = WEIR__BUS_HEADER__INIT;
		body.id = i;
		bus_call(rug_bus, rug_link, &(struct bus_send){.type = TYPE_ECHO, .body = &body.base, .timeout_ms = LONG_MS},
			rug_reply, NULL);
	}
	until_ended(9); // one OK is counted as error 0
	CU_ASSERT_EQUAL(client.errors[ERROR_OK], 1);
	CU_ASSERT_EQUAL(client.errors[ERROR_CANCELED], 9);
	bus_zmq_free(&rug_bus);
	bus_zmq_free(&server.bus);
	teardown();
}

// The feed

struct listener {
	struct bus *bus;
	const char *address;
	unsigned count;
	uint64_t first;
	uint64_t last;
	bool in_order;
	bool leaves;
	char prefix[16];
};

static void listener_hears(void *ctx, struct bytes prefix, struct bytes body)
{
	struct listener *listener = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	Weir__BusHeader *message = protobuf_unpack(&weir__bus_header__descriptor, body, &arena);
	CU_ASSERT_PTR_NOT_NULL_FATAL(message);
	if (listener->count++ == 0)
		listener->first = message->id;
	else
		listener->in_order &= message->id == listener->last + 1;
	listener->last = message->id;
	snprintf(listener->prefix, sizeof listener->prefix, "%.*s", (int)prefix.len, (const char *)prefix.data);
	if (listener->leaves)
		bus_unsubscribe(listener->bus, listener->address, prefix);
	arena_done(&arena);
}

static void publish(struct bus *bus, const char *prefix, uint64_t number)
{
	Weir__BusHeader body = WEIR__BUS_HEADER__INIT;
	body.id = number;
	bus_publish(bus, bytes_of(prefix), &body.base);
}

static void feed_reaches_who_listens(void)
{
	setup();
	struct bus *source = bus_new((struct bus_zmq_settings){.feed_bind = address_of("feed")});
	struct bus *bus = bus_new((struct bus_zmq_settings){0});
	struct listener meta = {.in_order = true}, shard = {.in_order = true};
	const char *address = bus_zmq_feed_address(source);
	for (uint64_t i = 1; i <= 10; i++)
		publish(source, "meta", i); // nobody listens yet
	loop_turn(loop, 0);
	bus_subscribe(bus, address, bytes_of("meta"), listener_hears, &meta);
	bus_subscribe(bus, address, bytes_of("hw/7"), listener_hears, &shard);
	uint64_t number = 11;
	while (meta.count == 0 || shard.count == 0) { // subscriptions take a moment to arrive
		publish(source, "meta", number);
		publish(source, "hw/1", number);
		publish(source, "hw/7", number++);
		loop_turn(loop, 1);
	}
	CU_ASSERT_TRUE(meta.first >= 11);
	uint64_t last = number + 99;
	for (; number <= last; number++) {
		publish(source, "meta", number);
		publish(source, "hw/7", number);
	}
	while (meta.last < last || shard.last < last)
		loop_turn(loop, LONG_MS);
	CU_ASSERT_TRUE(meta.in_order && shard.in_order);
	CU_ASSERT_STRING_EQUAL(shard.prefix, "hw/7");

	// A second subscription replaces the first, and ends with one unsubscribe.
	struct listener other = {.in_order = true};
	bus_subscribe(bus, address, bytes_of("meta"), listener_hears, &other);
	unsigned before = meta.count;
	while (other.count == 0) {
		publish(source, "meta", number++);
		loop_turn(loop, LONG_MS);
	}
	CU_ASSERT_EQUAL(meta.count, before);
	bus_unsubscribe(bus, address, bytes_of("meta"));
	bus_unsubscribe(bus, address, bytes_of("meta"));
	before = other.count;
	publish(source, "meta", number);
	publish(source, "hw/7", 1000000);
	while (shard.last < 1000000)
		loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(other.count, before);

	// Leaving inside the callback closes the socket; coming back opens another.
	shard = (struct listener){.bus = bus, .address = address, .leaves = true};
	bus_subscribe(bus, address, bytes_of("hw/7"), listener_hears, &shard);
	for (unsigned i = 0; i < 10; i++)
		publish(source, "hw/7", 1000001);
	while (shard.count == 0)
		loop_turn(loop, LONG_MS);
	loop_turn(loop, 1);
	CU_ASSERT_EQUAL(shard.count, 1);
	shard.leaves = false;
	bus_subscribe(bus, address, bytes_of("hw/7"), listener_hears, &shard);
	while (shard.count == 1) {
		publish(source, "hw/7", 1000002);
		loop_turn(loop, 1);
	}
	bus_zmq_free(&bus);
	bus_zmq_free(&source);
	teardown();
}

int main(int argc, char **argv)
{
	CU_TestInfo tests[] = {{"call and reply", call_and_reply}, {"frames arrive whole", frames_arrive_whole},
		{"calls are batched in order", calls_are_batched_in_order}, {"large turns are split", large_turns_are_split},
		{"calls time out", calls_time_out}, {"limits refuse calls", limits_refuse_calls},
		{"cancelled calls stay silent", cancelled_calls_stay_silent},
		{"back-pressure loses nothing", back_pressure_loses_nothing}, {"death of a peer", death_of_a_peer},
		{"hang of a peer", hang_of_a_peer}, {"replies to the dead are dropped", replies_to_the_dead_are_dropped},
		{"garbage is refused", garbage_is_refused}, {"mutants do no harm", mutants_do_no_harm},
		{"garbage from a server", garbage_from_a_server},
		{"nonsense addresses are unreachable", nonsense_addresses_are_unreachable},
		{"tcp takes a free port", tcp_takes_a_free_port}, {"unlink inside a reply", unlink_inside_a_reply},
		{"feed reaches who listens", feed_reaches_who_listens}, CU_TEST_INFO_NULL};
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve_main(argv[2]);
	return unit_run("bus", tests);
}
