#pragma once
// Reads a shard's log from etcd, in order, with the sections its commits refer to: small ones are in the entry, the others come
// from their mixed objects, several at a time. Starts only after the owner key is ours, so that nobody appends behind our back.
//
// Owner: the shard, while it loads. Bound: REPLAY_ENTRIES_MAX entries and their sections in memory, REPLAY_GETS_MAX gets in
// flight. A store that does not answer is asked again for ever; an entry or a section that is wrong or missing ends the replay:
// damaged.

#include <stdint.h>

#include "common/base/env.h"
#include "common/storage/metadata_store.h"
#include "common/storage/mixed_object.h"
#include "common/storage/object_store.h"
#include "proto/log.pb-c.h"

struct replay;

enum { REPLAY_ENTRIES_MAX = 128, REPLAY_GETS_MAX = 16, REPLAY_PAGE_ENTRIES = 24 };

struct replay_deps {
	const struct env *env;
	struct metadata_store *metadata;
	struct object_store *objects;
	const char *log_prefix; // "‹prefix›/shards/‹shard›/log/", copied
	uint32_t apply_version_max;
	// In order of position. sections[i]: of the i-th command, NULL if it is no commit or was refused by age.
	void (*apply)(void *ctx, uint64_t position, const Weir__LogEntry *entry, const struct section *const *sections);
	void *ctx;
};

enum replay_status { REPLAY_RUNNING, REPLAY_DONE, REPLAY_DAMAGED };

struct replay_damage {
	uint64_t position;
	char object[MIXED_OBJECT_KEY_SIZE]; // "": the entry itself
	const char *reason;
};

struct replay *replay_new(const struct replay_deps *deps, uint64_t first_position);
void replay_free(struct replay **replay);
// A bounded piece of work. ret_next_us: when to call again.
enum replay_status replay_step(struct replay *replay, uint64_t *ret_next_us);
// After REPLAY_DONE: where the next entry goes.
uint64_t replay_position(const struct replay *replay);
const struct replay_damage *replay_damage(const struct replay *replay);
uint64_t replay_sections_read(const struct replay *replay);

// The key of an entry: 16 hex digits behind the prefix.
enum { LOG_KEY_DIGITS = 16 };
void log_key(struct buffer *out, const char *log_prefix, uint64_t position);
