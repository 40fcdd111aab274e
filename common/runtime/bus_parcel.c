#include "common/runtime/bus_parcel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/runtime/bus_header.pb-c.h"
#include "common/runtime/protobuf.h"

enum {
	// A parcel closes at these, so that a peer starts to work while the next one is on its way.
	PARCEL_PAYLOAD_BYTES = 4 << 20,
	PARCEL_HEAD_BYTES = 1 << 20,
	PARCEL_MESSAGES = 4096,
	// What we accept: far above what we send, but no memory for the asking.
	PARCEL_MESSAGES_MAX = 1 << 16,
	PARCEL_FRAMES_MAX = 1 << 18,
	PARCEL_HEADER_ROOM = 80, // a BusHeader with all fields at their longest, and its length
				 // Below, a copy is cheaper than the bookkeeping of a shared frame.
	PARCEL_COPY_BYTES = 1024,
	// Received frames below share libzmq's 8 KiB receive buffer: a copy lets go of it.
	PARCEL_KEEP_BYTES = 4096,
};

// Out

struct parcel_out *parcel_out_new(const struct bus_send *send)
{
	size_t body_len = send->body ? protobuf_c_message_get_packed_size(send->body) : 0;
	size_t frames_len = send->frame_count * sizeof(struct slice);
	struct parcel_out *out = memory_alloc(sizeof *out + frames_len + body_len);
	uint8_t *body = (uint8_t *)out + sizeof *out + frames_len;
	*out = (struct parcel_out){.type = send->type, .correlation = send->correlation, .frame_count = send->frame_count};
	list_init(&out->link);
	if (body_len)
		protobuf_c_message_pack(send->body, body);
	out->body = bytes_view(body, body_len);
	for (size_t i = 0; i < send->frame_count; i++) {
		out->frames[i] = slice_ref(send->frames[i]);
		out->payload_bytes += send->frames[i].len;
	}
	return out;
}

void parcel_out_free(struct parcel_out **held)
{
	struct parcel_out *out = *held;
	*held = NULL;
	if (!out)
		return;
	list_remove(&out->link);
	for (size_t i = 0; i < out->frame_count; i++)
		slice_done(&out->frames[i]);
	free(out);
}

bool parcel_send_fits(const struct bus_send *send, uint64_t message_bytes_max)
{
	bool fits = (!send->body || protobuf_c_message_get_packed_size(send->body) <= message_bytes_max) &&
		    send->frame_count <= PARCEL_FRAMES_MAX;
	for (size_t i = 0; i < send->frame_count && fits; i++)
		fits = send->frames[i].len <= message_bytes_max;
	return fits;
}

static void parcel_put_header(struct buffer *head, const struct parcel_out *out, uint64_t now_us)
{
	Weir__BusHeader header = WEIR__BUS_HEADER__INIT;
	header.type = out->type;
	header.id = out->id;
	header.reply_to = out->reply_to;
	header.correlation = out->correlation;
	header.frame_count = (uint32_t)out->frame_count;
	header.body_bytes = (uint32_t)out->body.len;
	uint64_t remaining_ms = out->deadline_us > now_us ? (out->deadline_us - now_us) / 1000 : 0;
	header.remaining_ms = remaining_ms < UINT32_MAX ? (uint32_t)remaining_ms : UINT32_MAX;
	buffer_uvarint(head, weir__bus_header__get_packed_size(&header));
	protobuf_pack(&header.base, head);
	buffer_bytes(head, out->body);
}

// Fills head with the messages from the front of outs that fit, at least one, and moves those to chosen.
static void parcel_choose(struct list *outs, struct list *chosen, uint64_t now_us, struct buffer *head, size_t *ret_frames)
{
	size_t payload_bytes = 0, messages = 0, frames = 0;
	buffer_clear(head);
	buffer_u16(head, PARCEL_MAGIC);
	buffer_u16(head, PARCEL_VERSION);
	while (!list_empty(outs)) {
		struct parcel_out *out = container_of(outs->next, struct parcel_out, link);
		bool full = messages == PARCEL_MESSAGES || payload_bytes + out->payload_bytes > PARCEL_PAYLOAD_BYTES ||
			    frames + out->frame_count > PARCEL_FRAMES_MAX ||
			    head->len + out->body.len + PARCEL_HEADER_ROOM > PARCEL_HEAD_BYTES;
		if (messages && full)
			break;
		parcel_put_header(head, out, now_us);
		payload_bytes += out->payload_bytes;
		frames += out->frame_count;
		messages++;
		list_append(chosen, list_pop(outs));
	}
	CHECK(!head->failed);
	*ret_frames = frames;
}

// In libzmq's I/O thread.
static void parcel_frame_sent(void *data, void *hint)
{
	struct block *block = hint;
	(void)data;
	block_unref(&block);
}

static void parcel_frame_msg(zmq_msg_t *msg, struct slice slice)
{
	if (slice.len < PARCEL_COPY_BYTES) {
		CHECK(zmq_msg_init_size(msg, slice.len) == 0);
		if (slice.len)
			memcpy(zmq_msg_data(msg), slice.data, slice.len);
		return;
	}
	// libzmq does not write into a message that it sends.
	void *data = protobuf_data(slice_bytes(slice)).data;
	struct block *block = slice.block ? block_ref(slice.block) : NULL;
	CHECK(zmq_msg_init_data(msg, data, slice.len, block ? parcel_frame_sent : NULL, block) == 0);
}

static bool parcel_send_msg(void *socket, zmq_msg_t *msg, bool more)
{
	if (zmq_msg_send(msg, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0)
		return true;
	int error = errno;
	zmq_msg_close(msg);
	errno = error;
	return false;
}

static bool parcel_send_bytes(void *socket, struct bytes bytes, bool more)
{
	zmq_msg_t msg;
	CHECK(zmq_msg_init_size(&msg, bytes.len) == 0);
	memcpy(zmq_msg_data(&msg), bytes.data, bytes.len);
	return parcel_send_msg(socket, &msg, more);
}

static bool parcel_send_frames(void *socket, const struct list *chosen, size_t frames_left)
{
	for (const struct list *link = chosen->next; link != chosen; link = link->next) {
		const struct parcel_out *out = container_of(link, struct parcel_out, link);
		for (size_t i = 0; i < out->frame_count; i++) {
			zmq_msg_t msg;
			parcel_frame_msg(&msg, out->frames[i]);
			if (!parcel_send_msg(socket, &msg, --frames_left > 0))
				return false;
		}
	}
	return true;
}

static void list_move_all(struct list *from, struct list *to)
{
	while (!list_empty(from))
		list_append(to, list_pop(from));
}

enum parcel_result parcel_send(
	void *socket, struct bytes to, struct list *outs, struct list *sent, uint64_t now_us, struct buffer *scratch)
{
	struct list chosen;
	size_t frames;
	// A ROUTER answers for its peer at the routing id, a DEALER at the first frame. Later frames fail only if the
	// connection breaks meanwhile; the peer never sees a part of a multipart.
	if (to.data && !parcel_send_bytes(socket, to, true))
		return errno == EAGAIN ? PARCEL_BLOCKED : PARCEL_GONE;
	list_init(&chosen);
	parcel_choose(outs, &chosen, now_us, scratch, &frames);
	if (!parcel_send_bytes(socket, buffer_view(scratch), frames > 0)) {
		bool blocked = errno == EAGAIN && !to.data;
		list_move_all(outs, &chosen); // in front of what stayed
		list_move_all(&chosen, outs);
		return blocked ? PARCEL_BLOCKED : PARCEL_GONE;
	}
	bool whole = parcel_send_frames(socket, &chosen, frames);
	list_move_all(&chosen, sent);
	return whole ? PARCEL_DONE : PARCEL_GONE;
}

// In

struct parcel_block {
	struct block block;
	zmq_msg_t msg;
};

static void parcel_block_free(struct block *block)
{
	struct parcel_block *parcel_block = container_of(block, struct parcel_block, block);
	zmq_msg_close(&parcel_block->msg);
	free(parcel_block);
}

// Takes msg over.
static struct slice parcel_slice(zmq_msg_t *msg)
{
	size_t len = zmq_msg_size(msg);
	if (len < PARCEL_KEEP_BYTES) {
		struct slice copy = slice_copy(bytes_view(zmq_msg_data(msg), len));
		zmq_msg_close(msg);
		return copy;
	}
	struct parcel_block *parcel_block = memory_alloc(sizeof *parcel_block);
	zmq_msg_init(&parcel_block->msg);
	CHECK(zmq_msg_move(&parcel_block->msg, msg) == 0);
	zmq_msg_close(msg);
	struct block *block = &parcel_block->block;
	atomic_init(&block->refs, 1);
	block->data = zmq_msg_data(&parcel_block->msg);
	block->len = len;
	block->free = parcel_block_free;
	return slice_take(&block);
}

void parcel_init(struct parcel *parcel)
{
	*parcel = (struct parcel){0};
	parcel->head = memory_alloc(sizeof(zmq_msg_t));
	zmq_msg_init(parcel->head);
	parcel->arena = memory_alloc(sizeof *parcel->arena);
	arena_init(parcel->arena, 1 << 16);
}

void parcel_clear(struct parcel *parcel)
{
	for (size_t i = 0; i < parcel->frame_count; i++)
		slice_done(&parcel->frames[i]);
	parcel->frame_count = parcel->message_count = 0;
	zmq_msg_close(parcel->head);
	zmq_msg_init(parcel->head);
}

void parcel_done(struct parcel *parcel)
{
	parcel_clear(parcel);
	zmq_msg_close(parcel->head);
	free(parcel->head);
	free(parcel->messages);
	free(parcel->frames);
	arena_done(parcel->arena);
	free(parcel->arena);
}

static bool parcel_receive_msg(void *socket, zmq_msg_t *msg, bool *ret_more)
{
	if (zmq_msg_recv(msg, socket, ZMQ_DONTWAIT) < 0)
		return false;
	*ret_more = zmq_msg_more(msg);
	return true;
}

static void parcel_receive_frames(struct parcel *parcel, void *socket, bool *ok)
{
	for (bool more = true; more;) {
		zmq_msg_t msg;
		zmq_msg_init(&msg);
		if (!parcel_receive_msg(socket, &msg, &more)) {
			*ok = false;
			return;
		}
		if (parcel->frame_count == PARCEL_FRAMES_MAX)
			*ok = false;
		if (!*ok) {
			zmq_msg_close(&msg);
			continue;
		}
		if (parcel->frame_count == parcel->frame_capacity) {
			parcel->frame_capacity = parcel->frame_capacity ? parcel->frame_capacity * 2 : 64;
			parcel->frames = memory_realloc(parcel->frames, parcel->frame_capacity * sizeof *parcel->frames);
		}
		parcel->frames[parcel->frame_count++] = parcel_slice(&msg);
	}
}

static void parcel_add_message(struct parcel *parcel, const struct parcel_message *message)
{
	if (parcel->message_count == parcel->message_capacity) {
		parcel->message_capacity = parcel->message_capacity ? parcel->message_capacity * 2 : 64;
		parcel->messages = memory_realloc(parcel->messages, parcel->message_capacity * sizeof *parcel->messages);
	}
	parcel->messages[parcel->message_count++] = *message;
}

static bool parcel_read_message(struct parcel *parcel, struct reader *reader, size_t *frames_used)
{
	struct bytes packed = reader_bytes(reader, reader_uvarint32(reader));
	if (reader->failed || parcel->message_count == PARCEL_MESSAGES_MAX)
		return false;
	arena_reset(parcel->arena);
	const Weir__BusHeader *header = protobuf_unpack(&weir__bus_header__descriptor, packed, parcel->arena);
	if (!header || header->frame_count > parcel->frame_count - *frames_used)
		return false;
	struct parcel_message message = {
		.message = {.type = header->type,
			.body = reader_bytes(reader, header->body_bytes),
			.frames = parcel->frames + *frames_used,
			.frame_count = header->frame_count,
			.remaining_ms = header->remaining_ms,
			.correlation = header->correlation},
		.id = header->id,
		.reply_to = header->reply_to,
	};
	if (reader->failed || (message.id == 0) == (message.reply_to == 0))
		return false;
	*frames_used += header->frame_count;
	parcel_add_message(parcel, &message);
	return true;
}

static bool parcel_read_head(struct parcel *parcel)
{
	struct reader reader = reader_of(bytes_view(zmq_msg_data(parcel->head), zmq_msg_size(parcel->head)));
	size_t frames_used = 0;
	uint16_t magic = reader_u16(&reader);
	uint16_t version = reader_u16(&reader);
	if (magic != PARCEL_MAGIC || version != PARCEL_VERSION)
		return false;
	while (reader_left(&reader))
		if (!parcel_read_message(parcel, &reader, &frames_used))
			return false;
	return frames_used == parcel->frame_count && !reader.failed;
}

static enum parcel_result parcel_receive_from(struct parcel *parcel, void *socket, bool *more)
{
	zmq_msg_t from;
	zmq_msg_init(&from);
	if (!parcel_receive_msg(socket, &from, more))
		return PARCEL_BLOCKED;
	parcel->from_len = zmq_msg_size(&from);
	CHECK(parcel->from_len <= PARCEL_ROUTING_ID_MAX); // libzmq's promise, not the peer's
	memcpy(parcel->from, zmq_msg_data(&from), parcel->from_len);
	zmq_msg_close(&from);
	return *more ? PARCEL_DONE : PARCEL_REFUSED;
}

enum parcel_result parcel_receive(struct parcel *parcel, void *socket, bool routed)
{
	bool more = true, ok = true;
	parcel_clear(parcel);
	if (routed) {
		enum parcel_result result = parcel_receive_from(parcel, socket, &more);
		if (result != PARCEL_DONE)
			return result;
	}
	if (!parcel_receive_msg(socket, parcel->head, &more))
		return PARCEL_BLOCKED;
	if (more)
		parcel_receive_frames(parcel, socket, &ok);
	if (!ok || !parcel_read_head(parcel)) {
		parcel_clear(parcel);
		return PARCEL_REFUSED;
	}
	return PARCEL_DONE;
}
