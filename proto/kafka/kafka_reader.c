#include "proto/kafka/kafka_reader.h"

#include <string.h>

// The length of a string, bytes or array: -1 for null. legacy is the length of the inflexible encoding.
static int64_t kafka_read_len(struct reader *reader, bool nullable, int64_t len)
{
	if (len < -1 || (len == -1 && !nullable))
		reader_fail(reader);
	return reader->failed ? -1 : len;
}

static int64_t kafka_read_compact_len(struct reader *reader)
{
	return (int64_t)reader_uvarint32(reader) - 1;
}

static struct bytes kafka_read_view(struct reader *reader, int64_t len)
{
	return len < 0 ? BYTES_NULL : reader_bytes(reader, (size_t)len);
}

struct bytes kafka_read_string(struct reader *reader, bool compact, bool nullable)
{
	int64_t len = compact ? kafka_read_compact_len(reader) : reader_i16(reader);
	len = kafka_read_len(reader, nullable, len);
	if (len > INT16_MAX) {
		reader_fail(reader);
		return BYTES_NULL;
	}
	return kafka_read_view(reader, len);
}

struct bytes kafka_read_bytes(struct reader *reader, bool compact, bool nullable)
{
	int64_t len = compact ? kafka_read_compact_len(reader) : reader_i32(reader);
	return kafka_read_view(reader, kafka_read_len(reader, nullable, len));
}

struct kafka_records kafka_read_records(struct reader *reader, bool compact, bool nullable)
{
	return (struct kafka_records){.bytes = kafka_read_bytes(reader, compact, nullable)};
}

struct uuid kafka_read_uuid(struct reader *reader)
{
	struct uuid uuid = {{0}};
	struct bytes view = reader_bytes(reader, sizeof uuid.bytes);
	if (view.data)
		memcpy(uuid.bytes, view.data, sizeof uuid.bytes);
	return uuid;
}

int32_t kafka_read_count(struct reader *reader, bool compact, bool nullable, size_t element_len_min)
{
	int64_t count = compact ? kafka_read_compact_len(reader) : reader_i32(reader);
	count = kafka_read_len(reader, nullable, count);
	if (count > 0 && (uint64_t)count > reader_left(reader) / element_len_min) {
		reader_fail(reader);
		return -1;
	}
	return (int32_t)count;
}

void *kafka_read_alloc(struct reader *reader, struct arena *arena, int32_t count, size_t size)
{
	if (count <= 0)
		return NULL;
	void *elements = arena_try_alloc(arena, (size_t)count, size);
	if (!elements)
		reader_fail(reader);
	return elements;
}

bool kafka_read_present(struct reader *reader)
{
	int8_t marker = reader_i8(reader);
	if (marker != 1 && marker != -1)
		reader_fail(reader);
	return marker == 1 && !reader->failed;
}

struct kafka_tags kafka_tags_of(struct reader *reader)
{
	uint32_t count = reader_uvarint32(reader);
	return (struct kafka_tags){.reader = reader, .tag = -1, .left = count};
}

bool kafka_tags_next(struct kafka_tags *tags)
{
	struct reader *reader = tags->reader;
	if (tags->tag >= 0 && (tags->field.failed || tags->field.pos != tags->field.end))
		reader_fail(reader);
	if (reader->failed || tags->left == 0)
		return false;
	tags->left--;
	uint32_t tag = reader_uvarint32(reader);
	uint32_t len = reader_uvarint32(reader);
	struct bytes value = reader_bytes(reader, len);
	if (tag <= tags->tag)
		reader_fail(reader);
	tags->tag = tag;
	tags->field = reader_of(value);
	return !reader->failed;
}

void kafka_tags_skip(struct kafka_tags *tags)
{
	tags->field.pos = tags->field.end;
}

void kafka_skip_tags(struct reader *reader)
{
	struct kafka_tags tags = kafka_tags_of(reader);
	while (kafka_tags_next(&tags))
		kafka_tags_skip(&tags);
}
