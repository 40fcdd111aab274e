#pragma once
// What a partition knows of its idempotent producers: epoch and the last five batches (Kafka's ProducerStateManager), so that a
// repeated batch is answered and not appended, and a missing one is noticed. One deliberate difference: without state the first
// sequence must be 0, since two paths could otherwise reorder a new producer (histories, 5).
//
// Owner: the partition in a shard's state; only apply changes it. Bound: PRODUCERS_MAX a partition, the one idle longest goes
// first. Its next batch is then out of order; only the repetition of its very first one would be doubled, if PRODUCERS_MAX
// other producers began here between the two.

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/hash_map.h"
#include "common/storage/mixed_object.h"

enum { PRODUCER_BATCHES = 5, PRODUCERS_MAX = 20000 };

struct producer_batch {
	int32_t first_sequence;
	int32_t last_sequence;
	int64_t base_offset;
};

struct producer {
	int64_t id;
	int16_t epoch;
	uint8_t batch_count;
	struct producer_batch batches[PRODUCER_BATCHES]; // oldest first
	UT_hash_handle hh;
};

struct producer_states {
	struct producer *table; // the one idle longest first
};

// ERROR_OK: may be appended. ERROR_DUPLICATE_SEQUENCE: was appended at ret_base_offset. ERROR_SEQUENCE_GAP: refused, but would
// fit behind a batch that may still come. ERROR_OUT_OF_ORDER_SEQUENCE, ERROR_PRODUCER_EPOCH: refused. Batches without producer
// id are always OK.
MUST_CHECK enum error producer_check(
	const struct producer_states *states, const struct section_batch *batch, int64_t *ret_base_offset);
// After ERROR_OK.
void producer_accept(struct producer_states *states, const struct section_batch *batch, int64_t base_offset);
void producer_states_done(struct producer_states *states);
