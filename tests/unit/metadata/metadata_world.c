#include "tests/unit/metadata/metadata_world.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"

enum { WAIT_MAX_US = 15 * 1000 * 1000, MEMORY_TURN_US = 5000 };

struct world world;

void world_init_memory(void)
{
	world = (struct world){.env.now_us = 1000000};
	prng_init(&world.env.prng, 1);
	world.stores[0] = metadata_store_memory_new(&world.env);
	world.stores[1] = metadata_store_memory_attach(world.stores[0], &world.env);
}

struct metadata_store *world_open_etcd(const char *endpoints, const char *user, const char *password)
{
	struct metadata_store_settings settings = {
		.endpoints = endpoints, .user = user, .password = password, .ca_file = "", .cert_file = "", .key_file = ""};
	struct metadata_store *store;
	char reason[256];
	CHECK(metadata_store_etcd_new(world.loop, &settings, &store, reason) == ERROR_OK);
	return store;
}

void world_init_etcd(const char *endpoints)
{
	world = (struct world){.loop = loop_new()};
	world.stores[0] = world_open_etcd(endpoints, "", "");
	world.stores[1] = world_open_etcd(endpoints, "", "");
}

void world_done(void)
{
	metadata_store_free(&world.stores[0]);
	metadata_store_free(&world.stores[1]);
	CHECK(!world.stores[0]);
	loop_free(&world.loop);
}

struct env *world_env(void)
{
	return world.loop ? loop_env(world.loop) : &world.env;
}

bool world_turn(void)
{
	if (world.loop) {
		loop_turn(world.loop, 20);
	} else {
		world.env.now_us += MEMORY_TURN_US;
		metadata_store_memory_step(world.stores[0]);
		metadata_store_memory_step(world.stores[1]);
	}
	return world_env()->now_us - world.waited_us < WAIT_MAX_US;
}

void answer_done(struct answer *answer)
{
	arena_done(&answer->arena);
	*answer = (struct answer){0};
}

void on_range(void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct answer *answer = ctx;
	answer->count++;
	answer->error = error;
	answer->more = more;
	answer->revision = revision;
	answer->row_count = count;
	for (size_t i = 0; i < count && i < ROWS_MAX; i++) {
		answer->rows[i] = rows[i];
		answer->rows[i].key = arena_copy(&answer->arena, rows[i].key);
		answer->rows[i].value = arena_copy(&answer->arena, rows[i].value);
	}
}

void on_txn(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	struct answer *answer = ctx;
	answer->count++;
	answer->error = error;
	answer->succeeded = succeeded;
	answer->revision = revision;
}

void on_lease(void *ctx, enum error error, int64_t lease)
{
	struct answer *answer = ctx;
	answer->count++;
	answer->error = error;
	answer->lease = lease;
}

int64_t put(struct metadata_store *store, const char *key, const char *value, int64_t lease)
{
	struct metadata_put operation = {bytes_of(key), bytes_of(value), lease};
	struct metadata_txn txn = {.puts = &operation, .put_count = 1};
	struct answer answer = {0};
	metadata_txn_commit(store, &txn, TIMEOUT_MS, on_txn, &answer);
	CU_ASSERT_EQUAL(answer.count, 0); // never inside the call
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	CU_ASSERT(answer.succeeded);
	return answer.revision;
}

void remove_prefix(struct metadata_store *store, const char *prefix)
{
	struct arena arena;
	struct answer answer = {0};
	arena_init(&arena, 0);
	struct metadata_delete operation = {bytes_of(prefix), metadata_prefix_end(bytes_of(prefix), &arena)};
	struct metadata_txn txn = {.deletes = &operation, .delete_count = 1};
	metadata_txn_commit(store, &txn, TIMEOUT_MS, on_txn, &answer);
	arena_done(&arena);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
}

bool exists(struct metadata_store *store, const char *key)
{
	struct answer answer = {0};
	metadata_range(store, bytes_of(key), BYTES_NULL, 0, TIMEOUT_MS, on_range, &answer);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	bool found = answer.row_count == 1;
	answer_done(&answer);
	return found;
}

int64_t current_revision(struct metadata_store *store)
{
	struct answer answer = {0};
	metadata_range(store, bytes_of("nothing"), BYTES_NULL, 0, TIMEOUT_MS, on_range, &answer);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL_FATAL(answer.error, ERROR_OK);
	int64_t revision = answer.revision;
	answer_done(&answer);
	return revision;
}

int64_t grant(struct metadata_store *store, uint32_t ttl_ms)
{
	struct answer answer = {0};
	metadata_lease_grant(store, ttl_ms, TIMEOUT_MS, on_lease, &answer);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	CU_ASSERT(answer.lease != 0);
	return answer.lease;
}

enum error revoke_lease(struct metadata_store *store, int64_t lease)
{
	struct answer answer = {0};
	metadata_lease_revoke(store, lease, TIMEOUT_MS, on_lease, &answer);
	WAIT_FOR(answer.count);
	return answer.error;
}

void on_watch(void *ctx, const struct metadata_event *events, size_t count, bool resync, int64_t revision)
{
	struct seen *seen = ctx;
	seen->calls++;
	seen->resyncs += resync;
	if (resync)
		seen->resync_revision = revision;
	for (size_t i = 0; i < count; i++) {
		const struct metadata_row *row = &events[i].row;
		size_t len = strlen(seen->text);
		seen->disordered |= row->mod_revision < seen->last_revision;
		seen->last_revision = row->mod_revision;
		seen->events++;
		if (events[i].deleted)
			snprintf(seen->text + len, sizeof seen->text - len, "-%.*s@%ld ", (int)row->key.len,
				(const char *)row->key.data, (long)(row->mod_revision - seen->base));
		else
			snprintf(seen->text + len, sizeof seen->text - len, "+%.*s=%.*s@%ld ", (int)row->key.len,
				(const char *)row->key.data, (int)row->value.len, (const char *)row->value.data,
				(long)(row->mod_revision - seen->base));
	}
	if (seen->unwatch_at_first)
		metadata_unwatch(seen->store, seen->watch);
}

void on_kept(void *ctx, int64_t lease, uint64_t sent_us, uint64_t ttl_ms)
{
	struct kept *kept = ctx;
	(void)lease;
	kept->answers++;
	kept->gone += ttl_ms == 0;
	kept->sent_us = sent_us;
	kept->ttl_ms = ttl_ms;
}
