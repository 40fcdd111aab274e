#pragma once
// The listening socket of the Kafka port: accepts while there is room for connections, and not before the frontend can serve
// (until then clients wait in the backlog). Owner: the daemon.

#include <stdint.h>

#include "frontend/connection.h"

struct listener;

// address: "host:port", port 0 for a free one. ERROR_UNREACHABLE if it cannot be bound (errno tells why).
MUST_CHECK enum error listener_new(struct loop *loop, struct connection_set *set, const char *address, size_t connections_max,
	struct listener **ret_listener);
void listener_free(struct listener **listener);
// Port really bound.
uint16_t listener_port(const struct listener *listener);
// Accepts or not, as open says and room allows. Returns the next deadline.
uint64_t listener_step(struct listener *listener, bool open);

// Splits "host:port" or "[v6]:port"; false if it is neither.
MUST_CHECK bool listener_split_address(const char *address, char *host, size_t host_size, uint16_t *ret_port);
