// Happy path: acquire -> Locate -> the answer becomes the tail window -> each feed message appends what its section brought ->
// the watermark follows.
//
// What fails: the feed has a gap or another owner speaks: the shard's generation grows, so all its partitions are asked for
// again before they are served. The feed overtakes a Locate's answer: what it brings meanwhile is kept in `arrived` and joined
// behind the answer. Joining goes by offsets, which are dense and given once: an entry that is known is skipped, one that does
// not follow shows a hole and ends the tail window.

#include "reader/index.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "common/storage/object_store.h"
#include "proto/bus.pb-c.h"
#include "proto/feed.pb-c.h"

enum {
	LOCATE_TIMEOUT_MS = 2000,
	REPLY_ARENA_BYTES = 64 << 20,
	FEED_ARENA_BYTES = 256 << 20,
};

// ---- windows of a partition

static void partition_append(struct index_partition *partition, struct index_window *window, struct index_entry *entry)
{
	index_window_append(window, entry);
	partition->index->entries++;
	if (window->count > partition->index->settings.entries_max) {
		index_window_drop_oldest(window);
		partition->index->entries--;
	}
}

static void partition_clear(struct index_partition *partition, struct index_window *window)
{
	partition->index->entries -= window->count;
	index_window_clear(window);
}

static void partition_clear_all(struct index_partition *partition)
{
	partition_clear(partition, &partition->tail);
	partition_clear(partition, &partition->arrived);
	for (int i = 0; i < INDEX_LAG_WINDOWS; i++)
		partition_clear(partition, &partition->lag[i]);
	memset(partition->cursors, 0, sizeof partition->cursors);
}

static struct index_window *partition_oldest_lag(struct index_partition *partition)
{
	struct index_window *oldest = &partition->lag[0];
	for (int i = 0; i < INDEX_LAG_WINDOWS; i++) {
		if (!partition->lag[i].valid)
			return &partition->lag[i];
		if (partition->lag[i].used_us < oldest->used_us)
			oldest = &partition->lag[i];
	}
	return oldest;
}

static void partition_move(struct index_partition *partition, struct index_window *to, struct index_window *from)
{
	partition_clear(partition, to);
	*to = *from;
	to->used_us = partition->index->env->now_us;
	*from = (struct index_window){0};
}

// Joins later to window; what the two had in common is counted once.
static bool partition_extend(struct index_partition *partition, struct index_window *window, struct index_window *later)
{
	uint64_t before = window->count + later->count;
	if (!index_window_extend(window, later))
		return false;
	partition->index->entries -= before - window->count;
	while (window->count > partition->index->settings.entries_max) {
		index_window_drop_oldest(window);
		partition->index->entries--;
	}
	return true;
}

// An entry the feed brought.
static void partition_arrive(struct index_partition *partition, struct index_entry *entry)
{
	struct index_window *window = partition->tail.valid ? &partition->tail : &partition->arrived;
	if (entry->last_offset >= partition->high_watermark)
		partition->high_watermark = entry->last_offset + 1;
	bool wanted = partition->tail.valid || partition->call;
	if (wanted && window->valid && entry->last_offset < window->end) {
		wanted = false; // known
	} else if (wanted && window->valid && entry->base_offset != window->end) {
		// A hole: what is missing will be located. Lagging consumers may still want what is known.
		partition_move(partition, partition_oldest_lag(partition), window);
		wanted = false;
	} else if (wanted && !window->valid) {
		index_window_begin(window, entry->base_offset, entry->base_offset);
	}
	if (wanted)
		partition_append(partition, window, entry);
	else
		index_entry_done(entry);
}

const struct index_entry *index_find(struct index_partition *partition, int64_t offset)
{
	if (index_window_covers(&partition->tail, offset))
		return index_window_find(&partition->tail, offset);
	for (int i = 0; i < INDEX_LAG_WINDOWS; i++) {
		if (!index_window_covers(&partition->lag[i], offset))
			continue;
		partition->lag[i].used_us = partition->index->env->now_us;
		return index_window_find(&partition->lag[i], offset);
	}
	return NULL;
}

void index_forget(struct index_partition *partition, int64_t offset)
{
	if (index_window_covers(&partition->tail, offset))
		partition_clear(partition, &partition->tail);
	for (int i = 0; i < INDEX_LAG_WINDOWS; i++)
		if (index_window_covers(&partition->lag[i], offset))
			partition_clear(partition, &partition->lag[i]);
	memset(partition->cursors, 0, sizeof partition->cursors);
}

// ---- cursors

void index_cursor_put(struct index_partition *partition, const struct index_entry *entry, int64_t offset, uint64_t position)
{
	partition->cursors[partition->next_cursor++ % INDEX_CURSORS] =
		(struct index_cursor){offset, entry->object, entry->position, position};
}

bool index_cursor_get(
	const struct index_partition *partition, const struct index_entry *entry, int64_t offset, uint64_t *ret_position)
{
	for (int i = 0; i < INDEX_CURSORS; i++) {
		const struct index_cursor *cursor = &partition->cursors[i];
		if (cursor->object == entry->object && cursor->object && cursor->offset == offset &&
			cursor->entry_position == entry->position) {
			*ret_position = cursor->position;
			return true;
		}
	}
	return false;
}

// ---- partitions

static void partition_free(struct index_partition *partition)
{
	struct index *index = partition->index;
	if (partition->call)
		cluster_client_cancel(index->cluster, partition->call);
	partition_clear_all(partition);
	list_remove(&partition->lru);
	HASH_DEL(index->partitions, partition);
	free(partition);
}

static void index_trim(struct index *index)
{
	LIST_EACH (&index->lru, link) {
		if (index->entries + HASH_COUNT(index->partitions) <= index->settings.total_max)
			return;
		struct index_partition *partition = container_of(link, struct index_partition, lru);
		if (partition->users || partition->call)
			continue;
		index->counters.evicted_partitions++;
		partition_free(partition);
	}
}

struct index_partition *index_acquire(struct index *index, const struct uuid *topic_id, int32_t partition)
{
	struct index_partition_key key;
	memset(&key, 0, sizeof key);
	key.topic_id = *topic_id;
	key.partition = partition;
	struct index_partition *found;
	HASH_FIND(hh, index->partitions, &key, sizeof key, found);
	if (!found) {
		index_trim(index);
		found = memory_zalloc(sizeof *found);
		found->index = index;
		found->key = key;
		found->shard = placement_partition_shard(topic_id, partition, index->shard_count);
		found->high_watermark = found->log_start = -1;
		list_init(&found->waiters);
		list_init(&found->lru);
		HASH_ADD(hh, index->partitions, key, sizeof found->key, found);
	}
	list_remove(&found->lru);
	list_append(&index->lru, &found->lru);
	found->users++;
	return found;
}

void index_release(struct index_partition *partition)
{
	CHECK(partition->users > 0);
	partition->users--;
}

bool index_fresh(const struct index_partition *partition)
{
	const struct index *index = partition->index;
	const struct index_shard *shard = &index->shards[partition->shard];
	if (!partition->located || partition->generation != shard->generation)
		return false;
	if (!feed_cursor_silent(&shard->feed, index->env))
		return true;
	return index->env->now_us - partition->located_us < FEED_SILENCE_MS * 1000ull;
}

// ---- Locate

static enum error entry_object(
	struct index *index, const Weir__LocateReply *reply, const Weir__IndexEntry *message, struct index_entry *entry)
{
	if (message->segment && message->segment[0]) {
		if (!object_key_valid(message->segment))
			return ERROR_MALFORMED;
		entry->object = object_names_segment(index->names, message->segment);
		return ERROR_OK;
	}
	struct mixed_object_id id;
	if (message->object >= reply->n_objects || !protobuf_get_uuid(reply->objects[message->object]->writer, &id.writer))
		return ERROR_MALFORMED;
	id.sequence = reply->objects[message->object]->sequence;
	id.created_ms = reply->objects[message->object]->created_ms;
	entry->object = object_names_mixed(index->names, &id);
	return ERROR_OK;
}

static enum error entry_read(
	struct index *index, const Weir__LocateReply *reply, const Weir__IndexEntry *message, struct index_entry *ret_entry)
{
	struct index_entry entry = {.base_offset = message->base_offset,
		.last_offset = message->last_offset,
		.max_timestamp = message->max_timestamp,
		.position = message->position,
		.length = message->length};
	if (entry.last_offset < entry.base_offset || entry.base_offset < 0)
		return ERROR_MALFORMED;
	if (message->inline_batch.len > 0) {
		entry.inline_batch = memory_alloc(sizeof *entry.inline_batch);
		*entry.inline_batch = slice_copy(protobuf_view(message->inline_batch));
		entry.position = 0;
		entry.length = message->inline_batch.len;
	} else {
		enum error error = entry_object(index, reply, message, &entry);
		if (error != ERROR_OK)
			return error;
	}
	*ret_entry = entry;
	return ERROR_OK;
}

// The reply's entries as a window of their own.
static enum error window_read(struct index_partition *partition, const Weir__LocateReply *reply, int64_t wanted, bool more,
	struct index_window *window)
{
	int64_t start = reply->n_entries ? reply->entries[0]->base_offset : reply->high_watermark;
	if (wanted >= 0 && wanted < start)
		start = wanted;
	index_window_begin(window, start, start);
	for (size_t i = 0; i < reply->n_entries; i++) {
		struct index_entry entry;
		enum error error = entry_read(partition->index, reply, reply->entries[i], &entry);
		if (error == ERROR_OK && window->count && entry.base_offset < window->end) {
			index_entry_done(&entry);
			error = ERROR_MALFORMED;
		}
		if (error != ERROR_OK) {
			index_window_clear(window);
			return error;
		}
		index_window_append(window, &entry);
	}
	if (!more)
		window->end = reply->high_watermark > window->end ? reply->high_watermark : window->end;
	return ERROR_OK;
}

// Whether the answer tells of everything that has happened on this shard as far as the feed told us.
static bool reply_is_complete(struct index_partition *partition, const Weir__LocateReply *reply, bool by_call)
{
	struct index *index = partition->index;
	struct index_shard *shard = &index->shards[partition->shard];
	if (reply->epoch < shard->feed.epoch)
		return false;
	if (reply->epoch > shard->feed.epoch || !shard->feed.synced) {
		shard->generation++; // another owner: what we know of its other partitions may be behind
		feed_cursor_synced(&shard->feed, index->env, reply->epoch, reply->number);
		return true;
	}
	return reply->number >= shard->feed.number || (by_call && partition->call_generation == shard->generation);
}

// The window goes where it fits best; what arrived by feed meanwhile follows it.
static void partition_place(struct index_partition *partition, struct index_window *window, bool more)
{
	partition->index->entries += window->count;
	if (!more && partition_extend(partition, &partition->tail, window))
		return;
	if (more || (partition->tail.valid && window->end < partition->tail.end)) {
		partition_move(partition, partition_oldest_lag(partition), window);
		return;
	}
	partition_move(partition, &partition->tail, window);
}

static void partition_adopt_marks(struct index_partition *partition, const Weir__LocateReply *reply)
{
	if (reply->high_watermark > partition->high_watermark)
		partition->high_watermark = reply->high_watermark;
	if (reply->log_start > partition->log_start)
		partition->log_start = reply->log_start;
	partition->located = true;
	partition->located_us = partition->index->env->now_us;
}

static enum error index_adopt_reply(
	struct index_partition *partition, const Weir__LocateReply *reply, int64_t wanted, bool by_call)
{
	struct index_window window = {0};
	bool more = reply->more || !by_call; // a lookup by time promises nothing about what follows its entry
	enum error error = error_from_wire(reply->error);
	if (error != ERROR_OK && error != ERROR_OFFSET_OUT_OF_RANGE)
		return error;
	bool complete = reply_is_complete(partition, reply, by_call);
	partition_adopt_marks(partition, reply);
	if (error == ERROR_OK && (reply->n_entries || !more)) {
		error = window_read(partition, reply, wanted, more, &window);
		if (error != ERROR_OK)
			return error;
		partition_place(partition, &window, more);
	}
	if (complete)
		partition->generation = partition->index->shards[partition->shard].generation;
	return ERROR_OK;
}

enum error index_adopt(struct index_partition *partition, const Weir__LocateReply *reply, int64_t wanted)
{
	return index_adopt_reply(partition, reply, wanted, false);
}

// Final errors are told to those who wait; anything else is asked again by whoever still waits.
static void partition_locate_failed(struct index_partition *partition, enum error error)
{
	partition->index->counters.locate_failures++;
	if (error == ERROR_UNKNOWN_TOPIC || error == ERROR_UNKNOWN_TOPIC_ID) {
		partition->failed = error;
		partition->locates_done = partition->locates_started;
	} else {
		partition->unreachable_us = partition->index->env->now_us;
	}
}

static void partition_on_locate(void *ctx, enum error error, const struct bus_message *message)
{
	struct index_partition *partition = ctx;
	struct arena arena;
	arena_init(&arena, REPLY_ARENA_BYTES);
	partition->call = 0;
	if (error == ERROR_OK) {
		const Weir__LocateReply *reply = protobuf_unpack(&weir__locate_reply__descriptor, message->body, &arena);
		error = reply ? index_adopt_reply(partition, reply, partition->call_offset, true) : ERROR_MALFORMED;
	}
	if (error == ERROR_OK) {
		partition->failed = ERROR_OK;
		partition->unreachable_us = 0;
		partition->locates_done = partition->locates_started;
		if (partition->arrived.valid && partition->tail.valid)
			partition_extend(partition, &partition->tail, &partition->arrived);
	} else {
		partition_locate_failed(partition, error);
	}
	partition_clear(partition, &partition->arrived);
	arena_done(&arena);
	waiters_wake(&partition->waiters, ERROR_OK);
	index_trim(partition->index);
}

uint64_t index_locate(struct index_partition *partition, int64_t offset)
{
	struct index *index = partition->index;
	if (partition->call)
		return partition->locates_started + 1;
	Weir__LocateRequest request = WEIR__LOCATE_REQUEST__INIT;
	request.topic_id = protobuf_uuid(&partition->key.topic_id);
	request.partition = partition->key.partition;
	request.offset = offset;
	request.entries_max = index->settings.locate_entries;
	index->counters.locates++;
	partition->call_offset = offset;
	partition->call_generation = index->shards[partition->shard].generation;
	partition->call = cluster_client_call(index->cluster, partition->shard,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__LOCATE, .body = &request.base, .timeout_ms = LOCATE_TIMEOUT_MS},
		true, partition_on_locate, partition);
	return ++partition->locates_started;
}

// ---- feed

// The accepted batches [first, end) of a run lie back to back: one entry. *offset is that of the first.
static void run_piece_arrive(struct index_partition *partition, struct object_name *object, const struct section_run *run,
	uint32_t first, uint32_t end, uint64_t position, int64_t *offset)
{
	struct index_entry entry = {.base_offset = *offset, .position = position, .max_timestamp = INT64_MIN};
	if (first == end)
		return;
	for (uint32_t i = first; i < end; i++) {
		const struct section_batch *batch = &run->batches[i];
		entry.length += batch->size;
		*offset += batch->record_count;
		if (batch->max_timestamp > entry.max_timestamp)
			entry.max_timestamp = batch->max_timestamp;
	}
	entry.last_offset = *offset - 1;
	entry.object = object_name_ref(object);
	partition_arrive(partition, &entry);
}

// Cuts a run at its refused and duplicate batches.
static void run_arrive(struct index_partition *partition, struct object_name *object, const struct section_run *run,
	const Weir__RunOutcome *outcome)
{
	int64_t offset = outcome->base_offset;
	uint64_t position = run->position, piece_position = run->position;
	uint32_t piece = 0;
	size_t next_exception = 0;
	for (uint32_t i = 0; i < run->batch_count; i++) {
		bool hole = next_exception < outcome->n_exceptions && outcome->exceptions[next_exception]->batch == i;
		if (hole) {
			run_piece_arrive(partition, object, run, piece, i, piece_position, &offset);
			next_exception++;
			piece = i + 1;
			piece_position = position + run->batches[i].size;
		}
		position += run->batches[i].size;
	}
	run_piece_arrive(partition, object, run, piece, run->batch_count, piece_position, &offset);
	if (outcome->log_start > partition->log_start)
		partition->log_start = outcome->log_start;
}

static struct index_partition *index_held(struct index *index, const struct section_run *run)
{
	struct index_partition_key key;
	memset(&key, 0, sizeof key);
	key.topic_id = run->topic_id;
	key.partition = run->partition;
	struct index_partition *partition;
	HASH_FIND(hh, index->partitions, &key, sizeof key, partition);
	return partition;
}

static enum error index_apply(struct index *index, const Weir__IndexUpdate *update, struct arena *arena)
{
	struct section section;
	struct mixed_object_id id;
	if (!update->object || !update->outcome || !protobuf_get_uuid(update->object->writer, &id.writer))
		return ERROR_MALFORMED;
	enum error error = section_decode(protobuf_view(update->section), arena, &section);
	if (error != ERROR_OK)
		return error;
	if (section.run_count != update->outcome->n_runs)
		return ERROR_MALFORMED;
	id.sequence = update->object->sequence;
	id.created_ms = update->object->created_ms;
	struct object_name *object = object_names_mixed(index->names, &id);
	for (uint32_t i = 0; i < section.run_count; i++) {
		struct index_partition *partition = index_held(index, &section.runs[i]);
		if (!partition || update->outcome->runs[i]->error != ERROR_OK)
			continue;
		run_arrive(partition, object, &section.runs[i], update->outcome->runs[i]);
		waiters_wake(&partition->waiters, ERROR_OK);
	}
	object_name_unref(&object);
	return ERROR_OK;
}

static void index_lost(struct index *index, struct index_shard *shard, const Weir__IndexFeed *feed)
{
	shard->generation++;
	index->counters.feed_gaps += shard->feed.epoch != 0; // the first message of all is none
	feed_cursor_synced(&shard->feed, index->env, feed->epoch, feed->number);
}

static void index_apply_all(struct index *index, struct index_shard *shard, const Weir__IndexFeed *feed, struct arena *arena)
{
	for (size_t i = 0; i < feed->n_updates; i++) {
		enum error error = index_apply(index, feed->updates[i], arena);
		if (error == ERROR_OK)
			continue;
		log_event(LOG_ERROR, "index_feed_unreadable", LOG_NUMBER("shard", feed->shard), LOG_CAUSE(error));
		index_lost(index, shard, feed);
		return;
	}
}

void index_on_feed(struct index *index, struct bytes body)
{
	struct arena arena;
	arena_init(&arena, FEED_ARENA_BYTES);
	const Weir__IndexFeed *feed = protobuf_unpack(&weir__index_feed__descriptor, body, &arena);
	if (feed && feed->shard < index->shard_count) {
		struct index_shard *shard = &index->shards[feed->shard];
		index->counters.feed_messages++;
		switch (feed_cursor_accept(&shard->feed, index->env, feed->epoch, feed->number, feed->n_updates > 0)) {
		case FEED_APPLY:
			index_apply_all(index, shard, feed, &arena);
			break;
		case FEED_GAP:
			index_lost(index, shard, feed);
			break;
		case FEED_SKIP:
			break;
		}
	}
	arena_done(&arena);
	index_trim(index);
}

// ---- life

void index_init(struct index *index, struct env *env, struct cluster_client *cluster, struct object_names *names,
	const struct index_settings *settings)
{
	*index = (struct index){.env = env, .cluster = cluster, .names = names, .settings = *settings};
	list_init(&index->lru);
}

void index_open(struct index *index, uint32_t shards)
{
	CHECK(index->shard_count == 0 && shards > 0);
	index->shards = memory_zalloc(shards * sizeof *index->shards);
	index->shard_count = shards;
}

void index_reset(struct index *index)
{
	LIST_EACH (&index->lru, link) {
		struct index_partition *partition = container_of(link, struct index_partition, lru);
		partition_clear_all(partition);
		partition->located = false;
		partition->high_watermark = partition->log_start = -1;
		if (!partition->users && !partition->call)
			partition_free(partition);
	}
	for (uint32_t i = 0; i < index->shard_count; i++)
		index->shards[i].generation++;
}

void index_done(struct index *index)
{
	LIST_EACH (&index->lru, link) {
		struct index_partition *partition = container_of(link, struct index_partition, lru);
		CHECK(partition->users == 0);
		partition_free(partition);
	}
	free(index->shards);
	index->shards = NULL;
}
