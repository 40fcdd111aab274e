#include "common/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"

enum { ARENA_CHUNK_BYTES = 4096 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *arena, size_t limit)
{
	*arena = (struct arena){.limit = limit};
}

static void arena_free_chunks(struct arena_chunk *chunk)
{
	while (chunk) {
		struct arena_chunk *next = chunk->next;
		free(chunk);
		chunk = next;
	}
}

void arena_done(struct arena *arena)
{
	arena_free_chunks(arena->chunks);
	*arena = (struct arena){0};
}

void arena_reset(struct arena *arena)
{
	arena->used = 0;
	if (!arena->chunks)
		return;
	arena_free_chunks(arena->chunks->next);
	arena->chunks->next = NULL;
	if (arena->chunks->size > 16 * ARENA_CHUNK_BYTES) {
		free(arena->chunks);
		arena->chunks = NULL;
		arena->pos = arena->end = NULL;
		return;
	}
	arena->pos = arena->chunks->data;
	arena->end = arena->chunks->data + arena->chunks->size;
}

static void arena_add_chunk(struct arena *arena, size_t needed)
{
	size_t size = arena->chunks ? arena->chunks->size * 2 : ARENA_CHUNK_BYTES;
	if (size > 64 * ARENA_CHUNK_BYTES)
		size = 64 * ARENA_CHUNK_BYTES;
	if (size < needed)
		size = needed;
	struct arena_chunk *chunk = memory_alloc(sizeof *chunk + size);
	chunk->next = arena->chunks;
	chunk->size = size;
	arena->chunks = chunk;
	arena->pos = chunk->data;
	arena->end = chunk->data + size;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	CHECK(size <= SIZE_MAX / 2);
	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!arena->pos || (size_t)(arena->end - arena->pos) < size)
		arena_add_chunk(arena, size);
	void *at = arena->pos;
	arena->pos += size;
	arena->used += size;
	return memset(at, 0, size);
}

void *arena_try_alloc(struct arena *arena, size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	if (arena->limit && (total > arena->limit || arena->used > arena->limit - total))
		return NULL;
	return arena_alloc(arena, total);
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
	if (!bytes.data)
		return BYTES_NULL;
	uint8_t *copy = arena_alloc(arena, bytes.len);
	if (bytes.len)
		memcpy(copy, bytes.data, bytes.len);
	return (struct bytes){copy, bytes.len};
}

char *arena_string(struct arena *arena, struct bytes bytes)
{
	char *copy = arena_alloc(arena, bytes.len + 1);
	if (bytes.len)
		memcpy(copy, bytes.data, bytes.len);
	return copy;
}
