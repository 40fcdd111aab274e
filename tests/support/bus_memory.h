#pragma once
// A bus in memory: endpoints in one process behind struct bus_ops, messages delivered by bus_memory_step() in the order they
// were sent. For unit tests and the simulator. Faults by script.

#include "common/base/env.h"
#include "common/runtime/bus.h"

struct bus_memory;

enum bus_memory_kind { BUS_MEMORY_REQUEST, BUS_MEMORY_REPLY, BUS_MEMORY_FEED };
enum bus_memory_fault {
	BUS_MEMORY_DELIVER,
	BUS_MEMORY_LOSE,       // a request or reply: the call times out; a feed message: gone
	BUS_MEMORY_DISCONNECT, // a request or reply: ERROR_DISCONNECTED at once
	BUS_MEMORY_REFUSE,     // a request: ERROR_UNREACHABLE, surely not sent
	BUS_MEMORY_HOLD,       // asked again at the next step; what is behind it may overtake
};

struct bus_memory_event {
	enum bus_memory_kind kind;
	uint32_t type;       // 0 for a feed message
	struct bytes prefix; // feed messages
	struct bytes body;
	const char *from, *to; // addresses of endpoints
};

struct bus_memory *bus_memory_new(const struct env *env);
// Endpoints must have been freed.
void bus_memory_free(struct bus_memory **network);
// Asked for each message at its delivery; NULL for none.
void bus_memory_script(
	struct bus_memory *network, enum bus_memory_fault (*fault)(void *ctx, const struct bus_memory_event *event), void *ctx);
// Delivers what was sent before this step, and timeouts. When to call again.
uint64_t bus_memory_step(struct bus_memory *network);

// A process: requests to address reach it, what it publishes reaches those who subscribed to feed_address (NULL: none).
struct bus *bus_memory_endpoint(struct bus_memory *network, const char *address, const char *feed_address);
// As if the process died: calls to it end with ERROR_DISCONNECTED, its own are forgotten, requests it holds are dropped.
void bus_memory_endpoint_free(struct bus **endpoint);
