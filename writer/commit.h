#pragma once
// Commits: sections go to their shard's owner in flush order, a chain a shard (design 3.4, 3.5). One request a shard is
// outstanding; it carries the sections at the head of the queue whose objects are durable. It is repeated, the very same, until
// the owner answers, past client deadlines too: a section that was sent once may have been applied.
//
// An object that is still uploading holds back only later objects of the same shards. Bound: the writer's budgets.

#include "common/base/env.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/metrics.h"
#include "writer/sealed_object.h"

struct commit_events {
	// Its batches have been settled; what it was charged with is free again.
	void (*on_answered)(void *ctx, const struct sealed_section *section);
	// The owner's answer shows that our place in the log is lost (fenced, out of chain): nothing more may be sent.
	void (*on_fatal)(void *ctx, const char *reason);
	void *ctx;
};

struct commit_shard;

struct commits {
	struct env *env;
	struct cluster_client *cluster;
	struct uuid instance;
	uint64_t incarnation;
	struct commit_events events;
	uint32_t shard_count;
	struct commit_shard *shards;
	uint64_t waiting;  // sections sealed and not answered
	uint64_t in_doubt; // of these, sent at least once
	uint64_t sections; // answered
	uint64_t requests; // sent
	uint64_t repeats;  // requests whose call failed and that are sent again
	bool stopped;
	struct metrics_histogram latency; // durable to answered
};

void commits_init(struct commits *commits, struct env *env, struct cluster_client *cluster, const struct uuid *instance,
	uint64_t incarnation, uint32_t shards, const struct commit_events *events);
// Batches that wait are settled with ERROR_CANCELED: their outcome is unknown.
void commits_done(struct commits *commits);
// Right after sealing, in flush order: this order is the chain. Holds the object once per section.
void commits_add(struct commits *commits, struct sealed_object *object);
// Sends what has become durable.
uint64_t commits_step(struct commits *commits);
// An object of these sections became durable: they pin their shard until it answers.
void commits_durable(struct commits *commits, struct sealed_object *object);
// Bytes durable but unanswered: what this shard, and no other, holds up.
uint64_t commits_pinned(const struct commits *commits, uint32_t shard);
