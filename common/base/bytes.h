#pragma once
// Views, the bounded reader and the growing buffer.
//
// struct bytes is a borrowed view: it lives as long as what it points into. data == NULL is Kafka's null, which differs from
// an empty string. struct reader walks big-endian bytes (Kafka's byte order, and that of our object formats) with a sticky
// failure: read everything, then check once with reader_finished(). struct buffer grows up to a limit with the same sticky
// failure, so encoders need no error paths.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct bytes {
	const uint8_t *data;
	size_t len;
};

#define BYTES_NULL ((struct bytes){NULL, 0})

// The text without its NUL; the view lives as long as the text.
struct bytes bytes_of(const char *text);
struct bytes bytes_view(const void *data, size_t len);
bool bytes_equal(struct bytes a, struct bytes b);
// memcmp order, shorter first.
int bytes_compare(struct bytes a, struct bytes b);

struct reader {
	const uint8_t *pos;
	const uint8_t *end;
	bool failed;
};

struct reader reader_of(struct bytes bytes);
size_t reader_left(const struct reader *reader);
void reader_fail(struct reader *reader);

// Fixed-width integers, big-endian. After a failure they return 0.
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
int8_t reader_i8(struct reader *reader);
int16_t reader_i16(struct reader *reader);
int32_t reader_i32(struct reader *reader);
int64_t reader_i64(struct reader *reader);
double reader_f64(struct reader *reader);

// Base-128 varints; the unsigned form is protobuf's, the signed one zig-zag. More than 5 (10) bytes, or bits beyond the
// width, are a failure.
uint32_t reader_uvarint32(struct reader *reader);
uint64_t reader_uvarint64(struct reader *reader);
int32_t reader_varint32(struct reader *reader);
int64_t reader_varint64(struct reader *reader);

// A view of the next len bytes, or an empty view and failure.
struct bytes reader_bytes(struct reader *reader, size_t len);

// ERROR_OK if nothing failed and no byte is left over, else ERROR_MALFORMED.
MUST_CHECK enum error reader_finished(const struct reader *reader);

struct buffer {
	uint8_t *data;
	size_t len;
	size_t capacity;
	size_t limit; // never grows past this; reaching it sets failed
	bool failed;
};

// limit in bytes.
void buffer_init(struct buffer *buffer, size_t limit);
void buffer_done(struct buffer *buffer);
// Keeps the memory, drops the content and the failure.
void buffer_clear(struct buffer *buffer);
struct bytes buffer_view(const struct buffer *buffer);

// Room for len bytes at the end, already counted in; NULL after a failure. The pointer lives until the next append.
uint8_t *buffer_extend(struct buffer *buffer, size_t len);
void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_bytes(struct buffer *buffer, struct bytes bytes);
void buffer_u8(struct buffer *buffer, uint8_t value);
void buffer_u16(struct buffer *buffer, uint16_t value);
void buffer_u32(struct buffer *buffer, uint32_t value);
void buffer_u64(struct buffer *buffer, uint64_t value);
void buffer_i8(struct buffer *buffer, int8_t value);
void buffer_i16(struct buffer *buffer, int16_t value);
void buffer_i32(struct buffer *buffer, int32_t value);
void buffer_i64(struct buffer *buffer, int64_t value);
void buffer_f64(struct buffer *buffer, double value);
void buffer_uvarint(struct buffer *buffer, uint64_t value);
void buffer_varint(struct buffer *buffer, int64_t value);

// Big-endian access in place; pointers need no alignment.
uint16_t get_u16(const uint8_t *data);
uint32_t get_u32(const uint8_t *data);
uint64_t get_u64(const uint8_t *data);
void put_u16(uint8_t *data, uint16_t value);
void put_u32(uint8_t *data, uint32_t value);
void put_u64(uint8_t *data, uint64_t value);
