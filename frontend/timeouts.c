#include "frontend/timeouts.h"

#include <stdlib.h>

#include "common/base/memory.h"

void timeouts_init(struct timeouts *timeouts)
{
	*timeouts = (struct timeouts){0};
}

void timeouts_done(struct timeouts *timeouts)
{
	free(timeouts->heap);
	*timeouts = (struct timeouts){0};
}

static void timeouts_put(struct timeouts *timeouts, size_t index, struct timeout *timeout)
{
	timeouts->heap[index] = timeout;
	timeout->index = index;
}

static void timeouts_up(struct timeouts *timeouts, size_t index)
{
	struct timeout *timeout = timeouts->heap[index];
	while (index > 1 && timeouts->heap[index / 2]->due_us > timeout->due_us) {
		timeouts_put(timeouts, index, timeouts->heap[index / 2]);
		index /= 2;
	}
	timeouts_put(timeouts, index, timeout);
}

static void timeouts_down(struct timeouts *timeouts, size_t index)
{
	struct timeout *timeout = timeouts->heap[index];
	for (;;) {
		size_t child = index * 2;
		if (child > timeouts->count)
			break;
		if (child < timeouts->count && timeouts->heap[child + 1]->due_us < timeouts->heap[child]->due_us)
			child++;
		if (timeouts->heap[child]->due_us >= timeout->due_us)
			break;
		timeouts_put(timeouts, index, timeouts->heap[child]);
		index = child;
	}
	timeouts_put(timeouts, index, timeout);
}

void timeouts_set(struct timeouts *timeouts, struct timeout *timeout, uint64_t due_us)
{
	timeouts_clear(timeouts, timeout);
	if (timeouts->count + 2 > timeouts->capacity) {
		timeouts->capacity = timeouts->capacity ? timeouts->capacity * 2 : 64;
		timeouts->heap = memory_realloc(timeouts->heap, timeouts->capacity * sizeof *timeouts->heap);
	}
	timeout->due_us = due_us;
	timeouts_put(timeouts, ++timeouts->count, timeout);
	timeouts_up(timeouts, timeouts->count);
}

void timeouts_clear(struct timeouts *timeouts, struct timeout *timeout)
{
	size_t index = timeout->index;
	if (index == 0)
		return;
	timeout->index = 0;
	struct timeout *last = timeouts->heap[timeouts->count--];
	if (last == timeout)
		return;
	timeouts_put(timeouts, index, last);
	timeouts_up(timeouts, index);
	timeouts_down(timeouts, last->index);
}

uint64_t timeouts_step(struct timeouts *timeouts, const struct env *env)
{
	while (timeouts->count > 0 && timeouts->heap[1]->due_us <= env->now_us) {
		struct timeout *timeout = timeouts->heap[1];
		timeouts_clear(timeouts, timeout);
		timeout->on_due(timeout);
	}
	return timeouts->count > 0 ? timeouts->heap[1]->due_us : DEADLINE_NEVER;
}
