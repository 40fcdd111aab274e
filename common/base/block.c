#include "common/base/block.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"

static void block_free_inline(struct block *block)
{
	free(block);
}

struct block *block_new(size_t len)
{
	struct block *block = memory_alloc(sizeof *block + len);
	atomic_init(&block->refs, 1);
	block->data = (uint8_t *)(block + 1);
	block->len = len;
	block->free = block_free_inline;
	return block;
}

struct block *block_ref(struct block *block)
{
	atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
	return block;
}

void block_unref(struct block **block)
{
	struct block *held = *block;
	*block = NULL;
	if (held && atomic_fetch_sub_explicit(&held->refs, 1, memory_order_acq_rel) == 1)
		held->free(held);
}

struct slice slice_ref(struct slice slice)
{
	if (slice.block)
		block_ref(slice.block);
	return slice;
}

struct slice slice_part(struct slice slice, size_t position, size_t len)
{
	CHECK(position <= slice.len && len <= slice.len - position);
	if (slice.block)
		block_ref(slice.block);
	return (struct slice){slice.block, slice.data + position, len};
}

void slice_done(struct slice *slice)
{
	block_unref(&slice->block);
	*slice = (struct slice){0};
}

struct bytes slice_bytes(struct slice slice)
{
	return (struct bytes){slice.data, slice.len};
}

struct slice slice_copy(struct bytes bytes)
{
	struct block *block = block_new(bytes.len);
	if (bytes.len)
		memcpy(block->data, bytes.data, bytes.len);
	return slice_take(&block);
}

struct slice slice_take(struct block **block)
{
	struct slice slice = {*block, (*block)->data, (*block)->len};
	*block = NULL;
	return slice;
}
