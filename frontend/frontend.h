#pragma once
// The frontend's core: what a Kafka request means, without sockets. It knows the topics (catalog), the watermarks, the members
// (router), and turns requests into calls on the pipes. Connections hand it requests (request.h) and get answers.
//
// Pure: driven by bus callbacks, frontend_handle() and frontend_step(); time and random numbers come from env. Everything is in
// the loop's thread. Bounds: admission for bytes, the connection layer for the number of requests.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/list.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/bus.h"
#include "common/runtime/metrics.h"
#include "frontend/admission.h"
#include "frontend/catalog.h"
#include "frontend/request.h"
#include "frontend/router.h"
#include "frontend/timeouts.h"
#include "frontend/watermarks.h"

struct frontend_settings {
	const char *coordinators;
	struct uuid instance;
	const char *zone;
	const char *kafka_host; // told to clients
	int32_t kafka_port;
	bool auto_create_topics;
	int32_t partitions_default;   // num.partitions, shown by DescribeConfigs; the coordinator decides
	uint64_t memory_bytes;        // shared out over the admission classes
	uint64_t request_bytes_max;   // socket.request.max.bytes
	uint64_t fetch_bytes_max;     // of one fetch answer, whatever the client asks
	uint32_t message_bytes_max;   // default of max.message.bytes
	uint64_t window_bytes;        // unanswered appends a writer before its first answer
	uint32_t call_timeout_ms;     // control calls that say no time themselves
	uint32_t auto_create_wait_ms; // how long Metadata waits for the topics it creates
};

enum { FRONTEND_API_MAX = 100, FRONTEND_ERROR_MAX = 140 };

struct frontend_counters {
	uint64_t requests[FRONTEND_API_MAX]; // by API key
	uint64_t errors[FRONTEND_ERROR_MAX]; // by Kafka code + 1
	uint64_t produce_bytes;
	uint64_t fetch_bytes;
	struct metrics_histogram produce_us;
	struct metrics_histogram fetch_us; // waiting included
};

struct frontend {
	const struct env *env;
	struct bus *bus;
	struct frontend_settings settings;
	struct prng prng;
	struct cluster_client *cluster;
	struct catalog *catalog;
	struct watermarks *watermarks;
	struct router *router;
	struct admission *admission;
	struct timeouts timeouts;
	struct list catalog_watchers; // request.catalog_link
	bool catalog_changed;
	struct request **scheduled; // to be run at the next step: serial requests whose turn has come, fetches that were woken
	size_t scheduled_count;
	size_t scheduled_capacity;
	bool synced_once;
	struct frontend_counters counters;
};

struct frontend *frontend_new(const struct env *env, struct bus *bus, const struct frontend_settings *settings);
// Every request must have been freed.
void frontend_free(struct frontend **frontend);
// Returns when it wants to run again.
uint64_t frontend_step(struct frontend *frontend);
// Takes no new work: siblings are told.
void frontend_drain(struct frontend *frontend);
void frontend_register_metrics(struct frontend *frontend, struct metrics *metrics);

// NULL if it can serve, else why not.
const char *frontend_ready(const struct frontend *frontend);
// Whether it ever could: then connections are accepted.
bool frontend_synced(const struct frontend *frontend);

// What is known from the first bytes of a request.
bool frontend_api_served(int16_t key, int16_t version);
enum admission_class frontend_api_class(int16_t key);
// The request's answer comes by request->on_done(), perhaps before this returns.
void frontend_handle(struct request *request);

// For request.c and the handlers.

// request->run() at the next step.
void frontend_schedule(struct frontend *frontend, struct request *request);
void frontend_unschedule(struct frontend *frontend, struct request *request);
void frontend_finished(struct frontend *frontend, struct request *request);
void frontend_release(struct frontend *frontend, struct request *request);
// Counts an error a client is told; returns it.
int16_t frontend_error(struct frontend *frontend, int16_t code);

// Brokers: the live frontends, ourselves always among them, in order of node id.
struct frontend_broker {
	int32_t node_id;
	struct bytes host;
	int32_t port;
	const char *zone;
	uint64_t hash;
};
struct frontend_broker *frontend_brokers(const struct frontend *frontend, struct arena *arena, size_t *ret_count);
// The broker that stands for a key.
const struct frontend_broker *frontend_broker_for(const struct frontend_broker *brokers, size_t count, uint64_t key);
