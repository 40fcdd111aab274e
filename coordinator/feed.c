#include "coordinator/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/feed.pb-c.h"

enum {
	PREFIX_SIZE = 16,
	INDEX_MESSAGE_BYTES = 4 << 20, // far below what the bus carries; a single update may be larger
	INDEX_UPDATE_OVERHEAD_BYTES = 64,
};

// Numbers of one channel.
struct channel {
	char prefix[PREFIX_SIZE];
	uint64_t number;
	uint64_t beat_us; // when to repeat the number
};

struct index_update {
	struct list link;
	Weir__IndexUpdate update;
	Weir__ObjectRef object;
	struct slice section;
	bool begins; // a message
};

struct feed {
	const struct env *env;
	struct bus *bus;
	uint32_t shard;
	uint64_t epoch;
	struct channel index, watermarks, meta;
	struct arena arena; // of what gathers in this turn
	struct list updates;
	size_t update_count;
	size_t index_messages; // that the updates make
	size_t index_bytes;    // of the last of them
	struct list topics;    // topic_change
	size_t topic_count, deleted_count;
};

struct topic_change {
	struct list link;
	Weir__TopicInfo *info; // NULL: deleted
	ProtobufCBinaryData id;
};

struct feed *feed_new(const struct env *env, struct bus *bus, uint32_t shard, uint64_t epoch)
{
	struct feed *feed = memory_zalloc(sizeof *feed);
	feed->env = env;
	feed->bus = bus;
	feed->shard = shard;
	feed->epoch = epoch;
	snprintf(feed->index.prefix, PREFIX_SIZE, "index/%04x", shard);
	snprintf(feed->watermarks.prefix, PREFIX_SIZE, "hw/%04x", shard);
	snprintf(feed->meta.prefix, PREFIX_SIZE, "meta/");
	arena_init(&feed->arena, 0);
	list_init(&feed->updates);
	list_init(&feed->topics);
	return feed;
}

static void feed_clear(struct feed *feed)
{
	LIST_EACH (&feed->updates, link) {
		slice_done(&container_of(link, struct index_update, link)->section);
	}
	list_init(&feed->updates);
	list_init(&feed->topics);
	feed->update_count = feed->topic_count = feed->deleted_count = 0;
	feed->index_messages = feed->index_bytes = 0;
	arena_reset(&feed->arena);
}

void feed_free(struct feed **pointer)
{
	struct feed *feed = *pointer;
	*pointer = NULL;
	if (!feed)
		return;
	feed_clear(feed);
	arena_done(&feed->arena);
	free(feed);
}

// Which message it goes with is settled at once: the number told to who asks in between counts them.
static void feed_index_gather(struct feed *feed, struct index_update *update, size_t bytes)
{
	update->begins = feed->update_count == 0 || feed->index_bytes + bytes > INDEX_MESSAGE_BYTES;
	feed->index_bytes = update->begins ? bytes : feed->index_bytes + bytes;
	feed->index_messages += update->begins;
	list_append(&feed->updates, &update->link);
	feed->update_count++;
}

void feed_add_commit(struct feed *feed, const Weir__CommitSection *commit, struct slice section, struct bytes packed_outcome)
{
	struct index_update *update = arena_alloc(&feed->arena, sizeof *update);
	weir__index_update__init(&update->update);
	weir__object_ref__init(&update->object);
	update->section = slice_ref(section);
	update->object.writer = protobuf_data(arena_copy(&feed->arena, protobuf_view(commit->writer)));
	update->object.sequence = commit->sequence;
	update->object.created_ms = commit->created_ms;
	update->update.object = &update->object;
	update->update.section = protobuf_data(slice_bytes(section));
	struct bytes outcome = arena_copy(&feed->arena, packed_outcome);
	update->update.outcome = protobuf_unpack(&weir__commit_outcome__descriptor, outcome, &feed->arena);
	CHECK(update->update.outcome);
	feed_index_gather(feed, update, section.len + packed_outcome.len + INDEX_UPDATE_OVERHEAD_BYTES);
}

void feed_add_topic(struct feed *feed, const Weir__TopicInfo *topic)
{
	struct buffer packed;
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&topic->base, &packed);
	struct topic_change *change = arena_alloc(&feed->arena, sizeof *change);
	change->info = protobuf_unpack(&weir__topic_info__descriptor, buffer_view(&packed), &feed->arena);
	CHECK(change->info);
	list_append(&feed->topics, &change->link);
	feed->topic_count++;
	buffer_done(&packed);
}

void feed_add_deleted_topic(struct feed *feed, const struct uuid *id)
{
	struct topic_change *change = arena_alloc(&feed->arena, sizeof *change);
	change->id = protobuf_data(arena_copy(&feed->arena, uuid_view(id)));
	list_append(&feed->topics, &change->link);
	feed->deleted_count++;
}

// Whether a message is due now: it carries something, or the last number is to be repeated.
static bool channel_due(const struct feed *feed, struct channel *channel, bool carries)
{
	if (!carries && feed->env->now_us < channel->beat_us)
		return false;
	channel->number += carries;
	channel->beat_us = deadline_in_ms(feed->env, FEED_BEAT_MS);
	return true;
}

static void publish_index_message(struct feed *feed, Weir__IndexUpdate **updates, size_t count)
{
	if (!channel_due(feed, &feed->index, count > 0))
		return;
	Weir__IndexFeed message = WEIR__INDEX_FEED__INIT;
	message.shard = feed->shard;
	message.epoch = feed->epoch;
	message.number = feed->index.number;
	message.updates = updates;
	message.n_updates = count;
	bus_publish(feed->bus, bytes_of(feed->index.prefix), &message.base);
}

static void publish_index(struct feed *feed)
{
	Weir__IndexUpdate **updates = arena_alloc(&feed->arena, feed->update_count * sizeof(Weir__IndexUpdate *));
	size_t count = 0;
	LIST_EACH (&feed->updates, link) {
		struct index_update *update = container_of(link, struct index_update, link);
		if (update->begins && count) {
			publish_index_message(feed, updates, count);
			count = 0;
		}
		updates[count++] = &update->update;
	}
	publish_index_message(feed, updates, count);
}

static Weir__TopicWatermarks *watermarks_topic(struct arena *arena, const struct shard_topic *topic, size_t room)
{
	Weir__TopicWatermarks *row = arena_alloc(arena, sizeof *row);
	weir__topic_watermarks__init(row);
	row->topic_id = protobuf_data(arena_copy(arena, uuid_view(&topic->id)));
	row->partitions = arena_alloc(arena, room * sizeof *row->partitions);
	row->high_watermarks = arena_alloc(arena, room * sizeof *row->high_watermarks);
	row->log_starts = arena_alloc(arena, room * sizeof *row->log_starts);
	return row;
}

static int by_topic(const void *a, const void *b)
{
	const struct shard_partition *left = *(struct shard_partition *const *)a;
	const struct shard_partition *right = *(struct shard_partition *const *)b;
	int order = memcmp(left->topic->id.bytes, right->topic->id.bytes, sizeof left->topic->id.bytes);
	return order ? order : left->number - right->number;
}

struct watermark_list watermarks_of(struct shard_partition *const *partitions, size_t count, struct arena *arena)
{
	struct shard_partition **sorted = arena_alloc(arena, count * sizeof *sorted);
	struct watermark_list list = {arena_alloc(arena, count * sizeof *list.topics), 0};
	memcpy(sorted, partitions, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, by_topic);
	for (size_t i = 0; i < count;) {
		size_t end = i;
		while (end < count && sorted[end]->topic == sorted[i]->topic)
			end++;
		Weir__TopicWatermarks *row = watermarks_topic(arena, sorted[i]->topic, end - i);
		for (; i < end; i++) {
			row->partitions[row->n_partitions++] = sorted[i]->number;
			row->high_watermarks[row->n_high_watermarks++] = sorted[i]->high_watermark;
			row->log_starts[row->n_log_starts++] = sorted[i]->log_start;
		}
		list.topics[list.count++] = row;
	}
	return list;
}

static size_t changed_count(const struct shard_state *state)
{
	size_t count = 0;
	LIST_EACH (&state->changed, link) {
		count++;
	}
	return count;
}

static void publish_watermarks(struct feed *feed, struct shard_state *state)
{
	size_t room = changed_count(state);
	if (!channel_due(feed, &feed->watermarks, room > 0))
		return;
	struct shard_partition **partitions = arena_alloc(&feed->arena, room * sizeof *partitions);
	size_t count = 0;
	LIST_EACH (&state->changed, link) {
		partitions[count++] = container_of(link, struct shard_partition, changed);
		list_remove(link);
	}
	struct watermark_list list = watermarks_of(partitions, count, &feed->arena);
	Weir__WatermarkFeed message = WEIR__WATERMARK_FEED__INIT;
	message.shard = feed->shard;
	message.epoch = feed->epoch;
	message.number = feed->watermarks.number;
	message.topics = list.topics;
	message.n_topics = list.count;
	bus_publish(feed->bus, bytes_of(feed->watermarks.prefix), &message.base);
}

static void publish_meta(struct feed *feed, const Weir__ClusterView *view)
{
	union {
		const Weir__ClusterView *constant;
		Weir__ClusterView *mutable;
	} pointer = {view};
	if (!channel_due(feed, &feed->meta, view || feed->topic_count || feed->deleted_count))
		return;
	Weir__MetaFeed message = WEIR__META_FEED__INIT;
	message.epoch = feed->epoch;
	message.number = feed->meta.number;
	message.view = pointer.mutable;
	message.topics = arena_alloc(&feed->arena, feed->topic_count * sizeof *message.topics);
	message.deleted_topics = arena_alloc(&feed->arena, feed->deleted_count * sizeof *message.deleted_topics);
	LIST_EACH (&feed->topics, link) {
		const struct topic_change *change = container_of(link, struct topic_change, link);
		if (change->info)
			message.topics[message.n_topics++] = change->info;
		else
			message.deleted_topics[message.n_deleted_topics++] = change->id;
	}
	bus_publish(feed->bus, bytes_of(feed->meta.prefix), &message.base);
}

uint64_t feed_publish(struct feed *feed, struct shard_state *state, const Weir__ClusterView *view)
{
	publish_index(feed);
	publish_watermarks(feed, state);
	uint64_t next_us = deadline_min(feed->index.beat_us, feed->watermarks.beat_us);
	if (feed->shard == 0) {
		publish_meta(feed, view);
		next_us = deadline_min(next_us, feed->meta.beat_us);
	}
	feed_clear(feed);
	return next_us;
}

uint64_t feed_index_number(const struct feed *feed)
{
	return feed->index.number + feed->index_messages;
}

uint64_t feed_watermark_number(const struct feed *feed, const struct shard_state *state)
{
	return feed->watermarks.number + !list_empty(&state->changed);
}

uint64_t feed_meta_number(const struct feed *feed)
{
	return feed->meta.number + (feed->topic_count || feed->deleted_count);
}
