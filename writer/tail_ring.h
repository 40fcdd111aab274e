#pragma once
// Images of objects that became durable a moment ago, so that consumers that keep up are served from memory (tail pipe) and
// cost no GET. Bound: bytes_max; the oldest gives way. It never counts against open objects.

#include "writer/object_image.h"

struct tail_entry;

struct tail_ring {
	uint64_t bytes_max;
	uint64_t bytes;
	struct tail_entry *entries; // by sequence, in order of insertion
	uint64_t hits, misses, served_bytes;
};

void tail_ring_init(struct tail_ring *ring, uint64_t bytes_max);
void tail_ring_done(struct tail_ring *ring);
// Holds the image as long as there is room.
void tail_ring_add(struct tail_ring *ring, struct object_image *image);
// NULL if it is gone. Borrowed until the next tail_ring_add().
const struct object_image *tail_ring_find(struct tail_ring *ring, uint64_t sequence);
