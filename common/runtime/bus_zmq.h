#pragma once
// The bus over ZeroMQ: one ROUTER for requests that come in, one DEALER a link, to which the ROUTER gives a fresh routing id at
// each connection, one XPUB for what we publish, one SUB a feed address. Every socket gets HWM, LINGER, heartbeats, MAXMSGSIZE
// and timeouts in one function (bus_socket.c; CURVE keys will be set there too, from a field of the settings). bus_parcel.h
// tells the wire form.
//
// A peer that stops reading until hwm parcels wait at each end is taken for dead after the heartbeat's timeout (1.5 s): libzmq
// then reads no heartbeats either. So limits on what is in flight (calls_max, credits) must bite before hwm does.

#include "common/runtime/bus.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

struct bus_zmq_settings {
	const char *bind;           // where requests arrive (ipc:// or tcp://, port * for a free one); NULL: serves nothing
	const char *feed_bind;      // where the feed is published; NULL: publishes nothing
	uint32_t hwm;               // messages a socket; 0: 1000
	uint32_t calls_max;         // in flight a link; 0: 65536
	uint64_t message_bytes_max; // 0: 64 MiB
};

// ERROR_OK, or ERROR_UNREACHABLE if a bind failed (the reason is logged).
MUST_CHECK enum error bus_zmq_new(
	struct loop *loop, const struct bus_zmq_settings *settings, struct metrics *metrics, struct bus **ret_bus);
// Sends what is queued, for at most half a second. Calls in flight end without their callback, owed requests are forgotten.
void bus_zmq_free(struct bus **bus);

// The addresses really bound (free ports filled in); live as long as the bus.
const char *bus_zmq_address(struct bus *bus);
const char *bus_zmq_feed_address(struct bus *bus);
// Whether anything still waits to be sent (drain before exit).
bool bus_zmq_idle(struct bus *bus);
