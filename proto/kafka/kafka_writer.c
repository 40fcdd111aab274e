#include "proto/kafka/kafka_writer.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"

enum { KAFKA_FRAME_LEN_BYTES = 4 };

void kafka_writer_init(struct kafka_writer *writer, size_t limit)
{
	*writer = (struct kafka_writer){0};
	buffer_init(&writer->buffer, limit);
}

void kafka_writer_done(struct kafka_writer *writer)
{
	buffer_done(&writer->buffer);
	free(writer->splices);
	*writer = (struct kafka_writer){0};
}

void kafka_writer_clear(struct kafka_writer *writer)
{
	buffer_clear(&writer->buffer);
	writer->splice_count = 0;
	writer->spliced_len = 0;
	writer->failed = false;
}

bool kafka_writer_failed(const struct kafka_writer *writer)
{
	return writer->failed || writer->buffer.failed;
}

void kafka_writer_fail(struct kafka_writer *writer)
{
	writer->failed = true;
}

size_t kafka_writer_len(const struct kafka_writer *writer)
{
	return writer->buffer.len + writer->spliced_len;
}

void kafka_writer_frame_begin(struct kafka_writer *writer)
{
	CHECK(kafka_writer_len(writer) == 0);
	buffer_u32(&writer->buffer, 0);
}

void kafka_writer_frame_end(struct kafka_writer *writer)
{
	if (kafka_writer_failed(writer))
		return;
	size_t len = kafka_writer_len(writer) - KAFKA_FRAME_LEN_BYTES;
	if (len > INT32_MAX)
		kafka_writer_fail(writer);
	else
		put_u32(writer->buffer.data, (uint32_t)len);
}

// What comes next by the cursor, perhaps empty; false at the end.
static bool kafka_writer_step(
	const struct kafka_writer *writer, struct kafka_piece_cursor *cursor, struct kafka_piece *ret_piece)
{
	const struct kafka_splice *splice = cursor->splice < writer->splice_count ? &writer->splices[cursor->splice] : NULL;
	size_t end = splice ? splice->position : writer->buffer.len;
	if (cursor->position < end) {
		*ret_piece =
			(struct kafka_piece){bytes_view(writer->buffer.data + cursor->position, end - cursor->position), NULL};
		cursor->position = end;
		return true;
	}
	if (!splice)
		return false;
	if (cursor->slice == splice->slice_count) {
		cursor->splice++;
		cursor->slice = 0;
		*ret_piece = (struct kafka_piece){BYTES_NULL, NULL};
		return true;
	}
	const struct slice *slice = &splice->slices[cursor->slice++];
	*ret_piece = (struct kafka_piece){slice_bytes(*slice), slice};
	return true;
}

bool kafka_writer_next(const struct kafka_writer *writer, struct kafka_piece_cursor *cursor, struct kafka_piece *ret_piece)
{
	struct kafka_piece piece;
	do {
		if (!kafka_writer_step(writer, cursor, &piece))
			return false;
	} while (piece.bytes.len == 0);
	*ret_piece = piece;
	return true;
}

int kafka_writer_iovec(const struct kafka_writer *writer, size_t skip, struct iovec *ret_iovec, int count_max)
{
	struct kafka_piece_cursor cursor = {0};
	struct kafka_piece piece;
	int count = 0;
	while (count < count_max && kafka_writer_next(writer, &cursor, &piece)) {
		if (skip >= piece.bytes.len) {
			skip -= piece.bytes.len;
			continue;
		}
		// writev does not write to what it sends, but struct iovec has no const.
		uint8_t *data = (uint8_t *)piece.bytes.data;
		ret_iovec[count++] = (struct iovec){data + skip, piece.bytes.len - skip};
		skip = 0;
	}
	return count;
}

void kafka_writer_copy(const struct kafka_writer *writer, struct buffer *buffer)
{
	struct kafka_piece_cursor cursor = {0};
	struct kafka_piece piece;
	while (kafka_writer_next(writer, &cursor, &piece))
		buffer_bytes(buffer, piece.bytes);
}

// The length before a string, bytes or array, -1 for null; size is how many bytes it takes in the inflexible encoding.
static void kafka_write_len(struct kafka_writer *writer, int64_t len, size_t size, bool compact, bool nullable)
{
	if (len > (size == 2 ? INT16_MAX : INT32_MAX - 1) || (len < 0 && !nullable))
		kafka_writer_fail(writer);
	if (compact)
		buffer_uvarint(&writer->buffer, (uint64_t)(len + 1));
	else if (size == 2)
		buffer_i16(&writer->buffer, (int16_t)len);
	else
		buffer_i32(&writer->buffer, (int32_t)len);
}

static void kafka_write_view(struct kafka_writer *writer, struct bytes value, size_t size, bool compact, bool nullable)
{
	kafka_write_len(writer, value.data ? (int64_t)value.len : -1, size, compact, nullable);
	buffer_bytes(&writer->buffer, value);
}

void kafka_write_string(struct kafka_writer *writer, struct bytes value, bool compact, bool nullable)
{
	kafka_write_view(writer, value, 2, compact, nullable);
}

void kafka_write_bytes(struct kafka_writer *writer, struct bytes value, bool compact, bool nullable)
{
	kafka_write_view(writer, value, 4, compact, nullable);
}

static void kafka_writer_splice(struct kafka_writer *writer, const struct kafka_records *records, size_t len)
{
	if (writer->splice_count == writer->splice_capacity) {
		writer->splice_capacity = writer->splice_capacity ? writer->splice_capacity * 2 : 16;
		writer->splices = memory_realloc(writer->splices, writer->splice_capacity * sizeof *writer->splices);
	}
	struct kafka_splice *splice = &writer->splices[writer->splice_count++];
	*splice = (struct kafka_splice){writer->buffer.len, records->slices, records->slice_count};
	writer->spliced_len += len;
}

void kafka_write_records(struct kafka_writer *writer, const struct kafka_records *records, bool compact, bool nullable)
{
	if (!records->slices) {
		kafka_write_bytes(writer, records->bytes, compact, nullable);
		return;
	}
	size_t len = 0;
	for (int32_t i = 0; i < records->slice_count; i++)
		len += records->slices[i].len;
	kafka_write_len(writer, (int64_t)len, 4, compact, nullable);
	if (!kafka_writer_failed(writer))
		kafka_writer_splice(writer, records, len);
}

void kafka_write_uuid(struct kafka_writer *writer, const struct uuid *uuid)
{
	buffer_append(&writer->buffer, uuid->bytes, sizeof uuid->bytes);
}

void kafka_write_count(struct kafka_writer *writer, int32_t count, bool compact, bool nullable)
{
	kafka_write_len(writer, count < 0 ? -1 : count, 4, compact, nullable);
}

void kafka_write_present(struct kafka_writer *writer, bool present)
{
	buffer_i8(&writer->buffer, present ? 1 : -1);
}

void kafka_write_tag_count(struct kafka_writer *writer, int count)
{
	buffer_uvarint(&writer->buffer, (uint64_t)count);
}

size_t kafka_write_tag_begin(struct kafka_writer *writer, uint32_t tag)
{
	buffer_uvarint(&writer->buffer, tag);
	return writer->buffer.len;
}

static size_t kafka_uvarint_len(size_t value)
{
	size_t len = 1;
	while (value >>= 7)
		len++;
	return len;
}

// The field's length comes before it, and is known only now: make room by moving what is written.
void kafka_write_tag_end(struct kafka_writer *writer, size_t begin)
{
	struct buffer *buffer = &writer->buffer;
	size_t len = buffer->len - begin;
	size_t prefix = kafka_uvarint_len(len);
	CHECK(writer->splice_count == 0 || writer->splices[writer->splice_count - 1].position <= begin);
	if (!buffer_extend(buffer, prefix))
		return;
	memmove(buffer->data + begin + prefix, buffer->data + begin, len);
	buffer->len = begin;
	buffer_uvarint(buffer, len);
	buffer->len = begin + prefix + len;
}
