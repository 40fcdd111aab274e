#pragma once
// The feed half of the bus over ZeroMQ: one XPUB for what this process publishes, one SUB an address that it listens to.
// A message is two frames: the prefix and the packed body. Slow subscribers lose messages (ZMQ_XPUB drops at the high-water
// mark); the feed's own numbers tell them. libzmq repeats the subscriptions after each reconnect.
// Internal to the bus over ZeroMQ.

#include "common/runtime/bus.h"
#include "common/runtime/bus_socket.h"
#include "common/runtime/metrics.h"

struct bus_sub;

struct bus_feed {
	struct loop *loop;
	void *zmq;
	const struct bus_limits *limits;
	struct loop_socket publisher; // socket NULL: publishes nothing
	char *address;
	struct bus_sub *subs; // by address
	uint64_t published;
	uint64_t received;
	uint64_t refused;
};

void bus_feed_init(struct bus_feed *feed, struct loop *loop, void *zmq, const struct bus_limits *limits);
void bus_feed_done(struct bus_feed *feed);
MUST_CHECK enum error bus_feed_bind(struct bus_feed *feed, const char *address);
void bus_feed_publish(struct bus_feed *feed, struct bytes prefix, const ProtobufCMessage *body);
// A second subscription to the same prefix of the same address replaces the first.
void bus_feed_subscribe(struct bus_feed *feed, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx);
void bus_feed_unsubscribe(struct bus_feed *feed, const char *address, struct bytes prefix);
