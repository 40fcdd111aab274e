#pragma once
// One request of a Kafka client, from its frame to its answer.
//
//	connection: request_new(frame) ──► frontend_handle() ──► serve_‹api›() ──► calls, waits ──► request_finish()
//	                                                                                              │ on_done
//	connection: sends answer, in the order the requests came ◄────────────────────────────────────┘
//
// Everything a handler makes lives in the request's arena. Calls, the timeout and waits belong to the request, so that
// request_free() at any time (the client went away) leaves nothing behind; only appends go on, in the router.
//
// Owner: the connection. Bound: admission grants the frame, the arena may take a few times that for what a client asks.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/block.h"
#include "common/base/list.h"
#include "common/runtime/bus.h"
#include "frontend/timeouts.h"
#include "proto/kafka/kafka_messages.h"
#include "proto/kafka/kafka_writer.h"

struct frontend;
struct request;

// What the core keeps of a connection.
struct client_session {
	char client_host[64]; // as Kafka shows it: "/127.0.0.1"
	struct list serial;   // requests that have a serial key, in order of arrival
};
void client_session_init(struct client_session *session, const char *client_host);

enum request_outcome {
	REQUEST_PENDING,
	REQUEST_ANSWERED, // answer is complete
	REQUEST_SILENT,   // there is no answer (acks=0)
	REQUEST_CLOSE,    // the connection must be closed, as Kafka does
};

struct request {
	struct frontend *frontend;
	struct client_session *session;
	struct slice frame; // the request without its length
	struct kafka_request_header header;
	int16_t key;
	int16_t version;
	struct reader body; // behind the header
	size_t body_position;
	struct arena arena;
	struct arena round;   // what one attempt of many needs; whoever makes them resets it before each
	uint64_t correlation; // in all logs
	uint64_t started_us;

	enum request_outcome outcome;
	struct kafka_writer answer;               // header and body, length first
	struct slice answer_tail;                 // bytes after the writer's, held
	void (*on_done)(struct request *request); // called once, with outcome set; never frees the request
	void *owner;

	struct list calls;      // request_call in flight
	struct timeout timeout; // the handler's
	void (*on_timeout)(struct request *request);
	void (*on_free)(struct request *request);    // the handler's: leave what the request waits in; NULL: nothing
	void (*on_catalog)(struct request *request); // called when the catalog changed, while request_watch_catalog()
	struct list catalog_link;
	void *state;        // the handler's, in the arena
	struct slice *held; // slices the answer refers to
	size_t held_count;
	size_t held_capacity;
	size_t reserved_bytes; // of the fetch budget, given back with the request

	uint64_t serial_key; // 0: none
	bool serial_waiting;
	void (*run)(struct request *request); // what frontend_schedule() calls
	struct list serial_link;
	size_t scheduled; // the core's: place in its queue, from 1; 0 for none
};

// Takes the caller's hold of frame. The header must have been seen to be complete (request_peek).
struct request *request_new(struct frontend *frontend, struct client_session *session, struct slice frame);
// At any time; an unanswered one is cancelled.
void request_free(struct request **request);
// The body as the message of the version. Bytes behind it are ignored, as Kafka does: librdkafka 2.16 sends three behind a
// Metadata request for all topics.
#define REQUEST_DECODE(request, decode, message)                                                                               \
	request_decoded((request), decode((message), &(request)->body, (request)->version, &(request)->arena))
MUST_CHECK bool request_decoded(struct request *request, enum error error);
// The body as it came, for passing it on. A new hold.
struct slice request_body_slice(const struct request *request);

// The answer: begin, encode the body into the writer, end.
struct kafka_writer *request_answer_begin(struct request *request);
void request_answer_end(struct request *request);
#define REQUEST_ANSWER(request, encode, message)                                                                               \
	do {                                                                                                                   \
		encode((message), request_answer_begin(request), (request)->version);                                          \
		request_answer_end(request);                                                                                   \
	} while (0)
// The whole body is already encoded; takes a new hold.
void request_answer_slice(struct request *request, struct slice body);
void request_silent(struct request *request);
void request_close(struct request *request);
// Keeps a slice until the answer is sent.
void request_hold(struct request *request, struct slice slice);
// Drops all that is held.
void request_drop_held(struct request *request);

// Calls. reply is NULL unless error is ERROR_OK; never called inside, nor after the request is gone.
typedef void (*request_reply_fn)(struct request *request, void *ctx, enum error error, const struct bus_message *reply);
void request_call_shard(
	struct request *request, uint32_t shard, const struct bus_send *send, bool repeat, request_reply_fn fn, void *ctx);
void request_call_link(
	struct request *request, struct bus_link *link, const struct bus_send *send, request_reply_fn fn, void *ctx);

// request->on_timeout() at that time, unless it is done before.
void request_set_timeout(struct request *request, uint64_t due_us, void (*on_timeout)(struct request *request));
void request_clear_timeout(struct request *request);
// on_catalog() after each change of the catalog; NULL stops.
void request_watch_catalog(struct request *request, void (*on_catalog)(struct request *request));

// run() once no earlier request of this connection with the same key (a group, a transactional id) is unanswered (history 11).
void request_serialise(struct request *request, struct bytes key, void (*run)(struct request *request));
