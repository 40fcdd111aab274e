#pragma once
// For backends only: a call to the store as an object that waits in a queue, is executed and answered once.
// A request holds copies of its keys and holds on its slices; the backend that made it owns it until object_request_answer().

#include "common/base/list.h"
#include "common/storage/object_store.h"

enum object_request_kind { OBJECT_PUT, OBJECT_GET, OBJECT_HEAD, OBJECT_LIST, OBJECT_DELETE };

struct object_request {
	struct list link; // the backend's queue
	struct object_store *store;
	enum object_request_kind kind;
	uint64_t deadline_us; // DEADLINE_NEVER for a timeout of 0
	uint32_t timeout_ms;
	int note; // the backend's own

	// What is asked, by kind; keys are copies.
	char *key; // put, get, head: the key; list: the prefix
	char *after;
	char **keys; // delete
	size_t key_count;
	struct slice *parts;
	size_t part_count;
	bool if_absent;
	uint64_t position, len;
	size_t max; // 1 to OBJECT_LIST_MAX

	union {
		object_put_fn put;
		object_get_fn get;
		object_head_fn head;
		object_list_fn list;
		object_delete_fn deleted;
	} fn;
	void *ctx;

	// The answer. Malformed keys set the error at once: the backend answers without executing.
	enum error error;
	struct slice bytes;
	uint64_t size;
	struct object_info *objects; // keys are heap copies, owned
	size_t object_count, object_capacity;
	bool more;
};

// env gives the deadline.
struct object_request *object_request_put(struct object_store *store, const struct env *env, const char *key,
	const struct slice *parts, size_t part_count, bool if_absent, uint32_t timeout_ms, object_put_fn fn, void *ctx);
struct object_request *object_request_get(struct object_store *store, const struct env *env, const char *key, uint64_t position,
	uint64_t len, uint32_t timeout_ms, object_get_fn fn, void *ctx);
struct object_request *object_request_head(
	struct object_store *store, const struct env *env, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx);
struct object_request *object_request_list(struct object_store *store, const struct env *env, const char *prefix,
	const char *after, size_t max, uint32_t timeout_ms, object_list_fn fn, void *ctx);
struct object_request *object_request_delete(struct object_store *store, const struct env *env, const char *const *keys,
	size_t count, uint32_t timeout_ms, object_delete_fn fn, void *ctx);

// Adds a key that was found. false: the page is full, which sets more.
bool object_request_found(struct object_request *request, const char *key, uint64_t size, int64_t modified_ms);
// How much of an object of this size a get reads; ERROR_OFFSET_OUT_OF_RANGE past the end, ERROR_TOO_LARGE.
MUST_CHECK enum error object_request_extent(const struct object_request *request, uint64_t object_bytes, size_t *ret_len);
// Counts, calls the callback, frees and sets NULL. The callback may make further calls, and may free the store.
void object_request_answer(struct object_request **request);
// The two halves of it.
void object_request_call(struct object_request *request);
void object_request_free(struct object_request **request);

// Takes over url's directory, as object_store_open().
MUST_CHECK enum error object_store_directory_new(
	const char *root, struct loop *loop, struct object_store **ret_store, char reason[256]);
// A memory store that a real loop drives: nobody need call step().
struct object_store *object_store_memory_new_in_loop(struct loop *loop);

// The system calls that make a put durable; tests replace them to make them fail. Set only while no store is open.
struct object_store_directory_calls {
	int (*fsync)(int fd);
	int (*link)(int old_directory, const char *old_path, int new_directory, const char *new_path, int flags);
};
extern struct object_store_directory_calls object_store_directory_calls;
