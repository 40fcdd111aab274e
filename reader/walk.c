#include "reader/walk.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum {
	FEED_WAIT_MS = 20,           // the frontend's hw feed and our index feed come from the same place at the same time
	INDEX_WAIT_MS = 500,         // then: serve what is known, or fail retriable
	UNREACHABLE_PAUSE_MS = 1000, // an owner that could not be asked is not waited for again sooner
	NEAR_END_MS = 60 * 1000,     // objects younger than this are read by those who keep up
	COMPLAIN_EVERY_MS = 10 * 1000,
	READ_AHEAD_BLOCKS_MAX = 64,
	CRC_FROM = 21, // the CRC covers the attributes and all behind them
	CRC_AT = 17,
};

void walk_init(struct walk *walk, struct walker *walker, struct task *task, const struct uuid *topic_id, int32_t partition,
	int64_t offset)
{
	*walk = (struct walk){.walker = walker,
		.partition = index_acquire(walker->index, topic_id, partition),
		.offset = offset,
		.known_high_watermark = -1,
		.known_log_start = -1,
		.since_us = walker->env->now_us};
	waiter_init(&walk->waiter, task);
}

static void walk_drop_blocks(struct walk *walk)
{
	for (size_t i = 0; i < walk->block_count; i++)
		cache_block_unref(&walk->blocks[i].block);
	walk->block_count = 0;
}

static void walk_leave_entry(struct walk *walk)
{
	walk_drop_blocks(walk);
	if (walk->in_entry)
		index_entry_done(&walk->entry);
	walk->in_entry = false;
}

void walk_done(struct walk *walk)
{
	if (!walk->partition)
		return;
	walk_leave_entry(walk);
	free(walk->blocks);
	waiter_leave(&walk->waiter);
	index_release(walk->partition);
	walk->partition = NULL;
}

static enum walk_result walk_fail(struct walk *walk, enum error error)
{
	walk->error = error;
	return WALK_FAILED;
}

// ---- where: the index

static enum walk_result walk_wait_for_index(struct walk *walk, uint64_t due_us)
{
	waiter_join(&walk->waiter, &walk->partition->waiters);
	task_wake_at(walk->waiter.task, due_us);
	return WALK_WAIT;
}

static uint64_t walk_index_deadline_us(const struct walk *walk)
{
	return walk->since_us + INDEX_WAIT_MS * 1000;
}

bool walk_index_time_is_up(const struct walk *walk)
{
	const struct env *env = walk->walker->env;
	uint64_t unreachable_us = walk->partition->unreachable_us;
	bool given_up = unreachable_us && env->now_us - unreachable_us < UNREACHABLE_PAUSE_MS * 1000ull;
	return given_up || env->now_us >= walk_index_deadline_us(walk);
}

static bool walk_behind(const struct walk *walk)
{
	const struct index_partition *partition = walk->partition;
	return partition->high_watermark < walk->known_high_watermark || partition->log_start < walk->known_log_start;
}

// The owner has answered a question that was asked after this walk began to need it.
static bool walk_owner_was_asked(const struct walk *walk)
{
	return walk->locate_number && walk->partition->locates_done >= walk->locate_number;
}

static enum walk_result walk_locate(struct walk *walk)
{
	struct index_partition *partition = walk->partition;
	if (walk_index_time_is_up(walk))
		return walk_fail(walk, ERROR_STORAGE);
	// A complete tail that is only behind is asked for its continuation, so that the answer can be joined to it.
	bool known = !walk->must_locate && partition->tail.valid && walk->offset >= partition->tail.start &&
		     walk->offset <= partition->tail.end;
	uint64_t number = index_locate(partition, known ? partition->tail.end : walk->offset);
	if (!walk->locate_number || walk_owner_was_asked(walk))
		walk->locate_number = number;
	return walk_wait_for_index(walk, walk_index_deadline_us(walk));
}

// The owner cannot be asked. Records that are known stay true, so they are served as long as no client sees its marks go back.
static enum walk_result walk_resolve_stale(struct walk *walk)
{
	struct index_partition *partition = walk->partition;
	if (!partition->located || walk->must_locate || walk_behind(walk) || walk->offset > partition->high_watermark)
		return walk_fail(walk, ERROR_STORAGE);
	walk->walker->counters.served_stale++;
	if (walk->offset == partition->high_watermark)
		return WALK_END;
	return index_find(partition, walk->offset) ? WALK_READY : walk_fail(walk, ERROR_STORAGE);
}

static enum walk_result walk_resolve_fresh(struct walk *walk)
{
	struct index_partition *partition = walk->partition;
	if (walk->offset == partition->high_watermark)
		return WALK_END;
	if (walk->offset < partition->high_watermark && !walk->must_locate && index_find(partition, walk->offset))
		return WALK_READY;
	if (walk->offset > partition->high_watermark && walk_owner_was_asked(walk))
		return walk_fail(walk, ERROR_OFFSET_OUT_OF_RANGE);
	return walk_locate(walk);
}

enum walk_result walk_resolve(struct walk *walk)
{
	struct index_partition *partition = walk->partition;
	waiter_leave(&walk->waiter);
	if (partition->failed != ERROR_OK && walk_owner_was_asked(walk))
		return walk_fail(walk, partition->failed);
	if (walk->must_locate && walk_owner_was_asked(walk))
		walk->must_locate = false;
	if (partition->located && walk->offset < partition->log_start)
		return walk_fail(walk, ERROR_OFFSET_OUT_OF_RANGE); // the log's start never goes back
	bool fresh = index_fresh(partition);
	if (fresh && !walk_behind(walk))
		return walk_resolve_fresh(walk);
	if (walk_index_time_is_up(walk))
		return walk_resolve_stale(walk);
	uint64_t feed_due_us = walk->since_us + FEED_WAIT_MS * 1000;
	if (fresh && walk->walker->env->now_us < feed_due_us) {
		walk->walker->counters.waits_for_feed++;
		return walk_wait_for_index(walk, feed_due_us);
	}
	if (fresh && walk_owner_was_asked(walk)) {
		// The owner knows less than the frontend does: an old owner, or a mark of another life. A little later, again.
		walk->locate_number = 0;
		return walk_wait_for_index(walk, deadline_in_ms(walk->walker->env, FEED_WAIT_MS));
	}
	return walk_locate(walk);
}

static enum walk_result walk_enter(struct walk *walk)
{
	struct index_partition *partition = walk->partition;
	if (!walk->resolved) {
		enum walk_result result = walk_resolve(walk);
		if (result != WALK_READY)
			return result;
		walk->resolved = true;
	}
	const struct index_entry *entry = index_find(partition, walk->offset);
	if (!entry) {
		if (walk->offset >= partition->high_watermark)
			return WALK_END;
		if (index_window_covers(&partition->tail, walk->offset) && partition->tail.end >= partition->high_watermark)
			return WALK_END; // the log's last offsets are a hole
		walk->resolved = false;
		walk->since_us = walk->walker->env->now_us;
		return walk_locate(walk);
	}
	walk->entry = index_entry_copy(entry);
	walk->in_entry = true;
	walk->position = entry->position;
	walk->next_base = entry->base_offset;
	if (index_cursor_get(partition, entry, walk->offset, &walk->position))
		walk->next_base = walk->offset;
	return WALK_READY;
}

// The object is gone or its bytes are wrong.
static enum walk_result walk_look_again(struct walk *walk, enum error error)
{
	struct walker *walker = walk->walker;
	struct index_partition *partition = walk->partition;
	struct object_name *object = walk->entry.object;
	if (error == ERROR_NOT_FOUND)
		walker->counters.missing++;
	else
		walker->counters.corrupt++;
	if (walk->looked_again || !object) {
		uint64_t now_us = walker->env->now_us;
		if (!partition->complained_us || now_us - partition->complained_us > COMPLAIN_EVERY_MS * 1000ull)
			log_event(LOG_ERROR, "object_unreadable", LOG_TEXT("key", object ? object->key : "inline"),
				LOG_NUMBER("partition", partition->key.partition), LOG_NUMBER("position", walk->position),
				LOG_NUMBER("offset", walk->offset), LOG_CAUSE(error));
		partition->complained_us = now_us;
		return walk_fail(walk, ERROR_NOT_FOUND);
	}
	walker->counters.second_looks++;
	uint64_t last = (walk->position + walk->batch.size) / object->block_bytes;
	for (uint64_t number = walk->position / object->block_bytes; number <= last; number++)
		cache_drop(walker->cache, object, number);
	walk_leave_entry(walk);
	index_forget(partition, walk->offset);
	walk->looked_again = walk->must_locate = true;
	walk->resolved = false;
	walk->locate_number = 0;
	walk->since_us = walker->env->now_us;
	return WALK_READY;
}

// ---- what: the blocks

static enum cache_lane walk_lane(const struct walk *walk, const struct index_entry *entry)
{
	const struct object_name *object = entry->object;
	bool young = object->mixed && cluster_client_wall_ms(walk->walker->cluster) - object->id.created_ms < NEAR_END_MS;
	return young ? CACHE_LANE_TAIL : CACHE_LANE_LAG;
}

static struct cache_block *walk_block(const struct walk *walk, uint64_t number)
{
	for (size_t i = 0; i < walk->block_count; i++)
		if (walk->blocks[i].number == number)
			return walk->blocks[i].block;
	return NULL;
}

static void walk_drop_blocks_before(struct walk *walk, uint64_t number)
{
	size_t kept = 0;
	for (size_t i = 0; i < walk->block_count; i++) {
		if (walk->blocks[i].number < number)
			cache_block_unref(&walk->blocks[i].block);
		else
			walk->blocks[kept++] = walk->blocks[i];
	}
	walk->block_count = kept;
}

static void walk_hold_block(struct walk *walk, uint64_t number, struct cache_block *block)
{
	if (walk->block_count == walk->block_capacity) {
		walk->block_capacity = walk->block_capacity ? walk->block_capacity * 2 : 4;
		walk->blocks = memory_realloc(walk->blocks, walk->block_capacity * sizeof *walk->blocks);
	}
	walk->blocks[walk->block_count++] = (struct walk_block){number, block};
}

// Holds the blocks of [position, position + len) of the entry's object. READY, or WAIT for the first that is missing while
// the others load too. ret_short: the object ends before.
static enum walk_result walk_hold(struct walk *walk, uint64_t len, bool *ret_short)
{
	*ret_short = false;
	if (walk->entry.inline_batch)
		return WALK_READY;
	struct object_name *object = walk->entry.object;
	uint64_t first = walk->position / object->block_bytes;
	uint64_t last = (walk->position + len - 1) / object->block_bytes;
	enum walk_result result = WALK_READY;
	walk_drop_blocks_before(walk, first);
	for (uint64_t number = first; number <= last; number++) {
		struct cache_block *block = walk_block(walk, number);
		if (!block) {
			enum error error = cache_get(walk->walker->cache, object, number, walk_lane(walk, &walk->entry),
				result == WALK_READY ? &walk->waiter : NULL, &block);
			if (error != ERROR_OK) {
				result = WALK_WAIT;
				continue;
			}
			walk_hold_block(walk, number, block);
		}
		uint64_t end = walk->position + len - number * object->block_bytes;
		if (end > object->block_bytes)
			end = object->block_bytes;
		*ret_short |= block->bytes.len < end;
	}
	return result;
}

// Calls fn for the pieces of [position + skip, + len) of the batch at hand, in order; the blocks are held.
typedef void (*piece_fn)(void *ctx, const struct slice *whole, size_t position, size_t len);
static void walk_each_piece(const struct walk *walk, uint64_t skip, uint64_t len, piece_fn fn, void *ctx)
{
	if (walk->entry.inline_batch) {
		fn(ctx, walk->entry.inline_batch, (size_t)(walk->position + skip), (size_t)len);
		return;
	}
	uint64_t block_bytes = walk->entry.object->block_bytes;
	for (uint64_t at = walk->position + skip, end = at + len; at < end;) {
		const struct cache_block *block = walk_block(walk, at / block_bytes);
		uint64_t inside = at % block_bytes;
		uint64_t part = end - at < block_bytes - inside ? end - at : block_bytes - inside;
		CHECK(block && inside + part <= block->bytes.len);
		fn(ctx, &block->bytes, (size_t)inside, (size_t)part);
		at += part;
	}
}

static void piece_copy(void *ctx, const struct slice *whole, size_t position, size_t len)
{
	uint8_t **to = ctx;
	memcpy(*to, whole->data + position, len);
	*to += len;
}

static void piece_crc(void *ctx, const struct slice *whole, size_t position, size_t len)
{
	uint32_t *crc = ctx;
	*crc = crc32c(*crc, whole->data + position, len);
}

// Writes only what differs: a patched batch may be on its way in other replies, which carry the same bytes.
static void piece_patch(void *ctx, const struct slice *whole, size_t position, size_t len)
{
	const uint8_t **from = ctx;
	uint8_t *at = whole->block->data + (whole->data - whole->block->data) + position;
	if (memcmp(at, *from, len) != 0)
		memcpy(at, *from, len);
	*from += len;
}

static void piece_count(void *ctx, const struct slice *whole, size_t position, size_t len)
{
	(void)whole, (void)position, (void)len;
	++*(size_t *)ctx;
}

struct pieces {
	struct slice *slices;
	size_t count;
};

static void piece_hold(void *ctx, const struct slice *whole, size_t position, size_t len)
{
	struct pieces *pieces = ctx;
	pieces->slices[pieces->count++] = slice_part(*whole, position, len);
}

size_t walk_piece_count(const struct walk *walk)
{
	size_t count = 0;
	walk_each_piece(walk, 0, walk->batch.size, piece_count, &count);
	return count;
}

size_t walk_pieces(const struct walk *walk, struct slice *slices)
{
	struct pieces pieces = {slices, 0};
	walk_each_piece(walk, 0, walk->batch.size, piece_hold, &pieces);
	return pieces.count;
}

struct slice walk_batch_bytes(const struct walk *walk)
{
	if (walk_piece_count(walk) == 1) {
		struct slice slice;
		walk_pieces(walk, &slice);
		return slice;
	}
	struct block *block = block_new(walk->batch.size);
	uint8_t *to = block->data;
	walk_each_piece(walk, 0, walk->batch.size, piece_copy, &to);
	return slice_take(&block);
}

// ---- batches

static uint64_t walk_entry_left(const struct walk *walk)
{
	return walk->entry.position + walk->entry.length - walk->position;
}

// Parses the header at position: it must fit the entry and what the entry says of offsets.
static enum error walk_parse(struct walk *walk)
{
	uint8_t header[RECORD_BATCH_HEADER_BYTES];
	uint8_t *to = header;
	walk_each_piece(walk, 0, sizeof header, piece_copy, &to);
	// The parser wants to see the whole batch; only its header is at hand, so the length is checked here.
	uint64_t size = (uint64_t)get_u32(header + 8) + RECORD_BATCH_LENGTH_END;
	if (size < RECORD_BATCH_HEADER_BYTES || size > walk_entry_left(walk) || header[16] != 2)
		return ERROR_CORRUPT;
	walk->batch = (struct record_batch){
		.base_offset = walk->next_base,
		.size = (uint32_t)size,
		.leader_epoch = (int32_t)get_u32(header + 12),
		.attributes = get_u16(header + 21),
		.last_offset_delta = (int32_t)get_u32(header + 23),
		.base_timestamp = (int64_t)get_u64(header + 27),
		.max_timestamp = (int64_t)get_u64(header + 35),
		.producer_id = (int64_t)get_u64(header + 43),
		.producer_epoch = (int16_t)get_u16(header + 51),
		.base_sequence = (int32_t)get_u32(header + 53),
		.record_count = (int32_t)get_u32(header + 57),
	};
	int64_t last = walk->next_base + walk->batch.last_offset_delta;
	if (walk->batch.last_offset_delta < 0 || last > walk->entry.last_offset)
		return ERROR_CORRUPT;
	return size < walk_entry_left(walk) || last == walk->entry.last_offset ? ERROR_OK : ERROR_CORRUPT;
}

static enum error walk_verify(const struct walk *walk)
{
	struct cache_block *block = NULL;
	size_t inside = 0;
	if (!walk->entry.inline_batch) {
		uint64_t block_bytes = walk->entry.object->block_bytes;
		inside = (size_t)(walk->position % block_bytes);
		block = walk_block(walk, walk->position / block_bytes);
		if (inside + walk->batch.size > block_bytes)
			block = NULL; // straddles: the other part may be another load each time
	}
	if (block && cache_block_verified(block, inside))
		return ERROR_OK;
	uint8_t stored[4];
	uint8_t *to = stored;
	uint32_t crc = 0;
	walk_each_piece(walk, CRC_AT, sizeof stored, piece_copy, &to);
	walk_each_piece(walk, CRC_FROM, walk->batch.size - CRC_FROM, piece_crc, &crc);
	if (crc != get_u32(stored))
		return ERROR_CORRUPT;
	if (block)
		cache_block_set_verified(block, inside);
	return ERROR_OK;
}

static void walk_patch(const struct walk *walk)
{
	uint8_t patch[RECORD_BATCH_PATCH_BYTES];
	const uint8_t *from = patch;
	put_u64(patch, (uint64_t)walk->batch.base_offset);
	put_u32(patch + 8, walk->batch.size - RECORD_BATCH_LENGTH_END);
	put_u32(patch + 12, (uint32_t)cluster_client_leader_epoch(walk->walker->cluster));
	walk_each_piece(walk, 0, sizeof patch, piece_patch, &from);
}

static void walk_skip(struct walk *walk)
{
	walk->position += walk->batch.size;
	walk->next_base += walk->batch.last_offset_delta + 1;
}

// The header, then the rest, of the batch at position. READY also when the entry was given up to look again.
static enum walk_result walk_read(struct walk *walk, uint64_t size_max)
{
	bool is_short;
	walk->batch.size = 0;
	if (walk_entry_left(walk) < RECORD_BATCH_HEADER_BYTES)
		return walk_look_again(walk, ERROR_CORRUPT);
	if (walk_hold(walk, RECORD_BATCH_HEADER_BYTES, &is_short) == WALK_WAIT)
		return WALK_WAIT;
	if (is_short || walk_parse(walk) != ERROR_OK)
		return walk_look_again(walk, ERROR_CORRUPT);
	if (walk->next_base + walk->batch.last_offset_delta < walk->offset) {
		walk_skip(walk);
		return WALK_READY;
	}
	if (walk->batch.size > size_max)
		return WALK_TOO_BIG;
	if (walk_hold(walk, walk->batch.size, &is_short) == WALK_WAIT)
		return WALK_WAIT;
	if (is_short || walk_verify(walk) != ERROR_OK)
		return walk_look_again(walk, ERROR_CORRUPT);
	walk_patch(walk);
	return WALK_BATCH;
}

enum walk_result walk_next(struct walk *walk, uint64_t size_max)
{
	enum error waited = walk->waiter.error;
	waiter_leave(&walk->waiter);
	walk->waiter.error = ERROR_OK;
	if (waited != ERROR_OK && walk->in_entry) {
		if (waited != ERROR_NOT_FOUND && waited != ERROR_OFFSET_OUT_OF_RANGE)
			return walk_fail(walk, ERROR_STORAGE);
		if (walk_look_again(walk, waited) == WALK_FAILED)
			return WALK_FAILED;
	}
	for (;;) {
		enum walk_result result = walk->in_entry ? walk_read(walk, size_max) : walk_enter(walk);
		if (result != WALK_READY)
			return result;
		if (walk->in_entry && walk_entry_left(walk) == 0) {
			if (walk->offset <= walk->entry.last_offset)
				walk->offset = walk->entry.last_offset + 1;
			walk_leave_entry(walk);
		}
	}
}

void walk_take(struct walk *walk)
{
	walk_skip(walk);
	walk->offset = walk->next_base;
	if (walk_entry_left(walk) == 0)
		walk_leave_entry(walk);
}

void walk_remember(struct walk *walk)
{
	if (walk->in_entry && walk->next_base == walk->offset)
		index_cursor_put(walk->partition, &walk->entry, walk->offset, walk->position);
}

// Returns how many blocks were looked at.
static size_t walk_read_ahead_entry(
	struct walk *walk, const struct index_entry *entry, uint64_t position, uint64_t bytes, size_t blocks_max)
{
	struct object_name *object = entry->object;
	enum cache_lane lane = walk_lane(walk, entry);
	size_t blocks = 0;
	uint64_t last = (position + bytes - 1) / object->block_bytes;
	for (uint64_t number = position / object->block_bytes; number <= last && blocks < blocks_max; number++, blocks++) {
		struct cache_block *block = NULL;
		if (!cache_lane_free(walk->walker->cache, lane))
			return blocks_max;
		if (cache_get(walk->walker->cache, object, number, lane, NULL, &block) == ERROR_OK)
			cache_block_unref(&block);
	}
	return blocks;
}

void walk_read_ahead(struct walk *walk, uint64_t bytes_max)
{
	int64_t offset = walk->offset;
	size_t blocks = 0;
	while (bytes_max > 0 && blocks < READ_AHEAD_BLOCKS_MAX) {
		const struct index_entry *entry = index_find(walk->partition, offset);
		if (!entry)
			return;
		uint64_t position = entry->position;
		if (offset == walk->offset && walk->in_entry && walk->entry.object == entry->object)
			position = walk->position;
		else
			index_cursor_get(walk->partition, entry, offset, &position);
		uint64_t left = entry->position + entry->length - position;
		uint64_t bytes = left < bytes_max ? left : bytes_max;
		if (entry->object && bytes > 0)
			blocks += walk_read_ahead_entry(walk, entry, position, bytes, READ_AHEAD_BLOCKS_MAX - blocks);
		bytes_max -= bytes;
		offset = entry->last_offset + 1;
	}
}
