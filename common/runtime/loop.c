#include "common/runtime/loop.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/memory.h"

// A turn, as it goes well: flush what was sent outside a turn -> zmq_poll -> clocks -> sockets, then fds -> due timers -> steps
// -> flushes -> deferred calls. All arrays only grow, so a turn allocates nothing once the daemon has warmed up.
//
// Callbacks may add and remove anything. What the turn still has in hand is therefore either an index that removal nulls
// (sockets, fd events) or a cursor that removal moves on (steps).

enum { LOOP_EVENTS_MAX = 128 };

struct loop_call {
	void (*fn)(void *ctx);
	void *ctx;
};

struct loop_calls {
	struct loop_call *calls;
	size_t count;
	size_t capacity;
};

struct loop {
	struct env env;
	bool stopped;

	int epoll_fd;
	struct epoll_event events[LOOP_EVENTS_MAX];
	int event_count; // of this turn
	int event_index;

	struct list sockets;
	struct loop_socket **ready_sockets; // parallel to items, NULL once removed
	zmq_pollitem_t *items;              // [0] is the epoll fd
	size_t socket_count;
	size_t item_count; // of this turn
	size_t item_capacity;

	struct loop_timer **heap; // from 1: a timer's index 0 says it is not set
	uint32_t heap_count;
	uint32_t heap_capacity;

	struct list steps;
	struct list flushes;
	struct list *step_cursor; // the next one to run
	uint64_t step_deadline;
	uint64_t flush_deadline;

	struct loop_calls deferred;

	struct loop_fd post_fd;
	pthread_mutex_t post_mutex; // guards posted
	struct loop_calls posted;
	struct loop_calls running; // what post_fd's callback works on
};

static void loop_calls_add(struct loop_calls *calls, void (*fn)(void *ctx), void *ctx)
{
	if (calls->count == calls->capacity) {
		calls->capacity = calls->capacity ? calls->capacity * 2 : 64;
		calls->calls = memory_realloc(calls->calls, calls->capacity * sizeof *calls->calls);
	}
	calls->calls[calls->count++] = (struct loop_call){fn, ctx};
}

// Also runs what is added meanwhile.
static void loop_calls_run(struct loop_calls *calls)
{
	for (size_t i = 0; i < calls->count; i++) {
		struct loop_call call = calls->calls[i];
		call.fn(call.ctx);
	}
	calls->count = 0;
}

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;
	CHECK(clock_gettime(clock, &now) == 0);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void loop_read_clocks(struct loop *loop)
{
	loop->env.now_us = clock_us(CLOCK_MONOTONIC);
	loop->env.wall_ms = (int64_t)(clock_us(CLOCK_REALTIME) / 1000);
}

static void loop_posted_ready(struct loop_fd *post_fd, uint32_t events)
{
	struct loop *loop = container_of(post_fd, struct loop, post_fd);
	uint64_t ignored;
	(void)events;
	CHECK(read(post_fd->fd, &ignored, sizeof ignored) == sizeof ignored || errno == EAGAIN || errno == EINTR);
	pthread_mutex_lock(&loop->post_mutex);
	struct loop_calls taken = loop->posted;
	loop->posted = loop->running;
	pthread_mutex_unlock(&loop->post_mutex);
	loop->running = taken;
	loop_calls_run(&loop->running);
}

struct loop *loop_new(void)
{
	struct loop *loop = memory_zalloc(sizeof *loop);
	uint64_t seed;
	CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
	prng_init(&loop->env.prng, seed);
	loop_read_clocks(loop);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(loop->epoll_fd >= 0);
	list_init(&loop->sockets);
	list_init(&loop->steps);
	list_init(&loop->flushes);
	loop->step_deadline = loop->flush_deadline = DEADLINE_NEVER;
	CHECK(pthread_mutex_init(&loop->post_mutex, NULL) == 0);
	loop->post_fd = (struct loop_fd){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), EPOLLIN, loop_posted_ready};
	CHECK(loop->post_fd.fd >= 0);
	loop_fd_add(loop, &loop->post_fd);
	return loop;
}

void loop_free(struct loop **held)
{
	struct loop *loop = *held;
	*held = NULL;
	if (!loop)
		return;
	loop_calls_run(&loop->deferred);
	loop_fd_remove(loop, &loop->post_fd);
	close(loop->post_fd.fd);
	close(loop->epoll_fd);
	pthread_mutex_destroy(&loop->post_mutex);
	free(loop->deferred.calls);
	free(loop->posted.calls);
	free(loop->running.calls);
	free(loop->heap);
	free(loop->items);
	free(loop->ready_sockets);
	free(loop);
}

struct env *loop_env(struct loop *loop)
{
	return &loop->env;
}

// File descriptors

static void loop_fd_control(struct loop *loop, int operation, struct loop_fd *loop_fd)
{
	struct epoll_event event = {.events = loop_fd->events, .data.ptr = loop_fd};
	CHECK(epoll_ctl(loop->epoll_fd, operation, loop_fd->fd, &event) == 0);
}

void loop_fd_add(struct loop *loop, struct loop_fd *loop_fd)
{
	loop_fd_control(loop, EPOLL_CTL_ADD, loop_fd);
}

void loop_fd_modify(struct loop *loop, struct loop_fd *loop_fd, uint32_t events)
{
	if (loop_fd->events == events)
		return;
	loop_fd->events = events;
	loop_fd_control(loop, EPOLL_CTL_MOD, loop_fd);
}

void loop_fd_remove(struct loop *loop, struct loop_fd *loop_fd)
{
	loop_fd_control(loop, EPOLL_CTL_DEL, loop_fd);
	for (int i = loop->event_index; i < loop->event_count; i++)
		if (loop->events[i].data.ptr == loop_fd)
			loop->events[i].data.ptr = NULL;
}

static void loop_fds_ready(struct loop *loop)
{
	int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, 0);
	loop->event_count = count < 0 ? 0 : count; // EINTR: the next turn sees them
	for (loop->event_index = 0; loop->event_index < loop->event_count;) {
		struct epoll_event *event = &loop->events[loop->event_index++];
		struct loop_fd *loop_fd = event->data.ptr;
		if (loop_fd)
			loop_fd->on_ready(loop_fd, event->events);
	}
	loop->event_count = loop->event_index = 0;
}

// ZeroMQ sockets

void loop_socket_add(struct loop *loop, struct loop_socket *loop_socket)
{
	list_append(&loop->sockets, &loop_socket->link);
	loop->socket_count++;
}

void loop_socket_remove(struct loop *loop, struct loop_socket *loop_socket)
{
	list_remove(&loop_socket->link);
	loop->socket_count--;
	for (size_t i = 1; i < loop->item_count; i++)
		if (loop->ready_sockets[i] == loop_socket)
			loop->ready_sockets[i] = NULL;
}

static void loop_collect_items(struct loop *loop)
{
	if (loop->item_capacity < loop->socket_count + 1) {
		loop->item_capacity = 2 * (loop->socket_count + 1);
		loop->items = memory_realloc(loop->items, loop->item_capacity * sizeof *loop->items);
		loop->ready_sockets = memory_realloc(loop->ready_sockets, loop->item_capacity * sizeof *loop->ready_sockets);
	}
	loop->items[0] = (zmq_pollitem_t){NULL, loop->epoll_fd, ZMQ_POLLIN, 0};
	loop->item_count = 1;
	LIST_EACH (&loop->sockets, link) {
		struct loop_socket *loop_socket = container_of(link, struct loop_socket, link);
		if (!loop_socket->events)
			continue;
		loop->items[loop->item_count] = (zmq_pollitem_t){loop_socket->socket, -1, loop_socket->events, 0};
		loop->ready_sockets[loop->item_count++] = loop_socket;
	}
}

static void loop_sockets_ready(struct loop *loop)
{
	for (size_t i = 1; i < loop->item_count; i++) {
		struct loop_socket *loop_socket = loop->ready_sockets[i];
		if (loop_socket && loop->items[i].revents)
			loop_socket->on_ready(loop_socket, loop->items[i].revents);
	}
	loop->item_count = 0;
}

// Timers: a binary heap, the earliest at 1.

static void heap_place(struct loop *loop, struct loop_timer *timer, uint32_t index)
{
	loop->heap[index] = timer;
	timer->heap_index = index;
}

static void heap_sift_up(struct loop *loop, struct loop_timer *timer, uint32_t index)
{
	for (; index > 1 && loop->heap[index / 2]->due_us > timer->due_us; index /= 2)
		heap_place(loop, loop->heap[index / 2], index);
	heap_place(loop, timer, index);
}

static void heap_sift_down(struct loop *loop, struct loop_timer *timer, uint32_t index)
{
	for (;;) {
		uint32_t child = 2 * index;
		if (child < loop->heap_count && loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
			child++;
		if (child > loop->heap_count || loop->heap[child]->due_us >= timer->due_us)
			break;
		heap_place(loop, loop->heap[child], index);
		index = child;
	}
	heap_place(loop, timer, index);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	uint32_t index = timer->heap_index;
	if (!index)
		return;
	timer->heap_index = 0;
	struct loop_timer *last = loop->heap[loop->heap_count--];
	if (last == timer)
		return;
	if (index > 1 && loop->heap[index / 2]->due_us > last->due_us)
		heap_sift_up(loop, last, index);
	else
		heap_sift_down(loop, last, index);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t due_us)
{
	loop_timer_clear(loop, timer);
	timer->due_us = due_us;
	if (loop->heap_count + 1 >= loop->heap_capacity) {
		loop->heap_capacity = loop->heap_capacity ? loop->heap_capacity * 2 : 64;
		loop->heap = memory_realloc(loop->heap, loop->heap_capacity * sizeof *loop->heap);
	}
	heap_sift_up(loop, timer, ++loop->heap_count);
}

// At most as many as there were at first, so that a timer which sets itself for now cannot hold the turn.
static void loop_timers_due(struct loop *loop)
{
	for (uint32_t left = loop->heap_count; left && loop->heap_count; left--) {
		struct loop_timer *timer = loop->heap[1];
		if (timer->due_us > loop->env.now_us)
			return;
		loop_timer_clear(loop, timer);
		timer->on_due(timer);
	}
}

// Steps

void loop_step_add(struct loop *loop, struct loop_step *step)
{
	list_append(&loop->steps, &step->link);
	loop->step_deadline = 0;
}

void loop_flush_add(struct loop *loop, struct loop_step *flush)
{
	list_append(&loop->flushes, &flush->link);
}

void loop_step_remove(struct loop *loop, struct loop_step *step)
{
	if (loop->step_cursor == &step->link)
		loop->step_cursor = step->link.next;
	list_remove(&step->link);
}

// Answers the earliest deadline.
static uint64_t loop_run_steps(struct loop *loop, struct list *steps)
{
	uint64_t deadline = DEADLINE_NEVER;
	for (struct list *link = steps->next; link != steps; link = loop->step_cursor) {
		struct loop_step *step = container_of(link, struct loop_step, link);
		loop->step_cursor = link->next;
		deadline = deadline_min(deadline, step->run(step->ctx));
	}
	loop->step_cursor = NULL;
	return deadline;
}

// Turns

static long loop_wait_ms(struct loop *loop, uint64_t max_wait_ms)
{
	uint64_t deadline = deadline_min(loop->step_deadline, loop->flush_deadline);
	if (loop->heap_count)
		deadline = deadline_min(deadline, loop->heap[1]->due_us);
	if (loop->stopped || loop->deferred.count || !deadline)
		return 0;
	uint64_t wait_ms = max_wait_ms;
	if (deadline != DEADLINE_NEVER) {
		uint64_t now_us = clock_us(CLOCK_MONOTONIC);
		uint64_t left_ms = deadline > now_us ? (deadline - now_us + 999) / 1000 : 0;
		wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
	}
	return wait_ms < INT_MAX ? (long)wait_ms : INT_MAX;
}

void loop_turn(struct loop *loop, uint64_t max_wait_ms)
{
	loop->flush_deadline = loop_run_steps(loop, &loop->flushes); // calls made outside a turn
	loop_collect_items(loop);
	int ready = zmq_poll(loop->items, (int)loop->item_count, loop_wait_ms(loop, max_wait_ms));
	CHECK(ready >= 0 || errno == EINTR);
	loop_read_clocks(loop);
	if (ready > 0) {
		bool fds_ready = loop->items[0].revents != 0;
		loop_sockets_ready(loop);
		if (fds_ready)
			loop_fds_ready(loop);
	}
	loop->item_count = 0;
	loop_timers_due(loop);
	loop->step_deadline = loop_run_steps(loop, &loop->steps);
	loop->flush_deadline = loop_run_steps(loop, &loop->flushes);
	loop_calls_run(&loop->deferred);
}

void loop_run(struct loop *loop)
{
	loop->stopped = false;
	while (!loop->stopped)
		loop_turn(loop, UINT64_MAX);
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}

void loop_defer(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
	loop_calls_add(&loop->deferred, fn, ctx);
}

void loop_post(struct loop *loop, void (*fn)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&loop->post_mutex);
	bool first = loop->posted.count == 0;
	loop_calls_add(&loop->posted, fn, ctx);
	pthread_mutex_unlock(&loop->post_mutex);
	uint64_t one = 1;
	if (first)
		CHECK(write(loop->post_fd.fd, &one, sizeof one) == sizeof one || errno == EAGAIN);
}
