#pragma once
// The skeleton that all four mains share: options, signals, loop, bus, metrics, admin port, readiness, drain. A daemon gives a
// spec; main.c is `return daemon_main(argc, argv, &spec);`.
//
// Life: parse options -> tune memory, block SIGPIPE -> loop, metrics, bus, admin port -> spec->start -> loop -> SIGTERM or
// SIGINT: spec->drain, then turns until spec->drained() or drain-timeout -> spec->stop -> exit 0. A second SIGTERM exits at
// once with 1. start may fail: it has logged one fatal line, the exit code is 1.
//
// Rows of all roles: admin, zone, log-level, drain-timeout; bind and advertise where it serves, feed-bind where it publishes,
// else coordinators (these find each other in etcd).

#include "common/runtime/admin_http.h"
#include "common/runtime/bus.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "common/runtime/options.h"

struct daemon_settings {
	const char *bind;         // the bus address that requests arrive at
	const char *feed_bind;    // coordinators only
	const char *advertise;    // what siblings connect to; "" = as bound
	const char *admin;        // host:port
	const char *coordinators; // comma-separated control addresses or dns+tcp://name:port; NULL for coordinators
	const char *zone;
	const char *log_level;
	int64_t drain_timeout_ms;
};

struct daemon {
	const struct daemon_settings *settings;
	struct loop *loop;
	struct env *env;
	struct bus *bus;
	struct metrics *metrics;
	struct admin_http *admin;
	const char *address;      // what siblings connect to
	const char *feed_address; // NULL unless feed_bind was set
	struct uuid instance;     // fresh at each start
	void *role;               // the role's own state, set by start
};

struct daemon_spec {
	const char *role;              // "writer"
	const char *summary;           // first paragraph of --help
	const struct option_row *rows; // the role's own; offsets into its settings struct
	size_t row_count;
	size_t settings_size; // the role's struct must begin with struct daemon_settings
	bool serves;          // binds the request address
	bool publishes;       // binds the feed address
	// Builds the role's core and sets daemon->role. false: it logged why; exit 1.
	bool (*start)(struct daemon *daemon, const void *settings);
	const char *(*ready)(struct daemon *daemon); // NULL if ready, else the reason
	void (*drain)(struct daemon *daemon);        // stop taking work, finish what is in flight
	bool (*drained)(struct daemon *daemon);
	void (*stop)(struct daemon *daemon); // free everything
};

int daemon_main(int argc, char **argv, const struct daemon_spec *spec);
