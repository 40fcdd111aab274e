#pragma once
// Coordinators in a small world: virtual time, one etcd and one bucket in memory that all share, a bus in memory, and a client
// that plays writer, frontend and admin. Seeded; nothing sleeps.

#include "common/storage/metadata_store_memory.h"
#include "common/storage/mixed_object.h"
#include "common/storage/object_store_memory.h"
#include "coordinator/coordinator.h"
#include "proto/control.pb-c.h"
#include "tests/support/bus_memory.h"

enum { WORLD_NODES = 3, WORLD_TURN_US = 1000, WORLD_SHARDS_MAX = 16 };

struct world_node {
	struct bus *bus;
	struct metadata_store *metadata;
	struct object_store *objects;
	struct coordinator *coordinator; // NULL: not running
	bool paused;                     // gets no turns
	char address[32], feed_address[32];
};

struct world {
	struct env env;
	struct bus_memory *network;
	struct metadata_store *metadata;
	struct object_store *objects;
	struct coordinator_settings settings;
	struct world_node nodes[WORLD_NODES];
	struct bus *client;
	struct bus_link *links[WORLD_NODES];
	uint32_t apply_version_max; // of nodes started from now on; 0: what the binary knows
	unsigned started;           // numbers addresses: a restarted node is another process
};

void world_init(struct world *world, uint64_t seed);
void world_done(struct world *world);
void world_start(struct world *world, unsigned node);
// As by SIGKILL: the lease stays until it runs out.
void world_kill(struct world *world, unsigned node);
void world_turn(struct world *world);
void world_run_ms(struct world *world, uint64_t ms);
// Until some node serves the shard; -1: not within 60 s.
int world_owner(struct world *world, uint32_t shard);
// Until all running nodes are ready and all shards are served; false: not within 60 s.
bool world_settle(struct world *world);

// One request and its answer, whoever owns the shard; asked again while the outcome is NOT_OWNER, LOADING, BUSY, and with
// repeat also when it is unknown. Body and frame are copies, freed by world_answer_done().
struct world_answer {
	enum error error; // of the call, or field 1 of the body
	struct buffer body;
	struct slice frame;
};
void world_call(struct world *world, uint32_t shard, uint32_t type, const ProtobufCMessage *body, struct bytes frame,
	bool repeat, struct world_answer *answer);
// To one node, once.
void world_call_node(struct world *world, unsigned node, uint32_t type, const ProtobufCMessage *body, struct bytes frame,
	uint32_t timeout_ms, struct world_answer *answer);
void world_answer_done(struct world_answer *answer);
uint64_t world_incarnation(struct world *world);

// A batch of a plan: one run a partition, in the order given.
struct world_batch {
	int32_t partition;
	uint32_t records;
	int64_t producer_id; // -1: none
	int32_t sequence;
};
struct world_writer {
	struct uuid instance;
	uint64_t sequence;
	uint64_t previous[WORLD_SHARDS_MAX]; // sent to each shard
};
// What a writer sends: the object is in the bucket, the section too.
struct world_commit {
	uint32_t shard;
	uint64_t sequence, previous;
	int64_t created_ms;
	struct buffer section;
	uint64_t position;
	struct uuid writer;
};
// A commit of the batches of one shard. The object holds nothing but the section, behind some bytes.
void world_commit_make(struct world *world, struct world_writer *writer, uint32_t shard, const struct uuid *topic,
	const struct world_batch *batches, size_t count, struct world_commit *commit);
// Until answered. outcome in the arena, NULL unless ERROR_OK.
enum error world_commit_send(
	struct world *world, const struct world_commit *commit, struct arena *arena, const Weir__CommitOutcome **ret_outcome);
void world_commit_done(struct world_commit *commit);

// CreateTopics of one topic with default settings; its id.
enum error world_create_topic(
	struct world *world, const char *name, int32_t partitions, struct uuid *ret_id, int16_t *ret_error);
