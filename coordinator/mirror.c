#include "coordinator/mirror.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/memory.h"
#include "coordinator/ticket.h"

enum { RANGE_TIMEOUT_MS = 3000, RETRY_MS = 200 };

struct mirror {
	const struct env *env;
	struct metadata_store *store;
	char *prefix;
	struct list tickets;
	struct mirror_row *rows;
	size_t count;
	bool loaded;
	bool ranging;
	bool stale; // a range is due
	uint64_t retry_us;
	uint64_t watch; // 0: none
	uint64_t version;
};

static void bytes_free(struct bytes *bytes)
{
	union {
		const uint8_t *constant;
		uint8_t *owned;
	} pointer = {bytes->data};
	free(pointer.owned);
	*bytes = BYTES_NULL;
}

static struct bytes bytes_dup(struct bytes bytes)
{
	uint8_t *copy = memory_alloc(bytes.len + 1);
	if (bytes.len)
		memcpy(copy, bytes.data, bytes.len);
	return bytes_view(copy, bytes.len);
}

static void row_done(struct mirror_row *row)
{
	bytes_free(&row->key);
	bytes_free(&row->value);
}

static size_t rows_lower_bound(const struct mirror *mirror, struct bytes key)
{
	size_t i = 0;
	while (i < mirror->count && bytes_compare(mirror->rows[i].key, key) < 0)
		i++;
	return i;
}

static void row_remove(struct mirror *mirror, struct bytes key)
{
	size_t at = rows_lower_bound(mirror, key);
	if (at == mirror->count || !bytes_equal(mirror->rows[at].key, key))
		return;
	row_done(&mirror->rows[at]);
	memmove(&mirror->rows[at], &mirror->rows[at + 1], (--mirror->count - at) * sizeof *mirror->rows);
}

static void row_put(struct mirror *mirror, const struct metadata_row *from)
{
	row_remove(mirror, from->key);
	size_t at = rows_lower_bound(mirror, from->key);
	mirror->rows = memory_realloc(mirror->rows, (mirror->count + 1) * sizeof *mirror->rows);
	memmove(&mirror->rows[at + 1], &mirror->rows[at], (mirror->count++ - at) * sizeof *mirror->rows);
	mirror->rows[at] = (struct mirror_row){bytes_dup(from->key), bytes_dup(from->value), from->create_revision};
}

static void rows_clear(struct mirror *mirror)
{
	while (mirror->count)
		row_done(&mirror->rows[--mirror->count]);
}

static void mirror_event(void *ctx, const struct metadata_event *events, size_t count, bool resync, int64_t revision)
{
	struct mirror *mirror = ctx;
	(void)revision;
	mirror->version++;
	if (resync) {
		mirror->stale = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (events[i].deleted)
			row_remove(mirror, events[i].row.key);
		else
			row_put(mirror, &events[i].row);
	}
}

static void mirror_ranged(
	void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct ticket *ticket = ctx;
	struct mirror *mirror = ticket_take(ticket);
	(void)more;
	free(ticket);
	if (!mirror || error == ERROR_CANCELED)
		return;
	mirror->ranging = false;
	if (error != ERROR_OK) {
		mirror->retry_us = deadline_in_ms(mirror->env, RETRY_MS);
		return;
	}
	rows_clear(mirror);
	for (size_t i = 0; i < count; i++)
		row_put(mirror, &rows[i]);
	mirror->stale = false;
	mirror->loaded = true;
	mirror->version++;
	// A new watch each time: the old one may stand before or behind this range.
	if (mirror->watch)
		metadata_unwatch(mirror->store, mirror->watch);
	mirror->watch = metadata_watch(mirror->store, bytes_of(mirror->prefix), revision + 1, mirror_event, mirror);
}

static void mirror_range(struct mirror *mirror)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket_open(ticket, &mirror->tickets, mirror);
	mirror->ranging = true;
	struct bytes prefix = bytes_of(mirror->prefix);
	metadata_range(mirror->store, prefix, metadata_prefix_end(prefix, &arena), 0, RANGE_TIMEOUT_MS, mirror_ranged, ticket);
	arena_done(&arena);
}

struct mirror *mirror_new(const struct env *env, struct metadata_store *store, const char *prefix)
{
	struct mirror *mirror = memory_zalloc(sizeof *mirror);
	mirror->env = env;
	mirror->store = store;
	mirror->prefix = memory_strdup(prefix);
	mirror->stale = true;
	list_init(&mirror->tickets);
	return mirror;
}

void mirror_free(struct mirror **pointer)
{
	struct mirror *mirror = *pointer;
	*pointer = NULL;
	if (!mirror)
		return;
	if (mirror->watch)
		metadata_unwatch(mirror->store, mirror->watch);
	tickets_abandon(&mirror->tickets);
	rows_clear(mirror);
	free(mirror->rows);
	free(mirror->prefix);
	free(mirror);
}

uint64_t mirror_step(struct mirror *mirror)
{
	if (!mirror->stale || mirror->ranging)
		return DEADLINE_NEVER;
	if (mirror->retry_us > mirror->env->now_us)
		return mirror->retry_us;
	mirror_range(mirror);
	return DEADLINE_NEVER;
}

bool mirror_loaded(const struct mirror *mirror)
{
	return mirror->loaded;
}

size_t mirror_count(const struct mirror *mirror)
{
	return mirror->count;
}

const struct mirror_row *mirror_at(const struct mirror *mirror, size_t index)
{
	return &mirror->rows[index];
}

uint64_t mirror_version(const struct mirror *mirror)
{
	return mirror->version;
}
