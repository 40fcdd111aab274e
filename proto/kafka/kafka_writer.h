#pragma once
// What the generated encoders write to: a growing buffer in which records are not copied but noted as splices, so that a Fetch
// answer goes from the cache to the socket with one writev.
//
//	buffer   [ header ... length ][ ... length ][ ... ]
//	                             ^             ^
//	splices                   slices        slices        (borrowed: they must outlive the writer's content)
//
// The buffer is bounded by limit; a splice costs at least a byte of it, which bounds the splices. Failure is sticky, like the
// buffer's: encode everything, then ask kafka_writer_failed() once. Beyond the limit, the reason is a bug of ours: null where
// the protocol forbids it, a string beyond 32767 bytes, or a value that the version cannot carry and that may not be ignored.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/block.h"
#include "common/base/bytes.h"
#include "proto/kafka/kafka_types.h"

struct kafka_splice {
	size_t position; // in the buffer: the slices come before this byte
	const struct slice *slices;
	int32_t slice_count;
};

struct kafka_writer {
	struct buffer buffer;
	struct kafka_splice *splices;
	size_t splice_count;
	size_t splice_capacity;
	size_t spliced_len; // bytes in all splices
	bool failed;
};

// limit in bytes, for the buffer without the splices.
void kafka_writer_init(struct kafka_writer *writer, size_t limit);
void kafka_writer_done(struct kafka_writer *writer);
// Keeps the memory, drops the content, the splices and the failure.
void kafka_writer_clear(struct kafka_writer *writer);

bool kafka_writer_failed(const struct kafka_writer *writer);
void kafka_writer_fail(struct kafka_writer *writer);
// Bytes on the wire, splices included.
size_t kafka_writer_len(const struct kafka_writer *writer);

// The four bytes of length before a request or an answer: begin on an empty writer, end when all is written.
void kafka_writer_frame_begin(struct kafka_writer *writer);
void kafka_writer_frame_end(struct kafka_writer *writer);

// The pieces in wire order, none empty. slice is the one the bytes belong to, NULL for the writer's own: who sends later than
// the slices live takes a hold of it with slice_ref().
struct kafka_piece {
	struct bytes bytes;
	const struct slice *slice;
};
struct kafka_piece_cursor {
	size_t position; // in the buffer
	size_t splice;
	int32_t slice;
};

// Start with a zeroed cursor; false at the end. The pieces live until the writer is changed.
bool kafka_writer_next(const struct kafka_writer *writer, struct kafka_piece_cursor *cursor, struct kafka_piece *ret_piece);

// Up to count_max pieces from byte `skip` on (what was sent already); returns how many.
int kafka_writer_iovec(const struct kafka_writer *writer, size_t skip, struct iovec *ret_iovec, int count_max);

// All of it, copied: for tests and for messages that are small.
void kafka_writer_copy(const struct kafka_writer *writer, struct buffer *buffer);

// The Kafka types, for the generated encoders: compact and nullable as in kafka_reader.h.
void kafka_write_string(struct kafka_writer *writer, struct bytes value, bool compact, bool nullable);
void kafka_write_bytes(struct kafka_writer *writer, struct bytes value, bool compact, bool nullable);
void kafka_write_records(struct kafka_writer *writer, const struct kafka_records *records, bool compact, bool nullable);
void kafka_write_uuid(struct kafka_writer *writer, const struct uuid *uuid);
void kafka_write_count(struct kafka_writer *writer, int32_t count, bool compact, bool nullable);
// The byte before a nullable struct.
void kafka_write_present(struct kafka_writer *writer, bool present);
// A tagged section: the number of fields, then each between begin and end. Tagged fields hold no splices.
void kafka_write_tag_count(struct kafka_writer *writer, int count);
size_t kafka_write_tag_begin(struct kafka_writer *writer, uint32_t tag);
void kafka_write_tag_end(struct kafka_writer *writer, size_t begin);
