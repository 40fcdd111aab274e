#include "common/storage/mixed_object.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"

static const char header_magic[8] = {'W', 'E', 'I', 'R', 'M', 'I', 'X', '1'};
static const char trailer_magic[8] = {'W', 'E', 'I', 'R', 'E', 'N', 'D', '1'};

// The last millisecond of the year 9999: a key has four digits for the year.
#define CREATED_MS_MAX INT64_C(253402300799999)

enum { KEY_BYTES = 6 + 10 + 1 + 32 + 1 + 16 };

bool mixed_object_created_valid(int64_t created_ms)
{
	return created_ms >= 0 && created_ms <= CREATED_MS_MAX;
}

void mixed_object_key(const struct mixed_object_id *id, char key[MIXED_OBJECT_KEY_SIZE])
{
	CHECK(mixed_object_created_valid(id->created_ms));
	time_t seconds = (time_t)(id->created_ms / 1000);
	struct tm tm;
	CHECK(gmtime_r(&seconds, &tm) != NULL);
	char hour[16];
	CHECK(strftime(hour, sizeof hour, "%Y%m%d%H", &tm) == 10);
	char writer[UUID_HEX_SIZE];
	uuid_hex(&id->writer, writer);
	int len = snprintf(key, MIXED_OBJECT_KEY_SIZE, "mixed/%s/%s-%016llx", hour, writer, (unsigned long long)id->sequence);
	CHECK(len == KEY_BYTES);
}

static bool digits(const char *text, size_t len, const char *allowed)
{
	return strspn(text, allowed) >= len;
}

enum error mixed_object_key_parse(const char *key, struct mixed_object_id *ret_id)
{
	const char *hour = key + 6;
	const char *writer = key + 17;
	const char *sequence = key + 50;
	if (strlen(key) != KEY_BYTES || strncmp(key, "mixed/", 6) != 0 || !digits(hour, 10, "0123456789") ||
		!digits(writer, 32, "0123456789abcdef") || !digits(sequence, 16, "0123456789abcdef"))
		return ERROR_MALFORMED;
	struct mixed_object_id id;
	struct tm tm = {.tm_mday = 1};
	int year, month;
	unsigned long long number;
	if (sscanf(hour, "%4d%2d%2d%2d", &year, &month, &tm.tm_mday, &tm.tm_hour) != 4 ||
		!uuid_from_hex((struct bytes){(const uint8_t *)writer, 32}, &id.writer) ||
		sscanf(sequence, "%16llx", &number) != 1)
		return ERROR_MALFORMED;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	id.sequence = number;
	id.created_ms = (int64_t)timegm(&tm) * 1000;
	if (!mixed_object_created_valid(id.created_ms))
		return ERROR_MALFORMED;
	// Refuses the 31st of June and wrong separators.
	char again[MIXED_OBJECT_KEY_SIZE];
	mixed_object_key(&id, again);
	if (strcmp(again, key) != 0)
		return ERROR_MALFORMED;
	*ret_id = id;
	return ERROR_OK;
}

void mixed_object_header_encode(const struct mixed_object_header *header, struct buffer *out)
{
	size_t start = out->len;
	buffer_append(out, header_magic, sizeof header_magic);
	buffer_u16(out, MIXED_OBJECT_VERSION);
	buffer_u16(out, header->level);
	buffer_u32(out, MIXED_OBJECT_HEADER_BYTES);
	buffer_u64(out, header->incarnation);
	buffer_bytes(out, uuid_view(&header->id.writer));
	buffer_u64(out, header->id.sequence);
	buffer_i64(out, header->id.created_ms);
	buffer_u32(out, 0);
	if (!out->failed)
		buffer_u32(out, crc32c(0, out->data + start, out->len - start));
}

enum error mixed_object_header_decode(struct bytes bytes, struct mixed_object_header *ret_header)
{
	if (bytes.len < MIXED_OBJECT_HEADER_BYTES || memcmp(bytes.data, header_magic, sizeof header_magic) != 0)
		return ERROR_CORRUPT;
	enum { CRC_POSITION = MIXED_OBJECT_HEADER_BYTES - 4 };
	if (crc32c(0, bytes.data, CRC_POSITION) != get_u32(bytes.data + CRC_POSITION))
		return ERROR_CORRUPT;
	struct reader reader = reader_of((struct bytes){bytes.data + sizeof header_magic, CRC_POSITION - sizeof header_magic});
	if (reader_u16(&reader) != MIXED_OBJECT_VERSION)
		return ERROR_UNSUPPORTED_FORMAT;
	struct mixed_object_header header = {.level = reader_u16(&reader)};
	uint32_t header_bytes = reader_u32(&reader);
	header.incarnation = reader_u64(&reader);
	if (!uuid_from_bytes(reader_bytes(&reader, sizeof header.id.writer.bytes), &header.id.writer))
		return ERROR_CORRUPT;
	header.id.sequence = reader_u64(&reader);
	header.id.created_ms = reader_i64(&reader);
	uint32_t zero = reader_u32(&reader);
	if (reader_finished(&reader) != ERROR_OK || header_bytes != MIXED_OBJECT_HEADER_BYTES || zero != 0 ||
		!mixed_object_created_valid(header.id.created_ms))
		return ERROR_CORRUPT;
	*ret_header = header;
	return ERROR_OK;
}

void mixed_object_trailer_encode(
	const struct mixed_object_section_row *rows, uint32_t count, uint64_t table_position, struct buffer *out)
{
	size_t start = out->len;
	for (uint32_t i = 0; i < count; i++) {
		buffer_u32(out, rows[i].shard);
		buffer_u32(out, rows[i].len);
		buffer_u64(out, rows[i].position);
		buffer_u32(out, rows[i].crc);
	}
	if (out->failed)
		return;
	size_t table_bytes = out->len - start;
	uint32_t crc = table_bytes ? crc32c(0, out->data + start, table_bytes) : 0;
	buffer_u64(out, table_position);
	buffer_u32(out, count);
	buffer_u32(out, crc);
	buffer_u64(out, table_position + table_bytes + MIXED_OBJECT_TRAILER_BYTES);
	buffer_append(out, trailer_magic, sizeof trailer_magic);
}

static enum error decode_rows(struct bytes table, uint64_t table_position, struct mixed_object_section_row *rows)
{
	struct reader reader = reader_of(table);
	for (size_t i = 0; reader_left(&reader); i++) {
		struct mixed_object_section_row *row = &rows[i];
		row->shard = reader_u32(&reader);
		row->len = reader_u32(&reader);
		row->position = reader_u64(&reader);
		row->crc = reader_u32(&reader);
		if (row->position < MIXED_OBJECT_HEADER_BYTES || row->position > table_position ||
			row->len > table_position - row->position)
			return ERROR_CORRUPT;
	}
	return reader_finished(&reader) == ERROR_OK ? ERROR_OK : ERROR_CORRUPT;
}

// The trailer has no CRC of its own: its position, count and length must add up to the object's size, which the store knows.
enum error mixed_object_trailer_decode(struct bytes tail, uint64_t object_bytes, struct arena *arena,
	struct mixed_object_section_row **ret_rows, uint32_t *ret_count, uint64_t *ret_table_position)
{
	if (tail.len < MIXED_OBJECT_TRAILER_BYTES || tail.len > object_bytes)
		return ERROR_CORRUPT;
	const uint8_t *end = tail.data + tail.len;
	struct reader reader = reader_of((struct bytes){end - MIXED_OBJECT_TRAILER_BYTES, MIXED_OBJECT_TRAILER_BYTES});
	uint64_t table_position = reader_u64(&reader);
	uint32_t count = reader_u32(&reader);
	uint32_t crc = reader_u32(&reader);
	uint64_t object_bytes_written = reader_u64(&reader);
	if (memcmp(reader.pos, trailer_magic, sizeof trailer_magic) != 0)
		return ERROR_CORRUPT;
	uint64_t table_bytes = (uint64_t)count * MIXED_OBJECT_TABLE_ROW_BYTES;
	if (object_bytes_written != object_bytes || object_bytes < table_bytes + MIXED_OBJECT_TRAILER_BYTES ||
		table_position != object_bytes - table_bytes - MIXED_OBJECT_TRAILER_BYTES ||
		table_position < MIXED_OBJECT_HEADER_BYTES)
		return ERROR_CORRUPT;
	if (table_position < object_bytes - tail.len) {
		*ret_table_position = table_position;
		return ERROR_TOO_LARGE;
	}
	struct bytes table = {end - MIXED_OBJECT_TRAILER_BYTES - table_bytes, table_bytes};
	if (crc32c(0, table.data, table.len) != crc)
		return ERROR_CORRUPT;
	struct mixed_object_section_row *rows = arena_try_alloc(arena, count, sizeof *rows);
	if (!rows)
		return ERROR_CORRUPT;
	enum error error = decode_rows(table, table_position, rows);
	if (error)
		return error;
	*ret_rows = rows;
	*ret_count = count;
	*ret_table_position = table_position;
	return ERROR_OK;
}
