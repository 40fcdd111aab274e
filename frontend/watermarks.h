#pragma once
// High watermark and log start of every partition, from each shard's owner (SYNC_WATERMARKS), the "hw/" feed, and what produce
// and fetch answers say; and who waits for a partition to grow: the frontend does the waiting of long polls.
//
// They never go back (promise 3): every source only raises. A new incarnation of the cluster forgets them all, because then
// records may really be gone and the leader epoch says so to clients.
//
// Owner: the frontend core. Bound: the cluster's partitions; entries go with their topic.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/list.h"
#include "common/base/uuid.h"
#include "common/cluster/cluster_client.h"

struct watermarks;

struct watermark {
	int64_t high;      // -1: not known
	int64_t log_start; // -1: not known
};

// Waits for one partition to change; embedded by the waiter, who stays on until watermarks_unwait().
struct watermark_waiter {
	void (*changed)(struct watermark_waiter *waiter); // must not wait or unwait inside
	struct list link;
};

struct watermarks *watermarks_new(const struct env *env);
void watermarks_free(struct watermarks **watermarks);

// A message of an "hw/" feed.
void watermarks_feed(struct watermarks *watermarks, struct bytes body);
// Asks owners for full copies where needed. Returns the next deadline.
uint64_t watermarks_step(struct watermarks *watermarks, struct cluster_client *cluster);
// Cancels what is asked; before the cluster client goes.
void watermarks_stop(struct watermarks *watermarks, struct cluster_client *cluster);
// Whether every shard was copied once.
bool watermarks_ready(const struct watermarks *watermarks);
// Shards that must be asked again, for a gauge.
size_t watermarks_unsynced(const struct watermarks *watermarks);

struct watermark watermarks_get(const struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition);
// From an answer; values below what is known are ignored. Returns what is known then.
struct watermark watermarks_raise(
	struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition, int64_t high, int64_t log_start);
void watermarks_wait(
	struct watermarks *watermarks, const struct uuid *topic_id, int32_t partition, struct watermark_waiter *waiter);
void watermarks_unwait(struct watermark_waiter *waiter);
// The topic is gone: its waiters are told, its entries go once nobody waits.
void watermarks_forget(struct watermarks *watermarks, const struct uuid *topic_id, int32_t partitions);
