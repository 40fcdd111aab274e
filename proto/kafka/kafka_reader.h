#pragma once
// The Kafka types read from a struct reader: what the generated decoders are made of. Kafka protocol guide, "Protocol Primitive
// Types". Like the reader they fail stickily; after a failure they return null, zero or nothing.
//
// `compact` chooses the flexible encoding (lengths as unsigned varints plus one, KIP-482), `nullable` whether null is allowed.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "proto/kafka/kafka_types.h"

struct bytes kafka_read_string(struct reader *reader, bool compact, bool nullable);
struct bytes kafka_read_bytes(struct reader *reader, bool compact, bool nullable);
struct kafka_records kafka_read_records(struct reader *reader, bool compact, bool nullable);
struct uuid kafka_read_uuid(struct reader *reader);

// The number of elements of an array, -1 for null. A number whose elements, of at least element_len_min bytes each, could not
// be in what is left is a failure: the memory asked for stays in proportion to the frame.
int32_t kafka_read_count(struct reader *reader, bool compact, bool nullable, size_t element_len_min);

// Memory for count elements; NULL for none, and a failure if the arena's limit is reached.
void *kafka_read_alloc(struct reader *reader, struct arena *arena, int32_t count, size_t size);

// The byte before a nullable struct: true if the struct follows.
bool kafka_read_present(struct reader *reader);

// A tagged section (KIP-482). Each turn of kafka_tags_next() gives one field and its bytes; the field must be read exactly,
// tags must ascend.
//
//	struct kafka_tags tags = kafka_tags_of(reader);
//	while (kafka_tags_next(&tags))
//		if (tags.tag == 0)
//			message->x = reader_i32(&tags.field);
//		else
//			kafka_tags_skip(&tags);
struct kafka_tags {
	struct reader *reader;
	struct reader field;
	int64_t tag;   // of the field, -1 before the first
	uint32_t left; // fields not yet given
};

struct kafka_tags kafka_tags_of(struct reader *reader);
bool kafka_tags_next(struct kafka_tags *tags);
void kafka_tags_skip(struct kafka_tags *tags);

// A tagged section of which we know no field.
void kafka_skip_tags(struct reader *reader);
