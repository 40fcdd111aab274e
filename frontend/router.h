#pragma once
// Which writer takes an append and which reader serves a fetch: rendezvous hashing over the live members of the role, those of
// our zone first (design 2). Appends also go through here, because three rules hold them together:
//
//	- a partition stays on its writer while appends of it are in flight or wait, so their order holds; a writer that may
//	  take no more is drained first, then what waits for it moves on, in order;
//	- per writer only so many payload bytes are unanswered as its last answer granted (window); more wait here, in order;
//	- what was surely not sent goes to another writer; what may have been is never sent again: the client is told.
//
// Owner: the frontend core. Bound: what waits belongs to produce requests, which admission bounds.

#include <stddef.h>
#include <stdint.h>

#include "common/base/block.h"
#include "common/base/env.h"
#include "common/base/uuid.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/bus.h"
#include "frontend/timeouts.h"

struct router;

struct router_settings {
	const char *zone;
	struct uuid instance;  // ours: the writers' windows are per frontend
	uint64_t window_bytes; // before a writer's first answer
};

struct router_counters {
	uint64_t appends;
	uint64_t append_bytes;
	uint64_t reroutes; // appends sent to another writer, because the first was surely not reached
};

struct router *router_new(
	const struct env *env, struct bus *bus, struct timeouts *timeouts, const struct router_settings *settings);
// Every append must be over or abandoned; what is in flight is cancelled.
void router_free(struct router **router);
// A new view is in force.
void router_view(struct router *router, const struct cluster_view *view);
// Moves what waits for a writer that is gone. Returns the next deadline.
uint64_t router_step(struct router *router);

size_t router_writer_count(const struct router *router);
size_t router_reader_count(const struct router *router);
// Payload bytes sent and not answered, and appends that wait here.
uint64_t router_in_flight_bytes(const struct router *router);
size_t router_waiting(const struct router *router);
const struct router_counters *router_counters(const struct router *router);

// One batch of a produce request.
struct append_part {
	struct uuid topic_id;
	int32_t partition;
	struct bytes records; // inside the request's frame
	uint32_t message_bytes_max;
	bool log_append_time;
};

struct append_outcome {
	enum error error;
	bool sent; // false: surely not appended
	int64_t base_offset;
	int64_t log_append_time_ms;
	int64_t log_start;
	const char *message; // "" for none; lives for the call
};

// index: into parts. Called once a part, never inside router_append().
typedef void (*append_done_fn)(void *ctx, size_t index, const struct append_outcome *outcome);
struct append_ticket;

// Appends all parts; frame holds their bytes. parts are copied. The ticket is over after the last part's done.
struct append_ticket *router_append(struct router *router, struct slice frame, const struct append_part *parts, size_t count,
	uint32_t timeout_ms, uint64_t correlation, append_done_fn done, void *ctx);
// The client is gone: the appends go on, nobody is told.
void router_abandon(struct append_ticket *ticket);

// The reader for a partition, NULL if there is none. Its calls fail with ERROR_CANCELED when it leaves the view.
struct bus_link *router_reader(struct router *router, const struct uuid *topic_id, int32_t partition);
// It did not answer: others are preferred for a second. A link that is gone is ignored.
void router_avoid_reader(struct router *router, const struct bus_link *reader);
