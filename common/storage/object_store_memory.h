#pragma once
// A bucket in memory for tests and simulation: S3's semantics, answers come one loop turn later. Faults by script.

#include "common/base/env.h"
#include "common/storage/object_store.h"

enum object_fault { OBJECT_FAULT_NONE, OBJECT_FAULT_BEFORE, OBJECT_FAULT_AFTER, OBJECT_FAULT_HANG, OBJECT_FAULT_THROTTLE };

struct object_store *object_store_memory_new(const struct env *env);
// Delivers what is due; returns when it wants to be called again. The owner calls it once a turn.
uint64_t object_store_memory_step(struct object_store *store);
// Asked once per call, in order; NULL for none.
void object_store_memory_script(
	struct object_store *store, enum object_fault (*fault)(void *ctx, uint64_t call_number), void *ctx);
// A second handle on the same data, as a second process would have; freed on its own.
struct object_store *object_store_memory_attach(struct object_store *store, const struct env *env);
