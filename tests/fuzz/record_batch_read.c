// A batch as a hostile producer sends it: validated, then walked whatever the verdict, with the CRC made right first so that
// the search gets past it.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "common/storage/record_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool read_record(void *ctx, const struct record *record)
{
	uint64_t *sum = ctx;
	for (size_t i = 0; i < record->key.len; i++)
		*sum += record->key.data[i];
	for (size_t i = 0; i < record->value.len; i++)
		*sum += record->value.data[i];
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = memory_alloc(len);
	if (len)
		memcpy(copy, data, len);
	struct bytes bytes = {copy, len};
	struct record_batch batch;
	uint64_t sum = 0;
	if (record_batch_parse(bytes, &batch) == ERROR_OK) {
		CHECK(batch.size <= len && batch.size >= RECORD_BATCH_HEADER_BYTES);
		put_u32(copy + 17, crc32c(0, copy + 21, batch.size - 21));
	}
	if (record_batch_validate(bytes, &batch) == ERROR_OK)
		CHECK(batch.record_count > 0 && batch.last_offset_delta == batch.record_count - 1);
	(void)(record_batch_each(bytes, 1 << 20, read_record, &sum) == ERROR_OK);
	free(copy);
	return 0;
}
