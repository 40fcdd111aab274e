#pragma once
// One AppendRequest from its arrival to its reply. It is answered when each of its partitions has a result, whichever object
// and shard gave it. Owner: struct appends of the writer; an append frees itself with its reply. Bound: the writer's memory
// budget (each partition in waiting pins its batch).

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/runtime/bus.h"
#include "common/runtime/metrics.h"

struct append;

struct append_result {
	enum error error;
	int64_t base_offset;
	int64_t log_append_time_ms; // -1 unless LogAppendTime
	int64_t log_start;
	const char *message; // static, NULL for none
};

struct appends {
	const struct env *env;
	struct bus *bus;
	uint64_t window_bytes;         // each reply grants it
	uint64_t open;                 // not answered yet
	uint64_t results[ERROR_COUNT]; // partitions by outcome
	uint64_t requests;
	struct metrics_histogram latency; // arrival to reply
};

void appends_init(struct appends *appends, const struct env *env, struct bus *bus);

// Takes the request over. The caller settles each of the count partitions in any order and calls append_admitted() once it
// has looked at all of them: before that the reply does not leave.
struct append *append_new(struct appends *appends, struct bus_request *request, uint64_t correlation, uint32_t count);
// The result of one partition, once each. With the last one the reply leaves and append is gone.
void append_settle(struct append *append, uint32_t index, const struct append_result *result);
void append_settle_error(struct append *append, uint32_t index, enum error error, const char *message);
void append_admitted(struct append *append);
