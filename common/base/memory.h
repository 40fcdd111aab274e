#pragma once
// Allocation that never returns NULL: in exchange everything has a limit, so running out of memory means a limit is wrong,
// and that is our bug. memory_tune() is for main(): it keeps freed pages (facts: a page fault costs ten copies).

#include <stddef.h>

void *memory_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *memory_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *memory_realloc(void *pointer, size_t size) __attribute__((returns_nonnull));
char *memory_strdup(const char *text) __attribute__((malloc, returns_nonnull));

// Keep freed memory in the process instead of giving it back to the kernel (mallopt). Call once, before the first thread.
void memory_tune(void);
