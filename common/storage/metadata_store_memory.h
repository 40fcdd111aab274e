#pragma once
// An etcd in memory for tests and simulation: the same semantics (revisions, leases that expire by env time, watches), answers
// come one loop turn later. Faults by script: the n-th call fails before or after taking effect.

#include "common/base/env.h"
#include "common/storage/metadata_store.h"

enum metadata_fault { METADATA_FAULT_NONE, METADATA_FAULT_BEFORE, METADATA_FAULT_AFTER, METADATA_FAULT_HANG };

// Answers are delivered by metadata_store_memory_step(), which the owner calls once a turn.
struct metadata_store *metadata_store_memory_new(const struct env *env);
// Delivers what is due; returns when it wants to be called again.
uint64_t metadata_store_memory_step(struct metadata_store *store);
// Asked once per call, in order; NULL for none.
void metadata_store_memory_script(
	struct metadata_store *store, enum metadata_fault (*fault)(void *ctx, uint64_t call_number), void *ctx);
// A second handle on the same data, as a second process would have; freed on its own.
struct metadata_store *metadata_store_memory_attach(struct metadata_store *store, const struct env *env);
