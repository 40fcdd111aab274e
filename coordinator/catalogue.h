#pragma once
// What shard 0 knows of the whole cluster: topics and what is being done to them, producer-id blocks, node ids. Part of the
// shard's state: changes only by apply, deterministic. A topic's change is an intent first and is done once all concerned
// shards have logged their part (topic_work.h drives that).
//
// Owner: the shard's state (empty in other shards). Bound: topics by the coordinator's limit on partitions; node ids by
// CATALOGUE_NODES_MAX, the oldest go.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/hash_map.h"
#include "common/base/uuid.h"
#include "proto/common.pb-c.h"
#include "proto/log.pb-c.h"

enum { CATALOGUE_NODES_MAX = 4096 };

struct topic_copy {
	struct arena arena;
	Weir__TopicInfo *info;
};

struct catalogue_topic {
	struct uuid id;
	struct topic_copy now;    // as published; info NULL while it is being created
	struct topic_copy target; // as the intent in progress wants it; info NULL if there is none
	Weir__TopicIntent__Kind intent;
	UT_hash_handle hh;      // by id
	UT_hash_handle hh_name; // by name
};

// A name that was used before: its directory may still hold segments.
struct catalogue_tombstone {
	char *name;
	UT_hash_handle hh;
};

struct catalogue_node {
	struct uuid instance;
	int32_t node_id;
	UT_hash_handle hh;
};

struct catalogue {
	struct catalogue_topic *topics;
	struct catalogue_topic *names;
	struct catalogue_tombstone *tombstones;
	struct catalogue_node *nodes; // oldest first
	int64_t partitions;           // of all topics, intents included
	int64_t producer_id_next;     // first id behind the last block
	int32_t node_id_next;
};

void catalogue_init(struct catalogue *catalogue);
void catalogue_done(struct catalogue *catalogue);

// ERROR_ALREADY_EXISTS: a topic of that name is there. ERROR_UNKNOWN_TOPIC_ID: there is nothing to change. ERROR_BUSY: an
// intent on it is in progress. Then nothing changed.
MUST_CHECK enum error catalogue_apply_intent(struct catalogue *catalogue, const Weir__TopicIntent *intent);
// What was done; NULL: there was no such intent. The topic is gone after a DELETE: ret_deleted then.
const struct catalogue_topic *catalogue_apply_done(
	struct catalogue *catalogue, const Weir__TopicDone *done, uint64_t position, bool *ret_deleted);
void catalogue_apply_block(struct catalogue *catalogue, const Weir__ProducerIdBlock *block);
void catalogue_apply_node(struct catalogue *catalogue, const Weir__NodeIdAssign *assign);

struct catalogue_topic *catalogue_topic_by_id(const struct catalogue *catalogue, const struct uuid *id);
struct catalogue_topic *catalogue_topic_by_name(const struct catalogue *catalogue, struct bytes name);
const struct catalogue_tombstone *catalogue_tombstone(const struct catalogue *catalogue, struct bytes name);
// 0: none was assigned.
int32_t catalogue_node_id(const struct catalogue *catalogue, const struct uuid *instance);
// Published: created, and not yet deleted.
bool catalogue_topic_live(const struct catalogue_topic *topic);
uint64_t catalogue_hash(const struct catalogue *catalogue, uint64_t seed);
