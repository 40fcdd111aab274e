#include "coordinator/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"

static void topic_copy_done(struct topic_copy *copy)
{
	if (copy->info)
		arena_done(&copy->arena);
	copy->info = NULL;
}

static void topic_copy_set(struct topic_copy *copy, const Weir__TopicInfo *info)
{
	struct buffer packed;
	topic_copy_done(copy);
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&info->base, &packed);
	arena_init(&copy->arena, 0);
	copy->info = protobuf_unpack(&weir__topic_info__descriptor, buffer_view(&packed), &copy->arena);
	CHECK(copy->info);
	buffer_done(&packed);
}

static const char *topic_name(const struct catalogue_topic *topic)
{
	return topic->now.info ? topic->now.info->name : topic->target.info->name;
}

static void topic_free(struct catalogue *catalogue, struct catalogue_topic *topic)
{
	HASH_DELETE(hh, catalogue->topics, topic);
	HASH_DELETE(hh_name, catalogue->names, topic);
	topic_copy_done(&topic->now);
	topic_copy_done(&topic->target);
	free(topic);
}

void catalogue_init(struct catalogue *catalogue)
{
	*catalogue = (struct catalogue){.node_id_next = 1};
}

void catalogue_done(struct catalogue *catalogue)
{
	while (catalogue->topics)
		topic_free(catalogue, catalogue->topics);
	struct catalogue_tombstone *tombstone;
	struct catalogue_tombstone *next_tombstone;
	HASH_ITER(hh, catalogue->tombstones, tombstone, next_tombstone)
	{
		HASH_DEL(catalogue->tombstones, tombstone);
		free(tombstone->name);
		free(tombstone);
	}
	struct catalogue_node *node;
	struct catalogue_node *next_node;
	HASH_ITER(hh, catalogue->nodes, node, next_node)
	{
		HASH_DEL(catalogue->nodes, node);
		free(node);
	}
}

static enum error apply_create(struct catalogue *catalogue, const Weir__TopicInfo *info, const struct uuid *id)
{
	if (catalogue_topic_by_name(catalogue, bytes_of(info->name)) || catalogue_topic_by_id(catalogue, id))
		return ERROR_ALREADY_EXISTS;
	struct catalogue_topic *topic = memory_zalloc(sizeof *topic);
	topic->id = *id;
	topic_copy_set(&topic->target, info);
	topic->intent = WEIR__TOPIC_INTENT__KIND__CREATE;
	HASH_ADD(hh, catalogue->topics, id, sizeof topic->id, topic);
	const char *name = topic_name(topic);
	HASH_ADD_KEYPTR(hh_name, catalogue->names, name, strlen(name), topic);
	catalogue->partitions += info->partitions;
	return ERROR_OK;
}

enum error catalogue_apply_intent(struct catalogue *catalogue, const Weir__TopicIntent *intent)
{
	struct uuid id;
	if (!intent->topic || !protobuf_get_uuid(intent->topic->id, &id))
		return ERROR_MALFORMED;
	if (intent->kind == WEIR__TOPIC_INTENT__KIND__CREATE)
		return apply_create(catalogue, intent->topic, &id);
	struct catalogue_topic *topic = catalogue_topic_by_id(catalogue, &id);
	if (!topic)
		return ERROR_UNKNOWN_TOPIC_ID;
	if (topic->target.info)
		return ERROR_BUSY;
	topic_copy_set(&topic->target, intent->topic);
	topic->intent = intent->kind;
	catalogue->partitions += topic->target.info->partitions - topic->now.info->partitions;
	return ERROR_OK;
}

static void tombstone_add(struct catalogue *catalogue, const char *name)
{
	if (catalogue_tombstone(catalogue, bytes_of(name)))
		return;
	struct catalogue_tombstone *tombstone = memory_zalloc(sizeof *tombstone);
	tombstone->name = memory_strdup(name);
	HASH_ADD_KEYPTR(hh, catalogue->tombstones, tombstone->name, strlen(tombstone->name), tombstone);
}

const struct catalogue_topic *catalogue_apply_done(
	struct catalogue *catalogue, const Weir__TopicDone *done, uint64_t position, bool *ret_deleted)
{
	struct uuid id;
	if (!protobuf_get_uuid(done->topic_id, &id))
		return NULL;
	struct catalogue_topic *topic = catalogue_topic_by_id(catalogue, &id);
	if (!topic || !topic->target.info)
		return NULL;
	if (topic->intent == WEIR__TOPIC_INTENT__KIND__DELETE) {
		catalogue->partitions -= topic->target.info->partitions;
		tombstone_add(catalogue, topic_name(topic));
		topic_free(catalogue, topic);
		*ret_deleted = true;
		return NULL;
	}
	// The name's bytes move to another arena: the table's key with them.
	HASH_DELETE(hh_name, catalogue->names, topic);
	topic_copy_done(&topic->now);
	topic->now = topic->target;
	topic->target.info = NULL;
	topic->now.info->version = position;
	const char *name = topic->now.info->name;
	HASH_ADD_KEYPTR(hh_name, catalogue->names, name, strlen(name), topic);
	*ret_deleted = false;
	return topic;
}

void catalogue_apply_block(struct catalogue *catalogue, const Weir__ProducerIdBlock *block)
{
	int64_t next = block->first + block->count;
	if (next > catalogue->producer_id_next)
		catalogue->producer_id_next = next;
}

void catalogue_apply_node(struct catalogue *catalogue, const Weir__NodeIdAssign *assign)
{
	struct uuid instance;
	if (!protobuf_get_uuid(assign->instance, &instance) || catalogue_node_id(catalogue, &instance))
		return;
	if (HASH_COUNT(catalogue->nodes) >= CATALOGUE_NODES_MAX) {
		struct catalogue_node *oldest = catalogue->nodes;
		HASH_DEL(catalogue->nodes, oldest);
		free(oldest);
	}
	struct catalogue_node *node = memory_zalloc(sizeof *node);
	node->instance = instance;
	node->node_id = assign->node_id;
	HASH_ADD(hh, catalogue->nodes, instance, sizeof node->instance, node);
	if (assign->node_id >= catalogue->node_id_next)
		catalogue->node_id_next = assign->node_id + 1;
}

struct catalogue_topic *catalogue_topic_by_id(const struct catalogue *catalogue, const struct uuid *id)
{
	struct catalogue_topic *topic;
	HASH_FIND(hh, catalogue->topics, id, sizeof *id, topic);
	return topic;
}

struct catalogue_topic *catalogue_topic_by_name(const struct catalogue *catalogue, struct bytes name)
{
	struct catalogue_topic *topic;
	HASH_FIND(hh_name, catalogue->names, name.data, name.len, topic);
	return topic;
}

const struct catalogue_tombstone *catalogue_tombstone(const struct catalogue *catalogue, struct bytes name)
{
	struct catalogue_tombstone *tombstone;
	HASH_FIND(hh, catalogue->tombstones, name.data, name.len, tombstone);
	return tombstone;
}

int32_t catalogue_node_id(const struct catalogue *catalogue, const struct uuid *instance)
{
	struct catalogue_node *node;
	HASH_FIND(hh, catalogue->nodes, instance, sizeof *instance, node);
	return node ? node->node_id : 0;
}

bool catalogue_topic_live(const struct catalogue_topic *topic)
{
	return topic->now.info != NULL;
}

static uint64_t hash_copy(const struct topic_copy *copy, uint64_t seed)
{
	struct buffer packed;
	if (!copy->info)
		return placement_mix(seed, 0);
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&copy->info->base, &packed);
	seed = placement_mix(seed, placement_hash(buffer_view(&packed)));
	buffer_done(&packed);
	return seed;
}

uint64_t catalogue_hash(const struct catalogue *catalogue, uint64_t seed)
{
	for (const struct catalogue_topic *topic = catalogue->topics; topic; topic = topic->hh.next) {
		seed = hash_copy(&topic->now, seed);
		seed = placement_mix(hash_copy(&topic->target, seed), (uint64_t)topic->intent);
	}
	for (const struct catalogue_tombstone *row = catalogue->tombstones; row; row = row->hh.next)
		seed = placement_mix(seed, placement_hash(bytes_of(row->name)));
	for (const struct catalogue_node *node = catalogue->nodes; node; node = node->hh.next)
		seed = placement_mix(seed, placement_hash(uuid_view(&node->instance)) + (uint64_t)node->node_id);
	seed = placement_mix(seed, (uint64_t)catalogue->partitions);
	seed = placement_mix(seed, (uint64_t)catalogue->producer_id_next);
	return placement_mix(seed, (uint64_t)catalogue->node_id_next);
}
