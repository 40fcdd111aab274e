// Fetch, without sessions (session id 0 is always told, so clients stay with full fetches, KIP-227).
//
// The frontend waits, readers answer at once (design 6). A round: the partitions that have something by the watermarks are
// asked of their readers, all at once, with the limits shared out; when all readers answered and it is not enough yet, the
// fetch waits on the watermarks of all its partitions and begins another round when one of them changes. At max_wait it answers
// with what the last round brought.
//
//	evaluate ──► nothing to ask ──► wait ──(a watermark rises)──┐
//	   ▲  └────► memory granted ──► readers ──► enough: answer   │
//	   └───────────────────────────────────────◄ not enough: wait┘

#include "common/runtime/protobuf.h"
#include "frontend/kafka/serve.h"
#include "proto/bus.pb-c.h"
#include "proto/fetch.pb-c.h"
#include "proto/kafka/kafka_errors.h"

enum {
	// Between rounds, doubling from the first to the last: a trickle below min_bytes must not become a storm of reads.
	FETCH_PAUSE_MIN_MS = 20,
	FETCH_PAUSE_MAX_MS = 1000,
	FETCH_MEMORY_WAIT_MS = 1000,
	FETCH_READER_TIMEOUT_MS = 15000,
	FETCH_TRIES = 3,
	FETCH_WAIT_MAX_MS = 300000,
};

struct fetch_item {
	struct fetch_state *state;
	struct uuid topic_id;
	int32_t partition;
	int64_t offset;
	uint64_t max_bytes;
	bool settled; // an error that no round will change
	bool wanted;  // asked of a reader in this round
	int tries;
	struct bus_link *reader;
	struct watermark_waiter waiter;
	struct kafka_fetch_response_partition_data *row;
};

struct fetch_state {
	struct request *request;
	struct kafka_fetch_request message;
	struct kafka_fetch_response response;
	struct fetch_item *items;
	size_t item_count;
	uint64_t deadline_us;
	uint64_t not_before_us; // of the next round
	uint64_t pause_ms;
	uint64_t max_bytes;
	uint64_t bytes; // of the last round
	size_t calls;   // readers that have not answered
	bool failed;    // a partition has an error: answer now
	bool waiting;   // on the watermarks, from the first wait on
	bool in_round;
	bool changed; // a watermark rose since the round began
	struct admission_ask ask;
};

// One reader's share of a round.
struct fetch_share {
	struct fetch_state *state;
	struct bus_link *reader;
	struct fetch_item **items;
	size_t count;
};

static void fetch_round(struct request *request);
static void fetch_ask_readers(struct fetch_state *state);

static void fetch_on_free(struct request *request)
{
	struct fetch_state *state = request->state;
	admission_withdraw(request->frontend->admission, &state->ask);
	for (size_t i = 0; state->waiting && i < state->item_count; i++)
		watermarks_unwait(&state->items[i].waiter);
	state->waiting = false;
}

static void fetch_answer(struct fetch_state *state)
{
	state->request->frontend->counters.fetch_bytes += state->bytes;
	REQUEST_ANSWER(state->request, kafka_fetch_response_encode, &state->response);
}

static void fetch_fail(struct fetch_item *item, int16_t code)
{
	struct kafka_fetch_response_partition_data *row = item->row;
	row->error_code = frontend_error(item->state->request->frontend, code);
	row->high_watermark = row->last_stable_offset = row->log_start_offset = -1;
	item->settled = true;
	item->state->failed = true;
}

static void fetch_tell_watermark(struct fetch_item *item, struct watermark known)
{
	item->row->high_watermark = item->row->last_stable_offset = known.high;
	item->row->log_start_offset = known.log_start;
}

// Waiting

static void fetch_on_timeout(struct request *request)
{
	struct fetch_state *state = request->state;
	if (request->frontend->env->now_us >= state->deadline_us)
		fetch_answer(state);
	else
		fetch_round(request);
}

// Runs a round as soon as it may; until then the timeout stands at the deadline.
static void fetch_wake(struct fetch_state *state)
{
	struct request *request = state->request;
	if (request->frontend->env->now_us >= state->not_before_us)
		frontend_schedule(request->frontend, request);
	else
		request_set_timeout(request, deadline_min(state->not_before_us, state->deadline_us), fetch_on_timeout);
}

static void fetch_on_watermark(struct watermark_waiter *waiter)
{
	struct fetch_item *item = container_of(waiter, struct fetch_item, waiter);
	struct fetch_state *state = item->state;
	state->changed = true;
	if (!state->in_round)
		fetch_wake(state);
}

static void fetch_wait(struct fetch_state *state)
{
	struct request *request = state->request;
	state->in_round = false;
	if (request->frontend->env->now_us >= state->deadline_us) {
		fetch_answer(state);
		return;
	}
	for (size_t i = 0; !state->waiting && i < state->item_count; i++) {
		struct fetch_item *item = &state->items[i];
		item->waiter.changed = fetch_on_watermark;
		watermarks_wait(request->frontend->watermarks, &item->topic_id, item->partition, &item->waiter);
	}
	state->waiting = true;
	request_set_timeout(request, state->deadline_us, fetch_on_timeout);
	if (state->changed)
		fetch_wake(state);
}

// A round

static int16_t fetch_error_code(const struct request *request, enum error error)
{
	switch (error) {
	case ERROR_OFFSET_OUT_OF_RANGE:
		return KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
	case ERROR_UNKNOWN_TOPIC:
	case ERROR_UNKNOWN_TOPIC_ID:
		return request->version >= 13 ? KAFKA_ERROR_UNKNOWN_TOPIC_ID : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	case ERROR_INTERNAL:
		return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
	default:
		return KAFKA_ERROR_KAFKA_STORAGE_ERROR; // consumers ask again on this one, and give up on most others
	}
}

static void fetch_finish_round(struct fetch_state *state)
{
	struct request *request = state->request;
	// Memory was granted for the most that could come.
	if (request->reserved_bytes > state->bytes) {
		admission_return(request->frontend->admission, ADMISSION_FETCH, request->reserved_bytes - state->bytes);
		request->reserved_bytes = state->bytes;
	}
	int64_t min_bytes = state->message.min_bytes > 0 ? state->message.min_bytes : 0;
	state->not_before_us = deadline_in_ms(request->frontend->env, state->pause_ms);
	state->pause_ms = state->pause_ms * 2 < FETCH_PAUSE_MAX_MS ? state->pause_ms * 2 : FETCH_PAUSE_MAX_MS;
	if (state->failed || state->item_count == 0 || state->bytes >= (uint64_t)min_bytes)
		fetch_answer(state);
	else
		fetch_wait(state);
}

// frames: this item's, borrowed from the reply.
static void fetch_take(struct fetch_item *item, const Weir__FetchResult *result, const struct slice *frames)
{
	struct fetch_state *state = item->state;
	struct request *request = state->request;
	enum error error = error_from_wire(result->error);
	if (error != ERROR_OK) {
		fetch_fail(item, fetch_error_code(request, error));
		return;
	}
	fetch_tell_watermark(item, watermarks_raise(request->frontend->watermarks, &item->topic_id, item->partition,
					   result->high_watermark, result->log_start));
	struct slice *slices = arena_alloc(&request->round, result->frame_count * sizeof *slices);
	for (uint32_t i = 0; i < result->frame_count; i++) {
		slices[i] = frames[i];
		request_hold(request, frames[i]);
		state->bytes += frames[i].len;
	}
	if (result->frame_count > 0)
		item->row->records = (struct kafka_records){.slices = slices, .slice_count = (int32_t)result->frame_count};
}

static enum error fetch_take_reply(struct fetch_share *share, const struct bus_message *message)
{
	struct request *request = share->state->request;
	Weir__FetchReply *reply = protobuf_unpack(&weir__fetch_reply__descriptor, message->body, &request->round);
	if (!reply || reply->n_results != share->count)
		return ERROR_INTERNAL;
	size_t frames = 0;
	for (size_t i = 0; i < share->count; i++) {
		const Weir__FetchResult *result = reply->results[i];
		if (result->frame_count > message->frame_count - frames)
			return ERROR_INTERNAL;
		fetch_take(share->items[i], result, message->frames + frames);
		share->items[i]->wanted = false;
		frames += result->frame_count;
	}
	return ERROR_OK;
}

// The reader did not answer. Reading changes nothing, so another one is asked.
static void fetch_retry(struct fetch_share *share, enum error error)
{
	struct request *request = share->state->request;
	router_avoid_reader(request->frontend->router, share->reader);
	for (size_t i = 0; i < share->count; i++) {
		struct fetch_item *item = share->items[i];
		if (!item->wanted || ++item->tries < FETCH_TRIES)
			continue;
		item->wanted = false;
		fetch_fail(item, fetch_error_code(request, error));
	}
}

static void fetch_on_reply(struct request *request, void *ctx, enum error error, const struct bus_message *message)
{
	struct fetch_share *share = ctx;
	struct fetch_state *state = request->state;
	state->calls--;
	if (error == ERROR_OK)
		error = fetch_take_reply(share, message);
	if (error != ERROR_OK)
		fetch_retry(share, error);
	if (state->calls > 0)
		return;
	bool again = false;
	for (size_t i = 0; i < state->item_count; i++)
		again |= state->items[i].wanted;
	if (again)
		fetch_ask_readers(state);
	else
		fetch_finish_round(state);
}

static uint64_t fetch_share_bytes(const struct fetch_state *state, const struct fetch_share *share)
{
	uint64_t total = 0, mine = 0;
	for (size_t i = 0; i < state->item_count; i++)
		if (state->items[i].wanted)
			total += state->items[i].max_bytes;
	for (size_t i = 0; i < share->count; i++)
		mine += share->items[i]->max_bytes;
	if (total <= state->max_bytes)
		return mine;
	return (uint64_t)((__uint128_t)state->max_bytes * mine / total);
}

static void fetch_put_partition(const struct fetch_item *item, Weir__FetchPartition *row, bool first)
{
	const struct frontend *frontend = item->state->request->frontend;
	struct watermark known = watermarks_get(frontend->watermarks, &item->topic_id, item->partition);
	weir__fetch_partition__init(row);
	row->topic_id = protobuf_uuid(&item->topic_id);
	row->partition = item->partition;
	row->offset = item->offset;
	row->max_bytes = (uint32_t)item->max_bytes;
	row->at_least_one_batch = first;
	row->known_high_watermark = known.high;
	row->known_log_start = known.log_start;
}

static void fetch_send(struct fetch_state *state, struct fetch_share *share, const struct fetch_item *first)
{
	struct request *request = state->request;
	Weir__FetchRequest message = WEIR__FETCH_REQUEST__INIT;
	Weir__FetchPartition *rows = arena_alloc(&request->round, share->count * sizeof *rows);
	message.partitions = arena_alloc(&request->round, share->count * sizeof *message.partitions);
	message.n_partitions = share->count;
	message.max_bytes = (uint32_t)fetch_share_bytes(state, share);
	for (size_t i = 0; i < share->count; i++) {
		fetch_put_partition(share->items[i], &rows[i], share->items[i] == first);
		message.partitions[i] = &rows[i];
	}
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__FETCH,
		.body = &message.base,
		.timeout_ms = FETCH_READER_TIMEOUT_MS,
		.correlation = request->correlation};
	state->calls++;
	request_call_link(request, share->reader, &send, fetch_on_reply, share);
}

static struct fetch_share *fetch_make_share(struct fetch_state *state, struct bus_link *reader)
{
	struct arena *arena = &state->request->round;
	struct fetch_share *share = arena_alloc(arena, sizeof *share);
	share->state = state;
	share->reader = reader;
	share->items = arena_alloc(arena, state->item_count * sizeof(struct fetch_item *));
	for (size_t i = 0; i < state->item_count; i++) {
		struct fetch_item *item = &state->items[i];
		if (!item->wanted || item->reader != reader)
			continue;
		item->reader = NULL; // taken
		share->items[share->count++] = item;
	}
	return share;
}

// Every wanted item to its reader. The first one in the request's order may exceed the limits by its first batch.
static void fetch_ask_readers(struct fetch_state *state)
{
	struct router *router = state->request->frontend->router;
	const struct fetch_item *first = NULL;
	for (size_t i = 0; i < state->item_count; i++) {
		struct fetch_item *item = &state->items[i];
		if (!item->wanted)
			continue;
		item->reader = router_reader(router, &item->topic_id, item->partition);
		if (!item->reader) {
			item->wanted = false;
			fetch_fail(item, KAFKA_ERROR_KAFKA_STORAGE_ERROR);
		} else if (!first && state->bytes == 0) {
			first = item;
		}
	}
	for (size_t i = 0; i < state->item_count; i++)
		if (state->items[i].wanted && state->items[i].reader)
			fetch_send(state, fetch_make_share(state, state->items[i].reader), first);
	if (state->calls == 0)
		fetch_finish_round(state);
}

static void fetch_on_granted(struct admission_ask *ask)
{
	struct fetch_state *state = container_of(ask, struct fetch_state, ask);
	state->request->reserved_bytes = ask->bytes;
	request_clear_timeout(state->request);
	fetch_ask_readers(state);
}

// Whether a reader may have something for it. An offset beyond what we know is the reader's to judge, with the owner.
static bool fetch_evaluate(struct fetch_item *item)
{
	const struct frontend *frontend = item->state->request->frontend;
	if (item->settled)
		return false;
	if (!catalog_by_id(frontend->catalog, &item->topic_id)) { // deleted while we waited
		fetch_fail(item, fetch_error_code(item->state->request, ERROR_UNKNOWN_TOPIC_ID));
		return false;
	}
	struct watermark known = watermarks_get(frontend->watermarks, &item->topic_id, item->partition);
	fetch_tell_watermark(item, known);
	item->tries = 0;
	return known.high < 0 || item->offset != known.high;
}

static void fetch_round(struct request *request)
{
	struct fetch_state *state = request->state;
	struct admission *admission = request->frontend->admission;
	uint64_t wanted_bytes = 0;
	size_t wanted = 0;
	state->in_round = true;
	state->changed = false;
	state->bytes = 0;
	for (size_t i = 0; i < state->item_count; i++)
		state->items[i].row->records = KAFKA_RECORDS_EMPTY; // those of the round before lie in what is freed now
	arena_reset(&request->round);
	request_drop_held(request);
	admission_return(admission, ADMISSION_FETCH, request->reserved_bytes);
	request->reserved_bytes = 0;
	for (size_t i = 0; i < state->item_count; i++) {
		struct fetch_item *item = &state->items[i];
		item->wanted = fetch_evaluate(item);
		wanted += item->wanted;
		wanted_bytes += item->wanted ? item->max_bytes : 0;
	}
	if (wanted_bytes > state->max_bytes)
		wanted_bytes = state->max_bytes;
	if (wanted == 0) {
		fetch_finish_round(state);
		return;
	}
	// The wait for memory counts: the answer goes out without, at the deadline or, for those who do not wait, soon after.
	uint64_t memory_us = deadline_in_ms(request->frontend->env, FETCH_MEMORY_WAIT_MS);
	request_set_timeout(request, state->deadline_us > memory_us ? state->deadline_us : memory_us, fetch_on_timeout);
	state->ask.granted = fetch_on_granted;
	if (!admission_ask(admission, &state->ask, ADMISSION_FETCH, wanted_bytes))
		return;
	fetch_on_granted(&state->ask);
}

// Taking the request

static int16_t fetch_check(
	const struct request *request, const struct topic *topic, const struct kafka_fetch_request_fetch_partition *wanted)
{
	int32_t ours = cluster_client_leader_epoch(request->frontend->cluster);
	int32_t epoch = wanted->current_leader_epoch;
	if (!topic)
		return request->version >= 13 ? KAFKA_ERROR_UNKNOWN_TOPIC_ID : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	if (wanted->partition < 0 || wanted->partition >= topic->partitions)
		return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	if (epoch >= 0 && epoch != ours)
		return epoch < ours ? KAFKA_ERROR_FENCED_LEADER_EPOCH : KAFKA_ERROR_UNKNOWN_LEADER_EPOCH;
	if (wanted->fetch_offset < 0)
		return KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
	return KAFKA_ERROR_NONE;
}

static void fetch_take_partition(struct fetch_state *state, const struct topic *topic,
	const struct kafka_fetch_request_fetch_partition *wanted, struct kafka_fetch_response_partition_data *row)
{
	struct fetch_item *item = &state->items[state->item_count++];
	uint64_t limit = state->max_bytes;
	item->state = state;
	item->row = row;
	item->partition = wanted->partition;
	item->offset = wanted->fetch_offset;
	item->max_bytes = wanted->partition_max_bytes > 0 ? (uint64_t)wanted->partition_max_bytes : 0;
	if (item->max_bytes > limit)
		item->max_bytes = limit;
	row->partition_index = wanted->partition;
	row->records = KAFKA_RECORDS_EMPTY;
	// Kafka: null for read_uncommitted, a list for read_committed.
	row->aborted_transactions_count = state->message.isolation_level == 0 ? -1 : 0;
	int16_t code = fetch_check(state->request, topic, wanted);
	if (code != KAFKA_ERROR_NONE)
		fetch_fail(item, code);
	else
		item->topic_id = topic->id;
}

static size_t fetch_count(const struct kafka_fetch_request *message)
{
	size_t count = 0;
	for (int32_t i = 0; i < message->topics_count; i++)
		count += (size_t)message->topics[i].partitions_count;
	return count;
}

static void fetch_take_topics(struct fetch_state *state)
{
	struct request *request = state->request;
	const struct kafka_fetch_request *message = &state->message;
	struct kafka_fetch_response *response = &state->response;
	const struct catalog *catalog = request->frontend->catalog;
	response->responses_count = message->topics_count;
	response->responses = kafka_fetch_response_fetchable_topic_response_array(&request->arena, message->topics_count);
	for (int32_t i = 0; i < message->topics_count; i++) {
		const struct kafka_fetch_request_fetch_topic *wanted = &message->topics[i];
		struct kafka_fetch_response_fetchable_topic_response *row = &response->responses[i];
		const struct topic *topic = request->version >= 13 ? catalog_by_id(catalog, &wanted->topic_id)
								   : catalog_by_name(catalog, wanted->topic);
		row->topic = wanted->topic;
		row->topic_id = wanted->topic_id;
		row->partitions_count = wanted->partitions_count;
		row->partitions = kafka_fetch_response_partition_data_array(&request->arena, wanted->partitions_count);
		for (int32_t p = 0; p < wanted->partitions_count; p++)
			fetch_take_partition(state, topic, &wanted->partitions[p], &row->partitions[p]);
	}
}

static void fetch_take_limits(struct fetch_state *state)
{
	const struct frontend *frontend = state->request->frontend;
	int32_t wait_ms = state->message.max_wait_ms;
	if (wait_ms < 0)
		wait_ms = 0;
	if (wait_ms > FETCH_WAIT_MAX_MS)
		wait_ms = FETCH_WAIT_MAX_MS;
	state->deadline_us = deadline_in_ms(frontend->env, (uint64_t)wait_ms);
	state->max_bytes = state->message.max_bytes > 0 ? (uint64_t)state->message.max_bytes : 0;
	if (state->max_bytes > frontend->settings.fetch_bytes_max)
		state->max_bytes = frontend->settings.fetch_bytes_max;
}

void serve_fetch(struct request *request)
{
	struct fetch_state *state = arena_alloc(&request->arena, sizeof *state);
	state->request = request;
	request->state = state;
	request->run = fetch_round;
	state->pause_ms = FETCH_PAUSE_MIN_MS;
	if (!REQUEST_DECODE(request, kafka_fetch_request_decode, &state->message))
		return;
	kafka_fetch_response_init(&state->response);
	// An incremental fetch of a session that was never given; -1 and 0 are full fetches, with or without an old session.
	if (state->message.session_id != 0 && state->message.session_epoch > 0) {
		state->response.error_code = frontend_error(request->frontend, KAFKA_ERROR_FETCH_SESSION_ID_NOT_FOUND);
		fetch_answer(state);
		return;
	}
	size_t count = fetch_count(&state->message);
	state->items = arena_alloc(&request->arena, count * sizeof *state->items);
	for (size_t i = 0; i < count; i++)
		list_init(&state->items[i].waiter.link);
	request->on_free = fetch_on_free;
	fetch_take_limits(state);
	fetch_take_topics(state);
	fetch_round(request);
}
