#include "frontend/watermarks.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/hash_map.h"
#include "common/base/memory.h"
#include "common/cluster/feed_cursor.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/feed.pb-c.h"

enum { WATERMARKS_SYNC_TIMEOUT_MS = 5000, WATERMARKS_SYNC_PAUSE_MS = 100 };

struct watermark_key {
	struct uuid topic_id;
	int32_t partition;
};

struct watermark_entry {
	struct watermark_key key;
	struct watermark watermark;
	struct list waiters;
	UT_hash_handle hh;
};

struct watermark_shard {
	struct watermarks *watermarks;
	uint32_t index;
	struct feed_cursor cursor;
	bool ready;        // copied once
	bool wanted;       // a full copy is needed
	uint64_t call;     // in flight; 0: none
	uint64_t again_us; // not before
};

struct watermarks {
	const struct env *env;
	struct watermark_entry *entries;
	struct watermark_shard *shards; // as many as the view says
	uint32_t shard_count;
	uint64_t incarnation;
};

struct watermarks *watermarks_new(const struct env *env)
{
	struct watermarks *watermarks = memory_zalloc(sizeof *watermarks);
	watermarks->env = env;
	return watermarks;
}

static void watermarks_remove(struct watermarks *watermarks, struct watermark_entry *entry)
{
	CHECK(list_empty(&entry->waiters));
	HASH_DEL(watermarks->entries, entry);
	free(entry);
}

void watermarks_free(struct watermarks **watermarks)
{
	if (!*watermarks)
		return;
	struct watermark_entry *entry, *next;
	HASH_ITER(hh, (*watermarks)->entries, entry, next)
	watermarks_remove(*watermarks, entry);
	free((*watermarks)->shards);
	free(*watermarks);
	*watermarks = NULL;
}

static struct watermark_entry *watermarks_find(
	const struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition)
{
	struct watermark_key key = {*topic_id, partition};
	struct watermark_entry *entry;
	HASH_FIND(hh, watermarks->entries, &key, sizeof key, entry);
	return entry;
}

static struct watermark_entry *watermarks_entry(struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition)
{
	struct watermark_entry *entry = watermarks_find(watermarks, topic_id, partition);
	if (entry)
		return entry;
	entry = memory_zalloc(sizeof *entry);
	entry->key = (struct watermark_key){*topic_id, partition};
	entry->watermark = (struct watermark){-1, -1};
	list_init(&entry->waiters);
	HASH_ADD(hh, watermarks->entries, key, sizeof entry->key, entry);
	return entry;
}

static void watermarks_tell(struct watermark_entry *entry)
{
	LIST_EACH (&entry->waiters, link) {
		struct watermark_waiter *waiter = container_of(link, struct watermark_waiter, link);
		waiter->changed(waiter);
	}
}

struct watermark watermarks_get(const struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition)
{
	const struct watermark_entry *entry = watermarks_find(watermarks, topic_id, partition);
	return entry ? entry->watermark : (struct watermark){-1, -1};
}

struct watermark watermarks_raise(
	struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition, int64_t high, int64_t log_start)
{
	struct watermark_entry *entry = watermarks_entry(watermarks, topic_id, partition);
	struct watermark *watermark = &entry->watermark;
	bool changed = high > watermark->high || log_start > watermark->log_start;
	if (high > watermark->high)
		watermark->high = high;
	if (log_start > watermark->log_start)
		watermark->log_start = log_start;
	if (changed)
		watermarks_tell(entry);
	return entry->watermark;
}

void watermarks_wait(
	struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition, struct watermark_waiter *waiter)
{
	list_append(&watermarks_entry(watermarks, topic_id, partition)->waiters, &waiter->link);
}

void watermarks_unwait(struct watermark_waiter *waiter)
{
	list_remove(&waiter->link);
}

void watermarks_forget(struct watermarks *watermarks, const struct uuid *topic_id, int32_t partitions)
{
	for (int32_t partition = 0; partition < partitions; partition++) {
		struct watermark_entry *entry = watermarks_find(watermarks, topic_id, partition);
		if (!entry)
			continue;
		watermarks_tell(entry);
		if (list_empty(&entry->waiters))
			watermarks_remove(watermarks, entry);
		else
			entry->watermark = (struct watermark){-1, -1};
	}
}

static void watermarks_take(struct watermarks *watermarks, Weir__TopicWatermarks *const *topics, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const Weir__TopicWatermarks *topic = topics[i];
		struct uuid id;
		if (!protobuf_get_uuid(topic->topic_id, &id) || topic->n_partitions != topic->n_high_watermarks ||
			topic->n_partitions != topic->n_log_starts)
			continue;
		for (size_t p = 0; p < topic->n_partitions; p++)
			watermarks_raise(
				watermarks, &id, topic->partitions[p], topic->high_watermarks[p], topic->log_starts[p]);
	}
}

void watermarks_feed(struct watermarks *watermarks, struct bytes body)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__WatermarkFeed *feed = protobuf_unpack(&weir__watermark_feed__descriptor, body, &arena);
	if (feed && feed->shard < watermarks->shard_count) {
		struct watermark_shard *shard = &watermarks->shards[feed->shard];
		switch (feed_cursor_accept(&shard->cursor, watermarks->env, feed->epoch, feed->number, feed->n_topics > 0)) {
		case FEED_APPLY:
			watermarks_take(watermarks, feed->topics, feed->n_topics);
			break;
		case FEED_GAP:
			// What it says is true even so, for they only rise; what it follows must be asked for.
			watermarks_take(watermarks, feed->topics, feed->n_topics);
			shard->wanted = true;
			break;
		case FEED_SKIP:
			break;
		}
	}
	arena_done(&arena);
}

static void watermarks_on_sync(void *ctx, enum error error, const struct bus_message *message)
{
	struct watermark_shard *shard = ctx;
	struct watermarks *watermarks = shard->watermarks;
	shard->call = 0;
	shard->again_us = deadline_in_ms(watermarks->env, WATERMARKS_SYNC_PAUSE_MS);
	if (error != ERROR_OK)
		return;
	struct arena arena;
	arena_init(&arena, 0);
	Weir__SyncWatermarksReply *reply = protobuf_unpack(&weir__sync_watermarks_reply__descriptor, message->body, &arena);
	if (reply && reply->error == ERROR_OK) {
		watermarks_take(watermarks, reply->topics, reply->n_topics);
		feed_cursor_synced(&shard->cursor, watermarks->env, reply->epoch, reply->number);
		shard->ready = true;
		shard->wanted = false;
	}
	arena_done(&arena);
}

static void watermarks_ask(struct cluster_client *cluster, struct watermark_shard *shard)
{
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	request.shard = shard->index;
	struct bus_send send = {
		.type = WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, .body = &request.base, .timeout_ms = WATERMARKS_SYNC_TIMEOUT_MS};
	shard->call = cluster_client_call(cluster, shard->index, &send, true, watermarks_on_sync, shard);
}

static void watermarks_start_over(struct watermarks *watermarks, struct cluster_client *cluster)
{
	const struct cluster_view *view = cluster_client_view(cluster);
	watermarks_stop(watermarks, cluster);
	free(watermarks->shards);
	watermarks->incarnation = view->incarnation;
	watermarks->shard_count = view->shards;
	watermarks->shards = memory_zalloc((view->shards + 1) * sizeof *watermarks->shards);
	for (uint32_t i = 0; i < view->shards; i++)
		watermarks->shards[i] = (struct watermark_shard){.watermarks = watermarks, .index = i, .wanted = true};
	struct watermark_entry *entry, *next;
	HASH_ITER(hh, watermarks->entries, entry, next)
	entry->watermark = (struct watermark){-1, -1};
}

uint64_t watermarks_step(struct watermarks *watermarks, struct cluster_client *cluster)
{
	const struct cluster_view *view = cluster_client_view(cluster);
	const struct env *env = watermarks->env;
	if (view->incarnation != watermarks->incarnation || view->shards != watermarks->shard_count)
		watermarks_start_over(watermarks, cluster);
	uint64_t next_us = env->now_us + FEED_SILENCE_MS * 1000;
	for (uint32_t i = 0; i < watermarks->shard_count; i++) {
		struct watermark_shard *shard = &watermarks->shards[i];
		if (shard->ready && feed_cursor_silent(&shard->cursor, env))
			shard->wanted = true;
		if (!shard->wanted || shard->call)
			continue;
		if (env->now_us >= shard->again_us)
			watermarks_ask(cluster, shard);
		else
			next_us = deadline_min(next_us, shard->again_us);
	}
	return next_us;
}

void watermarks_stop(struct watermarks *watermarks, struct cluster_client *cluster)
{
	for (uint32_t i = 0; i < watermarks->shard_count; i++) {
		if (watermarks->shards[i].call)
			cluster_client_cancel(cluster, watermarks->shards[i].call);
		watermarks->shards[i].call = 0;
	}
}

bool watermarks_ready(const struct watermarks *watermarks)
{
	for (uint32_t i = 0; i < watermarks->shard_count; i++)
		if (!watermarks->shards[i].ready)
			return false;
	return watermarks->shard_count > 0;
}

size_t watermarks_unsynced(const struct watermarks *watermarks)
{
	size_t count = 0;
	for (uint32_t i = 0; i < watermarks->shard_count; i++)
		count += watermarks->shards[i].wanted;
	return count;
}
