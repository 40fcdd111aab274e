#pragma once
// The state of one shard and how log entries change it. Pure and deterministic: apply reads nothing but this state, the
// command, its place in the log and, for a commit, the section the command refers to. Replaying the same log gives the same
// state and answers.
//
//	topics ──► partitions ──► index, producers, watermarks
//	writers ──► chain and last answers          catalogue (shard 0 only)          groups (groups.h)
//
// Owner: the shard (shard.h), or a test. Bounds: those of the parts.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/hash_map.h"
#include "common/base/list.h"
#include "common/base/uuid.h"
#include "common/storage/mixed_object.h"
#include "coordinator/catalogue.h"
#include "coordinator/groups.h"
#include "coordinator/partition_index.h"
#include "coordinator/producer_state.h"
#include "coordinator/writer_chain.h"
#include "proto/log.pb-c.h"

// The newest rules this binary knows. A log that has gone beyond them stops the shard: to go on by other rules than the owner
// before would give other offsets. Rules change only like this: a new version here, and apply asks state->apply_version.
enum { SHARD_APPLY_VERSION_FIRST = 1, SHARD_APPLY_VERSION = 1 };

struct shard_topic;

struct shard_partition {
	struct shard_topic *topic;
	int32_t number;
	int64_t high_watermark;
	int64_t log_start;
	struct partition_index index;
	struct producer_states producers;
	struct list changed; // in shard_state.changed while its watermarks are to be told
};

struct shard_topic {
	struct uuid id;
	char *name;
	int32_t partition_count;             // of the topic, all shards together
	struct shard_partition **partitions; // by number; NULL where another shard has it
	UT_hash_handle hh;
};

// A late PartitionsOpen must not raise a topic from the dead.
enum { DROPPED_TOPICS_KEPT = 1024 };

struct shard_state {
	uint32_t shard;
	uint32_t shards;
	uint32_t apply_version; // the rules in force
	struct shard_topic *topics;
	struct index_objects objects;
	struct writer_chains writers;
	struct catalogue catalogue;
	struct groups *groups; // not ours; NULL in tests without groups
	struct uuid dropped[DROPPED_TOPICS_KEPT];
	uint64_t dropped_count;
	int64_t time_ms; // of the last entry
	uint64_t partition_count;
	struct list changed; // partitions whose watermarks changed since the feed took them

	// Counters for /metrics, no part of the state.
	uint64_t batches_accepted, batches_duplicate, batches_refused;
};

struct shard_state *shard_state_new(uint32_t shard, uint32_t shards, struct groups *groups);
void shard_state_free(struct shard_state **state);

// Where a command stands.
struct apply_at {
	uint64_t position; // n of log/‹n›
	int64_t time_ms;
};

struct apply_result {
	enum error error;                    // commits: OK, OUT_OF_CHAIN, CORRUPT, TOO_OLD; intents: catalogue.h
	struct bytes outcome;                // commits, if OK: packed CommitOutcome; lives until the answer is forgotten
	bool repeated;                       // a commit that was known: nothing changed
	const struct catalogue_topic *topic; // TopicDone: as it is now; NULL if it was deleted
	bool topic_deleted;
};

// section: of a commit that was not refused by age, else NULL.
void shard_state_apply(struct shard_state *state, const Weir__Command *command, const struct apply_at *at,
	const struct section *section, struct apply_result *ret_result);

// NULL if the partition is not open here.
struct shard_partition *shard_state_partition(const struct shard_state *state, const struct uuid *topic_id, int32_t number);
// Everything that apply can see, for tests and for the comparison of replicas.
uint64_t shard_state_hash(const struct shard_state *state);
