#pragma once
// Record batches for tests, laid out by hand from Kafka's documentation, without the code under test.

#include "common/base/block.h"
#include "common/base/bytes.h"

struct batch_plan {
	uint32_t records; // at least 1
	uint32_t value_bytes;
	int64_t base_timestamp;
	const int32_t *timestamp_deltas; // a record; NULL: all 0
	int64_t producer_id;             // -1: none (epoch and sequence are then -1 too)
	int16_t producer_epoch;
	int32_t base_sequence;
	uint8_t fill; // of the values
};

struct slice batch_build(const struct batch_plan *plan);
// As a client must receive it.
struct slice batch_expected(struct bytes sent, int64_t base_offset, int32_t leader_epoch);
