#pragma once
// What the reader knows of the partitions it serves: per partition a tail window that the index feed extends, a few windows of
// older stretches, watermark and log start. A partition is located at its first use and again whenever the feed of its shard
// may have lost something (a gap, silence, another owner).
//
// Bounds: entries_max a window, lag windows a partition, entries in all; the least recently used partitions give way.

#include "common/cluster/cluster_client.h"
#include "common/cluster/feed_cursor.h"
#include "proto/control.pb-c.h"
#include "reader/index_window.h"
#include "reader/task.h"

enum { INDEX_LAG_WINDOWS = 4, INDEX_CURSORS = 8 };

struct index_settings {
	uint32_t locate_entries; // asked for at once
	uint32_t entries_max;    // a tail window
	uint64_t total_max;      // all windows of all partitions
};

struct index_partition_key {
	struct uuid topic_id;
	int32_t partition;
};

// Where a sequential reader goes on, so that it need not walk its entry's batches again.
struct index_cursor {
	int64_t offset;
	const struct object_name *object; // only compared
	uint64_t entry_position;
	uint64_t position;
};

struct index_partition {
	struct index *index;
	struct index_partition_key key;
	uint32_t shard;
	uint32_t users; // requests under way
	bool located;   // the two below are known
	int64_t high_watermark;
	int64_t log_start;
	uint64_t generation; // of the shard, when it was last known to be complete
	uint64_t located_us;
	struct index_window tail;
	struct index_window lag[INDEX_LAG_WINDOWS];
	struct index_window arrived; // by feed while a Locate is out and there is no tail window to extend

	uint64_t call; // 0: no Locate is out
	uint64_t call_generation;
	int64_t call_offset;
	uint64_t locates_started, locates_done; // single flight: one after the other
	enum error failed;                      // the last answer's final error, such as UNKNOWN_TOPIC_ID
	uint64_t unreachable_us;                // when the owner last could not be asked; 0: never
	struct list waiters;

	struct index_cursor cursors[INDEX_CURSORS];
	uint32_t next_cursor;
	uint64_t complained_us; // last log line about its objects
	struct list lru;
	UT_hash_handle hh;
};

struct index_shard {
	struct feed_cursor feed;
	uint64_t generation; // grows when the feed may have lost something
};

struct index_counters {
	uint64_t locates, locate_failures;
	uint64_t feed_messages, feed_gaps;
	uint64_t evicted_partitions;
};

struct index {
	struct env *env;
	struct cluster_client *cluster;
	struct index_settings settings;
	struct object_names *names;
	struct index_partition *partitions; // by key
	struct list lru;                    // oldest use first
	struct index_shard *shards;
	uint32_t shard_count;
	uint64_t entries;
	struct index_counters counters;
};

void index_init(struct index *index, struct env *env, struct cluster_client *cluster, struct object_names *names,
	const struct index_settings *settings);
void index_done(struct index *index);
// The cluster's shards are known.
void index_open(struct index *index, uint32_t shards);
// Another incarnation: offsets may mean other records, so nothing known holds.
void index_reset(struct index *index);
// A message of the index channel.
void index_on_feed(struct index *index, struct bytes body);

// Counts as a user until index_release().
struct index_partition *index_acquire(struct index *index, const struct uuid *topic_id, int32_t partition);
void index_release(struct index_partition *partition);

// Nothing was missed since it was located.
bool index_fresh(const struct index_partition *partition);
// The entry for offset, as index_window_find(); NULL: to be located. Borrowed until the next call into the index.
const struct index_entry *index_find(struct index_partition *partition, int64_t offset);
// Asks the owner for the entries from offset on, unless a question is out already. Returns the number that locates_done
// reaches when an answer to a question asked from now on is in. Waiters are woken by every answer.
uint64_t index_locate(struct index_partition *partition, int64_t offset);
// What a Locate-like reply tells of the partition (also LocateTime's). wanted: the offset asked for, or -1.
MUST_CHECK enum error index_adopt(struct index_partition *partition, const Weir__LocateReply *reply, int64_t wanted);
// The entries around offset led nowhere: forget them.
void index_forget(struct index_partition *partition, int64_t offset);

void index_cursor_put(struct index_partition *partition, const struct index_entry *entry, int64_t offset, uint64_t position);
// The position of the batch that begins with offset, or the entry's.
bool index_cursor_get(
	const struct index_partition *partition, const struct index_entry *entry, int64_t offset, uint64_t *ret_position);
