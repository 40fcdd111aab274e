#include "reader/index_window.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"

void index_entry_done(struct index_entry *entry)
{
	object_name_unref(&entry->object);
	if (entry->inline_batch)
		slice_done(entry->inline_batch);
	free(entry->inline_batch);
	*entry = (struct index_entry){0};
}

struct index_entry index_entry_copy(const struct index_entry *entry)
{
	struct index_entry copy = *entry;
	if (copy.object)
		object_name_ref(copy.object);
	if (copy.inline_batch) {
		copy.inline_batch = memory_alloc(sizeof *copy.inline_batch);
		*copy.inline_batch = slice_ref(*entry->inline_batch);
	}
	return copy;
}

void index_window_clear(struct index_window *window)
{
	for (size_t i = 0; i < window->count; i++)
		index_entry_done(&window->entries[window->first + i]);
	free(window->entries);
	*window = (struct index_window){0};
}

void index_window_begin(struct index_window *window, int64_t start, int64_t end)
{
	index_window_clear(window);
	window->valid = true;
	window->start = start;
	window->end = end;
}

static void index_window_make_room(struct index_window *window)
{
	if (window->first + window->count < window->capacity)
		return;
	if (window->first > window->capacity / 2) {
		memmove(window->entries, window->entries + window->first, window->count * sizeof *window->entries);
		window->first = 0;
		return;
	}
	window->capacity = window->capacity ? window->capacity * 2 : 4;
	window->entries = memory_realloc(window->entries, window->capacity * sizeof *window->entries);
}

void index_window_append(struct index_window *window, struct index_entry *entry)
{
	CHECK(window->count == 0 || entry->base_offset > window->entries[window->first + window->count - 1].last_offset);
	index_window_make_room(window);
	window->entries[window->first + window->count++] = *entry;
	window->end = entry->last_offset + 1;
	*entry = (struct index_entry){0};
}

void index_window_drop_oldest(struct index_window *window)
{
	struct index_entry *oldest = &window->entries[window->first];
	window->start = oldest->last_offset + 1;
	index_entry_done(oldest);
	window->first++;
	window->count--;
}

const struct index_entry *index_window_find(const struct index_window *window, int64_t offset)
{
	size_t low = 0, high = window->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (window->entries[window->first + middle].last_offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < window->count ? &window->entries[window->first + low] : NULL;
}

bool index_window_covers(const struct index_window *window, int64_t offset)
{
	return window->valid && offset >= window->start && offset < window->end;
}

bool index_window_extend(struct index_window *window, struct index_window *later)
{
	if (!window->valid || later->start < window->start || later->start > window->end || later->end < window->end)
		return false;
	// An entry of later that begins before our end must be one we know (or part of one): only those beyond it are new, and
	// one that straddles the end shows that the index was cut differently meanwhile.
	for (size_t i = 0; i < later->count; i++) {
		const struct index_entry *entry = &later->entries[later->first + i];
		if (entry->base_offset < window->end && entry->last_offset >= window->end)
			return false;
	}
	int64_t end = later->end;
	for (size_t i = 0; i < later->count; i++) {
		struct index_entry *entry = &later->entries[later->first + i];
		if (entry->base_offset >= window->end)
			index_window_append(window, entry);
	}
	window->end = end;
	index_window_clear(later);
	return true;
}
