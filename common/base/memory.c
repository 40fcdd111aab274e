#include "common/base/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

void *memory_alloc(size_t size)
{
	void *pointer = malloc(size ? size : 1);
	CHECK(pointer != NULL);
	return pointer;
}

void *memory_zalloc(size_t size)
{
	void *pointer = calloc(1, size ? size : 1);
	CHECK(pointer != NULL);
	return pointer;
}

void *memory_realloc(void *pointer, size_t size)
{
	void *moved = realloc(pointer, size ? size : 1);
	CHECK(moved != NULL);
	return moved;
}

char *memory_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	return memcpy(memory_alloc(size), text, size);
}

void memory_tune(void)
{
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
	mallopt(M_ARENA_MAX, 2);
}
