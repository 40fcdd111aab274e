#pragma once
// What the tests of both backends stand on: two handles on the same data, a way to let time pass, and answers that can be
// looked at. With memory the clock is the world's own; with etcd a loop turns.

#include <CUnit/CUnit.h>

#include "common/base/arena.h"
#include "common/storage/metadata_store.h"
#include "common/storage/metadata_store_memory.h"

struct world {
	struct loop *loop; // NULL: memory
	struct env env;
	struct metadata_store *stores[2];
	uint64_t waited_us;
};

extern struct world world;

void world_init_memory(void);
void world_init_etcd(const char *endpoints);
void world_done(void);

struct metadata_store *world_open_etcd(const char *endpoints, const char *user, const char *password);

struct env *world_env(void);
// One turn; false once the wait has taken too long.
bool world_turn(void);

#define WAIT_FOR(condition)                                                                                                    \
	do {                                                                                                                   \
		world.waited_us = world_env()->now_us;                                                                         \
		while (!(condition) && world_turn())                                                                           \
			;                                                                                                      \
		CU_ASSERT_FATAL(!!(condition));                                                                                \
	} while (0)

enum { TIMEOUT_MS = 10000, ROWS_MAX = 16 };

// One call's answer, whichever kind.
struct answer {
	unsigned count; // of answers: exactly one
	enum error error;
	bool succeeded;
	bool more;
	int64_t revision;
	int64_t lease;
	size_t row_count;
	struct metadata_row rows[ROWS_MAX];
	struct arena arena; // the rows' bytes
};
void answer_done(struct answer *answer);

void on_range(void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision);
void on_txn(void *ctx, enum error error, bool succeeded, int64_t revision);
void on_lease(void *ctx, enum error error, int64_t lease);

// Calls that must answer ERROR_OK, waited for.
int64_t put(struct metadata_store *store, const char *key, const char *value, int64_t lease); // its revision
void remove_prefix(struct metadata_store *store, const char *prefix);
bool exists(struct metadata_store *store, const char *key);
int64_t current_revision(struct metadata_store *store);
int64_t grant(struct metadata_store *store, uint32_t ttl_ms);
enum error revoke_lease(struct metadata_store *store, int64_t lease);

// What a watcher has seen, as one line: "+key=value@revision " and "-key@revision ", revisions counted from `base`.
struct seen {
	uint64_t watch;
	struct metadata_store *store;
	int64_t base;
	unsigned calls;
	unsigned resyncs;
	int64_t resync_revision;
	size_t events;
	int64_t last_revision;
	bool disordered; // a revision lower than the one before
	bool unwatch_at_first;
	char text[2048];
};
void on_watch(void *ctx, const struct metadata_event *events, size_t count, bool resync, int64_t revision);

// What the owner of a kept lease has heard.
struct kept {
	unsigned answers;
	unsigned gone;
	uint64_t sent_us;
	uint64_t ttl_ms;
};
void on_kept(void *ctx, int64_t lease, uint64_t sent_us, uint64_t ttl_ms);
