#pragma once
// Packs a LogEntry out of commands that are packed already: they were measured and copied when proposed, and are not unpacked
// again before the whole entry is (live and replay then read the very same bytes).

#include "common/base/bytes.h"
#include "common/base/uuid.h"

void log_entry_begin(struct buffer *out, const struct uuid *id, int64_t time_ms, uint32_t apply_version);
void log_entry_add(struct buffer *out, struct bytes packed_command);
// The id of a packed entry; false if it has none.
MUST_CHECK bool log_entry_id(struct bytes packed_entry, struct uuid *ret_id);
