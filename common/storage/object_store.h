#pragma once
// The object store as all daemons see it: immutable objects under slash-separated keys, with S3's semantics. Asynchronous:
// every call answers exactly once through its callback, in the loop's thread, never inside the call itself.
//
// Backends: file:///directory (object_store_directory.c, the embedded default), memory (object_store_memory.c, scripted faults,
// for tests and simulation); S3 follows the same struct. A store that cannot be reached is an error: there is no fallback.
//
// Bounds: requests in flight a backend (the rest wait in order), bytes a get, keys a page.
// Keys: bytes of [A-Za-z0-9._@/-], no component that is empty or begins with ".", at most 255 bytes a component and 900 in all;
// anything else is ERROR_MALFORMED. A key is never the directory of another: a/b and a/b/c cannot both exist in file:///.
// timeout_ms 0: wait for ever.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/block.h"
#include "common/base/bytes.h"
#include "common/base/env.h"
#include "common/base/error.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

struct object_store;

enum {
	OBJECT_LIST_MAX = 1000,           // keys a page, as S3
	OBJECT_GET_BYTES_MAX = 256 << 20, // one get; more is ERROR_TOO_LARGE
};

struct object_info {
	struct bytes key; // relative to the store's prefix
	uint64_t size;
	int64_t modified_ms;
};

typedef void (*object_put_fn)(void *ctx, enum error error);
// bytes is borrowed for the call (slice_ref to keep); shorter than asked where the object ends.
typedef void (*object_get_fn)(void *ctx, enum error error, struct slice bytes);
typedef void (*object_head_fn)(void *ctx, enum error error, uint64_t size);
// In byte order of the keys. more: ask again after the last key.
typedef void (*object_list_fn)(void *ctx, enum error error, const struct object_info *objects, size_t count, bool more);
typedef void (*object_delete_fn)(void *ctx, enum error error);

// What is asked for costs money: this is the bill. NOT_FOUND, ALREADY_EXISTS and OFFSET_OUT_OF_RANGE are no errors.
struct object_store_counters {
	uint64_t puts, put_bytes, put_errors, put_retries;
	uint64_t gets, get_bytes, get_errors, get_retries;
	uint64_t heads, lists, deletes, deleted_objects, other_errors;
};

struct object_store_ops {
	// parts are held until the answer. if_absent: ERROR_ALREADY_EXISTS if the key is taken (If-None-Match: *).
	void (*put)(struct object_store *store, const char *key, const struct slice *parts, size_t part_count, bool if_absent,
		uint32_t timeout_ms, object_put_fn fn, void *ctx);
	// len 0: to the end (only for objects known to be small). At or past the end: ERROR_OFFSET_OUT_OF_RANGE, but for len 0
	// at the end, which reads nothing.
	void (*get)(struct object_store *store, const char *key, uint64_t position, uint64_t len, uint32_t timeout_ms,
		object_get_fn fn, void *ctx);
	void (*head)(struct object_store *store, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx);
	// Keys that begin with prefix (which may end anywhere, also in a component) and come after `after` ("" for the first
	// page), at most max, and never more than OBJECT_LIST_MAX.
	void (*list)(struct object_store *store, const char *prefix, const char *after, size_t max, uint32_t timeout_ms,
		object_list_fn fn, void *ctx);
	// Absent keys count as deleted.
	void (*delete_many)(struct object_store *store, const char *const *keys, size_t count, uint32_t timeout_ms,
		object_delete_fn fn, void *ctx);
	void (*free)(struct object_store *store); // calls in flight answer ERROR_CANCELED first
};

struct object_store {
	const struct object_store_ops *ops;
	struct object_store_counters counters;
};

// url: file:///absolute/directory or memory://. ERROR_MALFORMED: unknown scheme; ERROR_PERMISSION, ERROR_STORAGE: the
// directory cannot be made or written. ret_reason says in one line what is wrong (static or owned by the caller's arena).
MUST_CHECK enum error object_store_open(const char *url, struct loop *loop, struct object_store **ret_store, char reason[256]);
void object_store_free(struct object_store **store);
// Registers the counters as object_store_requests_total{kind="put"}, object_store_bytes_total{…}, object_store_errors_total{…}.
void object_store_metrics(struct object_store *store, struct metrics *metrics);

bool object_key_valid(const char *key);

void object_put(struct object_store *store, const char *key, const struct slice *parts, size_t part_count, bool if_absent,
	uint32_t timeout_ms, object_put_fn fn, void *ctx);
void object_get(struct object_store *store, const char *key, uint64_t position, uint64_t len, uint32_t timeout_ms,
	object_get_fn fn, void *ctx);
void object_head(struct object_store *store, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx);
void object_list(struct object_store *store, const char *prefix, const char *after, size_t max, uint32_t timeout_ms,
	object_list_fn fn, void *ctx);
void object_delete_many(
	struct object_store *store, const char *const *keys, size_t count, uint32_t timeout_ms, object_delete_fn fn, void *ctx);
