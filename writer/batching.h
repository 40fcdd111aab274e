#pragma once
// The open object: batches of all partitions that the next flush takes along. It only gathers; when to flush is the writer's
// decision, and the writer's memory budget is its bound.

#include "writer/sealed_object.h"

struct open_run;

struct batching {
	struct open_run *runs; // by partition
	uint64_t bytes;        // of batches
	uint32_t batch_count;
	uint64_t since_us; // arrival of the oldest batch
};

void batching_init(struct batching *batching);
// Batches still in it are freed; they must have been answered.
void batching_done(struct batching *batching);
// Behind what the partition already has. Takes the batch.
void batching_add(struct batching *batching, const struct uuid *topic_id, int32_t partition, uint32_t shard,
	struct batch **batch, uint64_t now_us);
// Everything gathered becomes an object; the open one is then empty. Not when it is empty already.
struct sealed_object *batching_seal(struct batching *batching, const struct mixed_object_header *header, uint32_t shards);
// For every batch in it, in no particular order.
void batching_each(struct batching *batching, void (*fn)(void *ctx, struct batch *batch), void *ctx);
