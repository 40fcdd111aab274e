// Metadata and DescribeCluster. Brokers are the live frontends; a partition's leader is one of them by rendezvous, so that
// clients spread over them, though any frontend serves any partition. A topic that is not there is created if the request and
// the settings allow it; the answer then waits until the topic is in the catalog, so that the first produce finds it.

#include <stdlib.h>

#include "common/base/placement.h"
#include "frontend/kafka/serve.h"
#include "frontend/kafka/serve_call.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

enum {
	CREATE_TOPICS_VERSION = 7,
	// What an authorizer that allows everything answers: bits of AclOperation that a topic and a cluster support.
	TOPIC_OPERATIONS = 0xdf8,
	CLUSTER_OPERATIONS = 0x1fa0,
};

struct metadata_state {
	struct kafka_metadata_request message;
	int16_t *errors; // by requested topic, as creation told
	struct frontend_broker *brokers;
	size_t broker_count;
};

static bool metadata_all_topics(const struct request *request, const struct kafka_metadata_request *message)
{
	return message->topics_count < 0 || (request->version == 0 && message->topics_count == 0);
}

// Answering

static void metadata_put_partitions(struct request *request, const struct metadata_state *state, const struct topic *topic,
	struct kafka_metadata_response_metadata_response_topic *row)
{
	int32_t epoch = cluster_client_leader_epoch(request->frontend->cluster);
	row->partitions_count = topic->partitions;
	row->partitions = kafka_metadata_response_metadata_response_partition_array(&request->arena, topic->partitions);
	for (int32_t i = 0; i < topic->partitions; i++) {
		struct kafka_metadata_response_metadata_response_partition *partition = &row->partitions[i];
		uint64_t key = placement_partition_key(&topic->id, i);
		partition->partition_index = i;
		partition->leader_id = frontend_broker_for(state->brokers, state->broker_count, key)->node_id;
		partition->leader_epoch = epoch;
		partition->replica_nodes = partition->isr_nodes = &partition->leader_id;
		partition->replica_nodes_count = partition->isr_nodes_count = 1;
	}
}

static void metadata_put_topic(struct request *request, const struct metadata_state *state, const struct topic *topic,
	struct kafka_metadata_response_metadata_response_topic *row)
{
	row->name = topic->name_view;
	row->topic_id = topic->id;
	if (state->message.include_topic_authorized_operations)
		row->topic_authorized_operations = TOPIC_OPERATIONS;
	metadata_put_partitions(request, state, topic, row);
}

static const struct topic *metadata_find(
	const struct request *request, const struct kafka_metadata_request_metadata_request_topic *wanted)
{
	const struct catalog *catalog = request->frontend->catalog;
	return wanted->name.data ? catalog_by_name(catalog, wanted->name) : catalog_by_id(catalog, &wanted->topic_id);
}

static int16_t metadata_missing_error(
	const struct metadata_state *state, int32_t index, const struct kafka_metadata_request_metadata_request_topic *wanted)
{
	if (state->errors && state->errors[index])
		return state->errors[index];
	if (!wanted->name.data)
		return KAFKA_ERROR_UNKNOWN_TOPIC_ID;
	return topic_name_valid(wanted->name) ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION : KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
}

static void metadata_put_wanted(
	struct request *request, const struct metadata_state *state, struct kafka_metadata_response *response)
{
	for (int32_t i = 0; i < response->topics_count; i++) {
		const struct kafka_metadata_request_metadata_request_topic *wanted = &state->message.topics[i];
		struct kafka_metadata_response_metadata_response_topic *row = &response->topics[i];
		const struct topic *topic = metadata_find(request, wanted);
		if (topic) {
			metadata_put_topic(request, state, topic, row);
			continue;
		}
		row->error_code = frontend_error(request->frontend, metadata_missing_error(state, i, wanted));
		row->name = wanted->name.data || request->version >= 12 ? wanted->name : bytes_of("");
		row->topic_id = wanted->topic_id;
	}
}

static void metadata_put_all(
	struct request *request, const struct metadata_state *state, struct kafka_metadata_response *response)
{
	int32_t i = 0;
	for (const struct topic *topic = NULL; (topic = catalog_next(request->frontend->catalog, topic));)
		metadata_put_topic(request, state, topic, &response->topics[i++]);
}

static void metadata_put_brokers(
	struct request *request, struct metadata_state *state, struct kafka_metadata_response *response)
{
	state->brokers = frontend_brokers(request->frontend, &request->arena, &state->broker_count);
	response->brokers_count = (int32_t)state->broker_count;
	response->brokers = kafka_metadata_response_metadata_response_broker_array(&request->arena, response->brokers_count);
	for (int32_t i = 0; i < response->brokers_count; i++) {
		const struct frontend_broker *broker = &state->brokers[i];
		response->brokers[i].node_id = broker->node_id;
		response->brokers[i].host = broker->host;
		response->brokers[i].port = broker->port;
		if (broker->zone && *broker->zone)
			response->brokers[i].rack = bytes_of(broker->zone);
	}
	response->controller_id = state->brokers[0].node_id;
}

static void metadata_answer(struct request *request)
{
	struct metadata_state *state = request->state;
	struct kafka_metadata_response response;
	kafka_metadata_response_init(&response);
	metadata_put_brokers(request, state, &response);
	response.cluster_id = bytes_of(cluster_client_view(request->frontend->cluster)->cluster_id);
	if (state->message.include_cluster_authorized_operations)
		response.cluster_authorized_operations = CLUSTER_OPERATIONS;
	bool all = metadata_all_topics(request, &state->message);
	response.topics_count = all ? (int32_t)catalog_count(request->frontend->catalog) : state->message.topics_count;
	response.topics = kafka_metadata_response_metadata_response_topic_array(&request->arena, response.topics_count);
	if (all)
		metadata_put_all(request, state, &response);
	else
		metadata_put_wanted(request, state, &response);
	REQUEST_ANSWER(request, kafka_metadata_response_encode, &response);
}

// Creating what is missing

static bool metadata_to_create(const struct request *request, const struct metadata_state *state, int32_t index)
{
	const struct kafka_metadata_request_metadata_request_topic *wanted = &state->message.topics[index];
	return wanted->name.data && !state->errors[index] && topic_name_valid(wanted->name) && !metadata_find(request, wanted);
}

static int32_t metadata_count_missing(const struct request *request, const struct metadata_state *state)
{
	int32_t count = 0;
	for (int32_t i = 0; i < state->message.topics_count; i++)
		count += metadata_to_create(request, state, i);
	return count;
}

static void metadata_on_catalog(struct request *request)
{
	if (metadata_count_missing(request, request->state) == 0)
		metadata_answer(request);
}

static void metadata_on_timeout(struct request *request)
{
	struct metadata_state *state = request->state;
	for (int32_t i = 0; i < state->message.topics_count; i++)
		if (metadata_to_create(request, state, i))
			state->errors[i] = KAFKA_ERROR_LEADER_NOT_AVAILABLE;
	metadata_answer(request);
}

static void metadata_note_error(struct metadata_state *state, struct bytes name, int16_t code)
{
	if (code == KAFKA_ERROR_NONE || code == KAFKA_ERROR_TOPIC_ALREADY_EXISTS)
		return;
	// Clients ask again on this one, and give up on most others: only what they must fix themselves is told as it is.
	bool lasting = code == KAFKA_ERROR_INVALID_TOPIC_EXCEPTION || code == KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED ||
		       code == KAFKA_ERROR_POLICY_VIOLATION || code == KAFKA_ERROR_INVALID_PARTITIONS;
	for (int32_t i = 0; i < state->message.topics_count; i++)
		if (bytes_equal(state->message.topics[i].name, name))
			state->errors[i] = lasting ? code : KAFKA_ERROR_LEADER_NOT_AVAILABLE;
}

static void metadata_on_created(struct request *request, void *ctx, enum error error, const struct bus_message *reply)
{
	(void)ctx;
	struct metadata_state *state = request->state;
	struct slice body;
	error = serve_call_answer(error, reply, &body);
	if (error != ERROR_OK) {
		metadata_on_timeout(request);
		return;
	}
	struct kafka_create_topics_response response;
	struct reader reader = reader_of(slice_bytes(body));
	error = kafka_create_topics_response_decode(&response, &reader, CREATE_TOPICS_VERSION, &request->arena);
	for (int32_t i = 0; error == ERROR_OK && i < response.topics_count; i++)
		metadata_note_error(state, response.topics[i].name, response.topics[i].error_code);
	metadata_on_catalog(request);
}

static void metadata_create(struct request *request, struct metadata_state *state, int32_t missing)
{
	uint32_t wait_ms = request->frontend->settings.auto_create_wait_ms;
	struct kafka_create_topics_request message;
	kafka_create_topics_request_init(&message);
	message.topics = kafka_create_topics_request_creatable_topic_array(&request->arena, missing);
	message.timeout_ms = (int32_t)wait_ms;
	for (int32_t i = 0; i < state->message.topics_count; i++) {
		if (!metadata_to_create(request, state, i))
			continue;
		struct kafka_create_topics_request_creatable_topic *topic = &message.topics[message.topics_count++];
		topic->name = state->message.topics[i].name;
		topic->num_partitions = -1; // the cluster's defaults
		topic->replication_factor = -1;
	}
	struct kafka_writer writer;
	kafka_writer_init(&writer, request->frontend->settings.request_bytes_max);
	kafka_create_topics_request_encode(&message, &writer, CREATE_TOPICS_VERSION);
	struct slice body = slice_copy(buffer_view(&writer.buffer));
	struct serve_call call = {.key = KAFKA_API_CREATE_TOPICS,
		.version = CREATE_TOPICS_VERSION,
		.body = body,
		.auto_create = true,
		.timeout_ms = wait_ms};
	request_watch_catalog(request, metadata_on_catalog);
	request_set_timeout(request, deadline_in_ms(request->frontend->env, wait_ms), metadata_on_timeout);
	serve_call(request, &call, metadata_on_created, NULL);
	slice_done(&body);
	kafka_writer_done(&writer);
}

// A topic asked for by id is that one, whatever stands where its name would be: Java's client sends "" there.
static void metadata_prefer_ids(struct kafka_metadata_request *message)
{
	for (int32_t i = 0; i < message->topics_count; i++)
		if (!uuid_is_zero(&message->topics[i].topic_id))
			message->topics[i].name = BYTES_NULL;
}

static int metadata_compare(const void *a, const void *b)
{
	const struct kafka_metadata_request_metadata_request_topic *const *left = a, *const *right = b;
	int order = bytes_compare(uuid_view(&(*left)->topic_id), uuid_view(&(*right)->topic_id));
	if (!order)
		order = bytes_compare((*left)->name, (*right)->name);
	return order ? order : (*left > *right) - (*left < *right);
}

static bool metadata_same(const struct kafka_metadata_request_metadata_request_topic *a,
	const struct kafka_metadata_request_metadata_request_topic *b)
{
	return uuid_equal(&a->topic_id, &b->topic_id) && bytes_equal(a->name, b->name);
}

// Kafka takes the topics for a set. So a short request that names one large topic many times costs no more than naming it once.
static void metadata_drop_repeats(struct arena *arena, struct kafka_metadata_request *message)
{
	size_t count = (size_t)message->topics_count, kept = 0;
	struct kafka_metadata_request_metadata_request_topic *topics = message->topics, **sorted;
	if (count < 2)
		return;
	sorted = arena_alloc(arena, count * sizeof(void *));
	bool *repeated = arena_alloc(arena, count);
	for (size_t i = 0; i < count; i++)
		sorted[i] = &topics[i];
	qsort(sorted, count, sizeof(void *), metadata_compare);
	for (size_t i = 1; i < count; i++)
		repeated[sorted[i] - topics] = metadata_same(sorted[i - 1], sorted[i]);
	for (size_t i = 0; i < count; i++)
		if (!repeated[i])
			topics[kept++] = topics[i];
	message->topics_count = (int32_t)kept;
}

void serve_metadata(struct request *request)
{
	struct metadata_state *state = arena_alloc(&request->arena, sizeof *state);
	request->state = state;
	if (!REQUEST_DECODE(request, kafka_metadata_request_decode, &state->message))
		return;
	if (metadata_all_topics(request, &state->message)) {
		metadata_answer(request);
		return;
	}
	metadata_prefer_ids(&state->message);
	metadata_drop_repeats(&request->arena, &state->message);
	state->errors = arena_alloc(&request->arena, (size_t)state->message.topics_count * sizeof *state->errors);
	bool create = request->frontend->settings.auto_create_topics && state->message.allow_auto_topic_creation;
	int32_t missing = create ? metadata_count_missing(request, state) : 0;
	if (missing > 0)
		metadata_create(request, state, missing);
	else
		metadata_answer(request);
}

void serve_describe_cluster(struct request *request)
{
	struct kafka_describe_cluster_request message;
	if (!REQUEST_DECODE(request, kafka_describe_cluster_request_decode, &message))
		return;
	struct kafka_describe_cluster_response response;
	kafka_describe_cluster_response_init(&response);
	response.cluster_id = bytes_of(cluster_client_view(request->frontend->cluster)->cluster_id);
	response.endpoint_type = message.endpoint_type;
	if (message.endpoint_type != 1) { // controllers: there are none to talk to
		response.error_code = frontend_error(request->frontend, KAFKA_ERROR_UNSUPPORTED_ENDPOINT_TYPE);
		REQUEST_ANSWER(request, kafka_describe_cluster_response_encode, &response);
		return;
	}
	size_t count;
	struct frontend_broker *brokers = frontend_brokers(request->frontend, &request->arena, &count);
	response.controller_id = brokers[0].node_id;
	response.brokers_count = (int32_t)count;
	response.brokers = kafka_describe_cluster_response_describe_cluster_broker_array(&request->arena, (int32_t)count);
	for (size_t i = 0; i < count; i++) {
		response.brokers[i].broker_id = brokers[i].node_id;
		response.brokers[i].host = brokers[i].host;
		response.brokers[i].port = brokers[i].port;
		if (brokers[i].zone && *brokers[i].zone)
			response.brokers[i].rack = bytes_of(brokers[i].zone);
	}
	if (message.include_cluster_authorized_operations)
		response.cluster_authorized_operations = CLUSTER_OPERATIONS;
	REQUEST_ANSWER(request, kafka_describe_cluster_response_encode, &response);
}
