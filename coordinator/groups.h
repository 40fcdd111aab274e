#pragma once
// The groups of one shard: Kafka's classic group protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) and committed offsets.
//
// Two kinds of state. What must survive a failover (members, assignments and generation of a completed generation; offsets)
// changes only by commands of the shard's log: a request proposes a command, and is answered after it is durable and applied.
// What need not (a rebalance in progress, session timers, who waits for whom) lives in memory of the owner only; a new owner
// restarts the session timers of every member it finds, so that a failover causes no rebalance. LeaveGroup is of the second
// kind and is answered at once.
//
// Pure: time comes from env, everything else through the calls below. Bounds: members a group, bytes of metadata and
// assignments a group, groups a shard (settings); at a limit the request gets Kafka's error.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/uuid.h"
#include "proto/control.pb-c.h"
#include "proto/log.pb-c.h"

struct groups;

typedef void (*groups_proposed_fn)(void *ctx, enum error error);

struct groups_settings {
	uint32_t session_timeout_min_ms;     // group.min.session.timeout.ms
	uint32_t session_timeout_max_ms;     // group.max.session.timeout.ms
	uint32_t initial_rebalance_delay_ms; // group.initial.rebalance.delay.ms
	uint32_t members_max;                // group.max.size
	uint32_t offset_metadata_bytes_max;  // offset.metadata.max.bytes
	uint32_t groups_max;                 // a shard
};

struct groups_deps {
	struct env *env; // its random numbers make the member ids
	const struct groups_settings *settings;
	// Logs the command (copied before return) and calls fn exactly once, never inside propose: ERROR_OK after it is durable
	// and groups_apply() has seen it; ERROR_NOT_OWNER when the shard is lost.
	void (*propose)(void *ctx, const Weir__Command *command, groups_proposed_fn fn, void *fn_ctx);
	void *ctx;
};

// deps is copied; what it points to must outlive the groups.
struct groups *groups_new(const struct groups_deps *deps);
// Pending requests are answered with ERROR_NOT_OWNER. A proposal still under way may call its fn later, and must, once: it then
// only frees its own memory.
void groups_free(struct groups **groups);

// One Kafka request for this shard. body is the request without header; it lives for the call only.
struct group_call {
	int16_t api_key;
	int16_t api_version;
	struct bytes client_id;
	struct bytes client_host;
	struct bytes body;
	const struct group_topic *topics; // ids the frontend knows for the topic names in the body
	size_t topic_count;
};
struct group_topic {
	struct bytes name;
	struct uuid id;
};
// response: the body in the request's version, without header, borrowed for the call; error ERROR_OK. Otherwise the frontend
// turns error into Kafka's code. Called exactly once, perhaps inside groups_request(); it must not call into the groups.
typedef void (*groups_reply_fn)(void *ctx, enum error error, struct bytes response);

// Whether groups answer this API (the shard asks before it passes a KafkaCall on).
bool groups_handle(int16_t api_key);
void groups_request(struct groups *groups, const struct group_call *call, groups_reply_fn reply, void *ctx);

// From the shard's log, in replay and live alike: GroupState, GroupOffsets, GroupRemove. Deterministic. A command that proposes
// from an older state than now stands is the proposer's to notice: apply does what the entry says.
void groups_apply(struct groups *groups, const Weir__Command *command, int64_t time_ms);
// A topic was dropped in this shard's log: its offsets go (the id says which; a topic of the same name later is another one).
void groups_drop_topic(struct groups *groups, const struct uuid *topic_id);
// The shard is ours from now on: session timers start.
void groups_take_over(struct groups *groups);
// Session and rebalance timers. Returns the next deadline.
uint64_t groups_step(struct groups *groups);

// For a snapshot: commands that make the logged state of all groups when applied in this order to new groups. Each is borrowed
// for its call and holds at most a thousand offsets.
typedef void (*groups_export_fn)(void *ctx, const Weir__Command *command);
void groups_export(const struct groups *groups, groups_export_fn fn, void *ctx);

// Gauges for /metrics.
size_t groups_count(const struct groups *groups);
size_t groups_member_count(const struct groups *groups);
