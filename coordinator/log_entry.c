#include "coordinator/log_entry.h"

// Protobuf's wire format: key = field number << 3 | wire type (0 varint, 2 length-delimited).
enum {
	KEY_ID = 1 << 3 | 2,
	KEY_TIME_MS = 2 << 3 | 0,
	KEY_APPLY_VERSION = 3 << 3 | 0,
	KEY_COMMANDS = 4 << 3 | 2,
};

static void put_delimited(struct buffer *out, uint8_t key, struct bytes bytes)
{
	buffer_u8(out, key);
	buffer_uvarint(out, bytes.len);
	buffer_bytes(out, bytes);
}

void log_entry_begin(struct buffer *out, const struct uuid *id, int64_t time_ms, uint32_t apply_version)
{
	put_delimited(out, KEY_ID, uuid_view(id));
	buffer_u8(out, KEY_TIME_MS);
	buffer_uvarint(out, (uint64_t)time_ms);
	buffer_u8(out, KEY_APPLY_VERSION);
	buffer_uvarint(out, apply_version);
}

void log_entry_add(struct buffer *out, struct bytes packed_command)
{
	put_delimited(out, KEY_COMMANDS, packed_command);
}

bool log_entry_id(struct bytes packed_entry, struct uuid *ret_id)
{
	struct reader reader = reader_of(packed_entry);
	if (reader_u8(&reader) != KEY_ID)
		return false;
	return uuid_from_bytes(reader_bytes(&reader, reader_uvarint32(&reader)), ret_id);
}
