#include "common/cluster/feed_cursor.h"

enum feed_verdict feed_cursor_accept(
	struct feed_cursor *cursor, const struct env *env, uint64_t epoch, uint64_t number, bool carries)
{
	if (epoch < cursor->epoch)
		return FEED_SKIP; // a former owner's, late
	if (epoch > cursor->epoch || !cursor->synced) {
		cursor->synced = false;
		return FEED_GAP;
	}
	cursor->heard_us = env->now_us;
	if (number <= cursor->number)
		return FEED_SKIP;
	if (number == cursor->number + 1 && carries) {
		cursor->number = number;
		return FEED_APPLY;
	}
	cursor->synced = false;
	return FEED_GAP;
}

void feed_cursor_synced(struct feed_cursor *cursor, const struct env *env, uint64_t epoch, uint64_t number)
{
	if (epoch < cursor->epoch)
		return;
	*cursor = (struct feed_cursor){.epoch = epoch, .number = number, .heard_us = env->now_us, .synced = true};
}

bool feed_cursor_silent(const struct feed_cursor *cursor, const struct env *env)
{
	return env->now_us - cursor->heard_us > FEED_SILENCE_MS * 1000ull;
}
