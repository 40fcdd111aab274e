#pragma once
// A bump allocator for one request: everything decoded from a request lives in its arena and goes with it. Blocks are kept
// across arena_reset() up to keep_max bytes, so a busy connection allocates from the heap only while it grows.
// Limit: arena_alloc beyond limit bytes returns NULL only through arena_try_alloc; use that for sizes a client chose.

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; // newest first
	uint8_t *pos;
	uint8_t *end;
	size_t used;  // bytes handed out since init or reset
	size_t limit; // for arena_try_alloc
};

// limit in bytes, 0 for none.
void arena_init(struct arena *arena, size_t limit);
void arena_done(struct arena *arena);
// Everything handed out becomes invalid; the first chunk is kept.
void arena_reset(struct arena *arena);

// Aligned for any type, zeroed. Never NULL: for sizes our own code chose.
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
// For count elements that a peer asked for; NULL if count * size overflows or passes the limit.
void *arena_try_alloc(struct arena *arena, size_t count, size_t size);
struct bytes arena_copy(struct arena *arena, struct bytes bytes);
// A NUL-terminated copy.
char *arena_string(struct arena *arena, struct bytes bytes);
