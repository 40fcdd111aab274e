#pragma once
// Walks a partition's batches from an offset, whole batches only, each checked by its CRC once and patched with its offset:
// what fetches and lookups by time share. It asks the index where the bytes are, the cache for the blocks, and tells its task
// when to go on.
//
//	walk_resolve -> READY: walk_next -> BATCH: look at it, walk_take -> walk_next ... -> END
//	               WAIT: the task is woken, call again
//
// If the bytes are gone or wrong it looks at the index once more, since compaction may have moved them, before it fails.

#include "common/storage/record_batch.h"
#include "reader/cache.h"
#include "reader/index.h"

enum walk_result {
	WALK_READY,   // there is something at or after the offset
	WALK_BATCH,   // walk->batch, its bytes by walk_pieces()
	WALK_TOO_BIG, // the next batch is larger than size_max; walk->batch is its header
	WALK_END,     // the offset is the high watermark
	WALK_WAIT,
	WALK_FAILED, // walk->error
};

struct walk_counters {
	uint64_t waits_for_feed, second_looks, corrupt, missing, served_stale;
};

// What all walks of a reader share.
struct walker {
	struct env *env;
	struct cluster_client *cluster;
	struct index *index;
	struct cache *cache;
	struct walk_counters counters;
};

struct walk_block {
	uint64_t number;
	struct cache_block *block;
};

struct walk {
	struct walker *walker;
	struct index_partition *partition;
	struct waiter waiter;
	int64_t offset; // the next one wanted
	int64_t known_high_watermark, known_log_start;
	uint64_t since_us;      // when resolving began
	uint64_t locate_number; // of the Locate that was asked for us; 0: none yet
	bool must_locate;       // what the index knows has led nowhere
	bool looked_again;
	bool resolved;

	bool in_entry;
	struct index_entry entry;  // own holds
	uint64_t position;         // of the next batch
	int64_t next_base;         // its base offset
	struct walk_block *blocks; // of the entry's object, around position, held
	size_t block_count, block_capacity;

	struct record_batch batch;
	enum error error;
};

void walk_init(struct walk *walk, struct walker *walker, struct task *task, const struct uuid *topic_id, int32_t partition,
	int64_t offset);
void walk_done(struct walk *walk);

// Catches up with the known marks and finds out whether there is something at the offset.
enum walk_result walk_resolve(struct walk *walk);
// Waited as long as a reader may wait for the index: serve what is known or fail.
bool walk_index_time_is_up(const struct walk *walk);
enum walk_result walk_next(struct walk *walk, uint64_t size_max);
void walk_take(struct walk *walk);
// The bytes of the batch at hand as held slices; returns how many. *pieces has room for all that walk_piece_count() says.
size_t walk_piece_count(const struct walk *walk);
size_t walk_pieces(const struct walk *walk, struct slice *pieces);
// One view of the whole batch: a copy if it straddles blocks.
struct slice walk_batch_bytes(const struct walk *walk);
// Starts loading what the next bytes_max bytes need, unless the lane is busy.
void walk_read_ahead(struct walk *walk, uint64_t bytes_max);
// Lets the next reader go on from here without walking.
void walk_remember(struct walk *walk);
