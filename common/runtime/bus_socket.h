#pragma once
// ZeroMQ sockets as all of the bus makes them, and the monitor that tells when a link's connection comes and goes.
// Internal to the bus over ZeroMQ.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/runtime/loop.h"

struct bus_limits {
	uint32_t hwm;
	uint32_t calls_max;
	uint64_t message_bytes_max;
};

// A socket with its limits and timeouts; NULL if there are too many.
void *bus_socket_new(void *zmq, int type, const struct bus_limits *limits);
// Sets NULL, accepts NULL. Unsent messages wait at most linger_ms for the context's end.
void bus_socket_close(void **socket, int linger_ms);
// Binds and answers with the address really bound (the caller's to free).
MUST_CHECK enum error bus_socket_bind(void *socket, const char *address, char **ret_bound);

enum bus_monitor_event { BUS_CONNECTED, BUS_DISCONNECTED, BUS_HANDSHAKE_REFUSED };

// Embedded in the owner of socket. on_event may stop the monitor; none comes after that.
struct bus_monitor {
	void (*on_event)(struct bus_monitor *monitor, enum bus_monitor_event event);
	struct loop *loop;
	void *watched;
	void *pair; // NULL: stopped
	struct loop_fd fd;
};

// number: unique in this context.
void bus_monitor_start(struct bus_monitor *monitor, struct loop *loop, void *zmq, void *socket, uint64_t number);
// Before socket is closed. Accepts a stopped one.
void bus_monitor_stop(struct bus_monitor *monitor);
