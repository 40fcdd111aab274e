#pragma once
// A mixed object whose content is fixed: its image, and per shard the section and the batches that wait for the shard's answer.
// Made by batching_seal(). Counted: the upload holds it until durable, each section until its shard has answered.

#include "common/base/list.h"
#include "common/storage/mixed_object.h"
#include "writer/append.h"
#include "writer/object_image.h"

// One partition of one append, waiting.
struct batch {
	struct batch *next;
	struct slice bytes; // empty once sealed: the image has it
	struct section_batch facts;
	struct append *append;
	uint32_t index; // the partition's place in the append
	int64_t log_append_time_ms;
};

// What it is counted with in the budgets: the bytes and a share for all that is kept about a batch.
enum { BATCH_OVERHEAD_BYTES = 256 };
static inline uint64_t batch_charge(const struct batch *batch)
{
	return batch->facts.size + BATCH_OVERHEAD_BYTES;
}

// Batches of one partition in arrival order.
struct sealed_run {
	struct batch *first;
	uint32_t batch_count;
};

struct sealed_section {
	struct list link; // in its shard's queue
	struct sealed_object *object;
	uint32_t shard;
	uint64_t previous_sequence; // of this instance's sections to this shard; 0: the first
	uint64_t position;          // in the object
	uint32_t crc;
	struct slice bytes;
	uint64_t charge; // of its batches
	uint32_t run_count;
	struct sealed_run *runs; // parallel to the section's
};

struct sealed_object {
	uint32_t holds;
	bool durable;
	uint64_t durable_us;
	char key[MIXED_OBJECT_KEY_SIZE];
	struct mixed_object_id id;
	struct object_image *image; // NULL once durable: the tail ring may still have it
	uint64_t bytes;
	uint32_t batch_count;
	uint32_t section_count;
	struct sealed_section *sections; // by shard
};

// What batching hands over: one partition's run.
struct open_run_view {
	struct uuid topic_id;
	int32_t partition;
	uint32_t shard;
	struct batch *first;
	uint32_t batch_count;
};

// Runs sorted by (topic id, partition); takes their batches over. One hold.
struct sealed_object *sealed_object_new(
	const struct mixed_object_header *header, const struct open_run_view *runs, size_t run_count, uint32_t shards);
struct sealed_object *sealed_object_ref(struct sealed_object *object);
// With the last hold every batch must have been answered (sealed_section_done()).
void sealed_object_unref(struct sealed_object **object);
// Frees the batches of a section that was answered.
void sealed_section_done(struct sealed_section *section);
