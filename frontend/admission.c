#include "frontend/admission.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/memory.h"

// While somebody waits, how soon to look again for blocks that other threads freed: such a free wakes nobody.
enum { ADMISSION_LOOK_AGAIN_US = 1000 };

// Outlives the admission until the last block is gone.
struct admission_ledger {
	atomic_size_t refs;
	atomic_size_t returned[ADMISSION_CLASS_COUNT];
};

struct admission_budget {
	uint64_t limit;
	uint64_t used;
	struct list waiting; // admission_ask, first come first
	size_t waiting_count;
};

struct admission {
	struct admission_budget budgets[ADMISSION_CLASS_COUNT];
	struct admission_ledger *ledger;
};

struct admission_held_block {
	struct block block;
	struct admission_ledger *ledger;
	enum admission_class class;
};

static void admission_ledger_unref(struct admission_ledger *ledger)
{
	if (atomic_fetch_sub(&ledger->refs, 1) == 1)
		free(ledger);
}

struct admission *admission_new(const uint64_t budgets[ADMISSION_CLASS_COUNT])
{
	struct admission *admission = memory_zalloc(sizeof *admission);
	admission->ledger = memory_zalloc(sizeof *admission->ledger);
	atomic_init(&admission->ledger->refs, 1);
	for (int class = 0; class < ADMISSION_CLASS_COUNT; class ++) {
		admission->budgets[class].limit = budgets[class];
		list_init(&admission->budgets[class].waiting);
	}
	return admission;
}

void admission_free(struct admission **admission)
{
	if (!*admission)
		return;
	for (int class = 0; class < ADMISSION_CLASS_COUNT; class ++)
		CHECK(list_empty(&(*admission)->budgets[class].waiting));
	admission_ledger_unref((*admission)->ledger);
	free(*admission);
	*admission = NULL;
}

static bool admission_fits(const struct admission_budget *budget, size_t bytes)
{
	return budget->used == 0 || (budget->used <= budget->limit && bytes <= budget->limit - budget->used);
}

bool admission_ask(struct admission *admission, struct admission_ask *ask, enum admission_class class, size_t bytes)
{
	struct admission_budget *budget = &admission->budgets[class];
	CHECK(!ask->waiting);
	ask->class = class;
	ask->bytes = bytes;
	if (list_empty(&budget->waiting) && admission_fits(budget, bytes)) {
		budget->used += bytes;
		return true;
	}
	ask->waiting = true;
	list_append(&budget->waiting, &ask->link);
	budget->waiting_count++;
	return false;
}

void admission_withdraw(struct admission *admission, struct admission_ask *ask)
{
	if (!ask->waiting)
		return;
	ask->waiting = false;
	list_remove(&ask->link);
	admission->budgets[ask->class].waiting_count--;
}

void admission_return(struct admission *admission, enum admission_class class, size_t bytes)
{
	CHECK(admission->budgets[class].used >= bytes);
	admission->budgets[class].used -= bytes;
}

static void admission_block_free(struct block *block)
{
	struct admission_held_block *held = container_of(block, struct admission_held_block, block);
	struct admission_ledger *ledger = held->ledger;
	atomic_fetch_add(&ledger->returned[held->class], block->len);
	free(held);
	admission_ledger_unref(ledger);
}

struct block *admission_block(struct admission *admission, enum admission_class class, size_t len)
{
	struct admission_held_block *held = memory_alloc(sizeof *held + len);
	atomic_init(&held->block.refs, 1);
	held->block.data = (uint8_t *)(held + 1);
	held->block.len = len;
	held->block.free = admission_block_free;
	held->ledger = admission->ledger;
	held->class = class;
	atomic_fetch_add(&admission->ledger->refs, 1);
	return &held->block;
}

static void admission_grant(struct admission *admission, struct admission_budget *budget)
{
	while (!list_empty(&budget->waiting)) {
		struct admission_ask *ask = container_of(budget->waiting.next, struct admission_ask, link);
		if (!admission_fits(budget, ask->bytes))
			return;
		admission_withdraw(admission, ask);
		budget->used += ask->bytes;
		ask->granted(ask);
	}
}

uint64_t admission_step(struct admission *admission, const struct env *env)
{
	bool waiting = false;
	for (int class = 0; class < ADMISSION_CLASS_COUNT; class ++) {
		size_t returned = atomic_exchange(&admission->ledger->returned[class], 0);
		admission_return(admission, (enum admission_class) class, returned);
		admission_grant(admission, &admission->budgets[class]);
		waiting |= !list_empty(&admission->budgets[class].waiting);
	}
	return waiting ? env->now_us + ADMISSION_LOOK_AGAIN_US : DEADLINE_NEVER;
}

uint64_t admission_used(const struct admission *admission, enum admission_class class)
{
	return admission->budgets[class].used;
}

uint64_t admission_budget(const struct admission *admission, enum admission_class class)
{
	return admission->budgets[class].limit;
}

size_t admission_waiting(const struct admission *admission, enum admission_class class)
{
	return admission->budgets[class].waiting_count;
}
