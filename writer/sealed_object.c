// Layout of an object: header, the batches run by run, then one section per shard that has any, then table and trailer
// (mixed_object.h). The batches' slices move into the image; what stays with the sections is who waits for each batch.

#include "writer/sealed_object.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/memory.h"

enum { SECTIONS_BYTES_MAX = 256 << 20 }; // far above what a memory budget's worth of batches can give

static struct slice slice_of_header(const struct mixed_object_header *header)
{
	struct buffer buffer;
	buffer_init(&buffer, MIXED_OBJECT_HEADER_BYTES);
	mixed_object_header_encode(header, &buffer);
	CHECK(!buffer.failed && buffer.len == MIXED_OBJECT_HEADER_BYTES);
	struct slice slice = slice_copy(buffer_view(&buffer));
	buffer_done(&buffer);
	return slice;
}

static size_t sealed_batch_count(const struct open_run_view *runs, size_t run_count)
{
	size_t count = 0;
	for (size_t i = 0; i < run_count; i++)
		count += runs[i].batch_count;
	return count;
}

// Moves the runs' bytes into the image and notes where each run begins.
static void sealed_object_add_batches(
	struct sealed_object *object, const struct open_run_view *runs, size_t run_count, uint64_t *positions)
{
	for (size_t i = 0; i < run_count; i++) {
		positions[i] = object->image->bytes;
		for (struct batch *batch = runs[i].first; batch; batch = batch->next) {
			object_image_add(object->image, batch->bytes);
			batch->bytes = (struct slice){0};
		}
	}
}

static void section_run_fill(
	struct section_run *section_run, const struct open_run_view *run, uint64_t position, struct arena *arena)
{
	section_run->topic_id = run->topic_id;
	section_run->partition = run->partition;
	section_run->position = position;
	section_run->batch_count = run->batch_count;
	section_run->batches = arena_alloc(arena, run->batch_count * sizeof *section_run->batches);
	uint32_t at = 0;
	for (const struct batch *batch = run->first; batch; batch = batch->next)
		section_run->batches[at++] = batch->facts;
}

static uint64_t run_charge(const struct open_run_view *run)
{
	uint64_t charge = 0;
	for (const struct batch *batch = run->first; batch; batch = batch->next)
		charge += batch_charge(batch);
	return charge;
}

// Encodes one shard's section at the end of out.
static void sealed_section_build(struct sealed_section *section, const struct open_run_view *runs, size_t run_count,
	const uint64_t *positions, struct buffer *out)
{
	struct arena arena;
	arena_init(&arena, 0);
	section->runs = memory_alloc(section->run_count * sizeof *section->runs);
	struct section plain = {section->run_count, arena_alloc(&arena, section->run_count * sizeof *plain.runs)};
	uint32_t at = 0;
	for (size_t i = 0; i < run_count; i++) {
		if (runs[i].shard != section->shard)
			continue;
		section_run_fill(&plain.runs[at], &runs[i], positions[i], &arena);
		section->runs[at++] = (struct sealed_run){runs[i].first, runs[i].batch_count};
		section->charge += run_charge(&runs[i]);
	}
	section_encode(&plain, out);
	arena_done(&arena);
}

static void sealed_object_name_sections(
	struct sealed_object *object, const struct open_run_view *runs, size_t run_count, uint32_t shards)
{
	uint32_t *counts = memory_zalloc(shards * sizeof *counts);
	for (size_t i = 0; i < run_count; i++)
		if (counts[runs[i].shard]++ == 0)
			object->section_count++;
	object->sections = memory_zalloc(object->section_count * sizeof *object->sections);
	uint32_t at = 0;
	for (uint32_t shard = 0; shard < shards; shard++) {
		if (counts[shard] == 0)
			continue;
		struct sealed_section *section = &object->sections[at++];
		list_init(&section->link);
		section->object = object;
		section->shard = shard;
		section->run_count = counts[shard];
	}
	free(counts);
}

// Sections, table and trailer, as one last part of the image.
static void sealed_object_add_sections(
	struct sealed_object *object, const struct open_run_view *runs, size_t run_count, const uint64_t *positions)
{
	uint64_t start = object->image->bytes;
	struct mixed_object_section_row *rows = memory_alloc(object->section_count * sizeof *rows);
	struct buffer out;
	buffer_init(&out, SECTIONS_BYTES_MAX);
	for (uint32_t i = 0; i < object->section_count; i++) {
		struct sealed_section *section = &object->sections[i];
		size_t begin = out.len;
		sealed_section_build(section, runs, run_count, positions, &out);
		CHECK(!out.failed);
		section->position = start + begin;
		section->crc = crc32c(0, out.data + begin, out.len - begin);
		rows[i] = (struct mixed_object_section_row){
			section->shard, (uint32_t)(out.len - begin), section->position, section->crc};
	}
	mixed_object_trailer_encode(rows, object->section_count, start + out.len, &out);
	CHECK(!out.failed);
	struct slice tail = slice_copy(buffer_view(&out));
	buffer_done(&out);
	for (uint32_t i = 0; i < object->section_count; i++)
		object->sections[i].bytes = slice_part(tail, (size_t)(rows[i].position - start), rows[i].len);
	free(rows);
	object_image_add(object->image, tail);
}

struct sealed_object *sealed_object_new(
	const struct mixed_object_header *header, const struct open_run_view *runs, size_t run_count, uint32_t shards)
{
	struct sealed_object *object = memory_zalloc(sizeof *object);
	object->id = header->id;
	object->batch_count = (uint32_t)sealed_batch_count(runs, run_count);
	object->image = object_image_new(&header->id, object->batch_count + 2);
	mixed_object_key(&header->id, object->key);
	object_image_add(object->image, slice_of_header(header));
	uint64_t *positions = memory_alloc(run_count * sizeof *positions);
	sealed_object_add_batches(object, runs, run_count, positions);
	sealed_object_name_sections(object, runs, run_count, shards);
	sealed_object_add_sections(object, runs, run_count, positions);
	free(positions);
	object->bytes = object->image->bytes;
	object->holds = 1;
	return object;
}

struct sealed_object *sealed_object_ref(struct sealed_object *object)
{
	object->holds++;
	return object;
}

void sealed_section_done(struct sealed_section *section)
{
	for (uint32_t i = 0; i < section->run_count; i++) {
		struct batch *batch = section->runs[i].first;
		while (batch) {
			struct batch *next = batch->next;
			free(batch);
			batch = next;
		}
	}
	free(section->runs);
	section->runs = NULL;
	section->run_count = 0;
	slice_done(&section->bytes);
}

void sealed_object_unref(struct sealed_object **object)
{
	struct sealed_object *held = *object;
	*object = NULL;
	if (!held || --held->holds > 0)
		return;
	for (uint32_t i = 0; i < held->section_count; i++)
		CHECK(held->sections[i].runs == NULL);
	object_image_unref(&held->image);
	free(held->sections);
	free(held);
}
