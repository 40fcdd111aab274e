#pragma once
// The reader's core: fetches and lookups by time from frontends come in, batches go out. README.md tells the life of a fetch.
// Pure: driven by bus, store and cluster callbacks and by reader_step().
//
// Bounds: cache_bytes of blocks, replies_bytes beyond them on the way to frontends (at the limit fetches wait to begin),
// index_entries, gets_max.

#include "common/base/env.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/bus.h"
#include "common/runtime/metrics.h"
#include "common/storage/object_store.h"

struct reader_core;

struct reader_settings {
	int64_t cache_bytes;
	int64_t replies_bytes;
	int64_t gets_max;       // at the store at once
	int64_t get_timeout_ms; // of one GET
	int64_t index_entries;  // in all; about 100 bytes each
	int64_t locate_entries; // asked for at once
};

struct reader_deps {
	struct env *env;
	struct bus *bus;
	struct object_store *store;
	const struct cluster_client_settings *cluster;
};

struct reader_core *reader_new(const struct reader_deps *deps, const struct reader_settings *settings);
// What is under way is answered with an error.
void reader_free(struct reader_core **reader);
uint64_t reader_step(struct reader_core *reader);
void reader_drain(struct reader_core *reader);
bool reader_drained(const struct reader_core *reader);
// NULL, or why it cannot serve.
const char *reader_ready(struct reader_core *reader);
void reader_metrics(struct reader_core *reader, struct metrics *metrics);

// For tests and the simulator's invariants.
struct reader_counters {
	uint64_t fetches, fetched_bytes;
	uint64_t cache_hits, cache_misses, cache_bytes;
	uint64_t tail_requests, tail_hits, store_gets;
	uint64_t locates, feed_gaps, second_looks, corrupt, missing;
};
void reader_count(const struct reader_core *reader, struct reader_counters *ret_counters);
