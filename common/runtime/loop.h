#pragma once
// One loop in one thread, the same for all four daemons. A turn: read the clocks once into env -> zmq_poll over {ZeroMQ
// sockets, one epoll fd} -> callbacks decode and enqueue -> timers that are due -> steps, in the order they were added: each
// daemon's core works at its own pace and says when it wants to run again -> flush callbacks (the bus sends what the turn
// produced) -> free what was closed in this turn. That form is level-triggered for both worlds (style.md).
//
// Owner: main. Everything here is called from the loop's thread, except loop_post().

#include <stdint.h>

#include "common/base/env.h"
#include "common/base/list.h"

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop **loop);

// Runs turns until loop_stop().
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
// One turn; waits at most max_wait_ms (tests use it).
void loop_turn(struct loop *loop, uint64_t max_wait_ms);

// This turn's time and the loop's random numbers (seeded by getrandom).
struct env *loop_env(struct loop *loop);

// A file descriptor in the loop's epoll set. Embedded by its owner, who removes it before closing fd.
struct loop_fd {
	int fd;
	uint32_t events;                                            // EPOLLIN | EPOLLOUT as last set
	void (*on_ready)(struct loop_fd *loop_fd, uint32_t events); // events that are ready
};
void loop_fd_add(struct loop *loop, struct loop_fd *loop_fd);
void loop_fd_modify(struct loop *loop, struct loop_fd *loop_fd, uint32_t events);
// Safe inside any callback of this turn: no callback of loop_fd comes after it.
void loop_fd_remove(struct loop *loop, struct loop_fd *loop_fd);

// A ZeroMQ socket in the poll set (the bus uses it). events: ZMQ_POLLIN | ZMQ_POLLOUT.
struct loop_socket {
	void *socket;
	short events;
	void (*on_ready)(struct loop_socket *loop_socket, short events);
	struct list link; // the loop's
};
void loop_socket_add(struct loop *loop, struct loop_socket *loop_socket);
void loop_socket_remove(struct loop *loop, struct loop_socket *loop_socket);

// A one-shot timer, kept in a heap. Zero-initialise; set again to move it.
struct loop_timer {
	void (*on_due)(struct loop_timer *timer);
	uint64_t due_us;
	uint32_t heap_index; // the loop's; 0 when not set
};
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t due_us);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

// run() is called every turn and answers when it wants to be called again (µs, DEADLINE_NEVER for "after the next event",
// 0 for "at once").
struct loop_step {
	uint64_t (*run)(void *ctx);
	void *ctx;
	struct list link; // the loop's
};
void loop_step_add(struct loop *loop, struct loop_step *step);
void loop_step_remove(struct loop *loop, struct loop_step *step);
// After all steps of a turn (the bus).
void loop_flush_add(struct loop *loop, struct loop_step *flush);

// fn(ctx) at the end of this turn: the place to free what a callback may still be standing in.
void loop_defer(struct loop *loop, void (*fn)(void *ctx), void *ctx);

// fn(ctx) in the loop's thread, soon; from any thread (helper pools, etcd's completion thread). Order per caller is kept.
void loop_post(struct loop *loop, void (*fn)(void *ctx), void *ctx);
