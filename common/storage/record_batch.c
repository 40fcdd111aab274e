// What arrives from a producer is checked once, here, and then travels verbatim: readers and compaction trust the CRC.
#include "common/storage/record_batch.h"

#include <stddef.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/storage/compression.h"

enum {
	POSITION_LENGTH = 8,
	POSITION_LEADER_EPOCH = 12,
	POSITION_MAGIC = 16,
	POSITION_CRC = 17,
	POSITION_ATTRIBUTES = 21,
	POSITION_MAX_TIMESTAMP = 35,
	MAGIC = 2,
	ATTRIBUTES_FROM_PRODUCER = RECORD_BATCH_COMPRESSION_MASK | RECORD_BATCH_TRANSACTIONAL,
};

enum error record_batch_parse(struct bytes bytes, struct record_batch *ret_batch)
{
	if (bytes.len <= POSITION_MAGIC)
		return ERROR_MALFORMED;
	uint8_t magic = bytes.data[POSITION_MAGIC];
	if (magic < MAGIC)
		return ERROR_UNSUPPORTED_FORMAT;
	if (magic > MAGIC || bytes.len < RECORD_BATCH_HEADER_BYTES)
		return ERROR_MALFORMED;
	uint32_t len = get_u32(bytes.data + POSITION_LENGTH);
	if (len < RECORD_BATCH_HEADER_BYTES - RECORD_BATCH_LENGTH_END || len > bytes.len - RECORD_BATCH_LENGTH_END)
		return ERROR_MALFORMED;
	if (len > INT32_MAX - RECORD_BATCH_LENGTH_END)
		return ERROR_MALFORMED;
	struct reader reader = reader_of(bytes);
	struct record_batch batch = {.base_offset = reader_i64(&reader)};
	batch.size = reader_u32(&reader) + RECORD_BATCH_LENGTH_END;
	batch.leader_epoch = reader_i32(&reader);
	(void)reader_u8(&reader);  // magic
	(void)reader_u32(&reader); // crc
	batch.attributes = reader_u16(&reader);
	batch.last_offset_delta = reader_i32(&reader);
	batch.base_timestamp = reader_i64(&reader);
	batch.max_timestamp = reader_i64(&reader);
	batch.producer_id = reader_i64(&reader);
	batch.producer_epoch = reader_i16(&reader);
	batch.base_sequence = reader_i32(&reader);
	batch.record_count = reader_i32(&reader);
	*ret_batch = batch;
	return ERROR_OK;
}

static uint32_t batch_crc(const uint8_t *data, size_t size)
{
	return crc32c(0, data + POSITION_ATTRIBUTES, size - POSITION_ATTRIBUTES);
}

// A length-prefixed field; -1 is null. Other negative lengths are a failure.
static struct bytes nullable_field(struct reader *reader)
{
	int32_t len = reader_varint32(reader);
	if (len >= 0)
		return reader_bytes(reader, (size_t)len);
	if (len != -1)
		reader_fail(reader);
	return BYTES_NULL;
}

static void skip_headers(struct reader *reader, uint32_t count)
{
	for (uint32_t i = 0; i < count && !reader->failed; i++) {
		int32_t key_len = reader_varint32(reader);
		if (key_len < 0)
			reader_fail(reader);
		else
			(void)reader_bytes(reader, (size_t)key_len);
		(void)nullable_field(reader);
	}
}

// One record (Kafka docs, "Record"). ret_record->offset is the delta; false if it does not parse.
static bool record_read(struct reader *reader, const struct record_batch *batch, struct record *ret_record)
{
	int32_t len = reader_varint32(reader);
	if (reader->failed || len < 0)
		return false;
	struct reader body = reader_of(reader_bytes(reader, (size_t)len));
	if (reader->failed)
		return false;
	struct record record = {0};
	(void)reader_u8(&body); // attributes, unused
	int64_t timestamp_delta = reader_varint64(&body);
	record.timestamp = (int64_t)((uint64_t)batch->base_timestamp + (uint64_t)timestamp_delta);
	record.offset = reader_varint32(&body);
	record.key = nullable_field(&body);
	record.value = nullable_field(&body);
	int32_t header_count = reader_varint32(&body);
	if (header_count < 0)
		return false;
	record.header_count = (uint32_t)header_count;
	skip_headers(&body, record.header_count);
	if (reader_finished(&body) != ERROR_OK)
		return false;
	if (batch->attributes & RECORD_BATCH_LOG_APPEND_TIME)
		record.timestamp = batch->max_timestamp;
	*ret_record = record;
	return true;
}

// Every record is there, deltas are 0..n-1 and nothing is left over. Raises max_timestamp to what the records say, as Kafka
// does: clients exist that leave it at the first record's.
static enum error validate_records(struct bytes records, struct record_batch *batch)
{
	struct reader reader = reader_of(records);
	for (int32_t i = 0; i < batch->record_count; i++) {
		struct record record;
		if (!record_read(&reader, batch, &record) || record.offset != i)
			return ERROR_INVALID_RECORD;
		if (record.timestamp > batch->max_timestamp)
			batch->max_timestamp = record.timestamp;
	}
	return reader_finished(&reader) == ERROR_OK ? ERROR_OK : ERROR_INVALID_RECORD;
}

static enum error validate_header(struct record_batch *batch)
{
	if (batch->record_count <= 0 || batch->record_count - 1 != batch->last_offset_delta)
		return ERROR_INVALID_RECORD;
	if (batch->attributes & ~ATTRIBUTES_FROM_PRODUCER)
		return ERROR_INVALID_RECORD;
	if ((batch->attributes & RECORD_BATCH_COMPRESSION_MASK) >= COMPRESSION_COUNT)
		return ERROR_INVALID_RECORD;
	if (batch->producer_id < -1)
		return ERROR_INVALID_RECORD;
	if (batch->producer_id >= 0)
		return batch->producer_epoch < 0 || batch->base_sequence < 0 ? ERROR_INVALID_RECORD : ERROR_OK;
	if (batch->attributes & RECORD_BATCH_TRANSACTIONAL)
		return ERROR_INVALID_RECORD;
	// Without an id these two mean nothing, and not every client fills them with -1 (Sarama writes sequence 0).
	batch->producer_epoch = -1;
	batch->base_sequence = -1;
	return ERROR_OK;
}

enum error record_batch_validate(struct bytes bytes, struct record_batch *ret_batch)
{
	struct record_batch batch;
	enum error error = record_batch_parse(bytes, &batch);
	if (error)
		return error == ERROR_UNSUPPORTED_FORMAT ? error : ERROR_INVALID_RECORD;
	if (batch_crc(bytes.data, batch.size) != get_u32(bytes.data + POSITION_CRC))
		return ERROR_CORRUPT;
	error = validate_header(&batch);
	if (error)
		return error;
	struct bytes records = {bytes.data + RECORD_BATCH_HEADER_BYTES, batch.size - RECORD_BATCH_HEADER_BYTES};
	if ((batch.attributes & RECORD_BATCH_COMPRESSION_MASK) == COMPRESSION_NONE)
		error = validate_records(records, &batch);
	else if (!records.len)
		error = ERROR_INVALID_RECORD;
	if (error)
		return error;
	*ret_batch = batch;
	return ERROR_OK;
}

void record_batch_patch(uint8_t *data, int64_t base_offset, int32_t leader_epoch)
{
	put_u64(data, (uint64_t)base_offset);
	put_u32(data + POSITION_LEADER_EPOCH, (uint32_t)leader_epoch);
}

void record_batch_set_append_time(uint8_t *data, size_t size, int64_t timestamp_ms)
{
	CHECK(size >= RECORD_BATCH_HEADER_BYTES);
	uint16_t attributes = get_u16(data + POSITION_ATTRIBUTES);
	put_u16(data + POSITION_ATTRIBUTES, attributes | RECORD_BATCH_LOG_APPEND_TIME);
	put_u64(data + POSITION_MAX_TIMESTAMP, (uint64_t)timestamp_ms);
	put_u32(data + POSITION_CRC, batch_crc(data, size));
}

// Deltas may have holes here: a log compacted by key keeps them.
static enum error each_record(struct bytes records, const struct record_batch *batch, record_fn fn, void *ctx)
{
	struct reader reader = reader_of(records);
	int64_t delta_before = -1;
	for (int32_t i = 0; i < batch->record_count; i++) {
		struct record record;
		if (!record_read(&reader, batch, &record))
			return ERROR_CORRUPT;
		if (record.offset <= delta_before || record.offset > batch->last_offset_delta)
			return ERROR_CORRUPT;
		delta_before = record.offset;
		record.offset = (int64_t)((uint64_t)batch->base_offset + (uint64_t)record.offset);
		if (!fn(ctx, &record))
			return ERROR_OK;
	}
	return reader_finished(&reader) == ERROR_OK ? ERROR_OK : ERROR_CORRUPT;
}

enum error record_batch_each(struct bytes bytes, size_t bytes_max, record_fn fn, void *ctx)
{
	struct record_batch batch;
	enum error error = record_batch_parse(bytes, &batch);
	if (error)
		return error == ERROR_UNSUPPORTED_FORMAT ? error : ERROR_CORRUPT;
	if (batch.record_count < 0)
		return ERROR_CORRUPT;
	struct bytes records = {bytes.data + RECORD_BATCH_HEADER_BYTES, batch.size - RECORD_BATCH_HEADER_BYTES};
	uint16_t codec = batch.attributes & RECORD_BATCH_COMPRESSION_MASK;
	if (codec >= COMPRESSION_COUNT)
		return ERROR_UNSUPPORTED_COMPRESSION;
	if (codec == COMPRESSION_NONE)
		return each_record(records, &batch, fn, ctx);
	struct buffer plain;
	buffer_init(&plain, bytes_max);
	error = compression_decode((enum compression)codec, records, &plain);
	if (!error)
		error = each_record(buffer_view(&plain), &batch, fn, ctx);
	buffer_done(&plain);
	return error;
}
