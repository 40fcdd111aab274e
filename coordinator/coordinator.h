#pragma once
// The coordinator's core: registers in etcd, owns the shards that the rendezvous choice gives it, answers the control pipe,
// publishes the feed. Pure: driven by the callbacks of its bus and stores and by coordinator_step(), time and random numbers
// come from env; the simulator runs it with memory stores.
//
// Owner: main or the simulator. Free it before the stores and the bus it was given.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/uuid.h"
#include "common/runtime/bus.h"
#include "common/runtime/metrics.h"
#include "common/storage/metadata_store.h"
#include "common/storage/object_store.h"

struct coordinator;

struct coordinator_settings {
	const char *etcd_prefix;   // "/weir"
	const char *key_namespace; // of segment keys: "default"
	int64_t shards;            // of a cluster that is created
	int64_t lease_ttl_ms;
	int64_t num_partitions; // of topics that do not say
	int64_t partitions_max; // of all topics together
	int64_t grace_ms;       // of garbage; objects older than half of it are refused
	int64_t group_session_timeout_min_ms;
	int64_t group_session_timeout_max_ms;
	int64_t group_initial_rebalance_delay_ms;
	int64_t group_members_max;
	int64_t groups_max; // a shard
	int64_t offset_metadata_bytes_max;
};
// Kafka's and our defaults; rows of the settings table say the same.
struct coordinator_settings coordinator_settings_default(void);

struct coordinator_deps {
	struct env *env;
	struct bus *bus;
	struct metadata_store *metadata;
	struct object_store *objects;
	const struct coordinator_settings *settings; // copied; texts are borrowed
	struct uuid instance;
	const char *address;        // what siblings connect to
	const char *feed_address;   // of our feed
	struct metrics *metrics;    // NULL: none; outlived by the coordinator's counters
	uint32_t apply_version_max; // newest apply rules to admit to; 0: all that this binary knows
};

// Serves the bus from now on.
struct coordinator *coordinator_new(const struct coordinator_deps *deps);
void coordinator_free(struct coordinator **coordinator);
// Once a turn, after the bus's and the stores' callbacks. Returns when it wants to be called again.
uint64_t coordinator_step(struct coordinator *coordinator);

// etcd has granted us a lease that is still alive.
bool coordinator_has_lease(const struct coordinator *coordinator);

// NULL if ready: our lease is held and every shard that we should own is loaded.
const char *coordinator_ready(const struct coordinator *coordinator);
// Hands everything over; coordinator_drained() says when the lease is given back.
void coordinator_drain(struct coordinator *coordinator);
bool coordinator_drained(const struct coordinator *coordinator);

// Shards that answer, for tests and metrics.
size_t coordinator_shards_serving(const struct coordinator *coordinator);
// A hash of a served shard's state and where its log stands, for tests; false if it is not served here.
MUST_CHECK bool coordinator_shard_hash(
	const struct coordinator *coordinator, uint32_t shard, uint64_t *ret_hash, uint64_t *ret_position);
// Apply rules in force in a served shard, for tests; 0: not served here.
uint32_t coordinator_apply_version(const struct coordinator *coordinator, uint32_t shard);
