#include "coordinator/producer_state.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

// Kafka's sequences wrap from 2^31 - 1 to 0.
static int32_t sequence_after(int32_t sequence, uint32_t count)
{
	return (int32_t)(((uint32_t)sequence + count) & INT32_MAX);
}

static int32_t batch_last_sequence(const struct section_batch *batch)
{
	return sequence_after(batch->base_sequence, batch->record_count - 1);
}

static const struct producer_batch *producer_find_batch(const struct producer *producer, const struct section_batch *batch)
{
	for (unsigned i = 0; i < producer->batch_count; i++) {
		const struct producer_batch *known = &producer->batches[i];
		if (known->first_sequence == batch->base_sequence && known->last_sequence == batch_last_sequence(batch))
			return known;
	}
	return NULL;
}

// Kafka's rules, but for one thing: a batch that lies ahead is OUT_OF_ORDER_SEQUENCE there, because a leader sees all that was
// sent before. Here the batch before may still be on its way through another frontend, and may be acked to the client before
// the client hears of this refusal; librdkafka then takes the code for lost data and ends for good. A gap is told as what it
// is: surely not appended, to be sent again in order.
static enum error producer_check_known(
	const struct producer *producer, const struct section_batch *batch, int64_t *ret_base_offset)
{
	if (batch->producer_epoch < producer->epoch)
		return ERROR_PRODUCER_EPOCH;
	if (batch->producer_epoch > producer->epoch)
		return batch->base_sequence == 0 ? ERROR_OK : ERROR_SEQUENCE_GAP;
	const struct producer_batch *known = producer_find_batch(producer, batch);
	if (known) {
		*ret_base_offset = known->base_offset;
		return ERROR_DUPLICATE_SEQUENCE;
	}
	int32_t next = sequence_after(producer->batches[producer->batch_count - 1].last_sequence, 1);
	if (batch->base_sequence == next)
		return ERROR_OK;
	bool ahead = (((uint32_t)batch->base_sequence - (uint32_t)next) & INT32_MAX) <= INT32_MAX / 2;
	return ahead ? ERROR_SEQUENCE_GAP : ERROR_OUT_OF_ORDER_SEQUENCE;
}

enum error producer_check(const struct producer_states *states, const struct section_batch *batch, int64_t *ret_base_offset)
{
	struct producer *producer;
	if (batch->producer_id < 0)
		return ERROR_OK;
	HASH_FIND(hh, states->table, &batch->producer_id, sizeof batch->producer_id, producer);
	if (producer)
		return producer_check_known(producer, batch, ret_base_offset);
	return batch->base_sequence == 0 ? ERROR_OK : ERROR_OUT_OF_ORDER_SEQUENCE;
}

// To the end of the table's order, which is the order of last use.
static struct producer *producer_touch(struct producer_states *states, int64_t id)
{
	struct producer *producer;
	HASH_FIND(hh, states->table, &id, sizeof id, producer);
	if (producer && !producer->hh.next)
		return producer; // at the end already, as a partition's only producer always is
	if (producer) {
		HASH_DEL(states->table, producer);
	} else {
		if (HASH_COUNT(states->table) >= PRODUCERS_MAX) {
			struct producer *idle = states->table;
			HASH_DEL(states->table, idle);
			free(idle);
		}
		producer = memory_zalloc(sizeof *producer);
		producer->id = id;
	}
	HASH_ADD(hh, states->table, id, sizeof producer->id, producer);
	return producer;
}

void producer_accept(struct producer_states *states, const struct section_batch *batch, int64_t base_offset)
{
	if (batch->producer_id < 0)
		return;
	struct producer *producer = producer_touch(states, batch->producer_id);
	if (batch->producer_epoch != producer->epoch)
		producer->batch_count = 0;
	producer->epoch = batch->producer_epoch;
	if (producer->batch_count == PRODUCER_BATCHES) {
		memmove(producer->batches, producer->batches + 1, (PRODUCER_BATCHES - 1) * sizeof producer->batches[0]);
		producer->batch_count--;
	}
	producer->batches[producer->batch_count++] =
		(struct producer_batch){batch->base_sequence, batch_last_sequence(batch), base_offset};
}

void producer_states_done(struct producer_states *states)
{
	struct producer *producer;
	struct producer *next;
	HASH_ITER(hh, states->table, producer, next)
	{
		HASH_DEL(states->table, producer);
		free(producer);
	}
}
