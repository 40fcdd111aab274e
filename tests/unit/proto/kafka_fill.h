#pragma once
// Messages with made-up content, for tests: by a rule from the fields' names (the rule of vectors/KafkaVectors.java, which has
// Kafka's own client write the same messages), or at random from a seed.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/prng.h"
#include "common/base/uuid.h"
#include "proto/kafka/kafka_types.h"
#include "proto/kafka/kafka_writer.h"

enum kafka_fill_kind {
	KAFKA_FILL_NAMED,       // by the rule
	KAFKA_FILL_NAMED_NULLS, // by the rule, but null where null is allowed
	KAFKA_FILL_RANDOM,
};

struct kafka_filler {
	enum kafka_fill_kind kind;
	struct prng prng;
	struct arena *arena;
};

// What a field gets. salt tells the elements of an array apart.
bool kafka_fill_null(struct kafka_filler *filler, bool nullable);
int32_t kafka_fill_count(struct kafka_filler *filler, int depth);
bool kafka_fill_bool(struct kafka_filler *filler, const char *name, int salt);
int8_t kafka_fill_int8(struct kafka_filler *filler, const char *name, int salt);
int16_t kafka_fill_int16(struct kafka_filler *filler, const char *name, int salt);
uint16_t kafka_fill_uint16(struct kafka_filler *filler, const char *name, int salt);
int32_t kafka_fill_int32(struct kafka_filler *filler, const char *name, int salt);
int64_t kafka_fill_int64(struct kafka_filler *filler, const char *name, int salt);
double kafka_fill_float64(struct kafka_filler *filler, const char *name, int salt);
struct uuid kafka_fill_uuid(struct kafka_filler *filler, const char *name, int salt);
struct bytes kafka_fill_string(struct kafka_filler *filler, const char *name, int salt);
struct bytes kafka_fill_bytes(struct kafka_filler *filler, const char *name, int salt);
struct kafka_records kafka_fill_records(struct kafka_filler *filler, const char *name, int salt);

// As bytes_equal, but null differs from empty.
bool kafka_view_equal(struct bytes a, struct bytes b);
// By their bits, since a NaN must survive too.
bool kafka_double_equal(double a, double b);

// Every message of messages.table, without its type: generate_messages.py.
struct kafka_test_message {
	const char *name;
	int16_t key; // -1: not an API's
	bool is_request;
	int16_t min_version;
	int16_t max_version;
	size_t size; // of its struct
	void (*init)(void *message);
	void (*fill)(void *message, struct kafka_filler *filler, int16_t version);
	enum error (*decode)(void *message, struct reader *reader, int16_t version, struct arena *arena);
	void (*encode)(const void *message, struct kafka_writer *writer, int16_t version);
	bool (*equal)(const void *a, const void *b);
};

extern const struct kafka_test_message kafka_test_messages[];
extern const int kafka_test_message_count;

const struct kafka_test_message *kafka_test_message_find(const char *name);
