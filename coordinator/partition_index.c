#include "coordinator/partition_index.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

struct index_object *index_objects_ref(
	struct index_objects *objects, const struct uuid *writer, uint64_t sequence, int64_t created_ms)
{
	struct index_object *object;
	struct index_object probe;
	memset(&probe.key, 0, sizeof probe.key);
	probe.key.writer = *writer;
	probe.key.sequence = sequence;
	HASH_FIND(hh, objects->table, &probe.key, sizeof probe.key, object);
	if (!object) {
		object = memory_zalloc(sizeof *object);
		object->key = probe.key;
		object->created_ms = created_ms;
		HASH_ADD(hh, objects->table, key, sizeof object->key, object);
	}
	object->refs++;
	return object;
}

void index_objects_unref(struct index_objects *objects, struct index_object *object)
{
	if (--object->refs)
		return;
	HASH_DEL(objects->table, object);
	free(object);
}

size_t index_objects_count(const struct index_objects *objects)
{
	return HASH_COUNT(objects->table);
}

void partition_index_done(struct partition_index *index, struct index_objects *objects)
{
	for (size_t i = 0; i < index->count; i++)
		index_objects_unref(objects, index->entries[i].object);
	free(index->entries);
	*index = (struct partition_index){0};
}

static bool entry_takes(const struct index_entry *entry, const struct index_object *object, const struct index_batch *batch)
{
	// Few bytes may stand for many records, if only because a producer says so.
	bool countable = batch->base_offset + batch->record_count - entry->base_offset <= UINT32_MAX;
	return entry->object == object && countable && (uint64_t)entry->length + batch->length <= INDEX_ENTRY_BYTES_MAX &&
	       entry->position + entry->length == batch->position;
}

static struct index_entry *index_extend(struct partition_index *index, struct index_object *object)
{
	if (index->count == index->capacity) {
		index->capacity = index->capacity ? index->capacity * 2 : 4;
		index->entries = memory_realloc(index->entries, index->capacity * sizeof *index->entries);
	}
	object->refs++;
	struct index_entry *entry = &index->entries[index->count++];
	*entry = (struct index_entry){.object = object, .max_timestamp = INT64_MIN};
	return entry;
}

static void index_note_time(struct partition_index *index, struct index_entry *entry, int64_t timestamp)
{
	if (timestamp > entry->max_timestamp)
		entry->max_timestamp = timestamp;
	int64_t before = entry == index->entries ? INT64_MIN : entry[-1].max_timestamp_before;
	entry->max_timestamp_before = before > entry->max_timestamp ? before : entry->max_timestamp;
	if (entry->max_timestamp > index->entries[index->newest].max_timestamp)
		index->newest = (size_t)(entry - index->entries);
}

void partition_index_add(
	struct partition_index *index, struct index_object *object, const struct index_batch *batch, bool joins)
{
	struct index_entry *entry = joins && index->count ? &index->entries[index->count - 1] : NULL;
	if (!entry || !entry_takes(entry, object, batch)) {
		entry = index_extend(index, object);
		entry->base_offset = batch->base_offset;
		entry->position = batch->position;
	}
	entry->length += batch->length;
	entry->offset_span = (uint32_t)(batch->base_offset + batch->record_count - 1 - entry->base_offset);
	entry->record_count += batch->record_count;
	entry->batch_count++;
	index->bytes += batch->length;
	index_note_time(index, entry, batch->max_timestamp);
}

int64_t index_entry_last(const struct index_entry *entry)
{
	return entry->base_offset + entry->offset_span;
}

size_t partition_index_find(const struct partition_index *index, int64_t offset)
{
	size_t low = 0;
	size_t high = index->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (index_entry_last(&index->entries[middle]) < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t partition_index_find_time(const struct partition_index *index, int64_t timestamp)
{
	size_t low = 0;
	size_t high = index->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (index->entries[middle].max_timestamp_before < timestamp)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
