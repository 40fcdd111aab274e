#pragma once
// The bytes of one mixed object as a list of slices: what is uploaded and what the tail pipe serves. Counted: the upload holds
// it until the object is durable, the tail ring until it gives way. The batches are the frames that frontends sent, never
// copied.

#include <stdint.h>

#include "common/base/block.h"
#include "common/storage/mixed_object.h"

struct object_image {
	uint32_t holds;
	struct mixed_object_id id;
	struct slice *parts;
	uint64_t *positions; // of each part in the object
	size_t part_count;
	size_t capacity;
	uint64_t bytes;
};

// One hold; room for capacity parts.
struct object_image *object_image_new(const struct mixed_object_id *id, size_t capacity);
struct object_image *object_image_ref(struct object_image *image);
void object_image_unref(struct object_image **image);
// Takes the slice over.
void object_image_add(struct object_image *image, struct slice part);

// The bytes [position, position + length), cut at the object's end, as frames: long parts as views of the image, neighbours
// that are short copied together, because a frame costs as much as 8 KiB. ret_frames is the caller's (frames_free).
size_t object_image_read(const struct object_image *image, uint64_t position, uint64_t length, struct slice **ret_frames);
void object_image_frames_free(struct slice *frames, size_t count);
