#include "common/base/prng.h"

#include <string.h>

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t mixed = (*state += 0x9e3779b97f4a7c15u);
	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
	return mixed ^ (mixed >> 31);
}

static uint64_t rotate_left(uint64_t value, unsigned count)
{
	return (value << count) | (value >> (64 - count));
}

void prng_init(struct prng *prng, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		prng->state[i] = splitmix64(&seed);
}

uint64_t prng_next(struct prng *prng)
{
	uint64_t *state = prng->state;
	uint64_t result = rotate_left(state[1] * 5, 7) * 9;
	uint64_t shifted = state[1] << 17;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = rotate_left(state[3], 45);
	return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
	uint64_t reject = (0 - bound) % bound;
	uint64_t value;
	do
		value = prng_next(prng);
	while (value < reject);
	return value % bound;
}

void prng_fill(struct prng *prng, void *data, size_t len)
{
	uint8_t *at = data;
	while (len) {
		uint64_t value = prng_next(prng);
		size_t part = len < sizeof value ? len : sizeof value;
		memcpy(at, &value, part);
		at += part;
		len -= part;
	}
}
