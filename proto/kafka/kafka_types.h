#pragma once
// The Kafka types that are more than an integer: strings and bytes are struct bytes (data == NULL is null), a uuid is struct
// uuid, and records are told here.

#include <stdint.h>

#include "common/base/block.h"
#include "common/base/bytes.h"
#include "common/base/uuid.h"

// A records field: record batches, opaque here. Decoding fills bytes with a view into the frame. Encoding takes slices if set
// and sends them without a copy (see kafka_writer.h), else copies bytes; null if both are NULL. Clients expect empty rather
// than null records in a Fetch answer: KAFKA_RECORDS_EMPTY.
struct kafka_records {
	struct bytes bytes;
	const struct slice *slices;
	int32_t slice_count;
};

#define KAFKA_RECORDS_NULL ((struct kafka_records){.bytes = BYTES_NULL})
#define KAFKA_RECORDS_EMPTY ((struct kafka_records){.bytes = {(const uint8_t *)"", 0}})
