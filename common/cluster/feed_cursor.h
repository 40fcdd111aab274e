#pragma once
// Where a subscriber stands in one channel of one shard's feed, and what to do with the next message (proto/feed.proto).

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"

enum feed_verdict {
	FEED_APPLY, // the next message: apply it
	FEED_SKIP,  // a repetition, or older than what is known
	FEED_GAP,   // something was missed, or the owner changed: sync by control
};

enum { FEED_SILENCE_MS = 1000 };

struct feed_cursor {
	uint64_t epoch; // 0: never synced
	uint64_t number;
	uint64_t heard_us;
	bool synced;
};

// carries: the message holds something (its number is a new one) rather than repeating the last number.
enum feed_verdict feed_cursor_accept(
	struct feed_cursor *cursor, const struct env *env, uint64_t epoch, uint64_t number, bool carries);
// A sync's answer. Feed messages that came before it and are older than it are then skipped.
void feed_cursor_synced(struct feed_cursor *cursor, const struct env *env, uint64_t epoch, uint64_t number);
// Nothing heard for FEED_SILENCE_MS: sync again.
bool feed_cursor_silent(const struct feed_cursor *cursor, const struct env *env);
