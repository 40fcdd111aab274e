#include "writer/tail_ring.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/hash_map.h"
#include "common/base/memory.h"

struct tail_entry {
	uint64_t sequence;
	struct object_image *image;
	UT_hash_handle hh;
};

void tail_ring_init(struct tail_ring *ring, uint64_t bytes_max)
{
	*ring = (struct tail_ring){.bytes_max = bytes_max};
}

static void tail_ring_drop_oldest(struct tail_ring *ring)
{
	struct tail_entry *oldest = ring->entries;
	CHECK(oldest);
	HASH_DEL(ring->entries, oldest);
	ring->bytes -= oldest->image->bytes;
	object_image_unref(&oldest->image);
	free(oldest);
}

void tail_ring_done(struct tail_ring *ring)
{
	while (ring->entries)
		tail_ring_drop_oldest(ring);
}

void tail_ring_add(struct tail_ring *ring, struct object_image *image)
{
	struct tail_entry *entry = memory_zalloc(sizeof *entry);
	entry->sequence = image->id.sequence;
	entry->image = object_image_ref(image);
	HASH_ADD(hh, ring->entries, sequence, sizeof entry->sequence, entry);
	ring->bytes += image->bytes;
	while (ring->bytes > ring->bytes_max)
		tail_ring_drop_oldest(ring);
}

const struct object_image *tail_ring_find(struct tail_ring *ring, uint64_t sequence)
{
	struct tail_entry *entry;
	HASH_FIND(hh, ring->entries, &sequence, sizeof sequence, entry);
	return entry ? entry->image : NULL;
}
