#pragma once
// The daemons that registered with shard 0's owner lately: frontends, writers, readers. In memory only; a new owner hears of
// all of them within a second. Owner: the controller. Bound: MEMBERS_MAX, more are refused with ERROR_BUSY.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/env.h"
#include "common/base/error.h"
#include "proto/common.pb-c.h"

struct members;

enum { MEMBERS_MAX = 4096, MEMBER_SILENCE_MS = 3000 };

struct members *members_new(const struct env *env);
void members_free(struct members **members);
// A registration or heartbeat.
MUST_CHECK enum error members_heard(struct members *members, const Weir__Member *member, int32_t node_id);
// Forgets who was silent. Returns when to look again.
uint64_t members_expire(struct members *members);
// Changes when a member comes, goes or tells something else of itself.
uint64_t members_version(const struct members *members);
size_t members_count(const struct members *members);
// Borrowed rows, valid until the next call that is not const.
void members_fill(const struct members *members, Weir__ClusterView *view, struct arena *arena);
