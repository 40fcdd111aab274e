#pragma once
// Where the records of a partition lie: entries in order of offset, each a stretch of back-to-back batches in one object. An
// array per partition, objects interned per shard; look-ups are binary searches. Owner: the shard's state; only apply changes
// it. Bound: one entry a run (or a MiB of it) until compaction swaps them for larger ones.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/hash_map.h"
#include "common/base/uuid.h"

// An object that some entry of the shard names.
struct index_object {
	struct {
		struct uuid writer;
		uint64_t sequence;
	} key;
	int64_t created_ms;
	uint32_t refs; // entries
	UT_hash_handle hh;
};

struct index_objects {
	struct index_object *table;
};

// A hold on the object, made if new.
struct index_object *index_objects_ref(
	struct index_objects *objects, const struct uuid *writer, uint64_t sequence, int64_t created_ms);
void index_objects_unref(struct index_objects *objects, struct index_object *object);
size_t index_objects_count(const struct index_objects *objects);

enum { INDEX_ENTRY_BYTES_MAX = 1 << 20 }; // a reader that looks for one record walks at most this far (one batch may be longer)

struct index_entry {
	int64_t base_offset;
	int64_t max_timestamp;
	int64_t max_timestamp_before; // of this entry and all before it: what a search by time halves
	uint64_t position;
	struct index_object *object;
	uint32_t length;
	uint32_t offset_span; // last offset - base offset; apart from the count, since logs may get holes
	uint32_t record_count;
	uint32_t batch_count;
};

struct partition_index {
	struct index_entry *entries;
	size_t count;
	size_t capacity;
	size_t newest; // the entry with the greatest timestamp, the first of equals
	uint64_t bytes;
};

struct index_batch {
	int64_t base_offset;
	int64_t max_timestamp;
	uint64_t position;
	uint32_t length;
	uint32_t record_count;
};

void partition_index_done(struct partition_index *index, struct index_objects *objects);
// joins: it lies right behind the batch added last, in the same object.
void partition_index_add(
	struct partition_index *index, struct index_object *object, const struct index_batch *batch, bool joins);
int64_t index_entry_last(const struct index_entry *entry);
// The first entry whose last offset is at or after offset; count if there is none.
size_t partition_index_find(const struct partition_index *index, int64_t offset);
// The first entry that holds a timestamp at or after timestamp; count if there is none.
size_t partition_index_find_time(const struct partition_index *index, int64_t timestamp);
