// Produce. Each partition is checked (topic, framing of its one batch), what passes goes to the router, which splits it by
// writer; the answer waits for all of them. The batch itself (CRC, counts, timestamps, size) is the writer's to judge.
//
// An append whose outcome is not known is never sent again: the client is told REQUEST_TIMED_OUT, on which Java and librdkafka
// retry as "possibly persisted", where an idempotent producer's sequence numbers tell. What was surely not appended is told
// NOT_LEADER_OR_FOLLOWER, on which they retry as "not persisted".

#include "common/base/log.h"
#include "common/storage/record_batch.h"
#include "frontend/kafka/serve.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

enum { PRODUCE_TIMEOUT_MIN_MS = 5000, PRODUCE_TIMEOUT_MAX_MS = 300000 };

struct produce_state {
	struct request *request;
	struct kafka_produce_request message;
	struct kafka_produce_response response;
	struct kafka_produce_response_partition_produce_response **rows; // of the parts that were sent on
	struct append_part *parts;
	int64_t *counts; // records of each part
	size_t part_count;
	size_t left;
	struct append_ticket *ticket;
	bool failed; // some partition has an error: acks=0 must close
};

static int16_t produce_error_code(const struct append_outcome *outcome)
{
	switch (outcome->error) {
	case ERROR_NOT_OWNER:
	case ERROR_LOADING:
	case ERROR_FENCED:
	case ERROR_DISCONNECTED:
	case ERROR_CANCELED:
		return KAFKA_ERROR_REQUEST_TIMED_OUT;
	case ERROR_BUSY: // nothing was done, whoever says it
		return KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER;
	case ERROR_UNREACHABLE:
	case ERROR_TIMED_OUT:
		return outcome->sent ? KAFKA_ERROR_REQUEST_TIMED_OUT : KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER;
	default:
		return error_kafka_code(outcome->error);
	}
}

static void produce_finish(struct produce_state *state)
{
	struct request *request = state->request;
	if (state->message.acks != 0) {
		REQUEST_ANSWER(request, kafka_produce_response_encode, &state->response);
	} else if (state->failed) {
		log_event(LOG_INFO, "produce_closed", LOG_TEXT("client", request->session->client_host),
			LOG_TEXT("reason", "an error with acks=0"));
		request_close(request);
	} else {
		request_silent(request);
	}
}

static void produce_fail(struct produce_state *state, struct kafka_produce_response_partition_produce_response *row,
	int16_t code, struct bytes message)
{
	row->error_code = frontend_error(state->request->frontend, code);
	row->base_offset = -1;
	row->error_message = message;
	state->failed = true;
}

static void produce_on_done(void *ctx, size_t index, const struct append_outcome *outcome)
{
	struct produce_state *state = ctx;
	struct request *request = state->request;
	struct kafka_produce_response_partition_produce_response *row = state->rows[index];
	const struct append_part *part = &state->parts[index];
	if (outcome->error == ERROR_OK) {
		row->base_offset = outcome->base_offset;
		row->log_append_time_ms = outcome->log_append_time_ms;
		row->log_start_offset = outcome->log_start;
		// What was acked here is visible here, also before the feed says so. A duplicate has the first append's offset.
		int64_t high = outcome->base_offset < 0 ? -1 : outcome->base_offset + state->counts[index];
		watermarks_raise(request->frontend->watermarks, &part->topic_id, part->partition, high, outcome->log_start);
	} else {
		struct bytes message = BYTES_NULL;
		if (outcome->message && *outcome->message)
			message = arena_copy(&request->arena, bytes_of(outcome->message));
		produce_fail(state, row, produce_error_code(outcome), message);
	}
	if (--state->left == 0) {
		state->ticket = NULL;
		produce_finish(state);
	}
}

static void produce_on_free(struct request *request)
{
	struct produce_state *state = request->state;
	if (state->ticket)
		router_abandon(state->ticket);
	state->ticket = NULL;
}

// Kafka: ProduceRequest.validateRecords and LogValidator's first looks: one batch of magic 2, and nothing behind it.
static int16_t produce_check_records(struct bytes records, int64_t *ret_count, struct bytes *ret_message)
{
	struct record_batch batch;
	*ret_message = bytes_of("exactly one record batch of magic 2 is expected");
	if (!records.data || records.len == 0)
		return KAFKA_ERROR_INVALID_RECORD;
	enum error error = record_batch_parse(records, &batch);
	if (error == ERROR_UNSUPPORTED_FORMAT)
		return KAFKA_ERROR_INVALID_RECORD;
	if (error != ERROR_OK)
		return KAFKA_ERROR_CORRUPT_MESSAGE;
	if (batch.size != records.len)
		return KAFKA_ERROR_INVALID_RECORD;
	*ret_count = (int64_t)batch.last_offset_delta + 1;
	*ret_message = BYTES_NULL;
	return KAFKA_ERROR_NONE;
}

static int16_t produce_check(struct request *request, const struct produce_state *state, const struct topic *topic,
	const struct kafka_produce_request_partition_produce_data *data, int64_t *ret_count, struct bytes *ret_message)
{
	*ret_message = BYTES_NULL;
	if (state->message.acks < -1 || state->message.acks > 1)
		return KAFKA_ERROR_INVALID_REQUIRED_ACKS;
	if (state->message.transactional_id.data) {
		*ret_message = bytes_of("transactions are not served yet");
		return KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
	}
	if (!topic)
		return request->version >= 13 ? KAFKA_ERROR_UNKNOWN_TOPIC_ID : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	if (data->index < 0 || data->index >= topic->partitions)
		return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	return produce_check_records(data->records.bytes, ret_count, ret_message);
}

static void produce_take_partition(struct produce_state *state, const struct topic *topic,
	const struct kafka_produce_request_partition_produce_data *data,
	struct kafka_produce_response_partition_produce_response *row)
{
	struct bytes message;
	int64_t count;
	int16_t code = produce_check(state->request, state, topic, data, &count, &message);
	row->index = data->index;
	if (code != KAFKA_ERROR_NONE) {
		produce_fail(state, row, code, message);
		return;
	}
	state->request->frontend->counters.produce_bytes += data->records.bytes.len;
	state->rows[state->part_count] = row;
	state->counts[state->part_count] = count;
	state->parts[state->part_count++] = (struct append_part){.topic_id = topic->id,
		.partition = data->index,
		.records = data->records.bytes,
		.message_bytes_max = topic->message_bytes_max,
		.log_append_time = topic->log_append_time};
}

static size_t produce_count(const struct kafka_produce_request *message)
{
	size_t count = 0;
	for (int32_t i = 0; i < message->topic_data_count; i++)
		count += (size_t)message->topic_data[i].partition_data_count;
	return count;
}

static void produce_take(struct produce_state *state)
{
	struct request *request = state->request;
	const struct kafka_produce_request *message = &state->message;
	struct kafka_produce_response *response = &state->response;
	const struct catalog *catalog = request->frontend->catalog;
	response->responses_count = message->topic_data_count;
	response->responses = kafka_produce_response_topic_produce_response_array(&request->arena, message->topic_data_count);
	for (int32_t i = 0; i < message->topic_data_count; i++) {
		const struct kafka_produce_request_topic_produce_data *data = &message->topic_data[i];
		struct kafka_produce_response_topic_produce_response *topic_row = &response->responses[i];
		const struct topic *topic =
			request->version >= 13 ? catalog_by_id(catalog, &data->topic_id) : catalog_by_name(catalog, data->name);
		topic_row->name = data->name;
		topic_row->topic_id = data->topic_id;
		topic_row->partition_responses_count = data->partition_data_count;
		topic_row->partition_responses =
			kafka_produce_response_partition_produce_response_array(&request->arena, data->partition_data_count);
		for (int32_t p = 0; p < data->partition_data_count; p++)
			produce_take_partition(state, topic, &data->partition_data[p], &topic_row->partition_responses[p]);
	}
}

static uint32_t produce_timeout_ms(int32_t asked)
{
	if (asked < PRODUCE_TIMEOUT_MIN_MS)
		return PRODUCE_TIMEOUT_MIN_MS;
	return asked > PRODUCE_TIMEOUT_MAX_MS ? PRODUCE_TIMEOUT_MAX_MS : (uint32_t)asked;
}

void serve_produce(struct request *request)
{
	struct produce_state *state = arena_alloc(&request->arena, sizeof *state);
	state->request = request;
	request->state = state;
	if (!REQUEST_DECODE(request, kafka_produce_request_decode, &state->message))
		return;
	kafka_produce_response_init(&state->response);
	size_t count = produce_count(&state->message);
	state->rows = arena_alloc(&request->arena, count * sizeof(struct kafka_produce_response_partition_produce_response *));
	state->parts = arena_alloc(&request->arena, count * sizeof *state->parts);
	state->counts = arena_alloc(&request->arena, count * sizeof *state->counts);
	produce_take(state);
	if (state->part_count == 0) {
		produce_finish(state);
		return;
	}
	state->left = state->part_count;
	request->on_free = produce_on_free;
	state->ticket = router_append(request->frontend->router, request->frame, state->parts, state->part_count,
		produce_timeout_ms(state->message.timeout_ms), request->correlation, produce_on_done, state);
}
