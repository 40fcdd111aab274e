#pragma once
// One shard that this coordinator owns: replays its log, then logs commands and applies them. While a Txn is in flight commands
// gather, the next Txn carries them; replies leave only after the Txn is durable and applied.
//
//	propose ──► queue ──► Txn in flight ──► landed: apply, reply          (one Txn at a time)
//	                           └── outcome unknown: read log/‹n› back, compare the entry's id, repeat if absent
//
//	READING ──► SERVING ──► HANDING_OVER ──► HANDED_OVER
//	LOST: the fence did not hold; DAMAGED: the log cannot be replayed
//
// Every Txn compares the owner key's value, the incarnation and the absence of log/‹n›, so that a shard that has lost its key
// can never write. Owner: ownership.h. Bound: SHARD_QUEUE_BYTES_MAX waiting; a proposal beyond it is answered ERROR_BUSY.

#include <stdint.h>

#include "common/base/block.h"
#include "common/base/env.h"
#include "common/runtime/metrics.h"
#include "common/storage/metadata_store.h"
#include "common/storage/object_store.h"
#include "coordinator/groups.h"
#include "coordinator/shard_state.h"

struct shard;

enum shard_phase {
	SHARD_READING,
	SHARD_SERVING,
	SHARD_HANDING_OVER,
	SHARD_HANDED_OVER, // nothing of ours is in flight: the owner key may go
	SHARD_LOST,
	SHARD_DAMAGED,
	SHARD_PHASE_COUNT
};

enum {
	SHARD_ENTRY_BYTES_MAX = 512 << 10,   // commands gathered in one Txn
	SHARD_COMMAND_BYTES_MAX = 896 << 10, // a single one may be larger: a Txn takes 1 MiB
	SHARD_QUEUE_BYTES_MAX = 64 << 20,
	SHARD_INLINE_SECTION_BYTES = 256,
};

struct shard_counters {
	uint64_t txns, txns_unknown, entry_bytes, commands, commits, replayed_entries, replayed_sections, damaged;
	struct metrics_histogram txn_us;
};

struct shard_deps {
	struct env *env;
	struct metadata_store *metadata;
	struct object_store *objects;
	const char *prefix; // of our etcd keys
	uint32_t number;
	uint32_t count;                 // shards of the cluster
	struct bytes owner_value;       // copied
	struct bytes incarnation_value; // copied
	uint64_t epoch;                 // of the feed: revision of the take-over
	uint32_t apply_version_max;     // newest rules known
	const struct groups_settings *groups;
	struct shard_counters *counters;
	// A command that was logged and applied just now (not in replay); section: a commit's, as it came. May be NULL.
	void (*on_applied)(void *ctx, struct shard *shard, const Weir__Command *command, struct slice section,
		const struct apply_result *result);
	void (*on_serving)(void *ctx, struct shard *shard);
	void *ctx;
};

struct shard *shard_new(const struct shard_deps *deps);
// Whatever waits is answered ERROR_NOT_OWNER.
void shard_free(struct shard **shard);
uint64_t shard_step(struct shard *shard);

enum shard_phase shard_phase(const struct shard *shard);
// Whether it answers: OK, LOADING, STORAGE (damaged) or NOT_OWNER.
enum error shard_ready(const struct shard *shard);
uint32_t shard_number(const struct shard *shard);
uint64_t shard_epoch(const struct shard *shard);
// As of the last applied entry; for reading.
struct shard_state *shard_state(struct shard *shard);
struct groups *shard_groups(struct shard *shard);
size_t shard_queue_count(const struct shard *shard);
// Where the next entry goes.
uint64_t shard_position(const struct shard *shard);

// result is NULL unless error is ERROR_OK: the command is durable and applied; what it gave is in result (borrowed). Otherwise
// ERROR_NOT_OWNER (it may be in the log or not), ERROR_BUSY or ERROR_TOO_LARGE (it is not).
typedef void (*shard_proposed_fn)(void *ctx, enum error error, const struct apply_result *result);
// Copies the command. section: of a commit that was not refused by age, decoded by the caller already; a hold is taken. fn is
// called exactly once, never inside this call.
void shard_propose(struct shard *shard, const Weir__Command *command, struct slice section, shard_proposed_fn fn, void *ctx);
// Whether commits of this writer are proposed and not yet applied, and the last sequence of them.
bool shard_writer_pending(const struct shard *shard, const struct uuid *writer, uint64_t *ret_last_sequence);

// Stops accepting, finishes the Txn in flight.
void shard_hand_over(struct shard *shard);
