#pragma once
// xoshiro256** (Blackman and Vigna), seeded by splitmix64: fast, and the same everywhere for one seed, so that a simulated run
// can be repeated. Not for secrets.

#include <stddef.h>
#include <stdint.h>

struct prng {
	uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
// Evenly below bound; bound > 0.
uint64_t prng_below(struct prng *prng, uint64_t bound);
void prng_fill(struct prng *prng, void *data, size_t len);
