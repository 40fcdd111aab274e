#include "common/runtime/loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/unit/base/unit.h"

enum { LONG_MS = 60000 }; // a wait that fails the test by its timeout

static struct loop *loop;

// Timers

struct numbered_timer {
	struct loop_timer timer;
	unsigned number;
};

static uint64_t fired[2000];
static size_t fired_count;

static void timer_note(struct loop_timer *timer)
{
	fired[fired_count++] = timer->due_us;
}

static void timers_fire_in_order(void)
{
	static struct numbered_timer timers[2000];
	struct prng prng;
	prng_init(&prng, 5);
	loop = loop_new();
	uint64_t now_us = loop_env(loop)->now_us;
	fired_count = 0;
	for (unsigned i = 0; i < 2000; i++) {
		timers[i].timer.on_due = timer_note;
		loop_timer_set(loop, &timers[i].timer, now_us - prng_below(&prng, 1000));
	}
	for (unsigned i = 0; i < 2000; i += 3)
		loop_timer_clear(loop, &timers[i].timer);
	for (unsigned i = 0; i < 2000; i += 4) // moved, or set again
		loop_timer_set(loop, &timers[i].timer, now_us - prng_below(&prng, 1000));
	unsigned expected = 0;
	for (unsigned i = 0; i < 2000; i++)
		expected += i % 3 != 0 || i % 4 == 0;
	loop_turn(loop, 0);
	CU_ASSERT_EQUAL(fired_count, expected);
	for (size_t i = 1; i < fired_count; i++)
		CU_ASSERT_TRUE(fired[i - 1] <= fired[i]);
	loop_free(&loop);
}

static void timer_waits_until_due(void)
{
	struct loop_timer timer = {.on_due = timer_note}, never = {.on_due = timer_note};
	loop = loop_new();
	fired_count = 0;
	uint64_t due_us = loop_env(loop)->now_us + 5500;
	loop_timer_set(loop, &timer, due_us);
	loop_timer_set(loop, &never, DEADLINE_NEVER);
	unsigned turns = 0;
	for (; fired_count == 0; turns++)
		loop_turn(loop, LONG_MS);
	CU_ASSERT_TRUE(loop_env(loop)->now_us >= due_us);
	CU_ASSERT_TRUE(turns <= 3); // it slept, it did not spin
	loop_timer_clear(loop, &never);
	loop_timer_clear(loop, &never);
	loop_free(&loop);
}

static void timer_again(struct loop_timer *timer)
{
	fired_count++;
	loop_timer_set(loop, timer, 0);
}

static void timer_that_repeats_leaves_the_turn(void)
{
	struct loop_timer timer = {.on_due = timer_again};
	loop = loop_new();
	fired_count = 0;
	loop_timer_set(loop, &timer, 0);
	loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(fired_count, 1);
	loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(fired_count, 2);
	loop_timer_clear(loop, &timer);
	loop_free(&loop);
}

// File descriptors

struct pipe_end {
	struct loop_fd fd;
	struct pipe_end *victim;
	unsigned calls;
};

static void pipe_ready(struct loop_fd *fd, uint32_t events)
{
	struct pipe_end *end = container_of(fd, struct pipe_end, fd);
	(void)events;
	end->calls++;
	if (end->victim)
		loop_fd_remove(loop, &end->victim->fd);
}

static void fd_is_level_triggered_and_removable(void)
{
	int pipes[2][2];
	struct pipe_end ends[2];
	loop = loop_new();
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(pipe(pipes[i]), 0);
		CU_ASSERT_EQUAL(write(pipes[i][1], "x", 1), 1);
		ends[i] = (struct pipe_end){.fd = {pipes[i][0], EPOLLIN, pipe_ready}};
		loop_fd_add(loop, &ends[i].fd);
	}
	loop_turn(loop, LONG_MS);
	loop_turn(loop, LONG_MS); // unread: ready again
	CU_ASSERT_EQUAL(ends[0].calls, 2);
	CU_ASSERT_EQUAL(ends[1].calls, 2);
	loop_fd_modify(loop, &ends[1].fd, 0);
	loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(ends[1].calls, 2);
	loop_fd_modify(loop, &ends[1].fd, EPOLLIN);
	ends[0].victim = &ends[1]; // whichever comes first removes the other
	ends[1].victim = &ends[0];
	unsigned before = ends[0].calls + ends[1].calls;
	loop_turn(loop, LONG_MS);
	CU_ASSERT_EQUAL(ends[0].calls + ends[1].calls, before + 1);
	loop_free(&loop);
	for (unsigned i = 0; i < 2; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

// Steps

static char trace[256];

static void note(const char *what)
{
	strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static uint64_t step_answer;
static struct loop_step steps[3];

static uint64_t step_a(void *ctx)
{
	(void)ctx;
	note("a");
	return step_answer;
}

static uint64_t step_b(void *ctx)
{
	(void)ctx;
	note("b");
	return DEADLINE_NEVER;
}

static uint64_t step_flush(void *ctx)
{
	(void)ctx;
	note("f");
	return DEADLINE_NEVER;
}

static uint64_t step_removes(void *ctx)
{
	(void)ctx;
	note("r");
	loop_step_remove(loop, &steps[0]); // itself
	loop_step_remove(loop, &steps[1]); // and the next
	return DEADLINE_NEVER;
}

static void deferred(void *ctx)
{
	note(ctx);
}

static void turn_runs_steps_then_flushes_then_deferred(void)
{
	static char first[] = "1", second[] = "2";
	struct loop_step flush = {.run = step_flush};
	loop = loop_new();
	steps[0] = (struct loop_step){.run = step_a};
	steps[1] = (struct loop_step){.run = step_b};
	step_answer = 0;
	loop_flush_add(loop, &flush);
	loop_step_add(loop, &steps[0]);
	loop_step_add(loop, &steps[1]);
	loop_turn(loop, LONG_MS); // no wait for a fresh step
	trace[0] = '\0';
	loop_defer(loop, deferred, first);
	loop_defer(loop, deferred, second);
	loop_turn(loop, LONG_MS);                // no wait: a wants to run at once
	CU_ASSERT_STRING_EQUAL(trace, "fabf12"); // the first f: what was sent outside of a turn
	loop_free(&loop);
}

static void step_deadline_bounds_the_wait(void)
{
	loop = loop_new();
	steps[0] = (struct loop_step){.run = step_a};
	loop_step_add(loop, &steps[0]);
	step_answer = loop_env(loop)->now_us + 3000;
	loop_turn(loop, LONG_MS);
	loop_turn(loop, LONG_MS);
	CU_ASSERT_TRUE(loop_env(loop)->now_us >= step_answer);
	step_answer = 1; // long past
	loop_turn(loop, LONG_MS);
	loop_turn(loop, LONG_MS);
	step_answer = DEADLINE_NEVER;
	loop_turn(loop, LONG_MS);
	loop_turn(loop, 1); // nothing to do: only max_wait_ms ends it
	loop_free(&loop);
}

static void steps_may_be_removed_by_steps(void)
{
	loop = loop_new();
	steps[0] = (struct loop_step){.run = step_removes};
	steps[1] = (struct loop_step){.run = step_b};
	steps[2] = (struct loop_step){.run = step_a};
	step_answer = 0;
	for (unsigned i = 0; i < 3; i++)
		loop_step_add(loop, &steps[i]);
	trace[0] = '\0';
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	CU_ASSERT_STRING_EQUAL(trace, "raa");
	loop_free(&loop);
}

// Posts

enum { POSTERS = 4, POSTS = 5000 };

struct poster {
	pthread_t thread;
	unsigned sent;
	unsigned received;
	bool in_order;
};

struct post {
	struct poster *poster;
	unsigned number;
};

static unsigned posts_received;

static void posted(void *ctx)
{
	struct post *post = ctx;
	post->poster->in_order &= post->number == post->poster->received++;
	posts_received++;
	free(post);
}

static void *poster_main(void *ctx)
{
	struct poster *poster = ctx;
	for (unsigned i = 0; i < POSTS; i++) {
		struct post *post = malloc(sizeof *post);
		*post = (struct post){poster, i};
		loop_post(loop, posted, post);
	}
	return NULL;
}

static void posts_arrive_in_order(void)
{
	struct poster posters[POSTERS] = {0};
	loop = loop_new();
	posts_received = 0;
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i].in_order = true;
		CU_ASSERT_EQUAL(pthread_create(&posters[i].thread, NULL, poster_main, &posters[i]), 0);
	}
	while (posts_received < POSTERS * POSTS)
		loop_turn(loop, LONG_MS);
	for (unsigned i = 0; i < POSTERS; i++) {
		pthread_join(posters[i].thread, NULL);
		CU_ASSERT_TRUE(posters[i].in_order);
	}
	loop_free(&loop);
}

static void stop(void *ctx)
{
	loop_stop(ctx);
}

static void run_ends_by_stop(void)
{
	loop = loop_new();
	loop_post(loop, stop, loop);
	loop_run(loop);
	loop_post(loop, stop, loop);
	loop_run(loop); // and again
	loop_free(&loop);
}

// ZeroMQ sockets beside fds

struct test_socket {
	struct loop_socket socket;
	unsigned received;
	bool removes;
};

static void socket_ready(struct loop_socket *loop_socket, short events)
{
	struct test_socket *socket = container_of(loop_socket, struct test_socket, socket);
	char byte;
	(void)events;
	if (socket->removes) {
		loop_socket_remove(loop, loop_socket);
		return;
	}
	if (zmq_recv(loop_socket->socket, &byte, 1, ZMQ_DONTWAIT) == 1)
		socket->received++;
}

static void sockets_are_level_triggered(void)
{
	void *zmq = zmq_ctx_new();
	void *sender = zmq_socket(zmq, ZMQ_PAIR), *receiver = zmq_socket(zmq, ZMQ_PAIR);
	struct test_socket socket = {.socket = {.socket = receiver, .events = ZMQ_POLLIN, .on_ready = socket_ready}};
	loop = loop_new();
	CU_ASSERT_EQUAL(zmq_bind(receiver, "inproc://pair"), 0);
	CU_ASSERT_EQUAL(zmq_connect(sender, "inproc://pair"), 0);
	loop_socket_add(loop, &socket.socket);
	for (unsigned i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(zmq_send(sender, "x", 1, 0), 1);
	for (unsigned i = 0; i < 10; i++)
		loop_turn(loop, LONG_MS); // one a turn; the rest wakes again
	CU_ASSERT_EQUAL(socket.received, 10);
	CU_ASSERT_EQUAL(zmq_send(sender, "x", 1, 0), 1);
	socket.removes = true;
	loop_turn(loop, LONG_MS);
	loop_turn(loop, 0);
	CU_ASSERT_EQUAL(socket.received, 10);
	zmq_close(sender);
	zmq_close(receiver);
	zmq_ctx_term(zmq);
	loop_free(&loop);
}

UNIT_MAIN("loop", {"timers fire in order", timers_fire_in_order}, {"a timer waits until due", timer_waits_until_due},
	{"a timer that repeats leaves the turn", timer_that_repeats_leaves_the_turn},
	{"an fd is level-triggered and removable", fd_is_level_triggered_and_removable},
	{"steps, flushes, deferred", turn_runs_steps_then_flushes_then_deferred},
	{"a step's deadline bounds the wait", step_deadline_bounds_the_wait},
	{"steps may be removed by steps", steps_may_be_removed_by_steps}, {"posts arrive in order", posts_arrive_in_order},
	{"run ends by stop", run_ends_by_stop}, {"sockets are level-triggered", sockets_are_level_triggered})
