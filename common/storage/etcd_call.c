#include "common/storage/etcd_call.h"

#include <stdlib.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

#include "common/base/check.h"
#include "common/base/memory.h"

enum { WAIT_FOR_READY = GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET };

grpc_byte_buffer *etcd_pack(const ProtobufCMessage *message)
{
	grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}

static struct bytes slice_view(const grpc_slice *slice)
{
	return bytes_view(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

// The whole message in one slice, empty if there is none or it is damaged.
static grpc_slice buffer_slice(grpc_byte_buffer *buffer)
{
	grpc_byte_buffer_reader reader;
	if (!buffer || !grpc_byte_buffer_reader_init(&reader, buffer))
		return grpc_empty_slice();
	grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return slice;
}

// etcd's request metadata: "hasleader" makes a member without a leader refuse at once instead of staying silent for ever.
struct call_metadata {
	grpc_metadata pairs[2];
	size_t count;
};

static void call_metadata_init(struct call_metadata *metadata, const char *token)
{
	*metadata = (struct call_metadata){.count = 1};
	metadata->pairs[0].key = grpc_slice_from_static_string("hasleader");
	metadata->pairs[0].value = grpc_slice_from_static_string("true");
	if (!token)
		return;
	metadata->pairs[metadata->count].key = grpc_slice_from_static_string("token");
	metadata->pairs[metadata->count++].value = grpc_slice_from_copied_string(token);
}

static void call_metadata_done(struct call_metadata *metadata)
{
	for (size_t i = 0; i < metadata->count; i++) {
		grpc_slice_unref(metadata->pairs[i].key);
		grpc_slice_unref(metadata->pairs[i].value);
	}
}

// Unary.

static void etcd_call_completed(struct etcd_tag *tag, bool ok)
{
	struct etcd_call *call = container_of(tag, struct etcd_call, tag);
	CHECK(ok); // a batch that holds RECV_STATUS_ON_CLIENT always succeeds
	call->reply_slice = buffer_slice(call->reply);
	call->done(call);
}

void etcd_call_start(struct etcd_call *call, const struct etcd_target *target, const char *method, grpc_byte_buffer *request,
	gpr_timespec deadline, void (*done)(struct etcd_call *call))
{
	struct call_metadata metadata;
	*call = (struct etcd_call){.tag.done = etcd_call_completed, .done = done};
	call->reply_slice = call->details = grpc_empty_slice();
	grpc_metadata_array_init(&call->initial);
	grpc_metadata_array_init(&call->trailing);
	call->call = etcd_queue_call(target->queue, target->channel, method, deadline);
	call->request = grpc_byte_buffer_copy(request);
	call_metadata_init(&metadata, target->token);

	grpc_op operations[6] = {0};
	operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	operations[0].flags = WAIT_FOR_READY;
	operations[0].data.send_initial_metadata.count = metadata.count;
	operations[0].data.send_initial_metadata.metadata = metadata.pairs;
	operations[1].op = GRPC_OP_SEND_MESSAGE;
	operations[1].data.send_message.send_message = call->request;
	operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	operations[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
	operations[4].op = GRPC_OP_RECV_MESSAGE;
	operations[4].data.recv_message.recv_message = &call->reply;
	operations[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	operations[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
	operations[5].data.recv_status_on_client.status = &call->status;
	operations[5].data.recv_status_on_client.status_details = &call->details;
	etcd_queue_batch(target->queue, call->call, operations, 6, &call->tag);
	call_metadata_done(&metadata);
}

void etcd_call_cancel(struct etcd_call *call)
{
	grpc_call_cancel(call->call, NULL);
}

struct bytes etcd_call_details(const struct etcd_call *call)
{
	return slice_view(&call->details);
}

struct bytes etcd_call_reply(const struct etcd_call *call)
{
	return slice_view(&call->reply_slice);
}

void etcd_call_done(struct etcd_call *call)
{
	grpc_slice_unref(call->reply_slice);
	grpc_slice_unref(call->details);
	if (call->reply)
		grpc_byte_buffer_destroy(call->reply);
	grpc_byte_buffer_destroy(call->request);
	grpc_metadata_array_destroy(&call->initial);
	grpc_metadata_array_destroy(&call->trailing);
	grpc_call_unref(call->call);
	call->call = NULL;
}

// Streams. Three operations may be under way, each with its tag: the status (from the start), a send, a receive. The stream
// ends when all three have come back, so messages that arrived before the status are seen before on_end().

struct outgoing {
	struct list link;
	grpc_byte_buffer *buffer;
};

struct etcd_stream {
	struct etcd_queue *queue;
	grpc_call *call;
	struct etcd_tag status_tag;
	struct etcd_tag send_tag;
	struct etcd_tag receive_tag;
	unsigned pending;
	bool sending;
	grpc_byte_buffer *sent; // under way
	bool broken;            // nothing more can be sent
	bool closed;            // the owner has gone
	struct list outgoing;
	grpc_byte_buffer *received;
	grpc_metadata_array initial;
	grpc_metadata_array trailing;
	grpc_status_code status;
	grpc_slice details;
	const struct etcd_stream_handlers *handlers;
	void *ctx;
};

static void stream_batch(struct etcd_stream *stream, const grpc_op *operations, size_t count, struct etcd_tag *tag)
{
	stream->pending++;
	etcd_queue_batch(stream->queue, stream->call, operations, count, tag);
}

static void stream_drop_outgoing(struct etcd_stream *stream)
{
	stream->broken = true;
	LIST_EACH (&stream->outgoing, link) {
		struct outgoing *outgoing = container_of(link, struct outgoing, link);
		grpc_byte_buffer_destroy(outgoing->buffer);
		free(outgoing);
	}
	list_init(&stream->outgoing);
}

static void stream_completed(struct etcd_stream *stream)
{
	if (--stream->pending)
		return;
	stream_drop_outgoing(stream);
	if (!stream->closed)
		stream->handlers->on_end(stream->ctx, stream->status, slice_view(&stream->details));
	grpc_slice_unref(stream->details);
	grpc_metadata_array_destroy(&stream->initial);
	grpc_metadata_array_destroy(&stream->trailing);
	grpc_call_unref(stream->call);
	free(stream);
}

static void stream_status_completed(struct etcd_tag *tag, bool ok)
{
	(void)ok;
	stream_completed(container_of(tag, struct etcd_stream, status_tag));
}

static void stream_send_next(struct etcd_stream *stream)
{
	if (stream->sending || stream->broken || list_empty(&stream->outgoing))
		return;
	struct outgoing *outgoing = container_of(list_pop(&stream->outgoing), struct outgoing, link);
	grpc_op operation = {.op = GRPC_OP_SEND_MESSAGE};
	operation.data.send_message.send_message = outgoing->buffer;
	stream->sending = true;
	stream->sent = outgoing->buffer;
	stream_batch(stream, &operation, 1, &stream->send_tag);
	free(outgoing);
}

static void stream_send_completed(struct etcd_tag *tag, bool ok)
{
	struct etcd_stream *stream = container_of(tag, struct etcd_stream, send_tag);
	stream->sending = false;
	if (stream->sent)
		grpc_byte_buffer_destroy(stream->sent);
	stream->sent = NULL;
	if (!ok)
		stream_drop_outgoing(stream);
	stream_send_next(stream);
	stream_completed(stream);
}

static void stream_receive_next(struct etcd_stream *stream)
{
	grpc_op operation = {.op = GRPC_OP_RECV_MESSAGE};
	operation.data.recv_message.recv_message = &stream->received;
	stream_batch(stream, &operation, 1, &stream->receive_tag);
}

static void stream_receive_completed(struct etcd_tag *tag, bool ok)
{
	struct etcd_stream *stream = container_of(tag, struct etcd_stream, receive_tag);
	grpc_byte_buffer *buffer = stream->received;
	stream->received = NULL;
	if (ok && buffer && !stream->closed) {
		grpc_slice slice = buffer_slice(buffer);
		stream->handlers->on_message(stream->ctx, slice_view(&slice));
		grpc_slice_unref(slice);
		if (!stream->closed)
			stream_receive_next(stream);
	}
	if (buffer)
		grpc_byte_buffer_destroy(buffer);
	stream_completed(stream);
}

static void stream_start(struct etcd_stream *stream, const char *token)
{
	struct call_metadata metadata;
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
	status.data.recv_status_on_client.trailing_metadata = &stream->trailing;
	status.data.recv_status_on_client.status = &stream->status;
	status.data.recv_status_on_client.status_details = &stream->details;
	stream_batch(stream, &status, 1, &stream->status_tag);

	call_metadata_init(&metadata, token);
	grpc_op send = {.op = GRPC_OP_SEND_INITIAL_METADATA};
	send.data.send_initial_metadata.count = metadata.count;
	send.data.send_initial_metadata.metadata = metadata.pairs;
	stream->sending = true;
	stream_batch(stream, &send, 1, &stream->send_tag);
	call_metadata_done(&metadata);

	// Apart from the send: etcd sends its headers only with its first message.
	grpc_op receive[2] = {{.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}};
	receive[0].data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
	receive[1].data.recv_message.recv_message = &stream->received;
	stream_batch(stream, receive, 2, &stream->receive_tag);
}

struct etcd_stream *etcd_stream_open(
	const struct etcd_target *target, const char *method, const struct etcd_stream_handlers *handlers, void *ctx)
{
	struct etcd_stream *stream = memory_zalloc(sizeof *stream);
	*stream = (struct etcd_stream){.queue = target->queue, .handlers = handlers, .ctx = ctx};
	stream->status_tag.done = stream_status_completed;
	stream->send_tag.done = stream_send_completed;
	stream->receive_tag.done = stream_receive_completed;
	stream->details = grpc_empty_slice();
	list_init(&stream->outgoing);
	grpc_metadata_array_init(&stream->initial);
	grpc_metadata_array_init(&stream->trailing);
	stream->call = etcd_queue_call(target->queue, target->channel, method, gpr_inf_future(GPR_CLOCK_MONOTONIC));
	stream_start(stream, target->token);
	return stream;
}

void etcd_stream_send(struct etcd_stream *stream, const ProtobufCMessage *message)
{
	if (stream->broken)
		return;
	struct outgoing *outgoing = memory_alloc(sizeof *outgoing);
	outgoing->buffer = etcd_pack(message);
	list_append(&stream->outgoing, &outgoing->link);
	stream_send_next(stream);
}

void etcd_stream_close(struct etcd_stream **held)
{
	struct etcd_stream *stream = *held;
	*held = NULL;
	if (!stream)
		return;
	stream->closed = true;
	stream_drop_outgoing(stream);
	grpc_call_cancel(stream->call, NULL);
}
