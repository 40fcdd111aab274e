#pragma once
// A coordinator for tests of the other daemons: one endpoint that owns all shards, registers members, applies commits by a
// simple model of its own, answers Locate and LocateTime and publishes the index feed. Strict: it notes every breach of the
// commit chain.

#include "common/base/env.h"
#include "common/runtime/bus.h"
#include "common/storage/mixed_object.h"

struct fake_coordinator;

struct fake_entry {
	struct mixed_object_id object;
	int64_t base_offset, last_offset, max_timestamp;
	uint32_t batch_count;
	uint64_t position, length;
};

// ERROR_OK: the batch is accepted; else it becomes an exception (with *ret_offset for duplicates).
typedef enum error (*fake_judge_fn)(void *ctx, const struct section_run *run, uint32_t batch, int64_t *ret_offset);

struct fake_counters {
	uint64_t commit_requests, sections, repeated_sections;
	uint64_t chain_breaches; // wrong predecessor, or another section under a known sequence
	uint64_t locates, time_locates;
};

struct fake_coordinator *fake_coordinator_new(const struct env *env, struct bus *bus, uint32_t shards);
void fake_coordinator_free(struct fake_coordinator **fake);
// Beats of the feed.
uint64_t fake_coordinator_step(struct fake_coordinator *fake);

void fake_coordinator_judge(struct fake_coordinator *fake, fake_judge_fn judge, void *ctx);
// The next commits get this per-section error (TOO_OLD, OUT_OF_CHAIN); ERROR_OK ends it.
void fake_coordinator_refuse(struct fake_coordinator *fake, enum error error);
// Commits get this error as a whole.
void fake_coordinator_refuse_all(struct fake_coordinator *fake, enum error error);
void fake_coordinator_incarnation(struct fake_coordinator *fake, uint64_t incarnation);
// Another owner took over: the feed's epoch.
void fake_coordinator_epoch(struct fake_coordinator *fake, uint64_t epoch);
// The coordinators' clock minus everybody's.
void fake_coordinator_skew(struct fake_coordinator *fake, int64_t skew_ms);
void fake_coordinator_log_start(struct fake_coordinator *fake, const struct uuid *topic_id, int32_t partition, int64_t offset);
// Members never say goodbye here: this forgets one.
void fake_coordinator_forget(struct fake_coordinator *fake, const struct uuid *instance);
bool fake_coordinator_draining(const struct fake_coordinator *fake, const struct uuid *instance);

const struct fake_counters *fake_coordinator_counters(const struct fake_coordinator *fake);
int64_t fake_coordinator_high_watermark(const struct fake_coordinator *fake, const struct uuid *topic_id, int32_t partition);
// For tests that move an object: NULL past the end.
struct fake_entry *fake_coordinator_entry(
	struct fake_coordinator *fake, const struct uuid *topic_id, int32_t partition, size_t index);
