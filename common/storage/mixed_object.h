#pragma once
// The mixed object: what one flush of a writer leaves in the bucket, for all partitions at once. Immutable.
//
//	header   64 B   "WEIRMIX1" | u16 version | u16 level | u32 header bytes | u64 incarnation | writer instance 16 B |
//	                u64 sequence | i64 created ms | u32 0 | u32 CRC32C of the 60 bytes before
//	batches         record batches verbatim, grouped by (topic id, partition)
//	sections        one per shard (below)
//	table           per section: u32 shard | u32 bytes | u64 position | u32 CRC32C
//	trailer  32 B   u64 table position | u32 section count | u32 CRC32C of the table | u64 object bytes | "WEIREND1"
//
// All integers big-endian. A *section* describes the batches of one shard's partitions and travels byte for byte in the commit:
// the owner's answer (offsets, duplicates, refusals) follows from applying sections in log order. It has one entry per batch
// (refusals and duplicates are per batch): size, record count, attributes, first and max timestamp, producer id, epoch, base
// sequence, delta-coded by column, then zstd where that is shorter; a plain run of batches costs a few bytes.
// Batches of a run lie back to back from its position on.
//
// Key: mixed/‹yyyymmddhh of created, UTC›/‹writer instance hex›-‹sequence, 16 hex digits›.

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/uuid.h"

enum {
	MIXED_OBJECT_VERSION = 1,
	MIXED_OBJECT_HEADER_BYTES = 64,
	MIXED_OBJECT_TABLE_ROW_BYTES = 20,
	MIXED_OBJECT_TRAILER_BYTES = 32,
	MIXED_OBJECT_KEY_SIZE = 80, // with NUL
};

struct mixed_object_id {
	struct uuid writer;
	uint64_t sequence;
	int64_t created_ms;
};

// Whether a key has room for that time. What came from elsewhere is asked before mixed_object_key(), which insists.
bool mixed_object_created_valid(int64_t created_ms);
void mixed_object_key(const struct mixed_object_id *id, char key[MIXED_OBJECT_KEY_SIZE]);
// The writer and sequence of a key; created_ms to the hour only.
MUST_CHECK enum error mixed_object_key_parse(const char *key, struct mixed_object_id *ret_id);

struct mixed_object_header {
	uint16_t level; // 0: as flushed, 1: merged by compaction
	uint64_t incarnation;
	struct mixed_object_id id;
};
void mixed_object_header_encode(const struct mixed_object_header *header, struct buffer *out);
MUST_CHECK enum error mixed_object_header_decode(struct bytes bytes, struct mixed_object_header *ret_header);

// One batch as a section knows it.
struct section_batch {
	uint32_t size;
	uint32_t record_count; // last offset delta + 1
	uint16_t attributes;
	int64_t first_timestamp;
	int64_t max_timestamp;
	int64_t producer_id; // -1: none
	int16_t producer_epoch;
	int32_t base_sequence;
};

// Batches of one partition that lie back to back.
struct section_run {
	struct uuid topic_id;
	int32_t partition;
	uint64_t position; // of the first batch in the object
	uint32_t batch_count;
	struct section_batch *batches;
};

struct section {
	uint32_t run_count;
	struct section_run *runs; // by (topic id, partition), at most one run a partition at level 0
};

void section_encode(const struct section *section, struct buffer *out);
// Everything lands in the arena (its limit bounds a lying count). ERROR_CORRUPT if it is not a section.
MUST_CHECK enum error section_decode(struct bytes bytes, struct arena *arena, struct section *ret_section);

struct mixed_object_section_row {
	uint32_t shard;
	uint32_t len;
	uint64_t position;
	uint32_t crc;
};
// Table and trailer; object_bytes so far (header, batches and sections) precede it.
void mixed_object_trailer_encode(
	const struct mixed_object_section_row *rows, uint32_t count, uint64_t table_position, struct buffer *out);
// From the object's last bytes, as many as given (at least the trailer). ERROR_TOO_LARGE: the table begins before them, fetch
// ret_table_position to the end; ERROR_CORRUPT otherwise.
MUST_CHECK enum error mixed_object_trailer_decode(struct bytes tail, uint64_t object_bytes, struct arena *arena,
	struct mixed_object_section_row **ret_rows, uint32_t *ret_count, uint64_t *ret_table_position);
