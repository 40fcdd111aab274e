// The etcd backend against a real etcd: the contract, and what etcd does to us when it is killed, paused, compacted, or asks
// for a password.

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "tests/unit/metadata/etcd_process.h"
#include "tests/unit/metadata/metadata_contract.h"
#include "tests/unit/metadata/metadata_world.h"

static struct etcd_process etcd;

static int open_world(void)
{
	etcd_process_init(&etcd);
	world_init_etcd(etcd.endpoint);
	return 0;
}

static int close_world(void)
{
	world_done();
	etcd_process_done(&etcd);
	return 0;
}

static void commit_put(struct metadata_store *store, struct answer *answer, const char *key, uint32_t timeout_ms)
{
	struct metadata_put operation = {bytes_of(key), bytes_of("x"), 0};
	struct metadata_txn txn = {.puts = &operation, .put_count = 1};
	metadata_txn_commit(store, &txn, timeout_ms, on_txn, answer);
}

static enum error put_error(struct metadata_store *store, const char *key, uint32_t timeout_ms)
{
	struct answer answer = {0};
	commit_put(store, &answer, key, timeout_ms);
	WAIT_FOR(answer.count);
	CU_ASSERT(answer.succeeded == !answer.error);
	return answer.error;
}

static bool unknown_outcome(enum error error)
{
	return error == ERROR_TIMED_OUT || error == ERROR_DISCONNECTED;
}

// A stream of puts, some always in flight; what has been acknowledged and what the watcher has seen must agree at the end.
enum { FLOW_MAX = 600, FLOW_IN_FLIGHT = 8 };

struct flow {
	struct answer answers[FLOW_MAX];
	int sent;
	int answered;
};

static void flow_turn(struct flow *flow, int target)
{
	while (flow->answered < flow->sent && flow->answers[flow->answered].count)
		flow->answered++;
	while (flow->sent < target && flow->sent - flow->answered < FLOW_IN_FLIGHT) {
		char key[32];
		snprintf(key, sizeof key, "restart/%04d", flow->sent);
		commit_put(world.stores[0], &flow->answers[flow->sent++], key, 4000);
	}
}

static bool flow_done(struct flow *flow, int target)
{
	flow_turn(flow, target);
	return flow->answered >= target;
}

static size_t count_keys(const char *prefix)
{
	struct answer answer = {0};
	struct arena arena;
	arena_init(&arena, 0);
	struct bytes end = metadata_prefix_end(bytes_of(prefix), &arena);
	metadata_range(world.stores[0], bytes_of(prefix), end, 0, TIMEOUT_MS, on_range, &answer);
	arena_done(&arena);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_OK);
	size_t count = answer.row_count;
	answer_done(&answer);
	return count;
}

static void test_restart(void)
{
	struct flow *flow = memory_zalloc(sizeof *flow);
	struct seen seen = {.base = current_revision(world.stores[1])};
	struct kept kept = {0};
	int64_t lease = grant(world.stores[0], 10000);
	metadata_lease_keep(world.stores[0], lease, 3000, on_kept, &kept);
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("restart/"), seen.base + 1, on_watch, &seen);
	WAIT_FOR(kept.answers);
	for (int round = 1; round <= 2; round++) {
		WAIT_FOR(flow_done(flow, 200 * round));
		flow_turn(flow, 200 * round + FLOW_IN_FLIGHT);
		etcd_process_kill(&etcd);
		unsigned answers = kept.answers;
		etcd_process_start(&etcd);
		WAIT_FOR(kept.answers > answers); // the stream is back, and renews
	}
	WAIT_FOR(flow_done(flow, FLOW_MAX));
	size_t acknowledged = 0;
	for (int i = 0; i < FLOW_MAX; i++) {
		CU_ASSERT(!flow->answers[i].error || unknown_outcome(flow->answers[i].error));
		acknowledged += !flow->answers[i].error;
	}
	size_t keys = count_keys("restart/");
	CU_ASSERT(acknowledged >= FLOW_MAX - 2 * FLOW_IN_FLIGHT && keys >= acknowledged);
	WAIT_FOR(seen.last_revision == seen.base + (int64_t)keys && seen.events >= keys);
	CU_ASSERT_EQUAL(seen.events, keys); // each once: a put has a revision of its own
	CU_ASSERT(!seen.disordered);
	CU_ASSERT_EQUAL(seen.resyncs, 0);
	CU_ASSERT_EQUAL(kept.gone, 0);
	metadata_unwatch(world.stores[1], watch);
	CU_ASSERT_EQUAL(revoke_lease(world.stores[0], lease), ERROR_OK);
	WAIT_FOR(kept.gone);
	free(flow);
}

static void test_killed_in_flight(void)
{
	enum { COUNT = 20 };
	struct answer answers[COUNT] = {0};
	put(world.stores[0], "killed/before", "", 0);
	etcd_process_pause(&etcd); // so that they are surely under way
	for (int i = 0; i < COUNT; i++)
		commit_put(world.stores[0], &answers[i], "killed/in_flight", 5000);
	uint64_t start_us = world_env()->now_us;
	WAIT_FOR(world_env()->now_us - start_us > 200 * 1000);
	CU_ASSERT_EQUAL(answers[0].count, 0);
	etcd_process_kill(&etcd);
	for (int i = 0; i < COUNT; i++) {
		WAIT_FOR(answers[i].count);
		CU_ASSERT_EQUAL(answers[i].error, ERROR_DISCONNECTED);
	}
	CU_ASSERT(world_env()->now_us - start_us < 2000 * 1000);
	CU_ASSERT(unknown_outcome(put_error(world.stores[0], "killed/down", 300)));
	etcd_process_start(&etcd);
	put(world.stores[0], "killed/after", "", 0); // waits for the connection
}

static void test_paused(void)
{
	struct answer answer = {0};
	struct seen seen = {.base = current_revision(world.stores[1])};
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("paused/"), seen.base + 1, on_watch, &seen);
	etcd_process_pause(&etcd);
	loop_turn(world.loop, 0);
	uint64_t start_us = world_env()->now_us;
	metadata_range(world.stores[0], bytes_of("paused/1"), BYTES_NULL, 0, 400, on_range, &answer);
	CU_ASSERT_EQUAL(put_error(world.stores[0], "paused/1", 400), ERROR_TIMED_OUT);
	CU_ASSERT(world_env()->now_us - start_us >= 390 * 1000 && world_env()->now_us - start_us < 1000 * 1000);
	WAIT_FOR(answer.count);
	CU_ASSERT_EQUAL(answer.error, ERROR_TIMED_OUT);
	etcd_process_resume(&etcd);
	put(world.stores[0], "paused/2", "", 0);
	WAIT_FOR(strstr(seen.text, "+paused/2=") != NULL);
	metadata_unwatch(world.stores[1], watch);
}

static void test_compacted(void)
{
	struct seen seen = {.base = current_revision(world.stores[0])};
	char revision[24];
	const char *compact[] = {"compact", revision, NULL};
	for (int i = 0; i < 10; i++)
		put(world.stores[0], "compact/1", "x", 0);
	snprintf(revision, sizeof revision, "%ld", (long)seen.base + 8);
	CU_ASSERT(etcd_process_control(&etcd, compact));
	uint64_t watch = metadata_watch(world.stores[0], bytes_of("compact/"), seen.base + 1, on_watch, &seen);
	WAIT_FOR(seen.calls);
	CU_ASSERT_EQUAL(seen.resyncs, 1);
	CU_ASSERT(seen.resync_revision >= seen.base + 7);
	int64_t last = put(world.stores[1], "compact/2", "y", 0);
	WAIT_FOR(seen.last_revision == last);
	CU_ASSERT_EQUAL(seen.resyncs, 1);
	CU_ASSERT(!seen.disordered);
	metadata_unwatch(world.stores[0], watch);
}

// More events than one answer of etcd's holds come in fragments, which may cut a revision in two. etcd dies after the first
// one; still none is missing and none comes twice.
static void on_fragment(void *ctx, const struct metadata_event *events, size_t count, bool resync, int64_t revision)
{
	struct seen *seen = ctx;
	on_watch(seen, events, count, resync, revision);
	if (seen->calls == 1)
		etcd_process_kill(&etcd);
}

static void test_fragments(void)
{
	enum { VALUES = 12, BYTES = 400 << 10 };
	struct seen seen = {.base = current_revision(world.stores[0])};
	struct answer answers[VALUES] = {0};
	uint8_t *value = memory_zalloc(BYTES);
	for (int i = 0; i < VALUES; i++) {
		struct metadata_put puts[2] = {{bytes_of("fragment/a"), bytes_view(value, BYTES), 0},
			{bytes_of("fragment/b"), bytes_view(value, BYTES), 0}};
		struct metadata_txn txn = {.puts = puts, .put_count = 2};
		metadata_txn_commit(world.stores[0], &txn, TIMEOUT_MS, on_txn, &answers[i]);
	}
	for (int i = 0; i < VALUES; i++)
		WAIT_FOR(answers[i].count && !answers[i].error);
	uint64_t watch = metadata_watch(world.stores[1], bytes_of("fragment/"), seen.base + 1, on_fragment, &seen);
	WAIT_FOR(seen.calls);
	CU_ASSERT(seen.events < 2 * VALUES);
	etcd_process_start(&etcd);
	WAIT_FOR(seen.last_revision == seen.base + VALUES && seen.events >= 2 * VALUES);
	put(world.stores[0], "fragment/c", "", 0);
	WAIT_FOR(seen.last_revision == seen.base + VALUES + 1);
	CU_ASSERT_EQUAL(seen.events, 2 * VALUES + 1);
	CU_ASSERT(seen.calls > 2); // it did come in pieces
	CU_ASSERT(!seen.disordered);
	metadata_unwatch(world.stores[1], watch);
	free(value);
	remove_prefix(world.stores[0], "fragment/");
}

static void test_next_endpoint(void)
{
	char endpoints[80];
	snprintf(endpoints, sizeof endpoints, "http://127.0.0.1:%u, http://%s", free_port(), etcd.endpoint);
	struct metadata_store *store = world_open_etcd(endpoints, "", "");
	CU_ASSERT_EQUAL(put_error(store, "endpoint/1", 200), ERROR_TIMED_OUT);
	CU_ASSERT_EQUAL(put_error(store, "endpoint/2", 200), ERROR_TIMED_OUT);
	CU_ASSERT_EQUAL(put_error(store, "endpoint/3", 5000), ERROR_OK); // two strikes
	metadata_store_free(&store);

	store = world_open_etcd(endpoints, "", "");
	struct seen seen = {.base = current_revision(world.stores[0])};
	metadata_watch(store, bytes_of("endpoint/"), seen.base + 1, on_watch, &seen);
	put(world.stores[0], "endpoint/4", "x", 0);
	WAIT_FOR(seen.events == 1); // a stream finds the way by itself
	metadata_store_free(&store);
}

static void test_free_cancels(void)
{
	struct metadata_store *store = world_open_etcd(etcd.endpoint, "", "");
	struct answer answers[3] = {0};
	struct seen seen = {0};
	struct kept kept = {0};
	put(store, "free/1", "", 0);
	int64_t lease = grant(store, 5000);
	metadata_watch(store, bytes_of("free/"), 0, on_watch, &seen);
	metadata_lease_keep(store, lease, 5000, on_kept, &kept);
	WAIT_FOR(kept.answers);
	etcd_process_pause(&etcd);
	commit_put(store, &answers[0], "free/2", 5000);
	metadata_range(store, bytes_of("free/1"), BYTES_NULL, 0, 5000, on_range, &answers[1]);
	metadata_lease_revoke(store, lease, 5000, on_lease, &answers[2]);
	loop_turn(world.loop, 0);
	metadata_store_free(&store);
	for (int i = 0; i < 3; i++)
		CU_ASSERT(answers[i].count == 1 && answers[i].error == ERROR_CANCELED);
	etcd_process_resume(&etcd);
	store = world_open_etcd(etcd.endpoint, "", ""); // at once, never used
	metadata_store_free(&store);
}

static void test_settings_refused(void)
{
	static const struct metadata_store_settings refused[] = {
		{.endpoints = ""},
		{.endpoints = "127.0.0.1"},
		{.endpoints = "127.0.0.1:0"},
		{.endpoints = "127.0.0.1:99999"},
		{.endpoints = "127.0.0.1:2379,"},
		{.endpoints = "fe80::1:2379"},
		{.endpoints = "https://127.0.0.1:2379"},
		{.endpoints = "ftp://127.0.0.1:2379"},
		{.endpoints = "127.0.0.1:2379", .ca_file = "/nonexistent/ca.pem"},
		{.endpoints = "127.0.0.1:2379", .ca_file = "/dev/null"},
		{.endpoints = "127.0.0.1:2379", .cert_file = "/nonexistent/cert.pem"},
	};
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		struct metadata_store *store = NULL;
		char reason[256] = "";
		CU_ASSERT_EQUAL(metadata_store_etcd_new(world.loop, &refused[i], &store, reason), ERROR_MALFORMED);
		CU_ASSERT(reason[0] != '\0');
		CU_ASSERT_PTR_NULL(store);
	}
}

static void test_tls(void)
{
	struct etcd_process secure;
	char ca[128];
	char certificate[128];
	char key[128];
	char reason[256];
	struct metadata_store *store = NULL;
	struct metadata_store *stranger = NULL;
	etcd_process_init_tls(&secure);
	etcd_process_path(&secure, "ca.pem", ca);
	etcd_process_path(&secure, "client.pem", certificate);
	etcd_process_path(&secure, "client.key", key);
	struct metadata_store_settings settings = {
		.endpoints = secure.endpoint, .ca_file = ca, .cert_file = certificate, .key_file = key};
	CU_ASSERT_EQUAL_FATAL(metadata_store_etcd_new(world.loop, &settings, &store, reason), ERROR_OK);
	settings.cert_file = settings.key_file = "";
	CU_ASSERT_EQUAL_FATAL(metadata_store_etcd_new(world.loop, &settings, &stranger, reason), ERROR_OK);
	struct seen seen = {.base = current_revision(store)};
	metadata_watch(store, bytes_of("tls/"), seen.base + 1, on_watch, &seen);
	put(store, "tls/1", "x", 0);
	WAIT_FOR(seen.events == 1);
	CU_ASSERT_NOT_EQUAL(put_error(stranger, "tls/2", 500), ERROR_OK);
	metadata_store_free(&store);
	metadata_store_free(&stranger);
	etcd_process_done(&secure);
}

static void test_password(void)
{
	static const char *const enable[][6] = {
		{"user", "add", "root:secret", NULL}, {"user", "grant-role", "root", "root", NULL}, {"auth", "enable", NULL}};
	static const char *const disable[] = {"--user", "root:secret", "auth", "disable", NULL};
	for (size_t i = 0; i < 3; i++)
		CU_ASSERT_FATAL(etcd_process_control(&etcd, enable[i]));
	struct seen seen = {0};
	struct metadata_store *store = world_open_etcd(etcd.endpoint, "root", "secret");
	struct metadata_store *wrong = world_open_etcd(etcd.endpoint, "root", "guess");
	seen.base = current_revision(store);
	metadata_watch(store, bytes_of("password/"), seen.base + 1, on_watch, &seen);
	put(store, "password/1", "x", 0);
	CU_ASSERT_EQUAL(put_error(wrong, "password/2", 3000), ERROR_PERMISSION);
	CU_ASSERT_EQUAL(put_error(world.stores[0], "password/2", 3000), ERROR_PERMISSION);
	WAIT_FOR(seen.events == 1);

	etcd_process_kill(&etcd); // with it the tokens
	etcd_process_start(&etcd);
	enum error error = put_error(store, "password/3", TIMEOUT_MS);
	while (unknown_outcome(error)) // sent before the connection was seen to be gone
		error = put_error(store, "password/3", TIMEOUT_MS);
	CU_ASSERT_EQUAL(error, ERROR_OK);
	WAIT_FOR(seen.events == 2);
	CU_ASSERT_STRING_EQUAL(seen.text, "+password/1=x@1 +password/3=x@2 ");
	metadata_store_free(&store);
	metadata_store_free(&wrong);
	CU_ASSERT(etcd_process_control(&etcd, disable));
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("metadata store on etcd", open_world, close_world);
	metadata_contract_add(suite);
	CU_add_test(suite, "restarts: nothing missed, nothing twice", test_restart);
	CU_add_test(suite, "killed with calls in flight", test_killed_in_flight);
	CU_add_test(suite, "paused", test_paused);
	CU_add_test(suite, "resync after compaction", test_compacted);
	CU_add_test(suite, "events in fragments", test_fragments);
	CU_add_test(suite, "next endpoint", test_next_endpoint);
	CU_add_test(suite, "free cancels", test_free_cancels);
	CU_add_test(suite, "settings refused", test_settings_refused);
	CU_add_test(suite, "tls", test_tls);
	CU_add_test(suite, "password", test_password);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
