#pragma once
// The writer's core: appends from frontends come in, mixed objects go to the store, commits to the shards' owners, and offsets
// back. README.md tells the life of an append. Pure: driven by bus, store and cluster callbacks and by writer_step(), so the
// simulator runs it as it is.
//
// Bounds: memory_bytes of batches that wait (at the limit appends are refused with ERROR_BUSY; the windows granted to frontends
// add up to it), ring_bytes of recently flushed objects, uploads_max.

#include "common/base/env.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/bus.h"
#include "common/runtime/metrics.h"
#include "common/storage/object_store.h"

struct writer;

struct writer_settings {
	int64_t object_bytes;      // an object this big is flushed at once
	int64_t put_rate;          // flushes a second that need not be full
	int64_t put_burst;         // of them after idle time
	int64_t linger_max_ms;     // a batch waits no longer for that budget
	int64_t uploads_max;       // at once
	int64_t upload_timeout_ms; // of one attempt
	int64_t memory_bytes;
	int64_t ring_bytes;
};

struct writer_deps {
	struct env *env;
	struct bus *bus;
	struct object_store *store;
	const struct cluster_client_settings *cluster; // its instance is the writer's
	// This instance must not go on (it was logged why): the process ends and a new one starts. The core is silent from then
	// on.
	void (*fatal)(void *ctx, const char *reason);
	void *fatal_ctx;
};

struct writer *writer_new(const struct writer_deps *deps, const struct writer_settings *settings);
// What waits is answered with ERROR_CANCELED.
void writer_free(struct writer **writer);
// Once a turn; when it wants to be called again (µs).
uint64_t writer_step(struct writer *writer);
// No new work: siblings learn it, what is here is flushed at once and committed.
void writer_drain(struct writer *writer);
bool writer_drained(const struct writer *writer);
// NULL, or why it takes no appends.
const char *writer_ready(struct writer *writer);
void writer_metrics(struct writer *writer, struct metrics *metrics);

enum flush_cause { FLUSH_SIZE, FLUSH_BUDGET, FLUSH_LINGER, FLUSH_DRAIN, FLUSH_CAUSE_COUNT };

// For tests and the simulator's invariants.
struct writer_counters {
	uint64_t objects, object_bytes;
	uint64_t object_sizes[5]; // up to 64 KiB, 512 KiB, 2 MiB, 8 MiB, more
	uint64_t flushes[FLUSH_CAUSE_COUNT];
	uint64_t batches, batch_bytes; // taken
};
const struct writer_counters *writer_counters(const struct writer *writer);
// Bytes of batches that wait for an answer, each with its overhead.
uint64_t writer_pinned_bytes(const struct writer *writer);
