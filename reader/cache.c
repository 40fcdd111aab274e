// Life of a block: cache_get() misses -> TAIL request to the object's writer if it lives and may still have it -> "gone", no
// answer, or no such writer -> a place in the lane -> GET -> loaded: waiters wake, it enters the LRU list.
//
// What fails: GET fails and a repeat may help -> twice more with full jitter -> waiters wake with the error and the block is
// forgotten. NOT_FOUND goes to the waiters at once: they know whether the index was old. The store cannot be told to forget a
// call, so a load outlives its cache until the answer came.

#include "reader/cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/tail.pb-c.h"

enum {
	TAIL_TIMEOUT_MS = 1000,
	ATTEMPTS_MAX = 3,
	BACKOFF_MS_MAX = 200, // doubled by each failure
	WRITERS_MAX = 1024,
	VERIFIED_GRAIN = 32, // a batch has at least 61 bytes
};

// Outlives the cache: replies on their way hold memory that counts down here, in ZeroMQ's thread.
struct cache_gauge {
	atomic_uint_least64_t bytes;
	atomic_uint holds;
};

struct cache_memory {
	struct block block;
	struct cache_gauge *gauge;
	uint8_t data[];
};

struct cache_load {
	struct list link;    // in cache->loads
	struct list queued;  // in its lane while it waits for a place
	struct cache *cache; // NULL: gone
	struct cache_block *block;
	enum cache_lane lane;
	uint64_t tail_call;
	bool getting;
	uint32_t failures;
	uint64_t again_us; // 0: not waiting to try again
};

// The tail ring of a writer drops objects in about the order of their sequence.
struct cache_writer {
	struct uuid instance;
	uint64_t gone; // up to this sequence nothing is left
	UT_hash_handle hh;
};

// ---- memory

static void cache_gauge_unref(struct cache_gauge *gauge)
{
	if (atomic_fetch_sub(&gauge->holds, 1) == 1)
		free(gauge);
}

static void cache_memory_free(struct block *block)
{
	struct cache_memory *memory = container_of(block, struct cache_memory, block);
	atomic_fetch_sub(&memory->gauge->bytes, block->len);
	cache_gauge_unref(memory->gauge);
	free(memory);
}

struct block *cache_memory_new(struct cache *cache, size_t len)
{
	struct cache_memory *memory = memory_alloc(sizeof *memory + len);
	atomic_init(&memory->block.refs, 1);
	memory->block.data = memory->data;
	memory->block.len = len;
	memory->block.free = cache_memory_free;
	memory->gauge = cache->gauge;
	atomic_fetch_add(&cache->gauge->holds, 1);
	atomic_fetch_add(&cache->gauge->bytes, len);
	return &memory->block;
}

uint64_t cache_live_bytes(const struct cache *cache)
{
	return atomic_load(&cache->gauge->bytes);
}

// ---- blocks

void cache_block_unref(struct cache_block **block)
{
	struct cache_block *held = *block;
	*block = NULL;
	if (!held || --held->holds > 0)
		return;
	CHECK(!held->cached && list_empty(&held->waiters));
	slice_done(&held->bytes);
	object_name_unref(&held->key.name);
	free(held->verified);
	free(held);
}

// Out of the map; those who hold it keep it.
static void cache_forget(struct cache *cache, struct cache_block *block)
{
	HASH_DEL(cache->blocks, block);
	list_remove(&block->lru);
	cache->bytes -= block->bytes.len;
	block->cached = false;
	cache_block_unref(&block);
}

static void cache_trim(struct cache *cache)
{
	while (cache->bytes > cache->settings.bytes_max && !list_empty(&cache->lru))
		cache_forget(cache, container_of(cache->lru.next, struct cache_block, lru));
}

static struct cache_block *cache_find(struct cache *cache, struct object_name *name, uint64_t number)
{
	struct cache_key key = {name, number};
	struct cache_block *block;
	HASH_FIND(hh, cache->blocks, &key, sizeof key, block);
	return block;
}

static struct cache_block *cache_add(struct cache *cache, struct object_name *name, uint64_t number)
{
	struct cache_block *block = memory_zalloc(sizeof *block);
	block->key = (struct cache_key){object_name_ref(name), number};
	block->holds = 1;
	block->cached = true;
	list_init(&block->waiters);
	list_init(&block->lru);
	HASH_ADD(hh, cache->blocks, key, sizeof block->key, block);
	return block;
}

bool cache_block_verified(const struct cache_block *block, size_t position)
{
	size_t bit = position / VERIFIED_GRAIN;
	return block->verified[bit / 8] & (1u << bit % 8);
}

void cache_block_set_verified(struct cache_block *block, size_t position)
{
	size_t bit = position / VERIFIED_GRAIN;
	block->verified[bit / 8] |= (uint8_t)(1u << bit % 8);
}

// ---- loads

static void cache_load_free(struct cache_load *load)
{
	list_remove(&load->link);
	list_remove(&load->queued);
	free(load);
}

// block's memory is taken.
static void cache_loaded(struct cache_load *load, struct block **memory)
{
	struct cache *cache = load->cache;
	struct cache_block *block = load->block;
	cache_load_free(load);
	block->load = NULL;
	block->bytes = slice_take(memory);
	block->verified = memory_zalloc(block->bytes.len / VERIFIED_GRAIN / 8 + 1);
	cache->bytes += block->bytes.len;
	list_append(&cache->lru, &block->lru);
	waiters_wake(&block->waiters, ERROR_OK); // trimmed in cache_step(), once they have had their turn
}

static void cache_load_failed(struct cache_load *load, enum error error)
{
	struct cache *cache = load->cache;
	struct cache_block *block = load->block;
	cache_load_free(load);
	block->load = NULL;
	waiters_wake(&block->waiters, error);
	cache_forget(cache, block);
}

static uint64_t cache_load_position(const struct cache_load *load)
{
	return load->block->key.number * load->block->key.name->block_bytes;
}

static void cache_on_get(void *ctx, enum error error, struct slice bytes)
{
	struct cache_load *load = ctx;
	struct cache *cache = load->cache;
	load->getting = false;
	if (!cache) {
		free(load);
		return;
	}
	cache->gets_active[load->lane]--;
	if (error == ERROR_OK) {
		// Copied: the backend may share its memory with others, and ours gets patched.
		struct block *memory = cache_memory_new(cache, bytes.len);
		if (bytes.len)
			memcpy(memory->data, bytes.data, bytes.len);
		cache->counters.store_bytes += bytes.len;
		cache_loaded(load, &memory);
		return;
	}
	cache->counters.store_failures++;
	if (!error_retryable(error) || ++load->failures >= ATTEMPTS_MAX) {
		cache_load_failed(load, error);
		return;
	}
	uint64_t ceiling_us = ((uint64_t)BACKOFF_MS_MAX << load->failures) * 1000;
	load->again_us = cache->env->now_us + 1 + prng_below(&cache->env->prng, ceiling_us);
}

bool cache_lane_free(const struct cache *cache, enum cache_lane lane)
{
	uint32_t lagging = cache->gets_active[CACHE_LANE_LAG];
	uint32_t places = cache->settings.gets_max;
	if (lane == CACHE_LANE_LAG && lagging >= (places * 3 + 3) / 4)
		return false;
	return lagging + cache->gets_active[CACHE_LANE_TAIL] < places && list_empty(&cache->queues[lane]);
}

static void cache_load_ask_store(struct cache_load *load)
{
	struct cache *cache = load->cache;
	const struct object_name *name = load->block->key.name;
	load->getting = true;
	cache->gets_active[load->lane]++;
	cache->counters.store_gets++;
	object_get(cache->store, name->key, cache_load_position(load), name->block_bytes, cache->settings.get_timeout_ms,
		cache_on_get, load);
}

// A place in the lane, now or in order.
static void cache_load_from_store(struct cache_load *load)
{
	if (cache_lane_free(load->cache, load->lane))
		cache_load_ask_store(load);
	else
		list_append(&load->cache->queues[load->lane], &load->queued);
}

static void cache_writer_free(struct cache *cache, struct cache_writer *writer)
{
	HASH_DEL(cache->writers, writer);
	free(writer);
}

static struct cache_writer *cache_writer(struct cache *cache, const struct uuid *instance)
{
	struct cache_writer *writer;
	HASH_FIND(hh, cache->writers, instance, sizeof *instance, writer);
	if (writer)
		return writer;
	if (HASH_COUNT(cache->writers) >= WRITERS_MAX)
		cache_writer_free(cache, cache->writers); // the one met first; most likely it is no more
	writer = memory_zalloc(sizeof *writer);
	writer->instance = *instance;
	HASH_ADD(hh, cache->writers, instance, sizeof writer->instance, writer);
	return writer;
}

// The frames as one block; NULL if they cannot be what was asked for.
static struct block *cache_join_frames(struct cache_load *load, const struct bus_message *message, const Weir__TailReply *reply)
{
	uint64_t position = cache_load_position(load);
	uint64_t len = 0;
	for (size_t i = 0; i < message->frame_count; i++)
		len += message->frames[i].len;
	uint64_t expected = reply->object_bytes > position ? reply->object_bytes - position : 0;
	if (expected > load->block->key.name->block_bytes)
		expected = load->block->key.name->block_bytes;
	if (len == 0 || len != expected)
		return NULL;
	struct block *memory = cache_memory_new(load->cache, len);
	size_t filled = 0;
	for (size_t i = 0; i < message->frame_count; i++) {
		if (message->frames[i].len)
			memcpy(memory->data + filled, message->frames[i].data, message->frames[i].len);
		filled += message->frames[i].len;
	}
	return memory;
}

static void cache_on_tail(void *ctx, enum error error, const struct bus_message *message)
{
	struct cache_load *load = ctx;
	struct cache *cache = load->cache;
	struct block *memory = NULL;
	load->tail_call = 0;
	if (error == ERROR_OK) {
		struct arena arena;
		arena_init(&arena, 0);
		const Weir__TailReply *reply = protobuf_unpack(&weir__tail_reply__descriptor, message->body, &arena);
		const struct mixed_object_id *id = &load->block->key.name->id;
		if (reply && reply->error == ERROR_OK)
			memory = cache_join_frames(load, message, reply);
		else if (reply && reply->error == ERROR_NOT_FOUND && cache_writer(cache, &id->writer)->gone < id->sequence)
			cache_writer(cache, &id->writer)->gone = id->sequence;
		arena_done(&arena);
	}
	if (!memory) {
		cache_load_from_store(load);
		return;
	}
	cache->counters.tail_hits++;
	cache->counters.tail_bytes += memory->len;
	cache_loaded(load, &memory);
}

static void cache_load_from_writer(struct cache_load *load, struct bus_link *link)
{
	struct cache *cache = load->cache;
	const struct object_name *name = load->block->key.name;
	Weir__TailRequest request = WEIR__TAIL_REQUEST__INIT;
	request.writer = protobuf_uuid(&name->id.writer);
	request.sequence = name->id.sequence;
	request.position = cache_load_position(load);
	request.length = name->block_bytes;
	cache->counters.tail_requests++;
	load->tail_call = bus_call(cache->bus, link,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__TAIL, .body = &request.base, .timeout_ms = TAIL_TIMEOUT_MS},
		cache_on_tail, load);
}

static struct bus_link *cache_writer_link(struct cache *cache, const struct object_name *name)
{
	if (!name->mixed)
		return NULL;
	struct cache_writer *writer;
	HASH_FIND(hh, cache->writers, &name->id.writer, sizeof name->id.writer, writer);
	if (writer && name->id.sequence <= writer->gone)
		return NULL;
	return cache->events.writer_link(cache->events.ctx, &name->id.writer);
}

static void cache_load_start(struct cache *cache, struct cache_block *block, enum cache_lane lane)
{
	struct cache_load *load = memory_zalloc(sizeof *load);
	load->cache = cache;
	load->block = block;
	load->lane = lane;
	list_init(&load->queued);
	list_append(&cache->loads, &load->link);
	block->load = load;
	struct bus_link *link = cache_writer_link(cache, block->key.name);
	if (link)
		cache_load_from_writer(load, link);
	else
		cache_load_from_store(load);
}

// Somebody near the end of the log wants what a lagging one has queued: it goes by the faster lane.
static void cache_load_hurry(struct cache_load *load, enum cache_lane lane)
{
	if (lane != CACHE_LANE_TAIL || load->lane == CACHE_LANE_TAIL || load->getting)
		return;
	load->lane = CACHE_LANE_TAIL;
	if (!list_empty(&load->queued)) {
		list_remove(&load->queued);
		cache_load_from_store(load);
	}
}

enum error cache_get(struct cache *cache, struct object_name *name, uint64_t number, enum cache_lane lane,
	struct waiter *waiter, struct cache_block **ret_block)
{
	struct cache_block *block = cache_find(cache, name, number);
	if (block && !block->load) {
		list_remove(&block->lru);
		list_append(&cache->lru, &block->lru);
		cache->counters.hits++;
		block->holds++;
		*ret_block = block;
		return ERROR_OK;
	}
	if (!block) {
		cache->counters.misses++;
		block = cache_add(cache, name, number);
		cache_load_start(cache, block, lane);
	}
	cache_load_hurry(block->load, lane);
	if (waiter)
		waiter_join(waiter, &block->waiters);
	return ERROR_BUSY;
}

void cache_drop(struct cache *cache, struct object_name *name, uint64_t number)
{
	struct cache_block *block = cache_find(cache, name, number);
	if (block && !block->load)
		cache_forget(cache, block);
}

void cache_clear(struct cache *cache)
{
	while (!list_empty(&cache->lru))
		cache_forget(cache, container_of(cache->lru.next, struct cache_block, lru));
}

// ---- life

void cache_init(struct cache *cache, struct env *env, struct bus *bus, struct object_store *store,
	const struct cache_settings *settings, const struct cache_events *events)
{
	*cache = (struct cache){.env = env, .bus = bus, .store = store, .settings = *settings, .events = *events};
	cache->gauge = memory_zalloc(sizeof *cache->gauge);
	atomic_init(&cache->gauge->holds, 1);
	list_init(&cache->lru);
	list_init(&cache->loads);
	for (int lane = 0; lane < CACHE_LANE_COUNT; lane++)
		list_init(&cache->queues[lane]);
}

static void cache_abandon(struct cache_load *load)
{
	struct cache *cache = load->cache;
	struct cache_block *block = load->block;
	if (load->tail_call)
		bus_cancel(cache->bus, load->tail_call);
	list_remove(&load->link);
	list_remove(&load->queued);
	load->cache = NULL;
	load->block = NULL;
	if (!load->getting)
		free(load);
	block->load = NULL;
	waiters_wake(&block->waiters, ERROR_CANCELED);
	cache_forget(cache, block);
}

void cache_done(struct cache *cache)
{
	while (!list_empty(&cache->loads))
		cache_abandon(container_of(cache->loads.next, struct cache_load, link));
	cache_clear(cache);
	CHECK(cache->blocks == NULL);
	while (cache->writers)
		cache_writer_free(cache, cache->writers);
	cache_gauge_unref(cache->gauge);
}

static void cache_drain_queue(struct cache *cache, enum cache_lane lane)
{
	struct list *queue = &cache->queues[lane];
	uint32_t lag_places = (cache->settings.gets_max * 3 + 3) / 4;
	while (!list_empty(queue)) {
		uint32_t active = cache->gets_active[CACHE_LANE_TAIL] + cache->gets_active[CACHE_LANE_LAG];
		if (active >= cache->settings.gets_max)
			return;
		if (lane == CACHE_LANE_LAG && cache->gets_active[CACHE_LANE_LAG] >= lag_places)
			return;
		cache_load_ask_store(container_of(list_pop(queue), struct cache_load, queued));
	}
}

uint64_t cache_step(struct cache *cache)
{
	uint64_t next_us = DEADLINE_NEVER;
	LIST_EACH (&cache->loads, link) {
		struct cache_load *load = container_of(link, struct cache_load, link);
		if (load->again_us && load->again_us <= cache->env->now_us) {
			load->again_us = 0;
			cache_load_from_store(load);
		} else if (load->again_us) {
			next_us = deadline_min(next_us, load->again_us);
		}
	}
	cache_drain_queue(cache, CACHE_LANE_TAIL);
	cache_drain_queue(cache, CACHE_LANE_LAG);
	cache_trim(cache);
	return next_us;
}
