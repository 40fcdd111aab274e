#pragma once
// How every daemon but the coordinator knows the cluster: it registers with the coordinators and repeats that every second
// (registration is the heartbeat), keeps the newest view (members, shard owners), follows the meta feed for changes of it, and
// carries requests to the owner of a shard wherever that is at the moment.
//
// Pure: driven by bus callbacks and cluster_client_step(). One per process. Owner: the daemon's core.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/uuid.h"
#include "common/runtime/bus.h"
#include "proto/common.pb-c.h"

struct cluster_client;

struct cluster_member {
	struct uuid instance;
	Weir__Role role;
	const char *address; // bus; "" for frontends
	const char *kafka_host;
	int32_t kafka_port;
	const char *zone;
	int32_t node_id;
	bool draining;
	uint64_t hash; // for placement_choose()
};

// Valid until the next change; on_view tells. Members in order of instance.
struct cluster_view {
	uint64_t incarnation; // 0 until the first answer of a coordinator
	const char *cluster_id;
	uint32_t shards;
	const struct cluster_member *members;
	size_t member_count;
};

struct cluster_client_settings {
	const char *coordinators; // comma-separated bus addresses
	struct uuid instance;
	Weir__Role role;
	const char *address;
	const char *kafka_host; // frontends, else ""
	int32_t kafka_port;
	const char *zone;
};

struct cluster_client_events {
	void (*on_view)(void *ctx); // a new view is in force; may be NULL
	// A feed message of a subscribed prefix, from any coordinator; may be NULL.
	void (*on_feed)(void *ctx, struct bytes prefix, struct bytes body);
	void *ctx;
};

struct cluster_client *cluster_client_new(const struct env *env, struct bus *bus,
	const struct cluster_client_settings *settings, const struct cluster_client_events *events);
void cluster_client_free(struct cluster_client **client);
uint64_t cluster_client_step(struct cluster_client *client);

const struct cluster_view *cluster_client_view(const struct cluster_client *client);
// Our Kafka broker id, 0 until registered.
int32_t cluster_client_node_id(const struct cluster_client *client);
// Registered, and heard of within 5 s.
bool cluster_client_ready(const struct cluster_client *client);
// Leader epoch of every partition: incarnation >> 48.
int32_t cluster_client_leader_epoch(const struct cluster_client *client);
// Unix ms by the coordinators' clock: object times. ret_skew_ms may be NULL.
int64_t cluster_client_wall_ms(const struct cluster_client *client);
int64_t cluster_client_skew_ms(const struct cluster_client *client);
// Tell siblings to send us no new work.
void cluster_client_drain(struct cluster_client *client);

// Receives "prefix…" of every coordinator's feed from now on (events.on_feed).
void cluster_client_subscribe(struct cluster_client *client, const char *prefix);

// To the owner of a shard, following moves: while there is time, a request that was surely not acted on (NOT_OWNER, LOADING,
// UNREACHABLE, BUSY) is sent again. Outcome unknown is told as it is; with `repeat` (only for requests that may be applied
// twice: reads, commits, registration) that is retried too. fn as in bus_call; cancel with cluster_client_cancel().
// frames are held until the end.
uint64_t cluster_client_call(
	struct cluster_client *client, uint32_t shard, const struct bus_send *send, bool repeat, bus_reply_fn fn, void *ctx);
void cluster_client_cancel(struct cluster_client *client, uint64_t call);

// The error of a control reply: field 1 of each of them.
enum error control_reply_error(struct bytes body);
