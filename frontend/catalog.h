#pragma once
// The topics of the cluster as this frontend knows them, by name and by id: a full copy from shard 0's owner (SYNC_META), kept
// fresh by the "meta/" feed. A gap, a new owner or silence on the feed means: copy again (history 16).
//
// Owner: the frontend core. Bound: the cluster's topics, which the coordinator limits.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/hash_map.h"
#include "common/base/list.h"
#include "common/base/uuid.h"
#include "common/cluster/cluster_client.h"
#include "common/cluster/feed_cursor.h"

struct topic_setting {
	const char *name;
	const char *value;
};

// Valid until the next change of the catalog: copy what has to outlive the turn.
struct topic {
	struct uuid id;
	const char *name;
	struct bytes name_view;
	int32_t partitions;
	uint64_t version;
	const struct topic_setting *settings; // only those set on the topic
	size_t setting_count;
	uint32_t message_bytes_max; // max.message.bytes in force
	bool log_append_time;       // message.timestamp.type in force
	bool seen;                  // the catalog's, while it takes over a full copy
	UT_hash_handle by_id;
	UT_hash_handle by_name;
};

struct catalog;

struct catalog_events {
	void (*on_change)(void *ctx);                          // topics came, went or changed
	void (*on_gone)(void *ctx, const struct topic *topic); // just before it is dropped
	void *ctx;
};

// message_bytes_max: what holds for topics that do not set max.message.bytes.
struct catalog *catalog_new(const struct env *env, uint32_t message_bytes_max, const struct catalog_events *events);
void catalog_free(struct catalog **catalog);

// A message of the "meta/" feed.
void catalog_feed(struct catalog *catalog, struct bytes body);
// Asks for a full copy when one is needed. Returns the next deadline.
uint64_t catalog_step(struct catalog *catalog, struct cluster_client *cluster);
// Cancels what is asked; before the cluster client goes.
void catalog_stop(struct catalog *catalog, struct cluster_client *cluster);
// Whether a full copy was ever taken.
bool catalog_ready(const struct catalog *catalog);

// NULL if there is none.
const struct topic *catalog_by_name(const struct catalog *catalog, struct bytes name);
const struct topic *catalog_by_id(const struct catalog *catalog, const struct uuid *id);
// All of them: start with NULL; NULL at the end.
const struct topic *catalog_next(const struct catalog *catalog, const struct topic *topic);
size_t catalog_count(const struct catalog *catalog);
// The value set on the topic, NULL if none is.
const char *topic_setting_find(const struct topic *topic, const char *name);

// Kafka's rule for names (Topic.validate): 1 to 249 of [a-zA-Z0-9._-], neither "." nor "..".
bool topic_name_valid(struct bytes name);
