// One contract, run against the directory and the memory backend; then what only one of them has.
#include "common/storage/object_store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/storage/object_store_backend.h"
#include "common/storage/object_store_memory.h"
#include "test_support.h"

enum { TIMEOUT_MS = 60000 };

struct fixture {
	struct loop *loop;
	struct object_store *store;
	char root[64]; // empty for memory
	struct prng prng;
};

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void fixture_reopen(struct fixture *fixture)
{
	char url[128], reason[256];
	snprintf(url, sizeof url, fixture->root[0] ? "file://%s/bucket" : "memory://", fixture->root);
	object_store_free(&fixture->store);
	CHECK(object_store_open(url, fixture->loop, &fixture->store, reason) == ERROR_OK);
}

static void fixture_init(struct fixture *fixture, bool directory)
{
	*fixture = (struct fixture){.loop = loop_new()};
	prng_init(&fixture->prng, 11);
	if (directory) {
		strcpy(fixture->root, "/tmp/weir-object-store-XXXXXX");
		CHECK(mkdtemp(fixture->root) != NULL);
	}
	fixture_reopen(fixture);
}

static void fixture_done(struct fixture *fixture)
{
	object_store_free(&fixture->store);
	loop_free(&fixture->loop);
	if (fixture->root[0])
		CHECK(nftw(fixture->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

static void fixture_path(const struct fixture *fixture, const char *name, char path[256])
{
	CHECK(snprintf(path, 256, "%s/bucket/%s", fixture->root, name) < 256);
}

static bool exists(const struct fixture *fixture, const char *name)
{
	char path[256];
	fixture_path(fixture, name, path);
	return access(path, F_OK) == 0;
}

static void on_both(void (*body)(struct fixture *fixture))
{
	for (int directory = 0; directory < 2; directory++) {
		struct fixture fixture;
		fixture_init(&fixture, directory);
		body(&fixture);
		fixture_done(&fixture);
	}
}

static void on_directory(void (*body)(struct fixture *fixture))
{
	struct fixture fixture;
	fixture_init(&fixture, true);
	body(&fixture);
	fixture_done(&fixture);
}

// ---- Calls that wait

struct answer {
	unsigned count;
	enum error error;
	struct slice bytes;
	uint64_t size;
	bool more;
	size_t object_count;
	char keys[OBJECT_LIST_MAX][48];
	uint64_t sizes[OBJECT_LIST_MAX];
	struct object_store **free_store; // the callback frees it
};

static void answered(struct answer *answer, enum error error)
{
	answer->count++;
	answer->error = error;
	if (answer->free_store)
		object_store_free(answer->free_store);
}

static void on_error(void *ctx, enum error error)
{
	answered(ctx, error);
}

static void on_get(void *ctx, enum error error, struct slice bytes)
{
	struct answer *answer = ctx;
	slice_done(&answer->bytes);
	if (!error)
		answer->bytes = slice_ref(bytes);
	answered(ctx, error);
}

static void on_head(void *ctx, enum error error, uint64_t size)
{
	struct answer *answer = ctx;
	answer->size = size;
	answered(ctx, error);
}

static void on_list(void *ctx, enum error error, const struct object_info *objects, size_t count, bool more)
{
	struct answer *answer = ctx;
	CHECK(count <= OBJECT_LIST_MAX);
	answer->object_count = count;
	answer->more = more;
	for (size_t i = 0; i < count; i++) {
		CHECK(objects[i].key.len < sizeof answer->keys[i]);
		snprintf(answer->keys[i], sizeof answer->keys[i], "%.*s", (int)objects[i].key.len, objects[i].key.data);
		answer->sizes[i] = objects[i].size;
		CU_ASSERT(objects[i].modified_ms > 1500000000000);
	}
	answered(ctx, error);
}

static enum error wait_for(struct fixture *fixture, struct answer *answer)
{
	CU_ASSERT_EQUAL(answer->count, 0); // never inside the call
	for (int turns = 0; !answer->count && turns < 10000; turns++)
		loop_turn(fixture->loop, 100);
	CHECK(answer->count == 1);
	return answer->error;
}

static enum error put(struct fixture *fixture, const char *key, const char *text, bool if_absent)
{
	struct answer answer = {0};
	struct slice part = slice_copy(bytes_of(text));
	object_put(fixture->store, key, &part, 1, if_absent, TIMEOUT_MS, on_error, &answer);
	slice_done(&part);
	return wait_for(fixture, &answer);
}

// The bytes live until the next get of this answer; the caller drops them.
static enum error get(struct fixture *fixture, const char *key, uint64_t position, uint64_t len, struct slice *ret_bytes)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	object_get(fixture->store, key, position, len, TIMEOUT_MS, on_get, answer);
	enum error error = wait_for(fixture, answer);
	*ret_bytes = answer->bytes;
	free(answer);
	return error;
}

static bool holds(struct fixture *fixture, const char *key, uint64_t position, uint64_t len, const char *expected)
{
	struct slice bytes;
	bool right =
		get(fixture, key, position, len, &bytes) == ERROR_OK && bytes_equal(slice_bytes(bytes), bytes_of(expected));
	slice_done(&bytes);
	return right;
}

static enum error head(struct fixture *fixture, const char *key, uint64_t *ret_size)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	object_head(fixture->store, key, TIMEOUT_MS, on_head, answer);
	enum error error = wait_for(fixture, answer);
	*ret_size = answer->size;
	free(answer);
	return error;
}

static enum error delete_keys(struct fixture *fixture, const char *const *keys, size_t count)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	object_delete_many(fixture->store, keys, count, TIMEOUT_MS, on_error, answer);
	enum error error = wait_for(fixture, answer);
	free(answer);
	return error;
}

// ---- The contract

static void put_and_get(struct fixture *fixture)
{
	uint64_t size = 0;
	struct slice bytes;
	CU_ASSERT_EQUAL(head(fixture, "a/b/c", &size), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(get(fixture, "a/b/c", 0, 0, &bytes), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(put(fixture, "a/b/c", "0123456789", true), ERROR_OK);
	CU_ASSERT_EQUAL(head(fixture, "a/b/c", &size), ERROR_OK);
	CU_ASSERT_EQUAL(size, 10);
	CU_ASSERT(holds(fixture, "a/b/c", 0, 0, "0123456789"));
	CU_ASSERT(holds(fixture, "a/b/c", 0, 4, "0123"));
	CU_ASSERT(holds(fixture, "a/b/c", 7, 3, "789"));
	CU_ASSERT(holds(fixture, "a/b/c", 7, 1000, "789"));
	CU_ASSERT(holds(fixture, "a/b/c", 4, 0, "456789"));
	CU_ASSERT_EQUAL(get(fixture, "a/b/c", 10, 1, &bytes), ERROR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(get(fixture, "a/b/c", UINT64_MAX, 1, &bytes), ERROR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(get(fixture, "a/b", 0, 0, &bytes), ERROR_NOT_FOUND); // a directory is no object
	CU_ASSERT_EQUAL(head(fixture, "a/b", &size), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(get(fixture, "a/b/c/d", 0, 0, &bytes), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(put(fixture, "empty", "", true), ERROR_OK);
	CU_ASSERT(holds(fixture, "empty", 0, 0, ""));
	CU_ASSERT_EQUAL(put(fixture, "a/b/c", "new", true), ERROR_ALREADY_EXISTS);
	CU_ASSERT(holds(fixture, "a/b/c", 0, 0, "0123456789"));
	CU_ASSERT_EQUAL(put(fixture, "a/b/c", "new", false), ERROR_OK);
	CU_ASSERT(holds(fixture, "a/b/c", 0, 0, "new"));
}

static void many_parts(struct fixture *fixture)
{
	enum { PARTS = 300 };
	struct slice parts[PARTS];
	char expected[PARTS * 8] = "";
	for (size_t i = 0; i < PARTS; i++) {
		char text[8];
		snprintf(text, sizeof text, "%zu,", i);
		if (i % 7 == 0) // some are empty
			text[0] = '\0';
		parts[i] = slice_copy(bytes_of(text));
		strcat(expected, text);
	}
	struct answer *answer = memory_zalloc(sizeof *answer);
	object_put(fixture->store, "parts", parts, PARTS, false, TIMEOUT_MS, on_error, answer);
	for (size_t i = 0; i < PARTS; i++)
		slice_done(&parts[i]);
	CU_ASSERT_EQUAL(wait_for(fixture, answer), ERROR_OK);
	CU_ASSERT(holds(fixture, "parts", 0, 0, expected));
	free(answer);
	answer = memory_zalloc(sizeof *answer);
	object_put(fixture->store, "none", NULL, 0, false, TIMEOUT_MS, on_error, answer);
	CU_ASSERT_EQUAL(wait_for(fixture, answer), ERROR_OK);
	CU_ASSERT(holds(fixture, "none", 0, 0, ""));
	free(answer);
}

static void one_winner(struct fixture *fixture)
{
	enum { PUTS = 8, ROUNDS = 20 };
	for (int round = 0; round < ROUNDS; round++) {
		struct answer *answers = memory_zalloc(PUTS * sizeof *answers);
		char key[32], text[2] = "?", expected[2] = "?";
		unsigned done = 0, won = 0, lost = 0;
		snprintf(key, sizeof key, "race/%d/object", round);
		for (int i = 0; i < PUTS; i++) {
			text[0] = (char)('0' + i);
			struct slice part = slice_copy(bytes_of(text));
			object_put(fixture->store, key, &part, 1, true, TIMEOUT_MS, on_error, &answers[i]);
			slice_done(&part);
		}
		for (int turns = 0; done < PUTS && turns < 10000; turns++) {
			loop_turn(fixture->loop, 100);
			done = 0;
			for (int i = 0; i < PUTS; i++)
				done += answers[i].count;
		}
		for (int i = 0; i < PUTS; i++) {
			if (answers[i].error == ERROR_OK)
				expected[0] = (char)('0' + i);
			won += answers[i].error == ERROR_OK;
			lost += answers[i].error == ERROR_ALREADY_EXISTS;
		}
		CU_ASSERT_EQUAL(done, PUTS);
		CU_ASSERT_EQUAL(won, 1);
		CU_ASSERT_EQUAL(lost, PUTS - 1);
		CU_ASSERT(holds(fixture, key, 0, 0, expected));
		free(answers);
	}
}

static int text_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

enum { KEYS_MAX = 400, KEY_SIZE = 48 };

// Directories and objects never share a name: objects end in f. The bytes around '/' are what makes the order interesting.
static size_t make_keys(struct fixture *fixture, char (*keys)[KEY_SIZE])
{
	static const char *const parts[] = {"a", "a-", "a.", "a0", "aa", "A", "a@", "b", "_"};
	size_t count = 0;
	for (size_t i = 0; i < KEYS_MAX; i++) {
		char key[KEY_SIZE] = "";
		for (uint64_t depth = prng_below(&fixture->prng, 4); depth; depth--) {
			strcat(key, parts[prng_below(&fixture->prng, 9)]);
			strcat(key, "/");
		}
		strcat(key, parts[prng_below(&fixture->prng, 9)]);
		strcat(key, "f");
		bool known = false;
		for (size_t k = 0; k < count; k++)
			known = known || strcmp(keys[k], key) == 0;
		if (!known)
			strcpy(keys[count++], key);
	}
	for (size_t i = 0; i < count; i++)
		CU_ASSERT_EQUAL(put(fixture, keys[i], keys[i], true), ERROR_OK);
	qsort(keys, count, KEY_SIZE, text_order);
	return count;
}

// Reads all pages and compares with the sorted keys.
static bool pages_right(
	struct fixture *fixture, char (*keys)[KEY_SIZE], size_t count, const char *prefix, const char *after, size_t max)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	size_t at = 0, wrong = 0;
	char last[KEY_SIZE];
	snprintf(last, sizeof last, "%s", after);
	do {
		answer->count = 0;
		object_list(fixture->store, prefix, last, max, TIMEOUT_MS, on_list, answer);
		wrong += wait_for(fixture, answer) != ERROR_OK || answer->object_count > max;
		wrong += answer->more && answer->object_count != max;
		for (size_t i = 0; i < answer->object_count; i++) {
			while (at < count && (strncmp(keys[at], prefix, strlen(prefix)) != 0 || strcmp(keys[at], after) <= 0))
				at++;
			wrong += at == count || strcmp(keys[at], answer->keys[i]) != 0 || answer->sizes[i] != strlen(keys[at]);
			at += at < count;
			snprintf(last, sizeof last, "%s", answer->keys[i]);
		}
	} while (answer->more && !wrong);
	for (; at < count; at++)
		wrong += strncmp(keys[at], prefix, strlen(prefix)) == 0 && strcmp(keys[at], after) > 0;
	if (wrong)
		printf("list prefix=%s after=%s max=%zu\n", prefix, after, max);
	free(answer);
	return !wrong;
}

static void lists(struct fixture *fixture)
{
	char(*keys)[KEY_SIZE] = memory_zalloc(KEYS_MAX * KEY_SIZE);
	CU_ASSERT(pages_right(fixture, keys, 0, "", "", 10));
	size_t count = make_keys(fixture, keys);
	CU_ASSERT(count > 200);
	CU_ASSERT(pages_right(fixture, keys, count, "", "", 1000));
	CU_ASSERT(pages_right(fixture, keys, count, "", "", count));
	CU_ASSERT(pages_right(fixture, keys, count, "", "", 1));
	CU_ASSERT(pages_right(fixture, keys, count, "nothing/here", "", 7));
	CU_ASSERT(pages_right(fixture, keys, count, keys[0], "", 7));
	for (int i = 0; i < 300; i++) {
		char prefix[KEY_SIZE] = "", after[KEY_SIZE] = "";
		const char *from = keys[prng_below(&fixture->prng, count)];
		const char *behind = keys[prng_below(&fixture->prng, count)];
		if (i % 3)
			snprintf(prefix, 1 + prng_below(&fixture->prng, strlen(from) + 1), "%s", from);
		if (i % 4)
			snprintf(after, 1 + prng_below(&fixture->prng, strlen(behind) + 1), "%s", behind);
		CU_ASSERT(pages_right(fixture, keys, count, prefix, after, 1 + prng_below(&fixture->prng, 60)));
	}
	free(keys);
}

static void pages_are_capped(struct fixture *fixture)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	for (int i = 0; i <= OBJECT_LIST_MAX; i++) {
		char key[32];
		snprintf(key, sizeof key, "many/%04d", i);
		object_put(fixture->store, key, NULL, 0, false, TIMEOUT_MS, on_error, answer);
	}
	for (int turns = 0; answer->count <= OBJECT_LIST_MAX && turns < 10000; turns++)
		loop_turn(fixture->loop, 100);
	answer->count = 0;
	object_list(fixture->store, "many/", "", 1 << 20, TIMEOUT_MS, on_list, answer);
	CU_ASSERT_EQUAL(wait_for(fixture, answer), ERROR_OK);
	CU_ASSERT_EQUAL(answer->object_count, OBJECT_LIST_MAX);
	CU_ASSERT(answer->more);
	free(answer);
}

static void deletes(struct fixture *fixture)
{
	uint64_t size;
	const char *keys[] = {"x/1", "x/y/2", "absent", "absent/too", "3", "x/1"};
	CU_ASSERT_EQUAL(put(fixture, "x/1", "", true), ERROR_OK);
	CU_ASSERT_EQUAL(put(fixture, "x/y/2", "", true), ERROR_OK);
	CU_ASSERT_EQUAL(put(fixture, "x/y/4", "", true), ERROR_OK);
	CU_ASSERT_EQUAL(put(fixture, "3", "", true), ERROR_OK);
	CU_ASSERT_EQUAL(delete_keys(fixture, keys, 6), ERROR_OK);
	CU_ASSERT_EQUAL(delete_keys(fixture, keys, 6), ERROR_OK);
	CU_ASSERT_EQUAL(delete_keys(fixture, NULL, 0), ERROR_OK);
	CU_ASSERT_EQUAL(head(fixture, "x/1", &size), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(head(fixture, "x/y/2", &size), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(head(fixture, "3", &size), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(head(fixture, "x/y/4", &size), ERROR_OK);
	CU_ASSERT_EQUAL(put(fixture, "x/1", "again", true), ERROR_OK);
}

static void refuses_keys(struct fixture *fixture)
{
	char long_component[300], long_key[1000];
	memset(long_component, 'c', sizeof long_component);
	long_component[256] = '\0';
	for (size_t i = 0; i < sizeof long_key; i++)
		long_key[i] = i % 100 == 99 ? '/' : 'k';
	long_key[901] = '\0';
	const char *keys[] = {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/../b", "./a", ".tmp/x", "a/.hidden", "a b",
		"a\nb", "\xc3\xa9", "a+b", "a:b", long_component, long_key};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		struct slice bytes;
		uint64_t size;
		CU_ASSERT(!object_key_valid(keys[i]));
		CU_ASSERT_EQUAL(put(fixture, keys[i], "x", false), ERROR_MALFORMED);
		CU_ASSERT_EQUAL(get(fixture, keys[i], 0, 0, &bytes), ERROR_MALFORMED);
		CU_ASSERT_EQUAL(head(fixture, keys[i], &size), ERROR_MALFORMED);
		CU_ASSERT_EQUAL(delete_keys(fixture, &keys[i], 1), ERROR_MALFORMED);
	}
	long_component[255] = '\0';
	long_key[899] = '\0';
	CU_ASSERT(object_key_valid(long_component));
	CU_ASSERT(object_key_valid("mixed/2023111422/name@0-_.Z"));
	CU_ASSERT_EQUAL(put(fixture, long_component, "x", true), ERROR_OK);
	CU_ASSERT_EQUAL(put(fixture, long_key, "x", true), ERROR_OK);
	CU_ASSERT(holds(fixture, long_key, 0, 0, "x"));
}

static void counts(struct fixture *fixture)
{
	struct slice bytes;
	uint64_t size;
	const char *keys[] = {"a", "b"};
	struct answer *answer = memory_zalloc(sizeof *answer);
	CU_ASSERT_EQUAL(put(fixture, "a", "12345", true), ERROR_OK);
	CU_ASSERT_EQUAL(put(fixture, "a", "12345", true), ERROR_ALREADY_EXISTS);
	CU_ASSERT_EQUAL(put(fixture, "..", "1", true), ERROR_MALFORMED);
	CU_ASSERT(holds(fixture, "a", 1, 3, "234"));
	CU_ASSERT_EQUAL(get(fixture, "b", 0, 0, &bytes), ERROR_NOT_FOUND);
	CU_ASSERT_EQUAL(head(fixture, "a", &size), ERROR_OK);
	CU_ASSERT_EQUAL(delete_keys(fixture, keys, 2), ERROR_OK);
	object_list(fixture->store, "", "", 10, TIMEOUT_MS, on_list, answer);
	CU_ASSERT_EQUAL(wait_for(fixture, answer), ERROR_OK);
	const struct object_store_counters *counters = &fixture->store->counters;
	CU_ASSERT(counters->puts == 3 && counters->put_bytes == 11 && counters->put_errors == 1);
	CU_ASSERT(counters->gets == 2 && counters->get_bytes == 3 && counters->get_errors == 0);
	CU_ASSERT(counters->heads == 1 && counters->lists == 1 && counters->deletes == 1 && counters->deleted_objects == 2);
	CU_ASSERT(counters->other_errors == 0);
	struct metrics *metrics = metrics_new();
	struct buffer page;
	buffer_init(&page, 1 << 20);
	object_store_metrics(fixture->store, metrics);
	metrics_render(metrics, "test", &page);
	buffer_u8(&page, 0);
	CU_ASSERT(strstr((const char *)page.data, "object_store_requests_total{kind=\"put\"} 3\n") != NULL);
	buffer_done(&page);
	metrics_free(&metrics);
	free(answer);
}

// What waits is canceled, what has started ends; each answers once.
static void freed_while_busy(struct fixture *fixture)
{
	enum { CALLS = 200 };
	struct answer *answers = memory_zalloc(CALLS * sizeof *answers);
	CU_ASSERT_EQUAL(put(fixture, "a", "12345", true), ERROR_OK);
	for (int i = 0; i < CALLS; i++)
		object_get(fixture->store, "a", 0, 0, TIMEOUT_MS, on_get, &answers[i]);
	object_store_free(&fixture->store);
	unsigned wrong = 0;
	for (int i = 0; i < CALLS; i++) {
		wrong += answers[i].count != 1 || (answers[i].error != ERROR_OK && answers[i].error != ERROR_CANCELED);
		slice_done(&answers[i].bytes);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	loop_turn(fixture->loop, 0);
	free(answers);
}

static void freed_in_callback(struct fixture *fixture)
{
	enum { CALLS = 50 };
	struct answer *answers = memory_zalloc(CALLS * sizeof *answers);
	for (int i = 0; i < CALLS; i++)
		object_head(fixture->store, "a", TIMEOUT_MS, on_head, &answers[i]);
	answers[0].free_store = &fixture->store;
	unsigned count = 0;
	for (int turns = 0; !answers[0].count && turns < 10000; turns++)
		loop_turn(fixture->loop, 100);
	for (int i = 0; i < CALLS; i++)
		count += answers[i].count;
	CU_ASSERT_EQUAL(count, CALLS);
	CU_ASSERT(fixture->store == NULL);
	loop_turn(fixture->loop, 0);
	free(answers);
}

static void test_put_and_get(void)
{
	on_both(put_and_get);
}
static void test_many_parts(void)
{
	on_both(many_parts);
}
static void test_one_winner(void)
{
	on_both(one_winner);
}
static void test_lists(void)
{
	on_both(lists);
}
static void test_pages_are_capped(void)
{
	on_both(pages_are_capped);
}
static void test_deletes(void)
{
	on_both(deletes);
}
static void test_refuses_keys(void)
{
	on_both(refuses_keys);
}
static void test_counts(void)
{
	on_both(counts);
}
static void test_freed_while_busy(void)
{
	on_both(freed_while_busy);
}
static void test_freed_in_callback(void)
{
	on_both(freed_in_callback);
}

// ---- The directory

static size_t temp_count(const struct fixture *fixture)
{
	char command[320], path[256];
	fixture_path(fixture, ".tmp", path);
	snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
	FILE *pipe = popen(command, "r");
	unsigned count = 0;
	CHECK(pipe != NULL && fscanf(pipe, "%u", &count) == 1);
	pclose(pipe);
	return count;
}

static atomic_int fsync_calls;
static atomic_int fsync_fails_at; // the n-th, from 1

static int fsync_failing(int fd)
{
	if (atomic_fetch_add(&fsync_calls, 1) + 1 != fsync_fails_at)
		return fsync(fd);
	errno = EIO;
	return -1;
}

// Every fsync of a put in turn: file, parents top down, the object's directory.
static void put_survives_no_failed_sync(struct fixture *fixture)
{
	enum { SYNCS = 4 }; // file; root for "x<n>"; x<n> for "y"; y for the object
	for (int at = 1; at <= SYNCS + 1; at++) {
		char key[32];
		uint64_t size;
		snprintf(key, sizeof key, "x%d/y/object", at);
		fsync_calls = 0;
		fsync_fails_at = at;
		CU_ASSERT_EQUAL(put(fixture, key, "content", true), at <= SYNCS ? ERROR_STORAGE : ERROR_OK);
		CU_ASSERT_EQUAL(temp_count(fixture), 0);
		CU_ASSERT_EQUAL(fsync_calls, at <= SYNCS ? at : SYNCS); // nothing is synced again
		// Before the link there is nothing; after it the outcome is unknown, and a repeat tells.
		if (at < SYNCS)
			CU_ASSERT_EQUAL(head(fixture, key, &size), ERROR_NOT_FOUND);
		fsync_fails_at = 0;
		CU_ASSERT_EQUAL(put(fixture, key, "content", true), at < SYNCS ? ERROR_OK : ERROR_ALREADY_EXISTS);
		CU_ASSERT(holds(fixture, key, 0, 0, "content"));
	}
}

static void test_failed_sync(void)
{
	object_store_directory_calls.fsync = fsync_failing;
	on_directory(put_survives_no_failed_sync);
	object_store_directory_calls.fsync = fsync;
}

// Who is told that a key is taken relies on that object: it must be on disk by then.
static void taken_key_is_synced(struct fixture *fixture)
{
	CU_ASSERT_EQUAL(put(fixture, "d/object", "1", true), ERROR_OK);
	fsync_calls = 0;
	fsync_fails_at = 2; // of the directory
	CU_ASSERT_EQUAL(put(fixture, "d/object", "2", true), ERROR_STORAGE);
	fsync_fails_at = 0;
	CU_ASSERT_EQUAL(put(fixture, "d/object", "2", true), ERROR_ALREADY_EXISTS);
	CU_ASSERT(holds(fixture, "d/object", 0, 0, "1"));
	CU_ASSERT_EQUAL(temp_count(fixture), 0);
}

static void test_taken_key_is_synced(void)
{
	object_store_directory_calls.fsync = fsync_failing;
	on_directory(taken_key_is_synced);
	object_store_directory_calls.fsync = fsync;
}

static void delete_is_synced(struct fixture *fixture)
{
	const char *keys[] = {"d/1", "e/1", "d/2"};
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(put(fixture, keys[i], "", true), ERROR_OK);
	fsync_calls = 0;
	fsync_fails_at = 2;
	CU_ASSERT_EQUAL(delete_keys(fixture, keys, 3), ERROR_STORAGE);
	CU_ASSERT_EQUAL(fsync_calls, 2); // each directory once
	fsync_fails_at = 0;
	CU_ASSERT_EQUAL(delete_keys(fixture, keys, 3), ERROR_OK);
}

static void test_delete_is_synced(void)
{
	object_store_directory_calls.fsync = fsync_failing;
	on_directory(delete_is_synced);
	object_store_directory_calls.fsync = fsync;
}

static atomic_int link_number;

static int link_failing(int old_directory, const char *old_path, int new_directory, const char *new_path, int flags)
{
	(void)old_directory;
	(void)old_path;
	(void)new_directory;
	(void)new_path;
	(void)flags;
	errno = link_number;
	return -1;
}

static void failed_link(struct fixture *fixture)
{
	link_number = ENOSPC;
	CU_ASSERT_EQUAL(put(fixture, "d/object", "1", true), ERROR_STORAGE);
	link_number = EACCES;
	CU_ASSERT_EQUAL(put(fixture, "d/object", "1", true), ERROR_PERMISSION);
	link_number = ENOENT;
	CU_ASSERT_EQUAL(put(fixture, "d/object", "1", true), ERROR_STORAGE);
	CU_ASSERT_EQUAL(temp_count(fixture), 0);
	CU_ASSERT(!exists(fixture, "d/object"));
}

static void test_failed_link(void)
{
	object_store_directory_calls.link = link_failing;
	on_directory(failed_link);
	object_store_directory_calls.link = linkat;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int fsync_gated(int fd)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return fsync(fd);
}

// All threads hang in the disk: what waits answers at its deadline and never happens; what has started tells the truth.
static void times_out_in_queue(struct fixture *fixture)
{
	enum { PUTS = 12, THREADS = 4 };
	struct answer *answers = memory_zalloc(PUTS * sizeof *answers);
	pthread_mutex_lock(&gate);
	unsigned expired = 0, done = 0;
	for (int i = 0; i < PUTS; i++) {
		char key[32];
		snprintf(key, sizeof key, "queue/%d", i);
		object_put(
			fixture->store, key, NULL, 0, true, i < THREADS ? TIMEOUT_MS : 30 + (uint32_t)i, on_error, &answers[i]);
	}
	for (int turns = 0; expired < PUTS - THREADS && turns < 10000; turns++) {
		loop_turn(fixture->loop, 1000);
		expired = 0;
		for (int i = 0; i < PUTS; i++)
			expired += answers[i].count && answers[i].error == ERROR_TIMED_OUT;
	}
	CU_ASSERT_EQUAL(expired, PUTS - THREADS);
	pthread_mutex_unlock(&gate);
	for (int turns = 0; done < THREADS && turns < 10000; turns++) {
		loop_turn(fixture->loop, 100);
		done = 0;
		for (int i = 0; i < THREADS; i++)
			done += answers[i].count && answers[i].error == ERROR_OK;
	}
	for (int i = 0; i < PUTS; i++) {
		char key[32];
		uint64_t size;
		snprintf(key, sizeof key, "queue/%d", i);
		CU_ASSERT_EQUAL(answers[i].count, 1);
		CU_ASSERT_EQUAL(head(fixture, key, &size), i < THREADS ? ERROR_OK : ERROR_NOT_FOUND);
	}
	free(answers);
}

static void test_times_out_in_queue(void)
{
	object_store_directory_calls.fsync = fsync_gated;
	on_directory(times_out_in_queue);
	object_store_directory_calls.fsync = fsync;
}

static void leave_file(const struct fixture *fixture, const char *name, time_t age_s)
{
	char path[256];
	fixture_path(fixture, name, path);
	int fd = open(path, O_CREAT | O_WRONLY, 0666);
	CHECK(fd >= 0 && write(fd, "half", 4) == 4);
	struct timespec times[2] = {{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};
	CHECK(futimens(fd, times) == 0 && close(fd) == 0);
}

static void sweeps_temp(struct fixture *fixture)
{
	leave_file(fixture, ".tmp/old", 2 * 3600);
	leave_file(fixture, ".tmp/young", 60);
	struct answer *answer = memory_zalloc(sizeof *answer);
	object_list(fixture->store, "", "", 10, TIMEOUT_MS, on_list, answer);
	CU_ASSERT_EQUAL(wait_for(fixture, answer), ERROR_OK);
	CU_ASSERT_EQUAL(answer->object_count, 0); // temp files are no objects
	free(answer);
	fixture_reopen(fixture);
	CU_ASSERT(!exists(fixture, ".tmp/old"));
	CU_ASSERT(exists(fixture, ".tmp/young"));
}

static void test_sweeps_temp(void)
{
	on_directory(sweeps_temp);
}

static void survives_reopen(struct fixture *fixture)
{
	CU_ASSERT_EQUAL(put(fixture, "a/b", "1", true), ERROR_OK);
	fixture_reopen(fixture);
	CU_ASSERT(holds(fixture, "a/b", 0, 0, "1"));
	CU_ASSERT_EQUAL(put(fixture, "a/b", "2", true), ERROR_ALREADY_EXISTS);
	// Somebody cleans up behind our back.
	const char *keys[] = {"a/b"};
	char path[256];
	CU_ASSERT_EQUAL(delete_keys(fixture, keys, 1), ERROR_OK);
	fixture_path(fixture, "a", path);
	CU_ASSERT_EQUAL(rmdir(path), 0);
	CU_ASSERT_EQUAL(put(fixture, "a/b", "3", true), ERROR_OK);
	CU_ASSERT(holds(fixture, "a/b", 0, 0, "3"));
	// An object cannot be a directory, nor the other way round; a repeat would not help.
	CU_ASSERT_EQUAL(put(fixture, "a/b/c", "4", true), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(put(fixture, "a", "5", false), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(temp_count(fixture), 0);
}

static void test_survives_reopen(void)
{
	on_directory(survives_reopen);
}

static enum error open_url(struct fixture *fixture, const char *url, char reason[256])
{
	struct object_store *store = NULL;
	enum error error = object_store_open(url, fixture->loop, &store, reason);
	CU_ASSERT((store != NULL) == (error == ERROR_OK));
	object_store_free(&store);
	return error;
}

static void refuses_urls(struct fixture *fixture)
{
	char reason[256] = "", url[256], path[256];
	CU_ASSERT_EQUAL(open_url(fixture, "s3://bucket/prefix", reason), ERROR_MALFORMED);
	CU_ASSERT(strstr(reason, "not in this version") != NULL);
	CU_ASSERT_EQUAL(open_url(fixture, "file://relative", reason), ERROR_MALFORMED);
	CU_ASSERT(strstr(reason, "absolute") != NULL);
	CU_ASSERT_EQUAL(open_url(fixture, "ftp://x", reason), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(open_url(fixture, "", reason), ERROR_MALFORMED);

	leave_file(fixture, "file", 0);
	fixture_path(fixture, "file", path);
	snprintf(url, sizeof url, "file://%.200s/deeper", path);
	CU_ASSERT_EQUAL(open_url(fixture, url, reason), ERROR_STORAGE);
	CU_ASSERT(strstr(reason, "Not a directory") != NULL && strstr(reason, path) != NULL);

	// New parents are made; trailing slashes are no matter.
	fixture_path(fixture, "deep/er/root//", path);
	snprintf(url, sizeof url, "file://%.200s", path);
	CU_ASSERT_EQUAL(open_url(fixture, url, reason), ERROR_OK);
	CU_ASSERT(exists(fixture, "deep/er/root/.tmp"));

	fixture_path(fixture, "closed", path);
	CHECK(mkdir(path, 0555) == 0 && chmod(fixture->root, 0755) == 0);
	uid_t user = geteuid();
	if (user == 0) // root may write everywhere
		CHECK(seteuid(65534) == 0);
	snprintf(url, sizeof url, "file://%.200s", path);
	CU_ASSERT_EQUAL(open_url(fixture, url, reason), ERROR_PERMISSION);
	CU_ASSERT(strstr(reason, path) != NULL && strstr(reason, "Permission denied") != NULL);
	snprintf(url, sizeof url, "file://%.200s/sub", path);
	CU_ASSERT_EQUAL(open_url(fixture, url, reason), ERROR_PERMISSION);
	CHECK(seteuid(user) == 0);
}

static void test_refuses_urls(void)
{
	on_directory(refuses_urls);
}

// ---- Memory

static enum object_fault fault_at(void *ctx, uint64_t call_number)
{
	const enum object_fault *faults = ctx;
	return faults[call_number];
}

static void memory_put_text(
	struct object_store *store, const char *key, const char *text, uint32_t timeout_ms, struct answer *answer)
{
	struct slice part = slice_copy(bytes_of(text));
	object_put(store, key, &part, 1, true, timeout_ms, on_error, answer);
	slice_done(&part);
}

static enum error memory_head(struct object_store *store, const char *key)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	object_head(store, key, 0, on_head, answer);
	(void)object_store_memory_step(store);
	CHECK(answer->count == 1);
	enum error error = answer->error;
	free(answer);
	return error;
}

static void test_memory_faults(void)
{
	static const enum object_fault faults[] = {OBJECT_FAULT_BEFORE, OBJECT_FAULT_AFTER, OBJECT_FAULT_HANG,
		OBJECT_FAULT_THROTTLE, OBJECT_FAULT_LATE, OBJECT_FAULT_NONE};
	struct env env = {.now_us = 1000, .wall_ms = 1700000000000};
	struct object_store *store = object_store_memory_new(&env);
	struct object_store *other = object_store_memory_attach(store, &env);
	object_store_memory_script(store, fault_at, (void *)(uintptr_t)faults);
	struct answer *answers = memory_zalloc(6 * sizeof *answers);
	char keys[6][2] = {"a", "b", "c", "d", "e", "f"};
	for (int i = 0; i < 6; i++)
		memory_put_text(store, keys[i], "x", 10, &answers[i]);
	CU_ASSERT_EQUAL(object_store_memory_step(store), 11000); // the first deadline
	CU_ASSERT_EQUAL(answers[0].error, ERROR_STORAGE);
	CU_ASSERT_EQUAL(answers[1].error, ERROR_DISCONNECTED);
	CU_ASSERT_EQUAL(answers[2].count, 0);
	CU_ASSERT_EQUAL(answers[3].error, ERROR_THROTTLED);
	CU_ASSERT_EQUAL(answers[4].count, 0);
	CU_ASSERT(answers[5].count == 1 && answers[5].error == ERROR_OK);
	env.now_us = 11000;
	CU_ASSERT_EQUAL(object_store_memory_step(store), 21000); // the late one
	CU_ASSERT(answers[2].count == 1 && answers[2].error == ERROR_TIMED_OUT);
	CU_ASSERT(answers[4].count == 1 && answers[4].error == ERROR_TIMED_OUT);
	CU_ASSERT_EQUAL(memory_head(other, "e"), ERROR_NOT_FOUND);
	env.now_us = 21000;
	CU_ASSERT_EQUAL(object_store_memory_step(store), DEADLINE_NEVER);
	static const enum error found[6] = {ERROR_NOT_FOUND, ERROR_OK, ERROR_NOT_FOUND, ERROR_NOT_FOUND, ERROR_OK, ERROR_OK};
	for (int i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(memory_head(other, keys[i]), found[i]);
	CU_ASSERT_EQUAL(store->counters.put_errors, 5);
	object_store_free(&store);
	CU_ASSERT_EQUAL(memory_head(other, "f"), ERROR_OK); // the bucket outlives its first handle
	object_store_free(&other);
	free(answers);
}

static const struct test_case cases[] = {
	{"put, get, head", test_put_and_get},
	{"many parts", test_many_parts},
	{"one winner of eight", test_one_winner},
	{"lists", test_lists},
	{"pages are capped", test_pages_are_capped},
	{"deletes", test_deletes},
	{"refuses keys", test_refuses_keys},
	{"counts", test_counts},
	{"freed while busy", test_freed_while_busy},
	{"freed in a callback", test_freed_in_callback},
	{"directory: a put with a failed fsync fails", test_failed_sync},
	{"directory: a taken key is on disk", test_taken_key_is_synced},
	{"directory: a delete is on disk", test_delete_is_synced},
	{"directory: a failed link leaves nothing", test_failed_link},
	{"directory: time-outs while waiting", test_times_out_in_queue},
	{"directory: what a crash left", test_sweeps_temp},
	{"directory: reopened, and changed by others", test_survives_reopen},
	{"directory: URLs and directories that cannot be", test_refuses_urls},
	{"memory: scripted faults", test_memory_faults},
};

int main(void)
{
	return TEST_MAIN("object store", cases);
}
