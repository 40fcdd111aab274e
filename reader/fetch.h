#pragma once
// One FetchRequest: answered with what there is, as soon as the blocks that hold it are here. Partitions are looked up at once
// and read in the request's order, each within what the ones before it leave of max_bytes; only the first that has anything may
// exceed its limit, by its first batch.
// Bound: max_bytes of the request and the reader's admission (reader.c).

#include "common/runtime/bus.h"
#include "common/runtime/metrics.h"
#include "reader/walk.h"

struct fetch_counters {
	uint64_t requests, partitions, bytes, errors, timeouts, held_back;
	uint64_t waiting; // under way
	struct metrics_histogram latency;
};

struct fetches {
	struct env *env;
	struct bus *bus;
	struct walker *walker;
	struct tasks *tasks;
	uint64_t live_bytes_max; // cached and on its way: past this a fetch waits before it begins
	struct fetch_counters counters;
};

void fetch_start(struct fetches *fetches, struct bus_request *request, const struct bus_message *message);
