#pragma once
// What a core sees of the outside that is not a message: the time of this turn and random numbers. The loop (or the simulator)
// owns it and sets the clocks once a turn; cores hold a pointer to it and never ask a clock themselves.

#include <stdint.h>

#include "common/base/prng.h"

struct env {
	uint64_t now_us; // monotonic, from an arbitrary start
	int64_t wall_ms; // Unix time in ms; only for what people or Kafka clients see, never for deadlines
	struct prng prng;
};

// A deadline that never comes.
#define DEADLINE_NEVER UINT64_MAX

static inline uint64_t deadline_in_ms(const struct env *env, uint64_t ms)
{
	return env->now_us + ms * 1000;
}

// The earlier of two deadlines.
static inline uint64_t deadline_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}
