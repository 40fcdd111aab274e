// Committed offsets, keyed by (topic id, partition): what was committed for a deleted topic cannot be taken for one of the
// same name that came later. Changed by apply alone.

#include "coordinator/group.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "common/runtime/protobuf.h"

struct group_offset_topic *group_find_offset_topic(struct group *group, const struct uuid *topic_id)
{
	struct group_offset_topic *topic;
	HASH_FIND(hh, group->offset_topics, topic_id, sizeof *topic_id, topic);
	return topic;
}

struct group_offset *group_find_offset(struct group_offset_topic *topic, int32_t partition)
{
	struct group_offset *offset;
	HASH_FIND(hh, topic->partitions, &partition, sizeof partition, offset);
	return offset;
}

static struct group_offset_topic *offset_topic_find_or_add(struct group *group, const struct uuid *id, struct bytes name)
{
	struct group_offset_topic *topic = group_find_offset_topic(group, id);
	if (topic)
		return topic;
	topic = memory_zalloc(sizeof *topic);
	topic->id = *id;
	topic->name = group_text_copy(name);
	HASH_ADD(hh, group->offset_topics, id, sizeof topic->id, topic);
	return topic;
}

static struct group_offset *offset_find_or_add(struct group *group, struct group_offset_topic *topic, int32_t partition)
{
	struct group_offset *offset = group_find_offset(topic, partition);
	if (offset)
		return offset;
	offset = memory_zalloc(sizeof *offset);
	offset->partition = partition;
	HASH_ADD(hh, topic->partitions, partition, sizeof offset->partition, offset);
	group->offset_count++;
	return offset;
}

static void offset_drop(struct group *group, struct group_offset_topic *topic, struct group_offset *offset)
{
	HASH_DELETE(hh, topic->partitions, offset);
	group_text_drop(&offset->metadata);
	free(offset);
	group->offset_count--;
}

void group_drop_offset_topic(struct group *group, struct group_offset_topic *topic)
{
	while (topic->partitions)
		offset_drop(group, topic, topic->partitions);
	HASH_DELETE(hh, group->offset_topics, topic);
	group_text_drop(&topic->name);
	free(topic);
}

void group_drop_offsets(struct group *group)
{
	while (group->offset_topics)
		group_drop_offset_topic(group, group->offset_topics);
}

static void offset_remove(struct group *group, const struct uuid *topic_id, int32_t partition)
{
	struct group_offset_topic *topic = group_find_offset_topic(group, topic_id);
	struct group_offset *offset = topic ? group_find_offset(topic, partition) : NULL;
	if (!offset)
		return;
	offset_drop(group, topic, offset);
	if (!topic->partitions)
		group_drop_offset_topic(group, topic);
}

static void offset_set(struct group *group, const struct uuid *topic_id, const Weir__GroupOffset *command)
{
	struct group_offset_topic *topic = offset_topic_find_or_add(group, topic_id, bytes_of(command->topic));
	struct group_offset *offset = offset_find_or_add(group, topic, command->partition);
	offset->offset = command->offset;
	offset->leader_epoch = command->leader_epoch;
	offset->time_ms = command->time_ms;
	group_text_set(&offset->metadata, bytes_of(command->metadata));
}

void group_apply_offset(struct group *group, const Weir__GroupOffset *command)
{
	struct uuid topic_id;
	if (!protobuf_get_uuid(command->topic_id, &topic_id))
		return;
	if (command->removed)
		offset_remove(group, &topic_id, command->partition);
	else
		offset_set(group, &topic_id, command);
}

struct offset_export {
	struct arena arena;
	Weir__GroupOffsets message;
	groups_export_fn fn;
	void *ctx;
};

static void offset_export_flush(struct offset_export *out)
{
	if (out->message.n_offsets == 0)
		return;
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_GROUP_OFFSETS;
	command.group_offsets = &out->message;
	out->fn(out->ctx, &command);
	out->message.n_offsets = 0;
}

static void offset_export_one(
	struct offset_export *out, const struct group_offset_topic *topic, const struct group_offset *offset)
{
	Weir__GroupOffset *message = out->message.offsets[out->message.n_offsets++];
	weir__group_offset__init(message);
	message->topic_id = protobuf_uuid(&topic->id);
	message->topic = group_text_c(topic->name);
	message->partition = offset->partition;
	message->offset = offset->offset;
	message->leader_epoch = offset->leader_epoch;
	message->metadata = group_text_c(offset->metadata);
	message->time_ms = offset->time_ms;
	if (out->message.n_offsets == GROUP_EXPORT_OFFSETS)
		offset_export_flush(out);
}

static void offset_export_begin(struct offset_export *out, const struct group *group)
{
	arena_init(&out->arena, 0);
	weir__group_offsets__init(&out->message);
	out->message.group = group_text_c(group->id);
	size_t count = group->offset_count < GROUP_EXPORT_OFFSETS ? group->offset_count : GROUP_EXPORT_OFFSETS;
	out->message.offsets = arena_alloc(&out->arena, count * sizeof *out->message.offsets);
	for (size_t i = 0; i < count; i++)
		out->message.offsets[i] = arena_alloc(&out->arena, sizeof **out->message.offsets);
}

void group_export_offsets(const struct group *group, groups_export_fn fn, void *ctx)
{
	struct offset_export out = {.fn = fn, .ctx = ctx};
	offset_export_begin(&out, group);
	for (const struct group_offset_topic *topic = group->offset_topics; topic; topic = topic->hh.next)
		for (const struct group_offset *offset = topic->partitions; offset; offset = offset->hh.next)
			offset_export_one(&out, topic, offset);
	offset_export_flush(&out);
	arena_done(&out.arena);
}
