#pragma once
// The admin port of each daemon, by libmicrohttpd on the loop's epoll (no thread of its own): /metrics, /healthz (the loop
// turns), /readyz (the daemon can serve; else 503 with the reason), and pages a role adds. Owner: daemon.c.

#include <stdint.h>

#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

struct admin_http;

// NULL if ready, else why not.
typedef const char *(*admin_ready_fn)(void *ctx);
// Fills body; returns the HTTP status. query is what follows "?", or "".
typedef int (*admin_page_fn)(void *ctx, const char *query, struct buffer *body);

// address: "127.0.0.1:0" takes a free port. ERROR_UNREACHABLE if it cannot listen.
MUST_CHECK enum error admin_http_new(struct loop *loop, const char *address, const char *role, struct metrics *metrics,
	admin_ready_fn ready, void *ready_ctx, struct admin_http **ret_admin);
void admin_http_free(struct admin_http **admin);
void admin_http_page(struct admin_http *admin, const char *path, const char *content_type, admin_page_fn fn, void *ctx);
// "host:port" really bound.
const char *admin_http_address(struct admin_http *admin);
