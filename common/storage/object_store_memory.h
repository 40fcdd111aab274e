#pragma once
// A bucket in memory for tests and simulation: S3's semantics, answers come one step later. Faults by script. Unbounded but for
// what its users put in.

#include "common/base/env.h"
#include "common/storage/object_store.h"

enum object_fault {
	OBJECT_FAULT_NONE,
	OBJECT_FAULT_BEFORE,   // ERROR_STORAGE, nothing happened
	OBJECT_FAULT_AFTER,    // ERROR_DISCONNECTED, it happened
	OBJECT_FAULT_HANG,     // ERROR_TIMED_OUT at the deadline, nothing happened
	OBJECT_FAULT_THROTTLE, // ERROR_THROTTLED, nothing happened
	OBJECT_FAULT_LATE,     // ERROR_TIMED_OUT at the deadline; a put or delete happens one more timeout later
};

struct object_store *object_store_memory_new(const struct env *env);
// Delivers what is due; returns when it wants to be called again. The owner calls it once a turn. It cannot know of calls made
// after it in the same turn: whoever makes them asks for another turn.
uint64_t object_store_memory_step(struct object_store *store);
// Asked once per call of this handle, in order from 0; NULL for none.
void object_store_memory_script(
	struct object_store *store, enum object_fault (*fault)(void *ctx, uint64_t call_number), void *ctx);
// A second handle on the same data, as a second process would have; freed on its own.
struct object_store *object_store_memory_attach(struct object_store *store, const struct env *env);
