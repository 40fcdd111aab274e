#pragma once
// ListOffsets by time, exact to the record: the owner names the first entry that may hold it (LocateTime), the records
// themselves decide. Bound: one batch at a time, unfolded to at most 256 MiB.

#include "common/runtime/bus.h"
#include "reader/walk.h"

struct time_lookups {
	struct env *env;
	struct bus *bus;
	struct walker *walker;
	struct tasks *tasks;
	uint64_t requests, errors;
};

void time_lookup_start(struct time_lookups *lookups, struct bus_request *request, const struct bus_message *message);
