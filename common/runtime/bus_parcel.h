#pragma once
// The wire form between two processes: a parcel is one ZeroMQ multipart with all messages of a turn to one peer (or as many as
// its limits allow; never a part of a message).
//
//	frame 0     u16 magic, u16 version, then a message: uvarint length, BusHeader of that length, body
//	frame 1..n  payload frames, in the order of the messages; each header says how many are its own
//
// Bytes that arrive may be a stranger's: whatever is not exactly of this form is refused, never trusted, never fatal.
// Internal to the bus over ZeroMQ (bus_zmq.c).

#include "common/base/list.h"
#include "common/runtime/bus.h"

enum {
	PARCEL_MAGIC = 0x5752, // "WR"
	PARCEL_VERSION = 1,
	PARCEL_ROUTING_ID_MAX = 255,
	PARCEL_SLACK_BYTES = 1 << 20, // what frame 0 may have beyond the largest body
};

// A message on its way out, in one allocation with its body and its holds on the payload.
struct parcel_out {
	struct list link;
	uint32_t type;
	uint64_t id;
	uint64_t reply_to;
	uint64_t correlation;
	uint64_t deadline_us; // 0: none
	void *owner;
	size_t payload_bytes;
	struct bytes body;
	size_t frame_count;
	struct slice frames[];
};

// id, reply_to, deadline and owner are left to the caller.
struct parcel_out *parcel_out_new(const struct bus_send *send);
// Also takes it out of its list.
void parcel_out_free(struct parcel_out **out);
// Whether every part passes the peer's limit.
bool parcel_send_fits(const struct bus_send *send, uint64_t message_bytes_max);

enum parcel_result {
	PARCEL_DONE,
	PARCEL_BLOCKED, // to send: the high-water mark is reached, nothing left; to receive: nothing is there
	PARCEL_GONE,    // to send: no such peer, or its connection broke in the middle
	PARCEL_REFUSED, // received, but not of our form; consumed
};

// Sends one parcel from the front of outs; what left is moved to sent. to: the peer's routing id on a ROUTER, else BYTES_NULL.
// scratch is overwritten.
enum parcel_result parcel_send(
	void *socket, struct bytes to, struct list *outs, struct list *sent, uint64_t now_us, struct buffer *scratch);

struct parcel_message {
	struct bus_message message;
	uint64_t id;
	uint64_t reply_to;
};

// As received; reused for every parcel of a bus.
struct parcel {
	void *head; // zmq_msg_t, what the bodies point into
	struct parcel_message *messages;
	size_t message_count;
	size_t message_capacity;
	struct slice *frames;
	size_t frame_count;
	size_t frame_capacity;
	struct arena *arena;
	size_t from_len; // a ROUTER's peer
	uint8_t from[PARCEL_ROUTING_ID_MAX];
};

void parcel_init(struct parcel *parcel);
void parcel_done(struct parcel *parcel);
// routed: the socket is a ROUTER. On PARCEL_DONE the messages live until parcel_clear().
enum parcel_result parcel_receive(struct parcel *parcel, void *socket, bool routed);
void parcel_clear(struct parcel *parcel);
