#pragma once
// One client's TCP connection: frames in, answers out, in the order of the requests.
//
//	read ──► length and header ──► admission ──► body into one block ──► request ──► frontend_handle()
//	                                                                        │ slot keeps its place
//	write ◄── header bytes and slices, gathered ◄── answered slots, first come first ◄──┘
//
// Requests are pipelined: reading goes on while earlier ones wait, up to so many requests, so many bytes of them, and so many
// bytes of answers that the client has not taken; beyond, the connection is not read. Nothing is dropped.
//
// A set holds all connections; everything that ends one only marks it, and connection_set_step() flushes what was answered in
// the turn (one sendmsg for many answers) and closes what is marked. Owner: the listener's daemon.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "frontend/frontend.h"

struct connection;
struct connection_set;

struct connection_settings {
	uint64_t request_bytes_max;    // one frame
	uint64_t connection_bytes_max; // frames that are not answered; one is always let in
	uint64_t output_bytes_max;     // answers not taken, above which the connection is not read
	uint32_t requests_max;         // not answered
	uint64_t idle_ms;              // connections.max.idle.ms
	uint64_t body_ms;              // between two reads of a body
	uint64_t send_ms;              // a client that takes nothing of its answers for so long is closed
};

struct connection_set *connection_set_new(struct loop *loop, const struct connection_settings *settings);
// Who handles the requests; before the first connection.
void connection_set_serve(struct connection_set *set, struct frontend *frontend);
// Closes all.
void connection_set_free(struct connection_set **set);
uint64_t connection_set_step(struct connection_set *set);
size_t connection_set_count(const struct connection_set *set);
// Reads nothing new; what is under way is answered, then the connection is closed.
void connection_set_drain(struct connection_set *set);
void connection_set_register_metrics(struct connection_set *set, struct metrics *metrics);

// Takes fd, a connected, non-blocking stream socket. client_host as Kafka shows it: "/127.0.0.1".
void connection_open(struct connection_set *set, int fd, const char *client_host);
