// The section's code. Bytes: u8 codec (0 raw, 1 zstd) | uvarint plain length | plain or packed bytes. Plain, version 1:
//
//	u8 version | uvarint runs | uvarint batches | topics: (id 16 B, uvarint runs of it) until all runs are named
//	columns of runs:    partition, gap before the run in the object, batches
//	columns of batches: size, record count, attributes, first timestamp, span to the max timestamp, producer
//	new producers:      varint id (as difference to the last new one), varint epoch; one for each PRODUCER_NEW
//	column of batches:  base sequence
//
// A column holds, for each entry, the difference (zig-zag) to what the entries before let expect, so that a run in which
// nothing unexpected happens is all zeros. It is written as groups: uvarint (n << 1 | same), then one value if same, else n.
// All arithmetic is modulo 2^64, so that any value survives; the decoder then refuses what is out of range.
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/storage/mixed_object.h"

enum {
	SECTION_VERSION = 1,
	CODEC_RAW = 0,
	CODEC_ZSTD = 1,
	PLAIN_BYTES_MAX = 64 << 20,
	ZSTD_FROM_BYTES = 128,
	ZSTD_LEVEL = 1,
	BATCHES_MAX = 4 << 20, // of a section; groups of equal values cost no bytes, so bytes do not bound the count
	SAME_MIN = 3,          // shorter repeats stay in a group of single values
};

static uint64_t zigzag(uint64_t value)
{
	return (value << 1) ^ (0 - (value >> 63));
}

static uint64_t unzigzag(uint64_t value)
{
	return (value >> 1) ^ (0 - (value & 1));
}

// ---- What the entries before let expect; encoder and decoder walk it in step.

enum { RECENT_PRODUCERS = 16, PRODUCER_NEW = RECENT_PRODUCERS };

struct producer {
	int64_t id;
	int16_t epoch;
	uint32_t next_sequence; // what follows its last batch in this run, -1 without id
};

// The most recent first. Spans runs, since one producer usually writes to many partitions; sequences do not.
struct recent_producers {
	struct producer entries[RECENT_PRODUCERS];
	size_t count;
};

static struct producer *recent_to_front(struct recent_producers *recent, size_t index)
{
	struct producer moved = recent->entries[index];
	memmove(recent->entries + 1, recent->entries, index * sizeof moved);
	recent->entries[0] = moved;
	return recent->entries;
}

static struct producer *recent_add(struct recent_producers *recent, int64_t id, int16_t epoch)
{
	if (recent->count < RECENT_PRODUCERS)
		recent->count++;
	recent->entries[recent->count - 1] = (struct producer){id, epoch, id < 0 ? UINT32_MAX : 0};
	return recent_to_front(recent, recent->count - 1);
}

// PRODUCER_NEW if it is not among them.
static size_t recent_find(const struct recent_producers *recent, int64_t id, int16_t epoch)
{
	for (size_t i = 0; i < recent->count; i++)
		if (recent->entries[i].id == id && recent->entries[i].epoch == epoch)
			return i;
	return PRODUCER_NEW;
}

static void recent_start_run(struct recent_producers *recent)
{
	for (size_t i = 0; i < recent->count; i++)
		recent->entries[i].next_sequence = recent->entries[i].id < 0 ? UINT32_MAX : 0;
}

// Kafka's sequences wrap from 2^31 - 1 to 0.
static void producer_advance(struct producer *producer, const struct section_batch *batch)
{
	if (producer->id >= 0)
		producer->next_sequence = ((uint32_t)batch->base_sequence + batch->record_count) & INT32_MAX;
}

static const struct section_batch nothing_before;

// A batch follows the last one's end in time; a run begins about when the run before did.
static uint64_t expected_first_timestamp(const struct section_batch *before, bool new_run)
{
	return (uint64_t)(new_run ? before->first_timestamp : before->max_timestamp);
}

// ---- Encoder

static void column_encode(const uint64_t *values, size_t count, struct buffer *out)
{
	size_t single = 0; // values before i that are in no group yet
	for (size_t i = 0; i < count;) {
		size_t same = 1;
		while (i + same < count && values[i + same] == values[i])
			same++;
		if (same < SAME_MIN) {
			single += same;
			i += same;
			if (i < count)
				continue;
			same = 0;
		}
		if (single) {
			buffer_uvarint(out, (uint64_t)single << 1);
			for (const uint64_t *value = values + i - single; value < values + i; value++)
				buffer_uvarint(out, *value);
			single = 0;
		}
		if (same) {
			buffer_uvarint(out, (uint64_t)same << 1 | 1);
			buffer_uvarint(out, values[i]);
			i += same;
		}
	}
}

static void encode_topics(const struct section *section, struct buffer *out)
{
	for (uint32_t i = 0; i < section->run_count;) {
		const struct uuid *topic_id = &section->runs[i].topic_id;
		uint32_t count = 1;
		while (i + count < section->run_count && uuid_equal(&section->runs[i + count].topic_id, topic_id))
			count++;
		buffer_bytes(out, uuid_view(topic_id));
		buffer_uvarint(out, count);
		i += count;
	}
}

static uint64_t run_bytes(const struct section_run *run)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < run->batch_count; i++)
		bytes += run->batches[i].size;
	return bytes;
}

static void encode_run_columns(const struct section *section, uint64_t *column, struct buffer *out)
{
	const struct section_run *runs = section->runs;
	uint64_t expected = 0;
	for (uint32_t i = 0; i < section->run_count; i++) {
		if (i && !uuid_equal(&runs[i].topic_id, &runs[i - 1].topic_id))
			expected = 0;
		column[i] = zigzag((uint64_t)runs[i].partition - expected);
		expected = (uint64_t)runs[i].partition + 1;
	}
	column_encode(column, section->run_count, out);
	uint64_t end = 0;
	for (uint32_t i = 0; i < section->run_count; i++) {
		CHECK(runs[i].position >= end);
		column[i] = runs[i].position - end;
		end = runs[i].position + run_bytes(&runs[i]);
	}
	column_encode(column, section->run_count, out);
	for (uint32_t i = 0; i < section->run_count; i++)
		column[i] = runs[i].batch_count;
	column_encode(column, section->run_count, out);
}

// What a batch has beyond the expectation; before is the batch before it in the section, of whatever run.
typedef uint64_t (*surprise_fn)(const struct section_batch *batch, const struct section_batch *before, bool new_run);

static uint64_t surprise_size(const struct section_batch *batch, const struct section_batch *before, bool new_run)
{
	(void)new_run;
	return zigzag((uint64_t)batch->size - before->size);
}

static uint64_t surprise_record_count(const struct section_batch *batch, const struct section_batch *before, bool new_run)
{
	(void)new_run;
	return zigzag((uint64_t)batch->record_count - before->record_count);
}

static uint64_t surprise_attributes(const struct section_batch *batch, const struct section_batch *before, bool new_run)
{
	(void)new_run;
	return zigzag((uint64_t)batch->attributes - before->attributes);
}

static uint64_t surprise_first_timestamp(const struct section_batch *batch, const struct section_batch *before, bool new_run)
{
	return zigzag((uint64_t)batch->first_timestamp - expected_first_timestamp(before, new_run));
}

static uint64_t surprise_span(const struct section_batch *batch, const struct section_batch *before, bool new_run)
{
	(void)before;
	(void)new_run;
	return zigzag((uint64_t)batch->max_timestamp - (uint64_t)batch->first_timestamp);
}

static void encode_batch_columns(const struct section *section, uint64_t *column, size_t total, struct buffer *out)
{
	static const surprise_fn surprises[] = {
		surprise_size, surprise_record_count, surprise_attributes, surprise_first_timestamp, surprise_span};
	for (size_t i = 0; i < sizeof surprises / sizeof *surprises; i++) {
		const struct section_batch *before = &nothing_before;
		size_t at = 0;
		for (uint32_t r = 0; r < section->run_count; r++) {
			for (uint32_t b = 0; b < section->runs[r].batch_count; b++) {
				const struct section_batch *batch = &section->runs[r].batches[b];
				column[at++] = surprises[i](batch, before, b == 0);
				before = batch;
			}
		}
		column_encode(column, total, out);
	}
}

static void encode_producers(const struct section *section, uint64_t *column, size_t total, struct buffer *out)
{
	struct buffer added;
	buffer_init(&added, SIZE_MAX);
	uint64_t *sequences = memory_alloc(total * sizeof *sequences);
	struct recent_producers recent = {0};
	uint64_t id_before = 0;
	size_t at = 0;
	for (uint32_t r = 0; r < section->run_count; r++) {
		recent_start_run(&recent);
		for (uint32_t b = 0; b < section->runs[r].batch_count; b++, at++) {
			const struct section_batch *batch = &section->runs[r].batches[b];
			size_t index = recent_find(&recent, batch->producer_id, batch->producer_epoch);
			column[at] = index;
			struct producer *producer;
			if (index == PRODUCER_NEW) {
				buffer_varint(&added, (int64_t)((uint64_t)batch->producer_id - id_before));
				buffer_varint(&added, batch->producer_epoch);
				id_before = (uint64_t)batch->producer_id;
				producer = recent_add(&recent, batch->producer_id, batch->producer_epoch);
			} else {
				producer = recent_to_front(&recent, index);
			}
			int64_t expected = (int32_t)producer->next_sequence;
			sequences[at] = zigzag((uint64_t)(batch->base_sequence - expected));
			producer_advance(producer, batch);
		}
	}
	column_encode(column, total, out);
	buffer_bytes(out, buffer_view(&added));
	column_encode(sequences, total, out);
	free(sequences);
	buffer_done(&added);
}

static size_t check_and_count(const struct section *section)
{
	size_t total = 0;
	for (uint32_t r = 0; r < section->run_count; r++) {
		CHECK(section->runs[r].batch_count > 0 && section->runs[r].partition >= 0);
		for (uint32_t b = 0; b < section->runs[r].batch_count; b++) {
			const struct section_batch *batch = &section->runs[r].batches[b];
			CHECK(batch->size > 0 && batch->record_count > 0 && batch->record_count <= INT32_MAX);
		}
		total += section->runs[r].batch_count;
	}
	CHECK(total <= BATCHES_MAX);
	return total;
}

static void encode_plain(const struct section *section, struct buffer *out)
{
	size_t total = check_and_count(section);
	buffer_u8(out, SECTION_VERSION);
	buffer_uvarint(out, section->run_count);
	buffer_uvarint(out, total);
	encode_topics(section, out);
	uint64_t *column = memory_alloc(total * sizeof *column);
	encode_run_columns(section, column, out);
	encode_batch_columns(section, column, total, out);
	encode_producers(section, column, total, out);
	free(column);
}

// False: not shorter, nothing was written.
static bool encode_packed(struct bytes plain, struct buffer *out)
{
	if (plain.len <= ZSTD_FROM_BYTES)
		return false;
	size_t room = ZSTD_compressBound(plain.len);
	uint8_t *packed = memory_alloc(room);
	size_t len = ZSTD_compress(packed, room, plain.data, plain.len, ZSTD_LEVEL);
	bool shorter = !ZSTD_isError(len) && len < plain.len;
	if (shorter) {
		buffer_u8(out, CODEC_ZSTD);
		buffer_uvarint(out, plain.len);
		buffer_append(out, packed, len);
	}
	free(packed);
	return shorter;
}

void section_encode(const struct section *section, struct buffer *out)
{
	struct buffer plain;
	buffer_init(&plain, PLAIN_BYTES_MAX);
	encode_plain(section, &plain);
	CHECK(!plain.failed);
	if (!encode_packed(buffer_view(&plain), out)) {
		buffer_u8(out, CODEC_RAW);
		buffer_uvarint(out, plain.len);
		buffer_bytes(out, buffer_view(&plain));
	}
	buffer_done(&plain);
}

// ---- Decoder

// One column as it is read: values come one by one, groups are opened as needed.
struct column {
	struct reader *reader;
	size_t total_left; // entries of the column not yet in an opened group
	uint64_t group_left;
	bool same;
	uint64_t value;
};

static struct column column_open(struct reader *reader, size_t count)
{
	return (struct column){.reader = reader, .total_left = count};
}

static uint64_t column_next(struct column *column)
{
	if (!column->group_left) {
		uint64_t head = reader_uvarint64(column->reader);
		column->same = head & 1;
		column->group_left = head >> 1;
		if (!column->group_left || column->group_left > column->total_left) {
			reader_fail(column->reader);
			column->group_left = 1; // so that a failed column still ends
			column->same = false;
			return 0;
		}
		column->total_left -= column->group_left;
		if (column->same)
			column->value = reader_uvarint64(column->reader);
	}
	column->group_left--;
	return column->same ? column->value : reader_uvarint64(column->reader);
}

// The reader's failure is sticky and checked after each column; a column that fails leaves zeros.
static void decode_topics(struct reader *reader, struct section *section)
{
	for (uint32_t i = 0; i < section->run_count && !reader->failed;) {
		struct uuid topic_id;
		if (!uuid_from_bytes(reader_bytes(reader, sizeof topic_id.bytes), &topic_id)) {
			reader_fail(reader);
			return;
		}
		uint64_t count = reader_uvarint64(reader);
		if (!count || count > section->run_count - i) {
			reader_fail(reader);
			return;
		}
		while (count--)
			section->runs[i++].topic_id = topic_id;
	}
}

static void decode_partitions(struct reader *reader, struct section *section)
{
	struct column column = column_open(reader, section->run_count);
	uint64_t expected = 0;
	for (uint32_t i = 0; i < section->run_count; i++) {
		struct section_run *run = &section->runs[i];
		if (i && !uuid_equal(&run->topic_id, &run[-1].topic_id))
			expected = 0;
		uint64_t partition = expected + unzigzag(column_next(&column));
		if (reader->failed || partition > INT32_MAX) {
			reader_fail(reader);
			return;
		}
		run->partition = (int32_t)partition;
		expected = partition + 1;
	}
}

// Gaps wait in position until the sizes are known.
static void decode_extents(struct reader *reader, struct section *section, size_t total)
{
	struct column gaps = column_open(reader, section->run_count);
	for (uint32_t i = 0; i < section->run_count; i++)
		section->runs[i].position = column_next(&gaps);
	struct column counts = column_open(reader, section->run_count);
	size_t left = total;
	for (uint32_t i = 0; i < section->run_count; i++) {
		uint64_t count = column_next(&counts);
		if (reader->failed || !count || count > left) {
			reader_fail(reader);
			return;
		}
		section->runs[i].batch_count = (uint32_t)count;
		left -= count;
	}
	if (left)
		reader_fail(reader);
}

static void share_out_batches(struct section *section, struct section_batch *batches)
{
	for (uint32_t i = 0; i < section->run_count; i++) {
		section->runs[i].batches = batches;
		batches += section->runs[i].batch_count;
	}
}

// A column of small integers, each the difference to the one before; fails outside [min, max].
static bool next_in_range(struct column *column, uint64_t *value, uint64_t min, uint64_t max)
{
	*value += unzigzag(column_next(column));
	if (!column->reader->failed && *value >= min && *value <= max)
		return true;
	reader_fail(column->reader);
	return false;
}

static void decode_small_columns(struct reader *reader, struct section_batch *batches, size_t total)
{
	uint64_t value = 0;
	struct column column = column_open(reader, total);
	for (size_t i = 0; i < total && next_in_range(&column, &value, 1, UINT32_MAX); i++)
		batches[i].size = (uint32_t)value;
	value = 0;
	column = column_open(reader, total);
	for (size_t i = 0; i < total && next_in_range(&column, &value, 1, INT32_MAX); i++)
		batches[i].record_count = (uint32_t)value;
	value = 0;
	column = column_open(reader, total);
	for (size_t i = 0; i < total && next_in_range(&column, &value, 0, UINT16_MAX); i++)
		batches[i].attributes = (uint16_t)value;
}

static void decode_timestamps(struct reader *reader, struct section *section, size_t total)
{
	// A first timestamp is told from the max before it, which the next column yields: read spans from a copy of the reader.
	struct reader firsts_reader = *reader;
	struct column firsts = column_open(&firsts_reader, total);
	struct column skipped = column_open(reader, total);
	for (size_t i = 0; i < total && !reader->failed; i++)
		(void)column_next(&skipped);
	struct column spans = column_open(reader, total);
	const struct section_batch *before = &nothing_before;
	for (uint32_t r = 0; r < section->run_count; r++) {
		for (uint32_t b = 0; b < section->runs[r].batch_count && !reader->failed; b++) {
			struct section_batch *batch = &section->runs[r].batches[b];
			uint64_t first = expected_first_timestamp(before, b == 0) + unzigzag(column_next(&firsts));
			batch->first_timestamp = (int64_t)first;
			batch->max_timestamp = (int64_t)(first + unzigzag(column_next(&spans)));
			before = batch;
		}
	}
}

static void decode_new_producers(struct reader *codes_reader, struct reader *added, struct section_batch *batches, size_t total)
{
	struct column codes = column_open(codes_reader, total);
	struct recent_producers recent = {0};
	uint64_t id_before = 0;
	for (size_t i = 0; i < total; i++) {
		uint64_t code = column_next(&codes);
		const struct producer *producer = NULL;
		if (code == PRODUCER_NEW) {
			id_before += (uint64_t)reader_varint64(added);
			int64_t epoch = reader_varint64(added);
			if (epoch >= INT16_MIN && epoch <= INT16_MAX)
				producer = recent_add(&recent, (int64_t)id_before, (int16_t)epoch);
		} else if (code < recent.count) {
			producer = recent_to_front(&recent, code);
		}
		if (!producer || added->failed) {
			reader_fail(added);
			return;
		}
		batches[i].producer_id = producer->id;
		batches[i].producer_epoch = producer->epoch;
	}
}

static void decode_producers(struct reader *reader, struct section_batch *batches, size_t total)
{
	// The new producers lie behind the codes that name them.
	struct reader codes_reader = *reader;
	struct column skipped = column_open(reader, total);
	for (size_t i = 0; i < total && !reader->failed; i++)
		(void)column_next(&skipped);
	if (!reader->failed)
		decode_new_producers(&codes_reader, reader, batches, total);
}

static void decode_sequences(struct reader *reader, struct section *section, size_t total)
{
	struct column column = column_open(reader, total);
	struct recent_producers recent = {0};
	for (uint32_t r = 0; r < section->run_count; r++) {
		recent_start_run(&recent);
		for (uint32_t b = 0; b < section->runs[r].batch_count; b++) {
			struct section_batch *batch = &section->runs[r].batches[b];
			size_t index = recent_find(&recent, batch->producer_id, batch->producer_epoch);
			struct producer *producer = index == PRODUCER_NEW
							    ? recent_add(&recent, batch->producer_id, batch->producer_epoch)
							    : recent_to_front(&recent, index);
			int64_t expected = (int32_t)producer->next_sequence;
			int64_t sequence = (int64_t)((uint64_t)expected + unzigzag(column_next(&column)));
			if (reader->failed || sequence < INT32_MIN || sequence > INT32_MAX) {
				reader_fail(reader);
				return;
			}
			batch->base_sequence = (int32_t)sequence;
			producer_advance(producer, batch);
		}
	}
}

// Gaps become positions; runs follow each other without overlap.
static void place_runs(struct reader *reader, struct section *section)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < section->run_count; i++) {
		struct section_run *run = &section->runs[i];
		if (__builtin_add_overflow(run->position, end, &run->position) ||
			__builtin_add_overflow(run->position, run_bytes(run), &end)) {
			reader_fail(reader);
			return;
		}
	}
}

static enum error decode_columns(struct reader *reader, struct arena *arena, struct section *section, size_t total)
{
	decode_topics(reader, section);
	if (!reader->failed)
		decode_partitions(reader, section);
	if (!reader->failed)
		decode_extents(reader, section, total);
	if (reader->failed)
		return ERROR_CORRUPT;
	struct section_batch *batches = arena_try_alloc(arena, total, sizeof *batches);
	if (!batches)
		return ERROR_CORRUPT;
	share_out_batches(section, batches);
	decode_small_columns(reader, batches, total);
	if (!reader->failed)
		decode_timestamps(reader, section, total);
	if (!reader->failed)
		decode_producers(reader, batches, total);
	if (!reader->failed)
		decode_sequences(reader, section, total);
	if (!reader->failed)
		place_runs(reader, section);
	return reader_finished(reader) == ERROR_OK ? ERROR_OK : ERROR_CORRUPT;
}

static enum error decode_plain(struct bytes plain, struct arena *arena, struct section *ret_section)
{
	struct reader reader = reader_of(plain);
	uint8_t version = reader_u8(&reader);
	uint64_t run_count = reader_uvarint64(&reader);
	uint64_t total = reader_uvarint64(&reader);
	if (reader.failed || version != SECTION_VERSION || total > BATCHES_MAX || run_count > total)
		return ERROR_CORRUPT;
	struct section section = {.run_count = (uint32_t)run_count};
	section.runs = arena_try_alloc(arena, run_count, sizeof *section.runs);
	if (!section.runs)
		return ERROR_CORRUPT;
	enum error error = decode_columns(&reader, arena, &section, total);
	if (error)
		return error;
	*ret_section = section;
	return ERROR_OK;
}

static enum error decode_packed(struct bytes packed, size_t plain_len, struct arena *arena, struct section *ret_section)
{
	uint8_t *plain = memory_alloc(plain_len);
	size_t len = ZSTD_decompress(plain, plain_len, packed.data, packed.len);
	enum error error = ERROR_CORRUPT;
	if (!ZSTD_isError(len) && len == plain_len)
		error = decode_plain((struct bytes){plain, plain_len}, arena, ret_section);
	free(plain);
	return error;
}

enum error section_decode(struct bytes bytes, struct arena *arena, struct section *ret_section)
{
	struct reader reader = reader_of(bytes);
	uint8_t codec = reader_u8(&reader);
	uint64_t plain_len = reader_uvarint64(&reader);
	if (reader.failed || plain_len > PLAIN_BYTES_MAX)
		return ERROR_CORRUPT;
	struct bytes rest = {reader.pos, reader_left(&reader)};
	if (codec == CODEC_ZSTD)
		return decode_packed(rest, plain_len, arena, ret_section);
	if (codec != CODEC_RAW || plain_len != rest.len)
		return ERROR_CORRUPT;
	return decode_plain(rest, arena, ret_section);
}
