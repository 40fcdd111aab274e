// DescribeConfigs: a topic's configs with their defaults and where each value comes from (KIP-226's synonyms), and what a
// broker would say of itself. Brokers have no dynamic configs here: their values are the frontend's settings.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cluster/topic_config.h"
#include "frontend/kafka/serve.h"
#include "proto/kafka/kafka_errors.h"

// ConfigResource.Type and DescribeConfigsResponse.ConfigSource.
enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4 };
enum { SOURCE_TOPIC = 1, SOURCE_STATIC_BROKER = 4, SOURCE_DEFAULT = 5 };

struct config_value {
	const char *name;
	const char *value;
	const char *fallback;
	const char *fallback_name; // of the broker config that a topic's stands on
	enum topic_config_type type;
	int8_t source;
	const char *doc;
	bool read_only;
};

struct config_wish {
	struct request *request;
	const struct kafka_describe_configs_request *message;
	const struct kafka_describe_configs_request_describe_configs_resource *resource;
	struct kafka_describe_configs_response_describe_configs_result *result;
};

static bool config_wanted(const struct config_wish *wish, const char *name)
{
	if (wish->resource->configuration_keys_count < 0)
		return true;
	for (int32_t i = 0; i < wish->resource->configuration_keys_count; i++)
		if (bytes_equal(wish->resource->configuration_keys[i], bytes_of(name)))
			return true;
	return false;
}

static void config_put_synonyms(struct config_wish *wish, const struct config_value *value,
	struct kafka_describe_configs_response_describe_configs_resource_result *row)
{
	row->synonyms = kafka_describe_configs_response_describe_configs_synonym_array(&wish->request->arena, 2);
	if (value->source != SOURCE_DEFAULT) {
		struct kafka_describe_configs_response_describe_configs_synonym *set = &row->synonyms[row->synonyms_count++];
		set->name = bytes_of(value->name);
		set->value = bytes_of(value->value);
		set->source = value->source;
	}
	if (value->fallback) {
		struct kafka_describe_configs_response_describe_configs_synonym *base = &row->synonyms[row->synonyms_count++];
		base->name = bytes_of(value->fallback_name);
		base->value = bytes_of(value->fallback);
		base->source = SOURCE_DEFAULT;
	}
}

static void config_put(struct config_wish *wish, const struct config_value *value)
{
	if (!config_wanted(wish, value->name))
		return;
	struct kafka_describe_configs_response_describe_configs_resource_result *row =
		&wish->result->configs[wish->result->configs_count++];
	row->name = bytes_of(value->name);
	row->value = bytes_of(value->value);
	row->read_only = value->read_only;
	row->config_source = value->source;
	row->config_type = (int8_t)value->type;
	if (wish->message->include_synonyms)
		config_put_synonyms(wish, value, row);
	if (wish->message->include_documentation && value->doc)
		row->documentation = bytes_of(value->doc);
}

static void config_room(struct config_wish *wish, size_t count)
{
	wish->result->configs =
		kafka_describe_configs_response_describe_configs_resource_result_array(&wish->request->arena, (int32_t)count);
}

static void config_fail(struct config_wish *wish, int16_t code, const char *message)
{
	wish->result->error_code = frontend_error(wish->request->frontend, code);
	wish->result->error_message = bytes_of(message);
}

// Topics

// What Kafka calls the broker-wide default of a topic config.
static const char *config_broker_name(struct arena *arena, const char *name)
{
	static const char *const same[] = {"compression.type", "min.insync.replicas", "unclean.leader.election.enable"};
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		if (strcmp(name, same[i]) == 0)
			return name;
	if (strcmp(name, "max.message.bytes") == 0)
		return "message.max.bytes";
	size_t len = strlen(name) + sizeof "log.";
	char *text = arena_alloc(arena, len);
	snprintf(text, len, "log.%s", name);
	return text;
}

static void config_put_topic(struct config_wish *wish, const struct topic *topic)
{
	config_room(wish, topic_config_count());
	for (size_t i = 0; i < topic_config_count(); i++) {
		const struct topic_config *config = topic_config_at(i);
		const char *set = topic_setting_find(topic, config->name);
		struct config_value value = {.name = config->name,
			.value = set ? arena_string(&wish->request->arena, bytes_of(set)) : config->fallback,
			.fallback = config->fallback,
			.fallback_name = config_broker_name(&wish->request->arena, config->name),
			.type = config->type,
			.source = set ? SOURCE_TOPIC : SOURCE_DEFAULT,
			.doc = config->doc};
		config_put(wish, &value);
	}
}

static void config_describe_topic(struct config_wish *wish)
{
	struct bytes name = wish->resource->resource_name;
	const struct topic *topic = catalog_by_name(wish->request->frontend->catalog, name);
	if (topic)
		config_put_topic(wish, topic);
	else if (topic_name_valid(name))
		config_fail(wish, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
	else
		config_fail(wish, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION, "not a topic name");
}

// Brokers

static const char *config_number(struct config_wish *wish, uint64_t number)
{
	char *text = arena_alloc(&wish->request->arena, 24);
	snprintf(text, 24, "%llu", (unsigned long long)number);
	return text;
}

static void config_put_broker_value(
	struct config_wish *wish, const char *name, enum topic_config_type type, const char *text, const char *fallback)
{
	struct config_value value = {.name = name,
		.value = text,
		.fallback = fallback,
		.fallback_name = name,
		.type = type,
		.source = fallback && strcmp(text, fallback) == 0 ? SOURCE_DEFAULT : SOURCE_STATIC_BROKER,
		.doc = NULL,
		.read_only = true};
	config_put(wish, &value);
}

static void config_put_broker(struct config_wish *wish, const struct frontend_broker *broker)
{
	const struct frontend_settings *settings = &wish->request->frontend->settings;
	size_t len = broker->host.len + 40;
	char *listener = arena_alloc(&wish->request->arena, len);
	snprintf(listener, len, "PLAINTEXT://%.*s:%d", (int)broker->host.len, (const char *)broker->host.data, broker->port);
	config_room(wish, 16);
	config_put_broker_value(wish, "advertised.listeners", TOPIC_CONFIG_STRING, listener, NULL);
	config_put_broker_value(wish, "auto.create.topics.enable", TOPIC_CONFIG_BOOLEAN,
		settings->auto_create_topics ? "true" : "false", "true");
	config_put_broker_value(wish, "broker.id", TOPIC_CONFIG_INT, config_number(wish, (uint64_t)broker->node_id), NULL);
	config_put_broker_value(
		wish, "broker.rack", TOPIC_CONFIG_STRING, arena_string(&wish->request->arena, bytes_of(broker->zone)), NULL);
	config_put_broker_value(wish, "default.replication.factor", TOPIC_CONFIG_INT, "1", "1");
	config_put_broker_value(wish, "delete.topic.enable", TOPIC_CONFIG_BOOLEAN, "true", "true");
	config_put_broker_value(
		wish, "fetch.max.bytes", TOPIC_CONFIG_INT, config_number(wish, settings->fetch_bytes_max), NULL);
	config_put_broker_value(wish, "listeners", TOPIC_CONFIG_STRING, listener, NULL);
	config_put_broker_value(
		wish, "message.max.bytes", TOPIC_CONFIG_INT, config_number(wish, settings->message_bytes_max), "1048588");
	config_put_broker_value(wish, "min.insync.replicas", TOPIC_CONFIG_INT, "1", "1");
	config_put_broker_value(
		wish, "num.partitions", TOPIC_CONFIG_INT, config_number(wish, (uint64_t)settings->partitions_default), "1");
	config_put_broker_value(wish, "offsets.topic.replication.factor", TOPIC_CONFIG_INT, "1", NULL);
	config_put_broker_value(wish, "socket.request.max.bytes", TOPIC_CONFIG_INT,
		config_number(wish, settings->request_bytes_max), "104857600");
}

static void config_describe_broker(struct config_wish *wish)
{
	struct bytes name = wish->resource->resource_name;
	if (name.len == 0)
		return; // the cluster-wide dynamic configs: there are none
	const char *text = arena_string(&wish->request->arena, name);
	char *end;
	long id = strtol(text, &end, 10);
	size_t count;
	const struct frontend_broker *brokers = frontend_brokers(wish->request->frontend, &wish->request->arena, &count);
	for (size_t i = 0; i < count && *end == '\0'; i++) {
		if (brokers[i].node_id != id)
			continue;
		config_put_broker(wish, &brokers[i]);
		return;
	}
	config_fail(wish, KAFKA_ERROR_INVALID_REQUEST, "no such broker");
}

void serve_describe_configs(struct request *request)
{
	struct kafka_describe_configs_request message;
	if (!REQUEST_DECODE(request, kafka_describe_configs_request_decode, &message))
		return;
	struct kafka_describe_configs_response response;
	kafka_describe_configs_response_init(&response);
	response.results_count = message.resources_count;
	response.results =
		kafka_describe_configs_response_describe_configs_result_array(&request->arena, message.resources_count);
	for (int32_t i = 0; i < message.resources_count; i++) {
		struct config_wish wish = {request, &message, &message.resources[i], &response.results[i]};
		wish.result->error_message = BYTES_NULL;
		wish.result->resource_type = wish.resource->resource_type;
		wish.result->resource_name = wish.resource->resource_name;
		if (wish.resource->resource_type == RESOURCE_TOPIC)
			config_describe_topic(&wish);
		else if (wish.resource->resource_type == RESOURCE_BROKER)
			config_describe_broker(&wish);
		else
			config_fail(&wish, KAFKA_ERROR_INVALID_REQUEST, "only topics and brokers have configs");
	}
	REQUEST_ANSWER(request, kafka_describe_configs_response_encode, &response);
}
