// A topic's way: checked against the request and the catalogue -> (create: its directory is looked for in the bucket) -> intent
// -> done.
#include "coordinator/kafka_topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/cluster/topic_config.h"
#include "common/runtime/protobuf.h"
#include "coordinator/controller.h"
#include "coordinator/ticket.h"
#include "proto/kafka/kafka_messages.h"

enum { NAME_LEN_MAX = 249, LIST_TIMEOUT_MS = 10000, KEY_SIZE = 512 };

static struct catalogue *call_catalogue(const struct admin_call *call)
{
	return &shard_state(call->controller->shard)->catalogue;
}

static const char *message_of(struct admin_call *call, const char *pattern, struct bytes name)
{
	char text[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	int len = snprintf(text, sizeof text, pattern, (int)(name.len < 300 ? name.len : 300), (const char *)name.data);
#pragma GCC diagnostic pop
	return arena_string(&call->arena, bytes_view(text, (size_t)len));
}

static void refuse_malformed(struct admin_call *call)
{
	control_reply_kafka(call->controller->coordinator, call->request, ERROR_MALFORMED, BYTES_NULL);
	call->request = NULL;
	admin_call_seal(call);
}

// Views of the request must outlive it: the body is the caller's for the call only.
static struct reader call_reader(struct admin_call *call, struct bytes body)
{
	return reader_of(arena_copy(&call->arena, body));
}

static Weir__TopicInfo *info_copy(struct admin_call *call, const Weir__TopicInfo *from)
{
	struct buffer packed;
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&from->base, &packed);
	Weir__TopicInfo *info = protobuf_unpack(&weir__topic_info__descriptor, buffer_view(&packed), &call->arena);
	CHECK(info);
	buffer_done(&packed);
	return info;
}

// Names.

static bool name_valid(struct bytes name)
{
	if (name.len == 0 || name.len > NAME_LEN_MAX)
		return false;
	if (bytes_equal(name, bytes_of(".")) || bytes_equal(name, bytes_of("..")))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!letter && c != '.' && c != '_' && c != '-')
			return false;
	}
	return true;
}

// Kafka's metrics turn '.' into '_', so two topics that differ only there are refused.
static bool names_collide(struct bytes a, struct bytes b)
{
	if (a.len != b.len || bytes_equal(a, b))
		return false;
	for (size_t i = 0; i < a.len; i++) {
		uint8_t x = a.data[i] == '.' ? '_' : a.data[i];
		uint8_t y = b.data[i] == '.' ? '_' : b.data[i];
		if (x != y)
			return false;
	}
	return true;
}

static bool name_collides(const struct catalogue *catalogue, struct bytes name)
{
	if (!memchr(name.data, '.', name.len) && !memchr(name.data, '_', name.len))
		return false;
	for (const struct catalogue_topic *topic = catalogue->topics; topic; topic = topic->hh.next) {
		const Weir__TopicInfo *info = topic->now.info ? topic->now.info : topic->target.info;
		if (names_collide(name, bytes_of(info->name)))
			return true;
	}
	return false;
}

// CreateTopics.

struct creatable_list {
	const struct kafka_create_topics_request_creatable_topic *topics;
	int32_t count;
};

static bool named_twice(const struct creatable_list *list, int32_t index)
{
	for (int32_t i = 0; i < list->count; i++) {
		if (i != index && bytes_equal(list->topics[i].name, list->topics[index].name))
			return true;
	}
	return false;
}

static bool check_name(struct admin_topic *topic)
{
	const struct catalogue *catalogue = call_catalogue(topic->call);
	if (!name_valid(topic->name))
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION,
			"A topic name has 1 to 249 of the characters a-z A-Z 0-9 . _ - and is not '.' or '..'.");
	else if (catalogue_topic_by_name(catalogue, topic->name))
		admin_topic_refuse(topic, KAFKA_ERROR_TOPIC_ALREADY_EXISTS,
			message_of(topic->call, "Topic '%.*s' already exists.", topic->name));
	else if (name_collides(catalogue, topic->name))
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION,
			"The name differs from an existing topic's only in '.' and '_'.");
	else
		return true;
	return false;
}

// Partitions 0 to n-1, each once and with at least one broker; which brokers does not matter here.
static bool assignments_valid(const struct kafka_create_topics_request_creatable_topic *from)
{
	for (int32_t i = 0; i < from->assignments_count; i++) {
		int32_t partition = from->assignments[i].partition_index;
		if (partition < 0 || partition >= from->assignments_count || from->assignments[i].broker_ids_count == 0)
			return false;
		for (int32_t j = 0; j < i; j++) {
			if (from->assignments[j].partition_index == partition)
				return false;
		}
	}
	return true;
}

static bool check_assignments(struct admin_topic *topic, const struct kafka_create_topics_request_creatable_topic *from)
{
	if (from->num_partitions != -1 || from->replication_factor != -1)
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REQUEST,
			"Partitions and replication factor must be -1 where assignments are given.");
	else if (!assignments_valid(from))
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
			"Assignments must name the partitions from 0 on, each once, with brokers.");
	else
		return true;
	return false;
}

static bool check_partitions(struct admin_topic *topic, const struct kafka_create_topics_request_creatable_topic *from)
{
	const struct coordinator_settings *settings = &topic->call->controller->coordinator->settings;
	topic->partitions = from->num_partitions;
	if (from->assignments_count > 0) {
		if (!check_assignments(topic, from))
			return false;
		topic->partitions = from->assignments_count;
	} else if (from->replication_factor != -1 && from->replication_factor < 1) {
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REPLICATION_FACTOR,
			"Replication factor must be larger than 0, or -1 to use the default value.");
		return false;
	} else if (from->num_partitions == -1) {
		topic->partitions = (int32_t)settings->num_partitions;
	}
	if (topic->partitions < 1) {
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_PARTITIONS,
			"Number of partitions was set to an invalid non-positive value.");
		return false;
	}
	return true;
}

static bool check_config(
	struct admin_topic *topic, const struct kafka_create_topics_request_creatable_topic *from, int32_t index)
{
	struct bytes name = from->configs[index].name;
	const struct topic_config *config = topic_config_find(name);
	for (int32_t i = 0; i < index; i++) {
		if (bytes_equal(from->configs[i].name, name)) {
			admin_topic_refuse(topic, KAFKA_ERROR_INVALID_CONFIG, "A config is named twice.");
			return false;
		}
	}
	if (!config)
		admin_topic_refuse(
			topic, KAFKA_ERROR_INVALID_CONFIG, message_of(topic->call, "Unknown topic config name: %.*s", name));
	else if (!topic_config_valid(config, from->configs[index].value))
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_CONFIG,
			message_of(topic->call, "Invalid value for configuration %.*s.", name));
	else
		return true;
	return false;
}

static void info_set_configs(
	struct admin_topic *topic, Weir__TopicInfo *info, const struct kafka_create_topics_request_creatable_topic *from)
{
	struct arena *arena = &topic->call->arena;
	info->configs = arena_alloc(arena, (size_t)from->configs_count * sizeof *info->configs);
	for (int32_t i = 0; i < from->configs_count; i++) {
		Weir__ConfigEntry *entry = arena_alloc(arena, sizeof *entry);
		weir__config_entry__init(entry);
		entry->name = arena_string(arena, from->configs[i].name);
		entry->value = arena_string(arena, from->configs[i].value);
		info->configs[info->n_configs++] = entry;
	}
}

static void create_make_info(struct admin_topic *topic, const struct kafka_create_topics_request_creatable_topic *from)
{
	struct env *env = topic->call->controller->coordinator->deps.env;
	struct arena *arena = &topic->call->arena;
	Weir__TopicInfo *info = arena_alloc(arena, sizeof *info);
	weir__topic_info__init(info);
	topic->id = uuid_random(&env->prng);
	info->id = protobuf_uuid(&topic->id);
	info->name = arena_string(arena, topic->name);
	info->partitions = topic->partitions;
	info->created_ms = env->wall_ms;
	info->directory = info->name;
	info_set_configs(topic, info, from);
	topic->info = info;
	topic->kind = WEIR__TOPIC_INTENT__KIND__CREATE;
}

static bool create_check(struct admin_topic *topic, const struct creatable_list *list, int32_t index)
{
	const struct kafka_create_topics_request_creatable_topic *from = &list->topics[index];
	topic->name = from->name;
	if (named_twice(list, index)) {
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REQUEST, "The request names this topic more than once.");
		return false;
	}
	if (!check_name(topic) || !check_partitions(topic, from))
		return false;
	for (int32_t i = 0; i < from->configs_count; i++) {
		if (!check_config(topic, from, i))
			return false;
	}
	if (!admin_topic_reserve(topic, topic->partitions)) {
		admin_topic_refuse(topic, KAFKA_ERROR_POLICY_VIOLATION, "The cluster's limit on partitions is reached.");
		return false;
	}
	create_make_info(topic, from);
	return true;
}

static void create_use_id_directory(struct admin_topic *topic)
{
	char hex[UUID_HEX_SIZE];
	char directory[NAME_LEN_MAX + 1 + UUID_HEX_SIZE];
	uuid_hex(&topic->id, hex);
	snprintf(directory, sizeof directory, "%s@%s", topic->info->name, hex);
	topic->info->directory = arena_string(&topic->call->arena, bytes_of(directory));
}

struct directory_listing {
	struct ticket ticket;
	struct admin_topic *topic;
};

// The bare name only if nothing lies there (histories, 10).
static void directory_listed(void *ctx, enum error error, const struct object_info *objects, size_t count, bool more)
{
	struct directory_listing *listing = ctx;
	struct controller *controller = ticket_take(&listing->ticket);
	struct admin_topic *topic = listing->topic;
	(void)objects;
	(void)more;
	free(listing);
	if (!controller || controller->closed || error == ERROR_CANCELED)
		return;
	if (error != ERROR_OK) {
		admin_topic_unreserve(topic);
		admin_topic_refuse(topic, error_kafka_code(error), "The object store cannot be listed.");
	} else {
		if (count)
			create_use_id_directory(topic);
		admin_topic_propose(topic);
	}
	admin_call_release(topic->call);
}

static void create_begin(struct admin_topic *topic)
{
	struct controller *controller = topic->call->controller;
	if (catalogue_tombstone(call_catalogue(topic->call), topic->name)) {
		create_use_id_directory(topic);
		admin_topic_propose(topic);
		return;
	}
	char prefix[KEY_SIZE];
	snprintf(prefix, sizeof prefix, "%s/%s/", controller->coordinator->settings.key_namespace, topic->info->name);
	struct directory_listing *listing = memory_zalloc(sizeof *listing);
	listing->topic = topic;
	ticket_open(&listing->ticket, &controller->tickets, controller);
	admin_call_hold(topic->call);
	object_list(controller->coordinator->deps.objects, prefix, "", 1, LIST_TIMEOUT_MS, directory_listed, listing);
}

static void create_encode_configs(const struct admin_topic *topic,
	struct kafka_create_topics_response_creatable_topic_result *result, struct arena *arena)
{
	enum { SOURCE_TOPIC = 1, SOURCE_DEFAULT = 5 };
	int32_t count = (int32_t)topic_config_count();
	result->configs = kafka_create_topics_response_creatable_topic_configs_array(arena, count);
	result->configs_count = count;
	for (int32_t i = 0; i < count; i++) {
		const struct topic_config *config = topic_config_at((size_t)i);
		result->configs[i].name = bytes_of(config->name);
		result->configs[i].value = bytes_of(config->fallback);
		result->configs[i].config_source = SOURCE_DEFAULT;
		for (size_t j = 0; j < topic->info->n_configs; j++) {
			if (strcmp(topic->info->configs[j]->name, config->name) != 0)
				continue;
			result->configs[i].value = bytes_of(topic->info->configs[j]->value);
			result->configs[i].config_source = SOURCE_TOPIC;
		}
	}
}

static void create_encode(const struct admin_call *call, struct kafka_writer *writer)
{
	struct kafka_create_topics_response response;
	struct arena arena;
	arena_init(&arena, 0);
	kafka_create_topics_response_init(&response);
	response.topics_count = (int32_t)call->topic_count;
	response.topics = kafka_create_topics_response_creatable_topic_result_array(&arena, response.topics_count);
	for (size_t i = 0; i < call->topic_count; i++) {
		const struct admin_topic *topic = &call->topics[i];
		struct kafka_create_topics_response_creatable_topic_result *result = &response.topics[i];
		result->name = topic->name;
		result->error_code = topic->error;
		result->error_message = topic->message ? bytes_of(topic->message) : BYTES_NULL;
		if (topic->error != KAFKA_ERROR_NONE)
			continue;
		result->topic_id = topic->id;
		result->num_partitions = topic->partitions;
		result->replication_factor = 1;
		create_encode_configs(topic, result, &arena);
	}
	kafka_create_topics_response_encode(&response, writer, call->version);
	arena_done(&arena);
}

void kafka_create_topics(const struct kafka_topics_call *from)
{
	struct admin_call *call = admin_call_new(from->controller, from->request, from->version);
	struct reader reader = call_reader(call, from->body);
	struct kafka_create_topics_request request;
	call->encode = create_encode;
	if (kafka_create_topics_request_decode(&request, &reader, from->version, &call->arena) != ERROR_OK) {
		refuse_malformed(call);
		return;
	}
	const struct creatable_list list = {request.topics, request.topics_count};
	admin_call_set(call, (size_t)request.topics_count, request.timeout_ms, from->remaining_ms);
	for (int32_t i = 0; i < request.topics_count; i++) {
		struct admin_topic *topic = &call->topics[i];
		if (!create_check(topic, &list, i))
			continue;
		if (!request.validate_only) {
			create_begin(topic);
			continue;
		}
		admin_topic_unreserve(topic);
		topic->error = KAFKA_ERROR_NONE;
	}
	admin_call_seal(call);
}

// CreatePartitions.

static void grow_begin(struct admin_topic *topic, const struct kafka_create_partitions_request_create_partitions_topic *from,
	bool validate_only)
{
	const struct catalogue *catalogue = call_catalogue(topic->call);
	const struct catalogue_topic *known = catalogue_topic_by_name(catalogue, from->name);
	const Weir__TopicInfo *now = known && catalogue_topic_live(known) ? known->now.info : NULL;
	if (!now)
		admin_topic_refuse(topic, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "This topic does not exist.");
	else if (from->count <= now->partitions)
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_PARTITIONS,
			from->count == now->partitions ? "The topic already has that many partitions."
						       : "The number of partitions cannot be made smaller.");
	else if (from->assignments && from->assignments_count != from->count - now->partitions)
		admin_topic_refuse(
			topic, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT, "There must be one assignment a new partition.");
	else if (!admin_topic_reserve(topic, (int64_t)from->count - now->partitions))
		admin_topic_refuse(topic, KAFKA_ERROR_POLICY_VIOLATION, "The cluster's limit on partitions is reached.");
	else if (validate_only) {
		admin_topic_unreserve(topic);
		topic->error = KAFKA_ERROR_NONE;
	} else {
		topic->id = known->id;
		topic->info = info_copy(topic->call, now);
		topic->info->partitions = from->count;
		topic->kind = WEIR__TOPIC_INTENT__KIND__GROW;
		admin_topic_propose(topic);
	}
}

static void grow_encode(const struct admin_call *call, struct kafka_writer *writer)
{
	struct kafka_create_partitions_response response;
	struct arena arena;
	arena_init(&arena, 0);
	kafka_create_partitions_response_init(&response);
	response.results_count = (int32_t)call->topic_count;
	response.results =
		kafka_create_partitions_response_create_partitions_topic_result_array(&arena, response.results_count);
	for (size_t i = 0; i < call->topic_count; i++) {
		response.results[i].name = call->topics[i].name;
		response.results[i].error_code = call->topics[i].error;
		if (call->topics[i].message)
			response.results[i].error_message = bytes_of(call->topics[i].message);
	}
	kafka_create_partitions_response_encode(&response, writer, call->version);
	arena_done(&arena);
}

static bool grown_twice(const struct kafka_create_partitions_request *request, int32_t index)
{
	for (int32_t i = 0; i < request->topics_count; i++) {
		if (i != index && bytes_equal(request->topics[i].name, request->topics[index].name))
			return true;
	}
	return false;
}

void kafka_create_partitions(const struct kafka_topics_call *from)
{
	struct admin_call *call = admin_call_new(from->controller, from->request, from->version);
	struct reader reader = call_reader(call, from->body);
	struct kafka_create_partitions_request request;
	call->encode = grow_encode;
	if (kafka_create_partitions_request_decode(&request, &reader, from->version, &call->arena) != ERROR_OK) {
		refuse_malformed(call);
		return;
	}
	admin_call_set(call, (size_t)request.topics_count, request.timeout_ms, from->remaining_ms);
	for (int32_t i = 0; i < request.topics_count; i++) {
		struct admin_topic *topic = &call->topics[i];
		topic->name = request.topics[i].name;
		if (grown_twice(&request, i))
			admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REQUEST, "The request names this topic more than once.");
		else
			grow_begin(topic, &request.topics[i], request.validate_only);
	}
	admin_call_seal(call);
}

// DeleteTopics.

static void delete_begin(struct admin_topic *topic, const struct catalogue_topic *known, int16_t unknown_error)
{
	if (!known || !catalogue_topic_live(known)) {
		admin_topic_refuse(topic, unknown_error, "This topic does not exist.");
		return;
	}
	for (const struct admin_topic *other = topic->call->topics; other < topic; other++) {
		if (uuid_equal(&other->id, &known->id)) {
			admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REQUEST, "The request names this topic more than once.");
			return;
		}
	}
	topic->id = known->id;
	topic->info = info_copy(topic->call, known->now.info);
	topic->name = bytes_of(topic->info->name);
	topic->info->deleted = true;
	topic->kind = WEIR__TOPIC_INTENT__KIND__DELETE;
	admin_topic_propose(topic);
}

static void delete_encode(const struct admin_call *call, struct kafka_writer *writer)
{
	struct kafka_delete_topics_response response;
	struct arena arena;
	arena_init(&arena, 0);
	kafka_delete_topics_response_init(&response);
	response.responses_count = (int32_t)call->topic_count;
	response.responses = kafka_delete_topics_response_deletable_topic_result_array(&arena, response.responses_count);
	for (size_t i = 0; i < call->topic_count; i++) {
		response.responses[i].name = call->topics[i].name;
		response.responses[i].topic_id = call->topics[i].id;
		response.responses[i].error_code = call->topics[i].error;
		if (call->topics[i].message)
			response.responses[i].error_message = bytes_of(call->topics[i].message);
	}
	kafka_delete_topics_response_encode(&response, writer, call->version);
	arena_done(&arena);
}

static void delete_by_name(struct admin_topic *topic, struct bytes name)
{
	topic->name = name;
	delete_begin(topic, catalogue_topic_by_name(call_catalogue(topic->call), name), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
}

static void delete_by_state(struct admin_topic *topic, const struct kafka_delete_topics_request_delete_topic_state *state)
{
	if (state->name.data) {
		if (uuid_is_zero(&state->topic_id)) {
			delete_by_name(topic, state->name);
			return;
		}
		topic->name = state->name;
		admin_topic_refuse(topic, KAFKA_ERROR_INVALID_REQUEST, "Name a topic or its id, not both.");
		return;
	}
	const struct catalogue_topic *known = catalogue_topic_by_id(call_catalogue(topic->call), &state->topic_id);
	delete_begin(topic, known, KAFKA_ERROR_UNKNOWN_TOPIC_ID);
	topic->id = state->topic_id;
}

void kafka_delete_topics(const struct kafka_topics_call *from)
{
	enum { FIRST_VERSION_BY_ID = 6 };
	struct admin_call *call = admin_call_new(from->controller, from->request, from->version);
	struct reader reader = call_reader(call, from->body);
	struct kafka_delete_topics_request request;
	call->encode = delete_encode;
	if (kafka_delete_topics_request_decode(&request, &reader, from->version, &call->arena) != ERROR_OK) {
		refuse_malformed(call);
		return;
	}
	bool by_state = from->version >= FIRST_VERSION_BY_ID;
	int32_t count = by_state ? request.topics_count : request.topic_names_count;
	admin_call_set(call, (size_t)count, request.timeout_ms, from->remaining_ms);
	for (int32_t i = 0; i < count; i++) {
		if (by_state)
			delete_by_state(&call->topics[i], &request.topics[i]);
		else
			delete_by_name(&call->topics[i], request.topic_names[i]);
	}
	admin_call_seal(call);
}
