// The memory backend: the contract, and what only it has: the fault script, the bounded history, the virtual clock.

#include <CUnit/Basic.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "tests/unit/metadata/metadata_contract.h"
#include "tests/unit/metadata/metadata_world.h"

static int open_world(void)
{
	world_init_memory();
	return 0;
}

static int close_world(void)
{
	world_done();
	return 0;
}

static bool end_is(const char *prefix, size_t prefix_len, const char *expected, size_t expected_len)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct bytes end = metadata_prefix_end(bytes_view(prefix, prefix_len), &arena);
	bool equal = bytes_equal(end, bytes_view(expected, expected_len));
	arena_done(&arena);
	return equal;
}

static void test_prefix_end(void)
{
	CU_ASSERT(end_is("abc", 3, "abd", 3));
	CU_ASSERT(end_is("a\xff\xff", 3, "b", 1));
	CU_ASSERT(end_is("\xff\xff", 2, "\0", 1));
	CU_ASSERT(end_is("", 0, "\0", 1));
}

static enum metadata_fault fault_of(void *ctx, uint64_t call_number)
{
	const enum metadata_fault *faults = ctx;
	return call_number < 4 ? faults[call_number] : METADATA_FAULT_NONE;
}

static void commit_put(struct answer *answer, const char *key, uint32_t timeout_ms)
{
	struct metadata_put operation = {bytes_of(key), bytes_of("x"), 0};
	struct metadata_txn txn = {.puts = &operation, .put_count = 1};
	metadata_txn_commit(world.stores[1], &txn, timeout_ms, on_txn, answer);
}

static void test_faults(void)
{
	static enum metadata_fault faults[4] = {
		METADATA_FAULT_BEFORE, METADATA_FAULT_AFTER, METADATA_FAULT_HANG, METADATA_FAULT_LATE};
	struct answer answers[4] = {0};
	uint64_t start_us = world.env.now_us;
	metadata_store_memory_script(world.stores[1], fault_of, faults);
	commit_put(&answers[0], "fault/before", 1000);
	commit_put(&answers[1], "fault/after", 1000);
	commit_put(&answers[2], "fault/hang", 1000);
	commit_put(&answers[3], "fault/late", 1000);
	WAIT_FOR(answers[0].count && answers[1].count);
	CU_ASSERT_EQUAL(answers[0].error, ERROR_DISCONNECTED);
	CU_ASSERT_EQUAL(answers[1].error, ERROR_DISCONNECTED);
	CU_ASSERT(!exists(world.stores[0], "fault/before"));
	CU_ASSERT(exists(world.stores[0], "fault/after"));
	CU_ASSERT_EQUAL(answers[2].count + answers[3].count, 0);
	WAIT_FOR(answers[2].count && answers[3].count);
	CU_ASSERT(world.env.now_us - start_us >= 1000 * 1000 && world.env.now_us - start_us < 1100 * 1000);
	CU_ASSERT_EQUAL(answers[2].error, ERROR_TIMED_OUT);
	CU_ASSERT_EQUAL(answers[3].error, ERROR_TIMED_OUT);
	CU_ASSERT(!exists(world.stores[0], "fault/late"));
	WAIT_FOR(world.env.now_us - start_us > 2000 * 1000);
	CU_ASSERT(!exists(world.stores[0], "fault/hang"));
	CU_ASSERT(exists(world.stores[0], "fault/late"));
	CU_ASSERT(exists(world.stores[1], "fault/late")); // the script goes on with none
}

// The keep-alives of a handle that is cut off get lost, so its lease ends.
static enum metadata_fault cut_off(void *ctx, uint64_t call_number)
{
	(void)ctx;
	(void)call_number;
	return METADATA_FAULT_BEFORE;
}

static void test_cut_off(void)
{
	struct kept kept = {0};
	int64_t lease = grant(world.stores[1], 3000);
	put(world.stores[1], "cut/off", "", lease);
	metadata_lease_keep(world.stores[1], lease, 3000, on_kept, &kept);
	WAIT_FOR(kept.answers == 3);
	metadata_store_memory_script(world.stores[1], cut_off, NULL);
	CU_ASSERT(exists(world.stores[0], "cut/off"));
	uint64_t sent_us = kept.sent_us;
	while (exists(world.stores[0], "cut/off"))
		world_turn();
	CU_ASSERT(world.env.now_us >= sent_us + 3000 * 1000);
	metadata_store_memory_script(world.stores[1], NULL, NULL);
	WAIT_FOR(kept.gone);
}

static void test_resync(void)
{
	struct seen seen = {.base = current_revision(world.stores[0])};
	enum { CHANGES = 10000 };
	struct answer answer = {0};
	for (int i = 0; i < CHANGES; i++)
		commit_put(&answer, "resync/1", 1000);
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("resync/"), seen.base + 1, on_watch, &seen);
	WAIT_FOR(answer.count == CHANGES && seen.calls);
	CU_ASSERT_EQUAL(seen.resyncs, 1);
	CU_ASSERT_EQUAL(seen.resync_revision, seen.base + CHANGES);
	put(world.stores[0], "resync/2", "y", 0);
	WAIT_FOR(seen.events == 1);
	CU_ASSERT_EQUAL(seen.last_revision, seen.resync_revision + 1);
	metadata_unwatch(world.stores[1], watch);
}

static void test_free_cancels(void)
{
	struct metadata_store *store = metadata_store_memory_attach(world.stores[0], &world.env);
	static enum metadata_fault faults[4] = {METADATA_FAULT_NONE, METADATA_FAULT_HANG, METADATA_FAULT_LATE};
	struct answer answers[4] = {0};
	struct metadata_put operation = {bytes_of("free/1"), bytes_of("x"), 0};
	struct metadata_txn txn = {.puts = &operation, .put_count = 1};
	metadata_store_memory_script(store, fault_of, faults);
	for (int i = 0; i < 3; i++)
		metadata_txn_commit(store, &txn, 1000, on_txn, &answers[i]);
	metadata_range(store, bytes_of("free/1"), BYTES_NULL, 0, 1000, on_range, &answers[3]);
	metadata_store_free(&store);
	for (int i = 0; i < 4; i++)
		CU_ASSERT(answers[i].count == 1 && answers[i].error == ERROR_CANCELED);
}

// The step says when it has something to do.
static void test_next_step(void)
{
	struct env env = {.now_us = 1};
	struct metadata_store *store = metadata_store_memory_new(&env);
	struct answer answer = {0};
	CU_ASSERT_EQUAL(metadata_store_memory_step(store), DEADLINE_NEVER);
	metadata_lease_grant(store, 100, 1000, on_lease, &answer);
	CU_ASSERT_EQUAL(metadata_store_memory_step(store), 1 + 2 * 1000 * 1000);
	CU_ASSERT_EQUAL(answer.count, 1);
	env.now_us += 2 * 1000 * 1000;
	metadata_store_memory_step(store);
	CU_ASSERT_EQUAL(metadata_store_memory_step(store), DEADLINE_NEVER);
	CU_ASSERT(!metadata_store_full(store));
	metadata_store_free(&store);
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("metadata store in memory", open_world, close_world);
	metadata_contract_add(suite);
	CU_add_test(suite, "end of a prefix", test_prefix_end);
	CU_add_test(suite, "faults by script", test_faults);
	CU_add_test(suite, "cut off", test_cut_off);
	CU_add_test(suite, "resync behind the history", test_resync);
	CU_add_test(suite, "free cancels", test_free_cancels);
	CU_add_test(suite, "next step", test_next_step);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
