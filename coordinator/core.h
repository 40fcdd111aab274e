#pragma once
// What the parts of the coordinator's core share. Not for others: those include coordinator.h.
//
//	session (lease, cluster)    mirror of the coordinators
//	slots, one a shard: mirror of the owner key, and if it is ours the shard and its feed
//	controller: what only shard 0's owner does (members, topics, producer ids, node ids)

#include "common/base/arena.h"
#include "coordinator/coordinator.h"
#include "coordinator/feed.h"
#include "coordinator/groups.h"
#include "coordinator/mirror.h"
#include "coordinator/session.h"
#include "coordinator/shard.h"
#include "proto/common.pb-c.h"
#include "proto/control.pb-c.h"

struct controller;

enum { OWNER_KEY_SIZE = 640, OWNER_VALUE_SIZE = 2 * UUID_HEX_SIZE };

struct slot {
	struct coordinator *coordinator;
	uint32_t number;
	char owner_key[OWNER_KEY_SIZE];
	struct mirror *owner;
	struct list tickets;
	// "‹random hex›/‹coordinator hex›", fresh for each acquisition; "" when we neither own nor try to.
	char value[OWNER_VALUE_SIZE];
	bool asked;
	uint64_t retry_us;
	uint64_t better_since_us; // since when another live coordinator is the choice; 0: we are
	uint64_t lost_since_us;   // since when the shard is fenced while the mirror still shows our value; 0: it is not
	struct shard *shard;      // NULL: not ours
	struct feed *feed;
	uint32_t version_proposed; // apply rules that a command on its way raises to; 0: none
};

struct coordinator_counters {
	struct shard_counters shard;
	uint64_t requests, requests_malformed;
	uint64_t commits_known, commits_out_of_chain, commits_too_old, commits_corrupt;
	uint64_t shards_taken, shards_dropped;
	uint64_t batches_accepted, batches_duplicate,
		batches_refused; // of shards that are no longer ours; the others count themselves
};

struct coordinator {
	struct coordinator_deps deps;
	struct coordinator_settings settings;
	struct groups_settings groups;
	struct coordinator_counters counters;
	struct session *session;
	struct mirror *coordinators;
	struct slot *slots; // NULL until the cluster is known
	uint32_t slot_count;
	struct controller *controller; // NULL unless shard 0 is ours and serves
	uint64_t versions_seen;        // version of the mirror that versions_common is from
	uint32_t versions_common;      // newest apply rules that all live coordinators know; 0: unknown
	bool draining;
	bool malformed_logged;
};

// ownership.c
uint64_t ownership_step(struct coordinator *coordinator);
void ownership_drop_all(struct coordinator *coordinator, const char *reason);
void ownership_free(struct coordinator *coordinator);
bool ownership_settled(const struct coordinator *coordinator); // what we should own is loaded
bool ownership_none(const struct coordinator *coordinator);    // no owner key is ours
// The coordinator that owns a shard; false: nobody.
MUST_CHECK bool ownership_owner(const struct coordinator *coordinator, uint32_t shard, struct uuid *ret_id);
// Its bus address in the arena; NULL if unknown.
const char *ownership_address(const struct coordinator *coordinator, uint32_t shard, struct arena *arena);

// The slot of a shard that answers; otherwise NULL and why in ret_error.
struct slot *coordinator_slot(struct coordinator *coordinator, uint32_t shard, enum error *ret_error);
struct slot *coordinator_partition_slot(
	struct coordinator *coordinator, const struct uuid *topic_id, int32_t partition, enum error *ret_error);
// Cluster, coordinators and owners; members only by the controller. Everything in the arena; may hold what lives until the next
// event.
Weir__ClusterView *coordinator_view(const struct coordinator *coordinator, struct arena *arena);
// Changes when the view does, members apart.
uint64_t coordinator_view_version(const struct coordinator *coordinator);

// control.c
void control_request(void *ctx, struct bus_request *request, const struct bus_message *message);
// Any control reply that says only an error: field 1 of each of them.
void control_reply_failed(struct coordinator *coordinator, struct bus_request *request, uint32_t type, enum error error);
void control_reply(struct coordinator *coordinator, struct bus_request *request, uint32_t type, const ProtobufCMessage *body);
// A KafkaCall's answer: response is the body in the request's version.
void control_reply_kafka(struct coordinator *coordinator, struct bus_request *request, enum error error, struct bytes response);
void control_malformed(struct coordinator *coordinator, struct bus_request *request, uint32_t type);

// commit.c
void commit_request(
	struct coordinator *coordinator, struct bus_request *request, const struct bus_message *message, struct arena *arena);
