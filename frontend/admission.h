#pragma once
// Memory for requests and answers, granted before it is used. Each class has a budget that the others cannot take, so a store
// that slows produce down leaves heartbeats their room, and a body is only read after its whole size was granted, so that
// half-read requests cannot wait for each other (history 18).
//
//	connection: length and header read ──► admission_ask(class, bytes) ──► granted: read the body into admission_block()
//
// Bound: the sum of the budgets. When a class is full, its asks wait first come, first served; more than the whole budget is
// granted to one that is alone. Owner: the frontend core. A block may be freed in a thread of ZeroMQ: what it held comes back
// through an atomic ledger that admission_step() collects.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/block.h"
#include "common/base/env.h"
#include "common/base/list.h"

enum admission_class { ADMISSION_PRODUCE, ADMISSION_FETCH, ADMISSION_OTHER, ADMISSION_CLASS_COUNT };

struct admission;

// One wait; embedded by who asks. Zero-initialise.
struct admission_ask {
	void (*granted)(struct admission_ask *ask); // never called inside admission_ask()
	enum admission_class class;
	size_t bytes;
	bool waiting;
	struct list link; // admission's while waiting
};

// budgets in bytes, by class.
struct admission *admission_new(const uint64_t budgets[ADMISSION_CLASS_COUNT]);
// Blocks that are still out may outlive it.
void admission_free(struct admission **admission);

// true: granted now. Otherwise ask->granted() is called when it is this one's turn.
bool admission_ask(struct admission *admission, struct admission_ask *ask, enum admission_class class, size_t bytes);
// No longer wanted; does nothing if it is not waiting.
void admission_withdraw(struct admission *admission, struct admission_ask *ask);
// What was granted, or a part of it, comes back.
void admission_return(struct admission *admission, enum admission_class class, size_t bytes);
// A block of len bytes that were granted; they come back when its last hold goes, in whichever thread that is.
struct block *admission_block(struct admission *admission, enum admission_class class, size_t len);

// Collects what other threads gave back and grants what fits. Returns when it wants to run again: soon while somebody waits.
uint64_t admission_step(struct admission *admission, const struct env *env);

uint64_t admission_used(const struct admission *admission, enum admission_class class);
uint64_t admission_budget(const struct admission *admission, enum admission_class class);
size_t admission_waiting(const struct admission *admission, enum admission_class class);
