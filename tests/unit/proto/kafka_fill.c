#include "tests/unit/proto/kafka_fill.h"

#include <stddef.h>
#include <string.h>
#include <zlib.h>

static bool kafka_fill_is_random(const struct kafka_filler *filler)
{
	return filler->kind == KAFKA_FILL_RANDOM;
}

static uint32_t kafka_fill_hash(const char *name)
{
	return (uint32_t)crc32(0, (const uint8_t *)name, (unsigned)strlen(name));
}

bool kafka_fill_null(struct kafka_filler *filler, bool nullable)
{
	if (kafka_fill_is_random(filler))
		return nullable && prng_below(&filler->prng, 4) == 0;
	return nullable && filler->kind == KAFKA_FILL_NAMED_NULLS;
}

int32_t kafka_fill_count(struct kafka_filler *filler, int depth)
{
	if (kafka_fill_is_random(filler))
		return (int32_t)prng_below(&filler->prng, depth < 2 ? 5 : 3);
	return depth == 0 ? 2 : 1;
}

bool kafka_fill_bool(struct kafka_filler *filler, const char *name, int salt)
{
	return kafka_fill_is_random(filler) ? prng_below(&filler->prng, 2) : (kafka_fill_hash(name) + (unsigned)salt) & 1;
}

int8_t kafka_fill_int8(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return (int8_t)prng_next(&filler->prng);
	return (int8_t)(kafka_fill_hash(name) % 100 + 1 + (unsigned)salt);
}

int16_t kafka_fill_int16(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return (int16_t)prng_next(&filler->prng);
	return (int16_t)(kafka_fill_hash(name) % 30000 + 1 + (unsigned)salt);
}

uint16_t kafka_fill_uint16(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return (uint16_t)prng_next(&filler->prng);
	return (uint16_t)(kafka_fill_hash(name) % 30000 + 30000 + (unsigned)salt);
}

int32_t kafka_fill_int32(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return (int32_t)prng_next(&filler->prng);
	return (int32_t)((kafka_fill_hash(name) & 0x3fffffff) + 1 + (unsigned)salt);
}

int64_t kafka_fill_int64(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return (int64_t)prng_next(&filler->prng);
	return ((int64_t)kafka_fill_hash(name) << 24) + 1 + salt;
}

double kafka_fill_float64(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return (double)(int64_t)prng_next(&filler->prng) / 1024;
	return kafka_fill_hash(name) / 8.0 + salt;
}

struct uuid kafka_fill_uuid(struct kafka_filler *filler, const char *name, int salt)
{
	struct uuid uuid;
	if (kafka_fill_is_random(filler)) {
		prng_fill(&filler->prng, uuid.bytes, sizeof uuid.bytes);
		return uuid;
	}
	for (size_t i = 0; i < sizeof uuid.bytes; i += 4)
		put_u32(uuid.bytes + i, kafka_fill_hash(name));
	uuid.bytes[15] ^= (uint8_t)salt;
	return uuid;
}

// Mostly short, but some pass the border of a one-byte varint.
static struct bytes kafka_fill_random(struct kafka_filler *filler)
{
	size_t len = prng_below(&filler->prng, prng_below(&filler->prng, 16) ? 12 : 300);
	uint8_t *data = arena_alloc(filler->arena, len);
	prng_fill(&filler->prng, data, len);
	return bytes_view(data, len);
}

struct bytes kafka_fill_string(struct kafka_filler *filler, const char *name, int salt)
{
	if (kafka_fill_is_random(filler))
		return kafka_fill_random(filler);
	size_t len = strlen(name) < 8 ? strlen(name) : 8;
	uint8_t *data = arena_alloc(filler->arena, len + 1);
	memcpy(data, name, len);
	data[len] = (uint8_t)('a' + salt);
	return bytes_view(data, len + 1);
}

struct bytes kafka_fill_bytes(struct kafka_filler *filler, const char *name, int salt)
{
	return kafka_fill_string(filler, name, salt);
}

struct kafka_records kafka_fill_records(struct kafka_filler *filler, const char *name, int salt)
{
	return (struct kafka_records){.bytes = kafka_fill_string(filler, name, salt)};
}

bool kafka_view_equal(struct bytes a, struct bytes b)
{
	return !a.data == !b.data && bytes_equal(a, b);
}

bool kafka_double_equal(double a, double b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

const struct kafka_test_message *kafka_test_message_find(const char *name)
{
	for (int i = 0; i < kafka_test_message_count; i++)
		if (strcmp(kafka_test_messages[i].name, name) == 0)
			return &kafka_test_messages[i];
	return NULL;
}
