#pragma once
// One request and one answer over gRPC core, and one two-way stream. Both run on an etcd_queue, in the loop's thread.
// Method paths are etcd's: "/etcdserverpb.KV/Range".

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/list.h"
#include "common/storage/etcd_queue.h"

// Where a call goes and as whom. Borrowed for the call that takes it.
struct etcd_target {
	struct etcd_queue *queue;
	grpc_channel *channel;
	const char *token; // NULL: no authentication
};

// The packed message; grpc_byte_buffer_destroy() it.
grpc_byte_buffer *etcd_pack(const ProtobufCMessage *message);

// A unary call, embedded by its owner. Waits for the connection until its deadline (WAIT_FOR_READY). done() comes exactly
// once; then status, etcd_call_details() and etcd_call_reply() are valid until etcd_call_done(), which the owner calls.
struct etcd_call {
	struct etcd_tag tag;
	grpc_call *call;
	grpc_byte_buffer *request; // our copy: gRPC takes the slices out of what it sends
	grpc_metadata_array initial;
	grpc_metadata_array trailing;
	grpc_byte_buffer *reply;
	grpc_slice reply_slice; // the reply in one piece
	grpc_slice details;
	grpc_status_code status;
	void (*done)(struct etcd_call *call);
};

// request is borrowed and left whole, so it may be sent again.
void etcd_call_start(struct etcd_call *call, const struct etcd_target *target, const char *method, grpc_byte_buffer *request,
	gpr_timespec deadline, void (*done)(struct etcd_call *call));
// done() still comes, with GRPC_STATUS_CANCELLED unless the answer was quicker.
void etcd_call_cancel(struct etcd_call *call);
struct bytes etcd_call_details(const struct etcd_call *call);
struct bytes etcd_call_reply(const struct etcd_call *call);
void etcd_call_done(struct etcd_call *call);

// A stream fails at once when there is no connection; whoever opens it paces the repeats.
struct etcd_stream;

struct etcd_stream_handlers {
	void (*on_message)(void *ctx, struct bytes message); // borrowed for the call
	// The last call; the stream is gone after it.
	void (*on_end)(void *ctx, grpc_status_code status, struct bytes details);
};

struct etcd_stream *etcd_stream_open(
	const struct etcd_target *target, const char *method, const struct etcd_stream_handlers *handlers, void *ctx);
// Queued while another message is being sent.
void etcd_stream_send(struct etcd_stream *stream, const ProtobufCMessage *message);
// Cancels; no handler is called any more. Accepts NULL, safe in a handler.
void etcd_stream_close(struct etcd_stream **stream);
