#pragma once
// The deadlines of the core: a heap of one-shot timeouts, driven by timeouts_step(), because the core knows no loop. Owner: the
// core; each timeout is embedded by who waits. Bound: one a waiting request.

#include <stddef.h>
#include <stdint.h>

#include "common/base/env.h"

// Zero-initialise; set again to move it.
struct timeout {
	void (*on_due)(struct timeout *timeout);
	uint64_t due_us;
	size_t index; // from 1 in the heap; 0: not set
};

struct timeouts {
	struct timeout **heap; // heap[0] is unused
	size_t count;
	size_t capacity;
};

void timeouts_init(struct timeouts *timeouts);
void timeouts_done(struct timeouts *timeouts);
void timeouts_set(struct timeouts *timeouts, struct timeout *timeout, uint64_t due_us);
void timeouts_clear(struct timeouts *timeouts, struct timeout *timeout);
// Calls what is due; returns the next deadline.
uint64_t timeouts_step(struct timeouts *timeouts, const struct env *env);
