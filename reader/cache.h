#pragma once
// Blocks of objects in memory: object bytes cut at multiples of the object's block size, least recently used gives way at
// bytes_max. Each miss is loaded once, however many wait for it: from the memory of the writer that made the object while that
// writer lives (tail pipe), else from the store.
//
// GETs have two lanes: those near the log's end may use all gets_max places, those of lagging consumers three quarters, so that
// a replay cannot hold up consumers that keep up. A block's memory is our own and may be patched (record_batch_patch) as long
// as what is written is what every reply of this batch carries.

#include "common/base/env.h"
#include "common/base/hash_map.h"
#include "common/runtime/bus.h"
#include "common/storage/object_store.h"
#include "reader/object_name.h"
#include "reader/task.h"

enum cache_lane { CACHE_LANE_TAIL, CACHE_LANE_LAG, CACHE_LANE_COUNT };

struct cache_settings {
	uint64_t bytes_max;
	uint32_t gets_max;
	uint32_t get_timeout_ms;
};

struct cache_events {
	// Where the writer of an object can be asked; NULL if it is not alive.
	struct bus_link *(*writer_link)(void *ctx, const struct uuid *writer);
	void *ctx;
};

struct cache_gauge;
struct cache_load;
struct cache_writer;

struct cache_key {
	struct object_name *name;
	uint64_t number;
};

struct cache_block {
	struct cache_key key;
	uint32_t holds;     // the cache's and those of walks
	struct slice bytes; // empty while loading
	uint8_t *verified;  // a bit for each 32 bytes: the batch that begins there was checked; no two begin so close
	struct cache_load *load;
	bool cached;
	struct list waiters;
	struct list lru;
	UT_hash_handle hh;
};

struct cache_counters {
	uint64_t hits, misses;
	uint64_t tail_requests, tail_hits, tail_bytes;
	uint64_t store_gets, store_bytes, store_failures; // asked by us, whatever the backend makes of it
};

struct cache {
	struct env *env;
	struct bus *bus;
	struct object_store *store;
	struct cache_settings settings;
	struct cache_events events;
	struct cache_block *blocks; // by key
	struct list lru;            // of loaded blocks, oldest first
	uint64_t bytes;
	struct cache_gauge *gauge;
	struct list loads;
	struct list queues[CACHE_LANE_COUNT];
	uint32_t gets_active[CACHE_LANE_COUNT];
	struct cache_writer *writers; // what their tail rings have lost
	struct cache_counters counters;
};

void cache_init(struct cache *cache, struct env *env, struct bus *bus, struct object_store *store,
	const struct cache_settings *settings, const struct cache_events *events);
// All walks must have given their blocks back.
void cache_done(struct cache *cache);
// After the tasks of the turn have run: those woken by a load hold their block by then, so that a cache smaller than what is
// being read still lets everybody go on.
uint64_t cache_step(struct cache *cache);

// ERROR_OK: *ret_block is held for the caller (cache_block_unref). ERROR_BUSY: it is being loaded, and waiter (NULL: nobody,
// this is read-ahead) will be woken, with the error if loading failed.
MUST_CHECK enum error cache_get(struct cache *cache, struct object_name *name, uint64_t number, enum cache_lane lane,
	struct waiter *waiter, struct cache_block **ret_block);
void cache_block_unref(struct cache_block **block);
// The bytes were wrong: the next cache_get() loads them anew.
void cache_drop(struct cache *cache, struct object_name *name, uint64_t number);
// Everything goes: patched leader epochs are no longer right.
void cache_clear(struct cache *cache);
// Whether the lane has places to spare (for read-ahead).
bool cache_lane_free(const struct cache *cache, enum cache_lane lane);

// Memory for a reply that is not a view of a block; it counts as live like blocks do.
struct block *cache_memory_new(struct cache *cache, size_t len);
// Bytes of blocks and replies that exist, cached or still on their way to a frontend.
uint64_t cache_live_bytes(const struct cache *cache);

bool cache_block_verified(const struct cache_block *block, size_t position);
void cache_block_set_verified(struct cache_block *block, size_t position);
