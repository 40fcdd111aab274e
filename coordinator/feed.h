#pragma once
// What a shard tells all others (proto/feed.proto): watermarks and index updates, and shard 0 also topics and the cluster's
// view. Changes of a turn gather and leave as one message a channel (several when the index updates are many); when there is
// nothing to tell, the last number is repeated every FEED_BEAT_MS, so that a subscriber who missed the last message notices.
//
// Owner: the slot of an owned shard; lives as long as the ownership (epoch). Nothing is kept for absent subscribers.

#include <stdint.h>

#include "common/base/block.h"
#include "common/base/env.h"
#include "common/runtime/bus.h"
#include "coordinator/shard_state.h"

struct feed;

enum { FEED_BEAT_MS = 200 };

struct feed *feed_new(const struct env *env, struct bus *bus, uint32_t shard, uint64_t epoch);
void feed_free(struct feed **feed);

// A hold on section is taken; outcome is copied.
void feed_add_commit(struct feed *feed, const Weir__CommitSection *commit, struct slice section, struct bytes packed_outcome);
void feed_add_topic(struct feed *feed, const Weir__TopicInfo *topic);
void feed_add_deleted_topic(struct feed *feed, const struct uuid *id);
// Takes the changed partitions out of state and publishes what there is. view: shard 0's, when it changed, else NULL.
uint64_t feed_publish(struct feed *feed, struct shard_state *state, const Weir__ClusterView *view);

// The number that a subscriber stands at who knows everything as of now (not yet published changes counted).
uint64_t feed_index_number(const struct feed *feed);
uint64_t feed_watermark_number(const struct feed *feed, const struct shard_state *state);
uint64_t feed_meta_number(const struct feed *feed);

// Watermarks of partitions by topic, in the arena: what a feed message or a sync's answer carries.
struct watermark_list {
	Weir__TopicWatermarks **topics;
	size_t count;
};
struct watermark_list watermarks_of(struct shard_partition *const *partitions, size_t count, struct arena *arena);
