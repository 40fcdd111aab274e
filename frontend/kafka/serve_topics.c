// CreateTopics, DeleteTopics, CreatePartitions and InitProducerId: shard 0's owner does them, by the body as it came. What it
// did is in our own catalog a moment later, by the feed; the answer waits for that, so that a client that goes on through this
// frontend finds what it made.

#include "frontend/kafka/serve.h"
#include "frontend/kafka/serve_call.h"
#include "proto/kafka/kafka_errors.h"

enum {
	TOPICS_TIMEOUT_MIN_MS = 5000,
	TOPICS_TIMEOUT_MAX_MS = 120000,
	CATALOG_WAIT_MS = 2000,
};

// What the catalog shall show: a topic of that name with so many partitions, or that no topic has the id any more.
struct topic_expected {
	struct bytes name;
	int32_t partitions;
	struct uuid gone_id;
	bool gone;
};

struct topics_state {
	struct topic_expected *expected;
	size_t count;
	bool validate_only;
	struct slice body; // the answer, held by the request
	// Which expectations an answer leaves standing; NULL: all of them.
	void (*prune)(struct request *request, struct reader *answer);
	void (*fail)(struct request *request, int16_t code);
	const void *message;
};

static bool topics_shown(const struct request *request, const struct topic_expected *expected)
{
	const struct catalog *catalog = request->frontend->catalog;
	if (expected->gone)
		return !catalog_by_id(catalog, &expected->gone_id);
	const struct topic *topic = catalog_by_name(catalog, expected->name);
	return topic && topic->partitions >= expected->partitions;
}

static void topics_answer(struct request *request)
{
	struct topics_state *state = request->state;
	request_answer_slice(request, state->body);
}

static void topics_on_catalog(struct request *request)
{
	struct topics_state *state = request->state;
	for (size_t i = 0; i < state->count; i++)
		if (!topics_shown(request, &state->expected[i]))
			return;
	topics_answer(request);
}

static void topics_on_reply(struct request *request, void *ctx, enum error error, const struct bus_message *reply)
{
	struct topics_state *state = ctx;
	error = serve_call_answer(error, reply, &state->body);
	if (error != ERROR_OK) {
		state->fail(request, serve_admin_error(request, error));
		return;
	}
	request_hold(request, state->body);
	struct reader reader = reader_of(slice_bytes(state->body));
	if (state->validate_only)
		state->count = 0;
	else
		state->prune(request, &reader);
	request_watch_catalog(request, topics_on_catalog);
	request_set_timeout(request, deadline_in_ms(request->frontend->env, CATALOG_WAIT_MS), topics_answer);
	topics_on_catalog(request);
}

static void topics_pass(struct request *request, struct topics_state *state, int32_t timeout_ms)
{
	struct serve_call call = serve_call_of(request, 0);
	struct slice body = request_body_slice(request);
	call.body = body;
	call.timeout_ms = timeout_ms < TOPICS_TIMEOUT_MIN_MS   ? TOPICS_TIMEOUT_MIN_MS
			  : timeout_ms > TOPICS_TIMEOUT_MAX_MS ? TOPICS_TIMEOUT_MAX_MS
							       : (uint32_t)timeout_ms;
	request->state = state;
	serve_call(request, &call, topics_on_reply, state);
	slice_done(&body);
}

static struct topics_state *topics_state_new(struct request *request, int32_t count_max)
{
	struct topics_state *state = arena_alloc(&request->arena, sizeof *state);
	state->expected = arena_alloc(&request->arena, (size_t)count_max * sizeof *state->expected);
	return state;
}

// CreateTopics

static void create_topics_prune(struct request *request, struct reader *answer)
{
	struct topics_state *state = request->state;
	struct kafka_create_topics_response response;
	state->count = 0;
	if (kafka_create_topics_response_decode(&response, answer, request->version, &request->arena) != ERROR_OK)
		return;
	const struct kafka_create_topics_request *message = state->message;
	for (int32_t i = 0; i < response.topics_count && i < message->topics_count; i++)
		if (response.topics[i].error_code == KAFKA_ERROR_NONE)
			state->expected[state->count++] = (struct topic_expected){.name = response.topics[i].name};
}

static void create_topics_fail(struct request *request, int16_t code)
{
	const struct topics_state *state = request->state;
	const struct kafka_create_topics_request *message = state->message;
	struct kafka_create_topics_response response;
	kafka_create_topics_response_init(&response);
	response.topics_count = message->topics_count;
	response.topics = kafka_create_topics_response_creatable_topic_result_array(&request->arena, message->topics_count);
	for (int32_t i = 0; i < message->topics_count; i++) {
		response.topics[i].name = message->topics[i].name;
		response.topics[i].error_code = code;
		response.topics[i].error_message = BYTES_NULL;
	}
	REQUEST_ANSWER(request, kafka_create_topics_response_encode, &response);
}

void serve_create_topics(struct request *request)
{
	struct kafka_create_topics_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_create_topics_request_decode, message))
		return;
	struct topics_state *state = topics_state_new(request, message->topics_count);
	state->message = message;
	state->validate_only = message->validate_only;
	state->prune = create_topics_prune;
	state->fail = create_topics_fail;
	topics_pass(request, state, message->timeout_ms);
}

// DeleteTopics: by name, from version 6 by name or id.

static void delete_topics_keep_all(struct request *request, struct reader *answer)
{
	struct topics_state *state = request->state;
	struct kafka_delete_topics_response response;
	enum error error = kafka_delete_topics_response_decode(&response, answer, request->version, &request->arena);
	for (int32_t i = 0; error == ERROR_OK && i < response.responses_count; i++)
		if (response.responses[i].error_code != KAFKA_ERROR_NONE)
			state->count = 0; // not worth telling which one will stay
}

static void delete_topics_expect(struct topics_state *state, const struct topic *topic)
{
	if (topic)
		state->expected[state->count++] = (struct topic_expected){.gone = true, .gone_id = topic->id};
}

static void delete_topics_fail(struct request *request, int16_t code)
{
	const struct topics_state *state = request->state;
	const struct kafka_delete_topics_request *message = state->message;
	bool by_state = request->version >= 6;
	struct kafka_delete_topics_response response;
	kafka_delete_topics_response_init(&response);
	response.responses_count = by_state ? message->topics_count : message->topic_names_count;
	response.responses =
		kafka_delete_topics_response_deletable_topic_result_array(&request->arena, response.responses_count);
	for (int32_t i = 0; i < response.responses_count; i++) {
		response.responses[i].name = by_state ? message->topics[i].name : message->topic_names[i];
		if (by_state)
			response.responses[i].topic_id = message->topics[i].topic_id;
		response.responses[i].error_code = code;
	}
	REQUEST_ANSWER(request, kafka_delete_topics_response_encode, &response);
}

void serve_delete_topics(struct request *request)
{
	const struct catalog *catalog = request->frontend->catalog;
	struct kafka_delete_topics_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_delete_topics_request_decode, message))
		return;
	struct topics_state *state = topics_state_new(request, message->topics_count + message->topic_names_count);
	state->message = message;
	state->prune = delete_topics_keep_all;
	state->fail = delete_topics_fail;
	for (int32_t i = 0; i < message->topic_names_count; i++)
		delete_topics_expect(state, catalog_by_name(catalog, message->topic_names[i]));
	for (int32_t i = 0; i < message->topics_count; i++) {
		const struct kafka_delete_topics_request_delete_topic_state *topic = &message->topics[i];
		delete_topics_expect(state,
			topic->name.data ? catalog_by_name(catalog, topic->name) : catalog_by_id(catalog, &topic->topic_id));
	}
	topics_pass(request, state, message->timeout_ms);
}

// CreatePartitions

static void create_partitions_prune(struct request *request, struct reader *answer)
{
	struct topics_state *state = request->state;
	const struct kafka_create_partitions_request *message = state->message;
	struct kafka_create_partitions_response response;
	enum error error = kafka_create_partitions_response_decode(&response, answer, request->version, &request->arena);
	state->count = 0;
	for (int32_t i = 0; error == ERROR_OK && i < response.results_count && i < message->topics_count; i++)
		if (response.results[i].error_code == KAFKA_ERROR_NONE &&
			bytes_equal(response.results[i].name, message->topics[i].name))
			state->expected[state->count++] = (struct topic_expected){
				.name = message->topics[i].name, .partitions = message->topics[i].count};
}

static void create_partitions_fail(struct request *request, int16_t code)
{
	const struct topics_state *state = request->state;
	const struct kafka_create_partitions_request *message = state->message;
	struct kafka_create_partitions_response response;
	kafka_create_partitions_response_init(&response);
	response.results_count = message->topics_count;
	response.results =
		kafka_create_partitions_response_create_partitions_topic_result_array(&request->arena, message->topics_count);
	for (int32_t i = 0; i < message->topics_count; i++) {
		response.results[i].name = message->topics[i].name;
		response.results[i].error_code = code;
	}
	REQUEST_ANSWER(request, kafka_create_partitions_response_encode, &response);
}

void serve_create_partitions(struct request *request)
{
	struct kafka_create_partitions_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_create_partitions_request_decode, message))
		return;
	struct topics_state *state = topics_state_new(request, message->topics_count);
	state->message = message;
	state->validate_only = message->validate_only;
	state->prune = create_partitions_prune;
	state->fail = create_partitions_fail;
	topics_pass(request, state, message->timeout_ms);
}

// InitProducerId

static void init_producer_id_on_reply(struct request *request, void *ctx, enum error error, const struct bus_message *reply)
{
	(void)ctx;
	struct slice body;
	error = serve_call_answer(error, reply, &body);
	if (error == ERROR_OK) {
		request_answer_slice(request, body);
		return;
	}
	struct kafka_init_producer_id_response response;
	kafka_init_producer_id_response_init(&response);
	response.error_code = serve_group_error(request, error);
	response.producer_epoch = -1;
	REQUEST_ANSWER(request, kafka_init_producer_id_response_encode, &response);
}

void serve_init_producer_id(struct request *request)
{
	struct kafka_init_producer_id_request message;
	if (!REQUEST_DECODE(request, kafka_init_producer_id_request_decode, &message))
		return;
	struct serve_call call = serve_call_of(request, 0);
	struct slice body = request_body_slice(request);
	call.body = body;
	call.repeat = true; // an id that nobody uses is only skipped
	serve_call(request, &call, init_producer_id_on_reply, NULL);
	slice_done(&body);
}
