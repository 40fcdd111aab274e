#include "tests/unit/metadata/metadata_contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/storage/metadata_store_backend.h"
#include "tests/unit/metadata/metadata_world.h"

static bool text_is(struct bytes bytes, const char *text)
{
	return bytes_equal(bytes, bytes_of(text));
}

static struct answer range_prefix(const char *prefix, size_t limit)
{
	struct answer answer = {0};
	struct arena arena;
	arena_init(&arena, 0);
	struct bytes end = metadata_prefix_end(bytes_of(prefix), &arena);
	metadata_range(world.stores[1], bytes_of(prefix), end, limit, TIMEOUT_MS, on_range, &answer);
	arena_done(&arena);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	return answer;
}

static struct answer commit(const struct metadata_txn *txn)
{
	struct answer answer = {0};
	metadata_txn_commit(world.stores[0], txn, TIMEOUT_MS, on_txn, &answer);
	WAIT_FOR(answer.count);
	return answer;
}

static void test_range(void)
{
	int64_t first = put(world.stores[0], "range/b", "2", 0);
	put(world.stores[0], "range/a", "1", 0);
	put(world.stores[0], "range/c", "3", 0);
	int64_t last = put(world.stores[0], "range/b", "two", 0);
	put(world.stores[0], "rangf", "outside", 0);

	struct answer answer = range_prefix("range/", 0);
	CU_ASSERT_EQUAL_FATAL(answer.row_count, 3);
	CU_ASSERT(text_is(answer.rows[0].key, "range/a"));
	CU_ASSERT(text_is(answer.rows[1].key, "range/b"));
	CU_ASSERT(text_is(answer.rows[1].value, "two"));
	CU_ASSERT(text_is(answer.rows[2].key, "range/c"));
	CU_ASSERT_EQUAL(answer.rows[1].create_revision, first);
	CU_ASSERT_EQUAL(answer.rows[1].mod_revision, last);
	CU_ASSERT_EQUAL(answer.rows[1].version, 2);
	CU_ASSERT_EQUAL(answer.rows[1].lease, 0);
	CU_ASSERT_EQUAL(answer.revision, last + 1);
	CU_ASSERT(!answer.more);
	answer_done(&answer);

	answer = range_prefix("range/", 2);
	CU_ASSERT_EQUAL(answer.row_count, 2);
	CU_ASSERT(answer.more);
	answer_done(&answer);
	answer = range_prefix("range/", 3);
	CU_ASSERT_EQUAL(answer.row_count, 3);
	CU_ASSERT(!answer.more);
	answer_done(&answer);
	answer = range_prefix("", 1); // all keys
	CU_ASSERT_EQUAL(answer.row_count, 1);
	CU_ASSERT(answer.more);
	answer_done(&answer);

	CU_ASSERT(exists(world.stores[1], "range/a"));
	CU_ASSERT(!exists(world.stores[1], "range/"));
	metadata_range(world.stores[0], bytes_of(""), BYTES_NULL, 0, TIMEOUT_MS, on_range, &answer);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_MALFORMED);
	answer_done(&answer);
}

static void test_txn(void)
{
	struct metadata_compare compares[3] = {
		{.kind = METADATA_COMPARE_ABSENT, .key = bytes_of("txn/new")},
		{.kind = METADATA_COMPARE_VALUE, .key = bytes_of("txn/owner"), .value = bytes_of("me")},
		{.kind = METADATA_COMPARE_CREATE_REVISION, .key = bytes_of("txn/owner")},
	};
	struct metadata_put puts[2] = {{bytes_of("txn/new"), bytes_of("1"), 0}, {bytes_of("txn/other"), bytes_of("2"), 0}};
	struct metadata_delete deletes[2] = {
		{bytes_of("txn/old/"), bytes_of("txn/old0")}, {bytes_of("txn/single"), BYTES_NULL}};
	struct metadata_txn txn = {compares, 3, puts, 2, deletes, 2};
	put(world.stores[0], "txn/old/1", "", 0);
	put(world.stores[0], "txn/old/2", "", 0);
	put(world.stores[0], "txn/single", "", 0);
	compares[2].create_revision = put(world.stores[0], "txn/owner", "somebody", 0);

	struct answer answer = commit(&txn); // the owner is another
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	CU_ASSERT(!answer.succeeded);
	CU_ASSERT_EQUAL(answer.revision, compares[2].create_revision); // nothing happened
	CU_ASSERT(!exists(world.stores[1], "txn/new"));
	CU_ASSERT(exists(world.stores[1], "txn/old/1"));

	int64_t revision = put(world.stores[0], "txn/owner", "me", 0);
	answer = commit(&txn);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	CU_ASSERT(answer.succeeded);
	CU_ASSERT_EQUAL(answer.revision, revision + 1); // all in one
	struct answer rows = range_prefix("txn/", 0);
	CU_ASSERT_EQUAL_FATAL(rows.row_count, 3);
	CU_ASSERT(text_is(rows.rows[0].key, "txn/new"));
	CU_ASSERT_EQUAL(rows.rows[0].mod_revision, revision + 1);
	CU_ASSERT(text_is(rows.rows[1].key, "txn/other"));
	CU_ASSERT_EQUAL(rows.rows[1].mod_revision, revision + 1);
	CU_ASSERT_EQUAL(rows.rows[2].mod_revision, revision);
	answer_done(&rows);

	answer = commit(&txn); // txn/new is no longer absent
	CU_ASSERT(!answer.succeeded);
	txn.compares = &compares[2];
	txn.compare_count = 1;
	compares[2].create_revision--;
	answer = commit(&txn);
	CU_ASSERT(!answer.succeeded);
	compares[2] = (struct metadata_compare){.kind = METADATA_COMPARE_VALUE, .key = bytes_of("txn/none")};
	answer = commit(&txn); // an absent key equals no value, not even the empty one
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	CU_ASSERT(!answer.succeeded);
}

static void test_txn_limits(void)
{
	struct metadata_put puts[METADATA_TXN_OPERATIONS_MAX + 1];
	char keys[METADATA_TXN_OPERATIONS_MAX + 1][24];
	struct metadata_txn txn = {.puts = puts};
	for (size_t i = 0; i <= METADATA_TXN_OPERATIONS_MAX; i++) {
		snprintf(keys[i], sizeof keys[i], "limit/%zu", i);
		puts[i] = (struct metadata_put){bytes_of(keys[i]), bytes_of("x"), 0};
	}
	txn.put_count = METADATA_TXN_OPERATIONS_MAX;
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_OK);
	txn.put_count = METADATA_TXN_OPERATIONS_MAX + 1;
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_MALFORMED);

	txn.put_count = 2;
	puts[1].key = puts[0].key;
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_MALFORMED); // a key twice
	struct metadata_delete delete = {bytes_of("limit/"), bytes_of("limit0")};
	txn = (struct metadata_txn){.puts = puts, .put_count = 1, .deletes = &delete, .delete_count = 1};
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_MALFORMED); // put and deleted
	txn.delete_count = 0;
	puts[0].lease = 4711;
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_NOT_FOUND); // no such lease
	puts[0].lease = 0;
	uint8_t *value = memory_zalloc((1 << 20) + 1);
	puts[0].value = bytes_view(value, (1 << 20) + 1);
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_TOO_LARGE);
	free(value);
	remove_prefix(world.stores[0], "limit/");
}

static void test_big_value(void)
{
	enum { BYTES = 500 << 10 };
	uint8_t *value = memory_alloc(BYTES);
	prng_fill(&world_env()->prng, value, BYTES);
	struct metadata_put operation = {bytes_of("big/1"), bytes_view(value, BYTES), 0};
	struct metadata_txn txn = {.puts = &operation, .put_count = 1};
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_OK);
	operation.key = bytes_of("big/2");
	CU_ASSERT_EQUAL(commit(&txn).error, ERROR_OK);
	struct answer answer = range_prefix("big/", 0);
	CU_ASSERT_EQUAL_FATAL(answer.row_count, 2);
	CU_ASSERT(bytes_equal(answer.rows[1].value, operation.value));
	answer_done(&answer);
	free(value);
	remove_prefix(world.stores[0], "big/");
}

static void test_lease_keep_and_revoke(void)
{
	int64_t lease = grant(world.stores[0], 2000);
	uint64_t granted_us = world_env()->now_us;
	struct kept kept = {0};
	put(world.stores[0], "lease/kept", "", lease);
	metadata_lease_keep(world.stores[0], lease, 2000, on_kept, &kept);
	WAIT_FOR(world_env()->now_us - granted_us > 3500 * 1000); // more than the ttl, and what etcd adds
	CU_ASSERT(exists(world.stores[1], "lease/kept"));
	CU_ASSERT(kept.answers >= 4 && kept.answers <= 7); // at once, then every 667 ms
	CU_ASSERT_EQUAL(kept.gone, 0);
	CU_ASSERT_EQUAL(kept.ttl_ms, 2000);
	CU_ASSERT(kept.sent_us <= world_env()->now_us && world_env()->now_us - kept.sent_us < 1500 * 1000);

	CU_ASSERT_EQUAL(revoke_lease(world.stores[0], lease), ERROR_OK);
	CU_ASSERT(!exists(world.stores[1], "lease/kept"));
	WAIT_FOR(kept.gone);
	unsigned answers = kept.answers;
	CU_ASSERT_EQUAL(revoke_lease(world.stores[0], lease), ERROR_NOT_FOUND);
	uint64_t revoked_us = world_env()->now_us;
	WAIT_FOR(world_env()->now_us - revoked_us > 800 * 1000);
	CU_ASSERT_EQUAL(kept.answers, answers); // gone is told once
}

static void test_lease_expiry(void)
{
	struct kept kept = {0};
	struct seen seen = {.base = current_revision(world.stores[1])};
	int64_t lease = grant(world.stores[0], 2000);
	uint64_t start_us = world_env()->now_us;
	put(world.stores[0], "expiry/1", "", lease);
	put(world.stores[0], "expiry/2", "", lease);
	put(world.stores[0], "expiry/3", "", lease);
	put(world.stores[0], "expiry/3", "", 0); // taken off the lease
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("expiry/"), seen.base + 5, on_watch, &seen);
	metadata_lease_keep(world.stores[0], lease, 60000, on_kept, &kept);
	WAIT_FOR(kept.answers == 1); // renewed just now
	metadata_lease_forget(world.stores[0], lease);
	WAIT_FOR(seen.events == 2);
	CU_ASSERT(world_env()->now_us - start_us >= 1900 * 1000);
	CU_ASSERT_STRING_EQUAL(seen.text, "-expiry/1@5 -expiry/2@5 ");
	CU_ASSERT(exists(world.stores[0], "expiry/3"));
	CU_ASSERT_EQUAL(kept.answers, 1);
	metadata_lease_keep(world.stores[0], lease, 2000, on_kept, &kept);
	WAIT_FOR(kept.gone);
	CU_ASSERT_EQUAL(kept.ttl_ms, 0);
	metadata_unwatch(world.stores[1], watch);
}

static void test_watch(void)
{
	struct seen all = {0};
	struct seen late = {0};
	struct seen other = {0};
	struct seen once = {.store = world.stores[1], .unwatch_at_first = true};
	put(world.stores[0], "watch/0", "0", 0);
	all.base = late.base = other.base = once.base = current_revision(world.stores[0]);
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("watch/"), all.base + 1, on_watch, &all);
	once.watch = metadata_watch(world.stores[1], bytes_of("watch/a"), all.base + 1, on_watch, &once);
	metadata_watch(world.stores[0], bytes_of("watch/b"), all.base + 1, on_watch, &other);
	put(world.stores[0], "watch/a", "1", 0);
	put(world.stores[0], "watch/b", "1", 0);
	put(world.stores[0], "watch/a", "2", 0);
	put(world.stores[0], "watch0", "outside", 0);
	remove_prefix(world.stores[0], "watch/b");
	struct metadata_put puts[2] = {{bytes_of("watch/c"), bytes_of("3"), 0}, {bytes_of("watch/d"), bytes_of("4"), 0}};
	struct metadata_txn txn = {.puts = puts, .put_count = 2};
	CU_ASSERT(commit(&txn).succeeded);

	WAIT_FOR(all.events == 6 && other.events == 2);
	CU_ASSERT_STRING_EQUAL(all.text, "+watch/a=1@1 +watch/b=1@2 +watch/a=2@3 -watch/b@5 +watch/c=3@6 +watch/d=4@6 ");
	CU_ASSERT_STRING_EQUAL(other.text, "+watch/b=1@2 -watch/b@5 ");
	CU_ASSERT_EQUAL(once.calls, 1); // it went from within its own callback

	late.watch = metadata_watch(world.stores[0], bytes_of("watch/"), late.base + 3, on_watch, &late);
	WAIT_FOR(late.events == 4); // history
	CU_ASSERT_STRING_EQUAL(late.text, "+watch/a=2@3 -watch/b@5 +watch/c=3@6 +watch/d=4@6 ");

	metadata_unwatch(world.stores[1], watch);
	put(world.stores[0], "watch/e", "5", 0);
	WAIT_FOR(late.events == 5);
	CU_ASSERT_EQUAL(all.events, 6);
	CU_ASSERT_EQUAL(all.resyncs + late.resyncs + other.resyncs, 0);
	metadata_unwatch(world.stores[0], late.watch);
	metadata_unwatch(world.stores[0], 1);
	metadata_unwatch(world.stores[0], 424242); // no such: nothing
}

// Two stores compete for a key under their leases; the loser takes over when the key goes, and the old owner's writes fail.
static void test_election(void)
{
	static const char *const names[2] = {"first", "second"};
	int64_t leases[2];
	struct answer answers[2] = {0};
	for (int i = 0; i < 2; i++) {
		leases[i] = grant(world.stores[i], 5000);
		struct metadata_compare free_key = {.kind = METADATA_COMPARE_ABSENT, .key = bytes_of("election/leader")};
		struct metadata_put take = {bytes_of("election/leader"), bytes_of(names[i]), leases[i]};
		struct metadata_txn txn = {.compares = &free_key, .compare_count = 1, .puts = &take, .put_count = 1};
		metadata_txn_commit(world.stores[i], &txn, TIMEOUT_MS, on_txn, &answers[i]);
	}
	WAIT_FOR(answers[0].count && answers[1].count);
	CU_ASSERT_EQUAL(answers[0].succeeded + answers[1].succeeded, 1);
	int winner = answers[0].succeeded ? 0 : 1;
	int loser = 1 - winner;

	struct seen seen = {.base = answers[loser].revision};
	uint64_t watch = metadata_watch(world.stores[loser], bytes_of("election/leader"), seen.base + 1, on_watch, &seen);
	CU_ASSERT_EQUAL(revoke_lease(world.stores[winner], leases[winner]), ERROR_OK);
	WAIT_FOR(seen.events == 1);
	CU_ASSERT(seen.text[0] == '-');
	put(world.stores[loser], "election/leader", names[loser], leases[loser]);

	struct metadata_compare fence = {
		.kind = METADATA_COMPARE_VALUE, .key = bytes_of("election/leader"), .value = bytes_of(names[winner])};
	struct metadata_put entry = {bytes_of("election/log/1"), bytes_of("late"), 0};
	struct metadata_txn txn = {.compares = &fence, .compare_count = 1, .puts = &entry, .put_count = 1};
	struct answer answer = commit(&txn);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	CU_ASSERT(!answer.succeeded);
	fence.value = bytes_of(names[loser]);
	CU_ASSERT(commit(&txn).succeeded);
	metadata_unwatch(world.stores[loser], watch);
	CU_ASSERT_EQUAL(revoke_lease(world.stores[loser], leases[loser]), ERROR_OK);
}

static void test_pipelined(void)
{
	enum { COUNT = 1000 };
	struct answer *answers = memory_zalloc(COUNT * sizeof *answers);
	struct seen seen = {.base = current_revision(world.stores[0])};
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("pipe/"), seen.base + 1, on_watch, &seen);
	for (int i = 0; i < COUNT; i++) {
		char key[32];
		snprintf(key, sizeof key, "pipe/%04d", i);
		struct metadata_compare compare = {.kind = METADATA_COMPARE_ABSENT, .key = bytes_of(key)};
		struct metadata_put operation = {bytes_of(key), bytes_of("x"), 0};
		struct metadata_txn txn = {.compares = &compare, .compare_count = 1, .puts = &operation, .put_count = 1};
		metadata_txn_commit(world.stores[0], &txn, TIMEOUT_MS, on_txn, &answers[i]);
	}
	int answered = 0;
	for (; answered < COUNT; answered++)
		WAIT_FOR(answers[answered].count);
	int64_t sum = 0;
	for (int i = 0; i < COUNT; i++) {
		CU_ASSERT(answers[i].count == 1 && !answers[i].error && answers[i].succeeded);
		sum += answers[i].revision - seen.base;
	}
	CU_ASSERT_EQUAL(sum, COUNT * (COUNT + 1) / 2); // each its own revision
	WAIT_FOR(seen.events == COUNT);
	CU_ASSERT(!seen.disordered);
	CU_ASSERT_EQUAL(seen.last_revision, seen.base + COUNT);
	metadata_unwatch(world.stores[1], watch);
	remove_prefix(world.stores[0], "pipe/");
	free(answers);
}

void metadata_contract_add(CU_pSuite suite)
{
	CU_add_test(suite, "range", test_range);
	CU_add_test(suite, "txn", test_txn);
	CU_add_test(suite, "limits of a txn", test_txn_limits);
	CU_add_test(suite, "a big value", test_big_value);
	CU_add_test(suite, "lease kept and revoked", test_lease_keep_and_revoke);
	CU_add_test(suite, "lease expires", test_lease_expiry);
	CU_add_test(suite, "watch", test_watch);
	CU_add_test(suite, "election", test_election);
	CU_add_test(suite, "1000 txns in flight", test_pipelined);
}
