#include "coordinator/producer_ids.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "coordinator/controller.h"

enum { BLOCK_IDS = 1000, INCARNATION_SHIFT = 40 };

struct waiting {
	struct list link;
	void (*fn)(void *ctx, enum error error, int64_t id);
	void *ctx;
};

struct producer_ids {
	struct controller *controller;
	int64_t next;
	int64_t end;
	bool asked;
	int64_t asked_first;
	struct list waiting;
};

struct producer_ids *producer_ids_new(struct controller *controller)
{
	struct producer_ids *ids = memory_zalloc(sizeof *ids);
	ids->controller = controller;
	list_init(&ids->waiting);
	return ids;
}

static void waiting_fail(struct producer_ids *ids, enum error error)
{
	struct list now;
	list_init(&now);
	while (!list_empty(&ids->waiting))
		list_append(&now, list_pop(&ids->waiting));
	while (!list_empty(&now)) {
		struct waiting *waiting = container_of(list_pop(&now), struct waiting, link);
		waiting->fn(waiting->ctx, error, -1);
		free(waiting);
	}
}

void producer_ids_free(struct producer_ids **pointer)
{
	struct producer_ids *ids = *pointer;
	*pointer = NULL;
	if (!ids)
		return;
	waiting_fail(ids, ERROR_NOT_OWNER);
	free(ids);
}

static void block_ask(struct producer_ids *ids);

static void block_logged(void *ctx, enum error error, const struct apply_result *result)
{
	struct producer_ids *ids = ctx;
	(void)result;
	ids->asked = false;
	if (error != ERROR_OK) {
		waiting_fail(ids, error);
		return;
	}
	ids->next = ids->asked_first;
	ids->end = ids->asked_first + BLOCK_IDS;
	while (ids->next < ids->end && !list_empty(&ids->waiting)) {
		struct waiting *waiting = container_of(list_pop(&ids->waiting), struct waiting, link);
		waiting->fn(waiting->ctx, ERROR_OK, ids->next++);
		free(waiting);
	}
	if (!list_empty(&ids->waiting))
		block_ask(ids);
}

static void block_ask(struct producer_ids *ids)
{
	struct coordinator *coordinator = ids->controller->coordinator;
	int64_t first = (int64_t)(session_cluster(coordinator->session)->incarnation >> 48 << INCARNATION_SHIFT);
	int64_t known = shard_state(ids->controller->shard)->catalogue.producer_id_next;
	Weir__ProducerIdBlock block = WEIR__PRODUCER_ID_BLOCK__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	block.first = known > first ? known : first;
	block.count = BLOCK_IDS;
	command.kind_case = WEIR__COMMAND__KIND_PRODUCER_ID_BLOCK;
	command.producer_id_block = &block;
	ids->asked = true;
	ids->asked_first = block.first;
	shard_propose(ids->controller->shard, &command, (struct slice){0}, block_logged, ids);
}

void producer_ids_take(struct producer_ids *ids, void (*fn)(void *ctx, enum error error, int64_t id), void *ctx)
{
	if (ids->next < ids->end) {
		fn(ctx, ERROR_OK, ids->next++);
		return;
	}
	struct waiting *waiting = memory_zalloc(sizeof *waiting);
	waiting->fn = fn;
	waiting->ctx = ctx;
	list_append(&ids->waiting, &waiting->link);
	if (!ids->asked)
		block_ask(ids);
}
