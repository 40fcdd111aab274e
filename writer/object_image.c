#include "writer/object_image.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"

enum { SHORT_PART_BYTES = 16 << 10 };

struct object_image *object_image_new(const struct mixed_object_id *id, size_t capacity)
{
	struct object_image *image = memory_zalloc(sizeof *image);
	image->holds = 1;
	image->id = *id;
	image->capacity = capacity;
	image->parts = memory_alloc(capacity * sizeof *image->parts);
	image->positions = memory_alloc(capacity * sizeof *image->positions);
	return image;
}

struct object_image *object_image_ref(struct object_image *image)
{
	image->holds++;
	return image;
}

void object_image_unref(struct object_image **image)
{
	struct object_image *held = *image;
	*image = NULL;
	if (!held || --held->holds > 0)
		return;
	for (size_t i = 0; i < held->part_count; i++)
		slice_done(&held->parts[i]);
	free(held->parts);
	free(held->positions);
	free(held);
}

void object_image_add(struct object_image *image, struct slice part)
{
	CHECK(image->part_count < image->capacity);
	image->parts[image->part_count] = part;
	image->positions[image->part_count] = image->bytes;
	image->part_count++;
	image->bytes += part.len;
}

// The part that holds position.
static size_t object_image_find(const struct object_image *image, uint64_t position)
{
	size_t low = 0, high = image->part_count;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (image->positions[middle] <= position)
			low = middle;
		else
			high = middle;
	}
	return low;
}

// The piece of part i inside [position, end).
static struct bytes object_image_piece(const struct object_image *image, size_t i, uint64_t position, uint64_t end)
{
	uint64_t start = image->positions[i] > position ? image->positions[i] : position;
	uint64_t part_end = image->positions[i] + image->parts[i].len;
	uint64_t stop = part_end < end ? part_end : end;
	return bytes_view(image->parts[i].data + (start - image->positions[i]), stop - start);
}

// Copies the short pieces from *part on into one frame; *part and *position move behind them.
static struct slice object_image_gather(const struct object_image *image, size_t *part, uint64_t *position, uint64_t end)
{
	size_t len = 0;
	size_t stop = *part;
	for (uint64_t at = *position; at < end; stop++) {
		struct bytes piece = object_image_piece(image, stop, at, end);
		if (piece.len >= SHORT_PART_BYTES)
			break;
		len += piece.len;
		at += piece.len;
	}
	struct block *block = block_new(len);
	size_t filled = 0;
	for (; *part < stop; (*part)++) {
		struct bytes piece = object_image_piece(image, *part, *position, end);
		if (piece.len)
			memcpy(block->data + filled, piece.data, piece.len);
		filled += piece.len;
		*position += piece.len;
	}
	return slice_take(&block);
}

size_t object_image_read(const struct object_image *image, uint64_t position, uint64_t length, struct slice **ret_frames)
{
	*ret_frames = NULL;
	if (position >= image->bytes || length == 0)
		return 0;
	uint64_t end = length < image->bytes - position ? position + length : image->bytes;
	size_t first = object_image_find(image, position);
	size_t last = object_image_find(image, end - 1);
	struct slice *frames = memory_alloc((last - first + 1) * sizeof *frames);
	size_t count = 0;
	for (size_t part = first; position < end;) {
		struct bytes piece = object_image_piece(image, part, position, end);
		if (piece.len >= SHORT_PART_BYTES) {
			frames[count++] =
				slice_part(image->parts[part], (size_t)(position - image->positions[part]), piece.len);
			position += piece.len;
			part++;
		} else {
			frames[count++] = object_image_gather(image, &part, &position, end);
		}
	}
	*ret_frames = frames;
	return count;
}

void object_image_frames_free(struct slice *frames, size_t count)
{
	for (size_t i = 0; i < count; i++)
		slice_done(&frames[i]);
	free(frames);
}
