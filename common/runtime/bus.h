#pragma once
// The pipes between daemons as the cores see them: typed requests with one reply each, and a feed. Behind the ops-struct stands
// ZeroMQ (bus_zmq.h) or the simulator.
//
// A message is a type (proto/bus.proto, enum message_type), a protobuf-c body and zero or more payload frames (record batches
// verbatim, never inside protobuf). All messages of a turn to one peer leave in one multipart. Between two processes messages
// keep their order; a peer's death may lose what is in flight, never a part of a message, never double one.
//
// Limits: calls in flight a link (calls_max), payload bytes a link (the append pipe's credits bound those), HWM. At the limit a
// call fails with ERROR_BUSY without having been sent.

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/block.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/uuid.h"

struct bus;
struct bus_link;    // to one address; the bus owns it and keeps it connected
struct bus_request; // one request we received and owe a reply

// As received. Valid during the callback; take slice_ref() of frames to keep them.
struct bus_message {
	uint32_t type;
	struct bytes body; // packed protobuf of the type's message
	const struct slice *frames;
	size_t frame_count;
	uint32_t remaining_ms; // what the caller still waits (requests only)
	uint64_t correlation;  // follows a client's request through all logs
};

// As sent. The body is packed and the frames are held before the call returns.
struct bus_send {
	uint32_t type;
	const ProtobufCMessage *body;
	const struct slice *frames;
	size_t frame_count;
	uint32_t timeout_ms; // requests only: the reply, or an error, comes within it
	uint64_t correlation;
};

// reply is NULL unless error is ERROR_OK. ERROR_UNREACHABLE, ERROR_BUSY: surely not sent; ERROR_TIMED_OUT, ERROR_DISCONNECTED:
// the peer may or may not have acted. A reply may itself carry an error in its body; that is the type's business.
typedef void (*bus_reply_fn)(void *ctx, enum error error, const struct bus_message *reply);
// The callee answers exactly once with bus_reply(), at any later time.
typedef void (*bus_request_fn)(void *ctx, struct bus_request *request, const struct bus_message *message);
// prefix as published.
typedef void (*bus_feed_fn)(void *ctx, struct bytes prefix, struct bytes body);

struct bus_ops {
	struct bus_link *(*link)(struct bus *bus, const char *address);
	void (*unlink)(struct bus *bus, struct bus_link *link);
	uint64_t (*call)(struct bus *bus, struct bus_link *link, const struct bus_send *send, bus_reply_fn fn, void *ctx);
	void (*cancel)(struct bus *bus, uint64_t call);
	void (*serve)(struct bus *bus, bus_request_fn fn, void *ctx);
	void (*reply)(struct bus *bus, struct bus_request *request, const struct bus_send *send);
	void (*publish)(struct bus *bus, struct bytes prefix, const ProtobufCMessage *body);
	void (*subscribe)(struct bus *bus, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx);
	void (*unsubscribe)(struct bus *bus, const char *address, struct bytes prefix);
};

struct bus {
	const struct bus_ops *ops;
};

// The link to an address (ipc:// or tcp://); asking again gives the same one, counted. Never fails: an absent peer shows in
// the calls.
struct bus_link *bus_link(struct bus *bus, const char *address);
// Drops one hold; with the last, calls in flight fail with ERROR_CANCELED at once.
void bus_unlink(struct bus *bus, struct bus_link *link);

// fn is called exactly once, never inside bus_call() itself, unless the call is cancelled. Returns an id for bus_cancel(),
// never 0.
uint64_t bus_call(struct bus *bus, struct bus_link *link, const struct bus_send *send, bus_reply_fn fn, void *ctx);
// fn will not be called; an id that is over is ignored.
void bus_cancel(struct bus *bus, uint64_t call);

// Where requests to this process arrive; one handler a process.
void bus_serve(struct bus *bus, bus_request_fn fn, void *ctx);
// Consumes request. If the caller is gone the reply is dropped, as it would be a moment later.
void bus_reply(struct bus *bus, struct bus_request *request, const struct bus_send *send);

// To whoever is subscribed now; slow or absent subscribers lose messages: the feed's numbers let them notice.
void bus_publish(struct bus *bus, struct bytes prefix, const ProtobufCMessage *body);
void bus_subscribe(struct bus *bus, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx);
void bus_unsubscribe(struct bus *bus, const char *address, struct bytes prefix);
