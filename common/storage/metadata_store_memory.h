#pragma once
// An etcd in memory for tests and simulation: the same semantics (revisions, leases that expire by env time, watches), answers
// come one step later. Faults by script: the n-th call fails before or after taking effect, hangs, or takes effect late.
// Bounds: the last 8192 changes or 64 MiB of them are kept for watches, older ones make a watch resync.

#include "common/base/env.h"
#include "common/storage/metadata_store.h"

enum metadata_fault {
	METADATA_FAULT_NONE,
	METADATA_FAULT_BEFORE, // ERROR_DISCONNECTED, nothing happened
	METADATA_FAULT_AFTER,  // ERROR_DISCONNECTED, it happened
	METADATA_FAULT_HANG,   // ERROR_TIMED_OUT at the deadline, nothing happened
	METADATA_FAULT_LATE, // ERROR_TIMED_OUT at the deadline; a Txn happens one more timeout later (seen with a paused etcd)
};

// Answers are delivered by metadata_store_memory_step(), which the owner calls once a turn.
struct metadata_store *metadata_store_memory_new(const struct env *env);
// Delivers what is due (events first, as etcd often does); returns when it wants to be called again. It cannot know of calls
// made after it in the same turn: whoever makes them asks for another turn.
uint64_t metadata_store_memory_step(struct metadata_store *store);
// Asked once per call and once per keep-alive sent, counted from 0 from now on; NULL for none.
void metadata_store_memory_script(
	struct metadata_store *store, enum metadata_fault (*fault)(void *ctx, uint64_t call_number), void *ctx);
// A second handle on the same data, as a second process would have; freed on its own.
struct metadata_store *metadata_store_memory_attach(struct metadata_store *store, const struct env *env);
