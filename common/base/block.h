#pragma once
// Bulk bytes that several holders share without copying: a block is counted memory, a slice is a view that holds its block.
//
//	struct slice ──► data,len ⊂ struct block (refs, free function)
//
// The count is atomic, because ZeroMQ drops its hold in an I/O thread; all else about a block belongs to the loop's thread.

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct block {
	atomic_uint refs;
	uint8_t *data;
	size_t len;
	void (*free)(struct block *block); // called in whichever thread drops the last hold
};

struct slice {
	struct block *block; // NULL: the bytes are static or outlive everything
	const uint8_t *data;
	size_t len;
};

// One allocation, one hold, uninitialised bytes.
struct block *block_new(size_t len);
struct block *block_ref(struct block *block);
// Drops the hold and sets NULL; accepts NULL.
void block_unref(struct block **block);

// A new hold on the same bytes.
struct slice slice_ref(struct slice slice);
// A new hold on len bytes from position.
struct slice slice_part(struct slice slice, size_t position, size_t len);
void slice_done(struct slice *slice);
struct bytes slice_bytes(struct slice slice);
// A slice of a fresh block holding a copy.
struct slice slice_copy(struct bytes bytes);
// The whole block; takes over the caller's hold.
struct slice slice_take(struct block **block);
