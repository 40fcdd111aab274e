#include "frontend/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "frontend/frontend.h"
#include "proto/kafka/kafka_api.h"

// Decoding makes structs of a few bytes on the wire: what a client may ask of the arena, beside ten times its frame.
enum { REQUEST_ARENA_BYTES = 1 << 20, REQUEST_ARENA_FACTOR = 10, REQUEST_ANSWER_BYTES_MAX = 64 << 20 };

struct request_call {
	struct request *request;
	uint64_t id;
	bool by_cluster;
	request_reply_fn fn;
	void *ctx;
	struct list link;
};

void client_session_init(struct client_session *session, const char *client_host)
{
	snprintf(session->client_host, sizeof session->client_host, "%s", client_host);
	list_init(&session->serial);
}

static void request_on_due(struct timeout *timeout)
{
	struct request *request = container_of(timeout, struct request, timeout);
	request->on_timeout(request);
}

struct request *request_new(struct frontend *frontend, struct client_session *session, struct slice frame)
{
	struct request *request = memory_zalloc(sizeof *request);
	request->frontend = frontend;
	request->session = session;
	request->frame = frame;
	request->body = reader_of(slice_bytes(frame));
	request->correlation = prng_next(&frontend->prng);
	request->started_us = frontend->env->now_us;
	request->timeout.on_due = request_on_due;
	arena_init(&request->arena, REQUEST_ARENA_BYTES + REQUEST_ARENA_FACTOR * frame.len);
	arena_init(&request->round, 0);
	kafka_writer_init(&request->answer, REQUEST_ANSWER_BYTES_MAX);
	list_init(&request->calls);
	list_init(&request->catalog_link);
	list_init(&request->serial_link);
	return request;
}

static void request_cancel_calls(struct request *request)
{
	for (struct list *link; (link = list_pop(&request->calls));) {
		struct request_call *call = container_of(link, struct request_call, link);
		if (call->by_cluster)
			cluster_client_cancel(request->frontend->cluster, call->id);
		else
			bus_cancel(request->frontend->bus, call->id);
	}
}

// The next request of the session that has the key of the one that leaves may run.
static void request_leave_serial(struct request *request)
{
	if (list_empty(&request->serial_link))
		return;
	bool ran = !request->serial_waiting;
	struct list *serial = &request->session->serial;
	list_remove(&request->serial_link);
	if (!ran)
		return;
	LIST_EACH (serial, link) {
		struct request *next = container_of(link, struct request, serial_link);
		if (next->serial_key == request->serial_key) {
			next->serial_waiting = false;
			frontend_schedule(request->frontend, next);
			return;
		}
	}
}

// Leaves everything it waits in or for.
static void request_settle(struct request *request)
{
	if (request->on_free)
		request->on_free(request);
	request->on_free = NULL;
	request_cancel_calls(request);
	request_clear_timeout(request);
	request_watch_catalog(request, NULL);
	request_leave_serial(request);
	frontend_unschedule(request->frontend, request);
}

void request_free(struct request **request)
{
	struct request *gone = *request;
	*request = NULL;
	if (!gone)
		return;
	request_settle(gone);
	frontend_release(gone->frontend, gone);
	request_drop_held(gone);
	free(gone->held);
	slice_done(&gone->answer_tail);
	slice_done(&gone->frame);
	kafka_writer_done(&gone->answer);
	arena_done(&gone->arena);
	arena_done(&gone->round);
	free(gone);
}

bool request_decoded(struct request *request, enum error error)
{
	if (error == ERROR_OK)
		return true;
	log_event(LOG_WARN, "request_malformed", LOG_NUMBER("api", request->key), LOG_NUMBER("version", request->version),
		LOG_TEXT("client", request->session->client_host), LOG_BYTES("client_id", request->header.client_id));
	request_close(request);
	return false;
}

struct slice request_body_slice(const struct request *request)
{
	return slice_part(request->frame, request->body_position, request->frame.len - request->body_position);
}

static void request_finish(struct request *request, enum request_outcome outcome)
{
	CHECK(request->outcome == REQUEST_PENDING && outcome != REQUEST_PENDING);
	request->outcome = outcome;
	request_settle(request);
	frontend_finished(request->frontend, request);
	request->on_done(request);
}

struct kafka_writer *request_answer_begin(struct request *request)
{
	struct kafka_response_header header = {.correlation_id = request->header.correlation_id};
	kafka_writer_clear(&request->answer);
	kafka_writer_frame_begin(&request->answer);
	kafka_response_header_encode(&header, &request->answer, kafka_response_header_version(request->key, request->version));
	return &request->answer;
}

void request_answer_end(struct request *request)
{
	kafka_writer_frame_end(&request->answer);
	if (kafka_writer_failed(&request->answer)) {
		log_event(LOG_ERROR, "answer_not_encoded", LOG_NUMBER("api", request->key),
			LOG_NUMBER("version", request->version));
		request_close(request);
		return;
	}
	request_finish(request, REQUEST_ANSWERED);
}

void request_answer_slice(struct request *request, struct slice body)
{
	struct kafka_writer *writer = request_answer_begin(request);
	kafka_writer_frame_end(writer);
	request->answer_tail = slice_ref(body);
	put_u32(writer->buffer.data, (uint32_t)(kafka_writer_len(writer) - 4 + body.len));
	request_finish(request, REQUEST_ANSWERED);
}

void request_silent(struct request *request)
{
	request_finish(request, REQUEST_SILENT);
}

void request_close(struct request *request)
{
	request_finish(request, REQUEST_CLOSE);
}

void request_hold(struct request *request, struct slice slice)
{
	if (request->held_count == request->held_capacity) {
		request->held_capacity = request->held_capacity ? request->held_capacity * 2 : 8;
		request->held = memory_realloc(request->held, request->held_capacity * sizeof *request->held);
	}
	request->held[request->held_count++] = slice_ref(slice);
}

void request_drop_held(struct request *request)
{
	for (size_t i = 0; i < request->held_count; i++)
		slice_done(&request->held[i]);
	request->held_count = 0;
}

static void request_on_reply(void *ctx, enum error error, const struct bus_message *reply)
{
	struct request_call *call = ctx;
	list_remove(&call->link);
	call->fn(call->request, call->ctx, error, reply);
}

static struct request_call *request_new_call(struct request *request, request_reply_fn fn, void *ctx)
{
	struct request_call *call = arena_alloc(&request->arena, sizeof *call);
	call->request = request;
	call->fn = fn;
	call->ctx = ctx;
	list_append(&request->calls, &call->link);
	return call;
}

void request_call_shard(
	struct request *request, uint32_t shard, const struct bus_send *send, bool repeat, request_reply_fn fn, void *ctx)
{
	struct request_call *call = request_new_call(request, fn, ctx);
	call->by_cluster = true;
	call->id = cluster_client_call(request->frontend->cluster, shard, send, repeat, request_on_reply, call);
}

void request_call_link(
	struct request *request, struct bus_link *link, const struct bus_send *send, request_reply_fn fn, void *ctx)
{
	struct request_call *call = request_new_call(request, fn, ctx);
	call->id = bus_call(request->frontend->bus, link, send, request_on_reply, call);
}

void request_set_timeout(struct request *request, uint64_t due_us, void (*on_timeout)(struct request *request))
{
	request->on_timeout = on_timeout;
	timeouts_set(&request->frontend->timeouts, &request->timeout, due_us);
}

void request_clear_timeout(struct request *request)
{
	timeouts_clear(&request->frontend->timeouts, &request->timeout);
}

void request_watch_catalog(struct request *request, void (*on_catalog)(struct request *request))
{
	list_remove(&request->catalog_link);
	request->on_catalog = on_catalog;
	if (on_catalog)
		list_append(&request->frontend->catalog_watchers, &request->catalog_link);
}

void request_serialise(struct request *request, struct bytes key, void (*run)(struct request *request))
{
	request->serial_key = placement_hash(key) | 1;
	request->run = run;
	LIST_EACH (&request->session->serial, link) {
		struct request *earlier = container_of(link, struct request, serial_link);
		if (earlier->serial_key == request->serial_key)
			request->serial_waiting = true;
	}
	list_append(&request->session->serial, &request->serial_link);
	if (!request->serial_waiting)
		run(request);
}
