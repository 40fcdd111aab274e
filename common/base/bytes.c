#include "common/base/bytes.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

struct bytes bytes_of(const char *text)
{
	return (struct bytes){(const uint8_t *)text, strlen(text)};
}

struct bytes bytes_view(const void *data, size_t len)
{
	return (struct bytes){data, len};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common ? memcmp(a.data, b.data, common) : 0;
	return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct reader reader_of(struct bytes bytes)
{
	// NULL + 0 is undefined in C17.
	return (struct reader){bytes.data, bytes.len ? bytes.data + bytes.len : bytes.data, false};
}

size_t reader_left(const struct reader *reader)
{
	return (size_t)(reader->end - reader->pos);
}

void reader_fail(struct reader *reader)
{
	reader->failed = true;
	reader->pos = reader->end;
}

static const uint8_t *reader_advance(struct reader *reader, size_t len)
{
	if (reader_left(reader) < len) {
		reader_fail(reader);
		return NULL;
	}
	const uint8_t *at = reader->pos;
	if (len)
		reader->pos += len;
	return at;
}

uint8_t reader_u8(struct reader *reader)
{
	const uint8_t *at = reader_advance(reader, 1);
	return at ? *at : 0;
}

uint16_t reader_u16(struct reader *reader)
{
	const uint8_t *at = reader_advance(reader, 2);
	return at ? get_u16(at) : 0;
}

uint32_t reader_u32(struct reader *reader)
{
	const uint8_t *at = reader_advance(reader, 4);
	return at ? get_u32(at) : 0;
}

uint64_t reader_u64(struct reader *reader)
{
	const uint8_t *at = reader_advance(reader, 8);
	return at ? get_u64(at) : 0;
}

int8_t reader_i8(struct reader *reader)
{
	return (int8_t)reader_u8(reader);
}

int16_t reader_i16(struct reader *reader)
{
	return (int16_t)reader_u16(reader);
}

int32_t reader_i32(struct reader *reader)
{
	return (int32_t)reader_u32(reader);
}

int64_t reader_i64(struct reader *reader)
{
	return (int64_t)reader_u64(reader);
}

double reader_f64(struct reader *reader)
{
	uint64_t bits = reader_u64(reader);
	double value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

uint64_t reader_uvarint64(struct reader *reader)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = reader_u8(reader);
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return reader->failed ? 0 : value;
	}
	reader_fail(reader);
	return 0;
}

uint32_t reader_uvarint32(struct reader *reader)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 35; shift += 7) {
		uint8_t byte = reader_u8(reader);
		if (shift == 28 && byte > 0x0f)
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return reader->failed ? 0 : (uint32_t)value;
	}
	reader_fail(reader);
	return 0;
}

int32_t reader_varint32(struct reader *reader)
{
	uint32_t value = reader_uvarint32(reader);
	return (int32_t)((value >> 1) ^ (0u - (value & 1)));
}

int64_t reader_varint64(struct reader *reader)
{
	uint64_t value = reader_uvarint64(reader);
	return (int64_t)((value >> 1) ^ (0u - (value & 1)));
}

struct bytes reader_bytes(struct reader *reader, size_t len)
{
	const uint8_t *at = reader_advance(reader, len);
	return at ? (struct bytes){at, len} : BYTES_NULL;
}

enum error reader_finished(const struct reader *reader)
{
	return reader->failed || reader->pos != reader->end ? ERROR_MALFORMED : ERROR_OK;
}

void buffer_init(struct buffer *buffer, size_t limit)
{
	*buffer = (struct buffer){.limit = limit};
}

void buffer_done(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){0};
}

void buffer_clear(struct buffer *buffer)
{
	buffer->len = 0;
	buffer->failed = false;
}

struct bytes buffer_view(const struct buffer *buffer)
{
	return (struct bytes){buffer->data, buffer->len};
}

static void buffer_grow(struct buffer *buffer, size_t needed)
{
	size_t capacity = buffer->capacity ? buffer->capacity : 256;
	while (capacity < needed)
		capacity *= 2;
	if (capacity > buffer->limit)
		capacity = buffer->limit;
	buffer->data = memory_realloc(buffer->data, capacity);
	buffer->capacity = capacity;
}

uint8_t *buffer_extend(struct buffer *buffer, size_t len)
{
	if (buffer->failed || len > buffer->limit - buffer->len) {
		buffer->failed = true;
		return NULL;
	}
	if (!buffer->data || len > buffer->capacity - buffer->len)
		buffer_grow(buffer, buffer->len + len);
	uint8_t *at = buffer->data + buffer->len;
	buffer->len += len;
	return at;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
	if (!len)
		return;
	uint8_t *at = buffer_extend(buffer, len);
	if (at)
		memcpy(at, data, len);
}

void buffer_bytes(struct buffer *buffer, struct bytes bytes)
{
	buffer_append(buffer, bytes.data, bytes.len);
}

void buffer_u8(struct buffer *buffer, uint8_t value)
{
	buffer_append(buffer, &value, 1);
}

void buffer_u16(struct buffer *buffer, uint16_t value)
{
	uint8_t *at = buffer_extend(buffer, 2);
	if (at)
		put_u16(at, value);
}

void buffer_u32(struct buffer *buffer, uint32_t value)
{
	uint8_t *at = buffer_extend(buffer, 4);
	if (at)
		put_u32(at, value);
}

void buffer_u64(struct buffer *buffer, uint64_t value)
{
	uint8_t *at = buffer_extend(buffer, 8);
	if (at)
		put_u64(at, value);
}

void buffer_i8(struct buffer *buffer, int8_t value)
{
	buffer_u8(buffer, (uint8_t)value);
}

void buffer_i16(struct buffer *buffer, int16_t value)
{
	buffer_u16(buffer, (uint16_t)value);
}

void buffer_i32(struct buffer *buffer, int32_t value)
{
	buffer_u32(buffer, (uint32_t)value);
}

void buffer_i64(struct buffer *buffer, int64_t value)
{
	buffer_u64(buffer, (uint64_t)value);
}

void buffer_f64(struct buffer *buffer, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof bits);
	buffer_u64(buffer, bits);
}

void buffer_uvarint(struct buffer *buffer, uint64_t value)
{
	while (value >= 0x80) {
		buffer_u8(buffer, (uint8_t)(value | 0x80));
		value >>= 7;
	}
	buffer_u8(buffer, (uint8_t)value);
}

void buffer_varint(struct buffer *buffer, int64_t value)
{
	buffer_uvarint(buffer, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

uint16_t get_u16(const uint8_t *data)
{
	uint16_t value;
	memcpy(&value, data, sizeof value);
	return be16toh(value);
}

uint32_t get_u32(const uint8_t *data)
{
	uint32_t value;
	memcpy(&value, data, sizeof value);
	return be32toh(value);
}

uint64_t get_u64(const uint8_t *data)
{
	uint64_t value;
	memcpy(&value, data, sizeof value);
	return be64toh(value);
}

void put_u16(uint8_t *data, uint16_t value)
{
	value = htobe16(value);
	memcpy(data, &value, sizeof value);
}

void put_u32(uint8_t *data, uint32_t value)
{
	value = htobe32(value);
	memcpy(data, &value, sizeof value);
}

void put_u64(uint8_t *data, uint64_t value)
{
	value = htobe64(value);
	memcpy(data, &value, sizeof value);
}
