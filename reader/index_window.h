#pragma once
// A stretch of a partition's index without a gap: it knows every entry of the offsets [start, end). Entries are facts that do
// not change (but for the object that holds the bytes, after compaction); what a window lacks is located anew. Bound: the
// caller drops the oldest entries past its limit.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/block.h"
#include "reader/object_name.h"

// Accepted batches that lie back to back in one object, their offsets dense.
struct index_entry {
	int64_t base_offset;
	int64_t last_offset;
	int64_t max_timestamp;
	uint64_t position;
	uint64_t length;
	struct object_name *object; // held; NULL for an inline batch
	struct slice *inline_batch; // own; NULL otherwise
};

struct index_window {
	bool valid;
	int64_t start, end;
	struct index_entry *entries; // [first, first + count)
	size_t first, count, capacity;
	uint64_t used_us;
};

void index_entry_done(struct index_entry *entry);
// A copy with holds of its own.
struct index_entry index_entry_copy(const struct index_entry *entry);

void index_window_clear(struct index_window *window);
// Empty and valid: it knows that [start, end) holds nothing.
void index_window_begin(struct index_window *window, int64_t start, int64_t end);
// Behind the last; takes the entry; end becomes its last offset + 1.
void index_window_append(struct index_window *window, struct index_entry *entry);
void index_window_drop_oldest(struct index_window *window);
// The entry that holds offset, or the next one if offset lies in a hole of the log; NULL if there is none in the window.
const struct index_entry *index_window_find(const struct index_window *window, int64_t offset);
bool index_window_covers(const struct index_window *window, int64_t offset);
// Appends what later knows beyond window's end. false if the two do not join: window is then unchanged. later is emptied.
bool index_window_extend(struct index_window *window, struct index_window *later);
