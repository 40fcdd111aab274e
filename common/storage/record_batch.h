#pragma once
// Kafka's record batch, magic 2 (Kafka docs, "Record Batch"): 61 bytes of header, then records, compressed or not.
//
//	 0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16
//	23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64 | 51 producer epoch i16
//	53 base sequence i32 | 57 record count i32 | 61 records
//
// The CRC32C covers 21 to the end, so base offset and leader epoch can be patched without touching it.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum {
	RECORD_BATCH_HEADER_BYTES = 61,
	RECORD_BATCH_LENGTH_END = 12,  // length counts from here
	RECORD_BATCH_PATCH_BYTES = 16, // base offset, length and leader epoch: what may change when served
};

enum compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_SNAPPY,
	COMPRESSION_LZ4,
	COMPRESSION_ZSTD,
	COMPRESSION_COUNT
};

enum record_batch_attribute {
	RECORD_BATCH_COMPRESSION_MASK = 0x07,
	RECORD_BATCH_LOG_APPEND_TIME = 0x08,
	RECORD_BATCH_TRANSACTIONAL = 0x10,
	RECORD_BATCH_CONTROL = 0x20,
	RECORD_BATCH_DELETE_HORIZON = 0x40,
};

struct record_batch {
	int64_t base_offset;
	uint32_t size; // whole batch, header included
	int32_t leader_epoch;
	uint16_t attributes;
	int32_t last_offset_delta;
	int64_t base_timestamp;
	int64_t max_timestamp;
	int64_t producer_id; // -1: none
	int16_t producer_epoch;
	int32_t base_sequence;
	int32_t record_count;
};

// Reads the header of the batch at the start of bytes. ERROR_MALFORMED: shorter than it says, or an impossible length;
// ERROR_UNSUPPORTED_FORMAT: magic 0 or 1. Looks at nothing behind the header.
MUST_CHECK enum error record_batch_parse(struct bytes bytes, struct record_batch *ret_batch);

// What a writer demands of a batch from a producer: parse, CRC32C, record count = last offset delta + 1 > 0, known compression,
// sane producer fields (id >= 0 needs epoch and sequence >= 0), no attribute but compression and transactional; uncompressed
// batches are walked record by record (varint lengths, offset deltas 0..n-1, nothing left over). Kafka: LogValidator.
// ret_batch differs from the header in two ways: without producer id, epoch and sequence are -1; the max timestamp of an
// uncompressed batch is at least that of its records. Bytes behind the batch are not looked at: compare size.
// ERROR_CORRUPT for the CRC, ERROR_UNSUPPORTED_FORMAT for magic 0 and 1, ERROR_INVALID_RECORD for the rest.
MUST_CHECK enum error record_batch_validate(struct bytes bytes, struct record_batch *ret_batch);

// In place; data points at the batch's first byte.
void record_batch_patch(uint8_t *data, int64_t base_offset, int32_t leader_epoch);
// Sets LogAppendTime: attribute bit, max timestamp, and the CRC anew. data is the whole batch, writable.
void record_batch_set_append_time(uint8_t *data, size_t size, int64_t timestamp_ms);

// A record as found by record_batch_each(). Views live for the call.
struct record {
	int64_t offset;
	int64_t timestamp;
	struct bytes key;   // data NULL: none
	struct bytes value; // data NULL: none (a tombstone)
	uint32_t header_count;
};
// false stops the walk.
typedef bool (*record_fn)(void *ctx, const struct record *record);
// Every record in order (a log compacted by key has holes), decompressing into memory of at most bytes_max. ERROR_TOO_LARGE
// past it, ERROR_CORRUPT if the records do not parse, ERROR_UNSUPPORTED_COMPRESSION.
MUST_CHECK enum error record_batch_each(struct bytes batch, size_t bytes_max, record_fn fn, void *ctx);
