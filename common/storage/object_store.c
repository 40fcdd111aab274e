// What all backends share: keys, the bill, and requests as objects.
#include "common/storage/object_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/storage/object_store_backend.h"
#include "common/storage/object_store_memory.h"

enum { KEY_BYTES_MAX = 900, KEY_COMPONENT_BYTES_MAX = 255 };

static bool key_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	       (byte != '\0' && strchr("._@-", byte));
}

bool object_key_valid(const char *key)
{
	size_t component = 0; // bytes of it so far
	size_t len = 0;
	for (; key[len]; len++) {
		if (len >= KEY_BYTES_MAX)
			return false;
		if (key[len] == '/') {
			if (!component)
				return false;
			component = 0;
			continue;
		}
		if (!key_byte(key[len]) || (!component && key[len] == '.') || ++component > KEY_COMPONENT_BYTES_MAX)
			return false;
	}
	return component > 0;
}

// A list's prefix may be empty and may end anywhere in a key.
static bool prefix_valid(const char *prefix)
{
	size_t len = strlen(prefix);
	if (!len)
		return true;
	if (prefix[len - 1] != '/')
		return object_key_valid(prefix);
	if (len > KEY_BYTES_MAX)
		return false;
	char trimmed[KEY_BYTES_MAX + 1];
	memcpy(trimmed, prefix, len - 1);
	trimmed[len - 1] = '\0';
	return object_key_valid(trimmed);
}

enum error object_store_open(const char *url, struct loop *loop, struct object_store **ret_store, char reason[256])
{
	if (strcmp(url, "memory://") == 0) {
		*ret_store = object_store_memory_new_in_loop(loop);
		return ERROR_OK;
	}
	if (strncmp(url, "file:///", 8) == 0)
		return object_store_directory_new(url + 7, loop, ret_store, reason);
	if (strncmp(url, "s3://", 5) == 0)
		snprintf(reason, 256, "object store %s: S3 is not in this version; use file:///directory", url);
	else if (strncmp(url, "file:", 5) == 0)
		snprintf(reason, 256, "object store %s: the directory must be absolute, as file:///directory", url);
	else
		snprintf(reason, 256, "object store %s: unknown kind, expected file:///directory or memory://", url);
	return ERROR_MALFORMED;
}

void object_store_free(struct object_store **held)
{
	struct object_store *store = *held;
	*held = NULL;
	if (store)
		store->ops->free(store);
}

void object_store_metrics(struct object_store *store, struct metrics *metrics)
{
	const struct object_store_counters *counters = &store->counters;
	const struct {
		const char *name, *labels, *help;
		const uint64_t *value;
	} rows[] = {
		{"object_store_requests_total", "kind=\"put\"", "Requests to the object store", &counters->puts},
		{"object_store_requests_total", "kind=\"get\"", "", &counters->gets},
		{"object_store_requests_total", "kind=\"head\"", "", &counters->heads},
		{"object_store_requests_total", "kind=\"list\"", "", &counters->lists},
		{"object_store_requests_total", "kind=\"delete\"", "", &counters->deletes},
		{"object_store_bytes_total", "kind=\"put\"", "Bytes sent to and read from the object store",
			&counters->put_bytes},
		{"object_store_bytes_total", "kind=\"get\"", "", &counters->get_bytes},
		{"object_store_errors_total", "kind=\"put\"", "Requests that failed; absent or taken keys are no failure",
			&counters->put_errors},
		{"object_store_errors_total", "kind=\"get\"", "", &counters->get_errors},
		{"object_store_errors_total", "kind=\"other\"", "", &counters->other_errors},
		{"object_store_retries_total", "kind=\"put\"", "Requests repeated by the backend itself",
			&counters->put_retries},
		{"object_store_retries_total", "kind=\"get\"", "", &counters->get_retries},
		{"object_store_deleted_objects_total", NULL, "Keys named in delete requests", &counters->deleted_objects},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		metrics_counter(metrics, rows[i].name, rows[i].labels, rows[i].help, rows[i].value);
}

static uint64_t parts_len(const struct slice *parts, size_t count)
{
	uint64_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	return len;
}

void object_put(struct object_store *store, const char *key, const struct slice *parts, size_t part_count, bool if_absent,
	uint32_t timeout_ms, object_put_fn fn, void *ctx)
{
	store->counters.puts++;
	store->counters.put_bytes += parts_len(parts, part_count);
	store->ops->put(store, key, parts, part_count, if_absent, timeout_ms, fn, ctx);
}

void object_get(struct object_store *store, const char *key, uint64_t position, uint64_t len, uint32_t timeout_ms,
	object_get_fn fn, void *ctx)
{
	store->counters.gets++;
	store->ops->get(store, key, position, len, timeout_ms, fn, ctx);
}

void object_head(struct object_store *store, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx)
{
	store->counters.heads++;
	store->ops->head(store, key, timeout_ms, fn, ctx);
}

void object_list(struct object_store *store, const char *prefix, const char *after, size_t max, uint32_t timeout_ms,
	object_list_fn fn, void *ctx)
{
	store->counters.lists++;
	store->ops->list(store, prefix, after, max, timeout_ms, fn, ctx);
}

void object_delete_many(
	struct object_store *store, const char *const *keys, size_t count, uint32_t timeout_ms, object_delete_fn fn, void *ctx)
{
	store->counters.deletes++;
	store->counters.deleted_objects += count;
	store->ops->delete_many(store, keys, count, timeout_ms, fn, ctx);
}

// ---- Requests

static struct object_request *request_new(struct object_store *store, const struct env *env, enum object_request_kind kind,
	const char *key, uint32_t timeout_ms, void *ctx)
{
	struct object_request *request = memory_zalloc(sizeof *request);
	list_init(&request->link);
	request->store = store;
	request->kind = kind;
	request->timeout_ms = timeout_ms;
	request->deadline_us = timeout_ms ? deadline_in_ms(env, timeout_ms) : DEADLINE_NEVER;
	request->key = memory_strdup(key);
	request->ctx = ctx;
	request->error = object_key_valid(key) ? ERROR_OK : ERROR_MALFORMED;
	return request;
}

struct object_request *object_request_put(struct object_store *store, const struct env *env, const char *key,
	const struct slice *parts, size_t part_count, bool if_absent, uint32_t timeout_ms, object_put_fn fn, void *ctx)
{
	struct object_request *request = request_new(store, env, OBJECT_PUT, key, timeout_ms, ctx);
	request->parts = memory_alloc(part_count * sizeof *parts);
	for (size_t i = 0; i < part_count; i++)
		request->parts[i] = slice_ref(parts[i]);
	request->part_count = part_count;
	request->if_absent = if_absent;
	request->fn.put = fn;
	return request;
}

struct object_request *object_request_get(struct object_store *store, const struct env *env, const char *key, uint64_t position,
	uint64_t len, uint32_t timeout_ms, object_get_fn fn, void *ctx)
{
	struct object_request *request = request_new(store, env, OBJECT_GET, key, timeout_ms, ctx);
	request->position = position;
	request->len = len;
	request->fn.get = fn;
	return request;
}

struct object_request *object_request_head(
	struct object_store *store, const struct env *env, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx)
{
	struct object_request *request = request_new(store, env, OBJECT_HEAD, key, timeout_ms, ctx);
	request->fn.head = fn;
	return request;
}

struct object_request *object_request_list(struct object_store *store, const struct env *env, const char *prefix,
	const char *after, size_t max, uint32_t timeout_ms, object_list_fn fn, void *ctx)
{
	CHECK(max > 0);
	struct object_request *request = request_new(store, env, OBJECT_LIST, prefix, timeout_ms, ctx);
	request->error = prefix_valid(prefix) ? ERROR_OK : ERROR_MALFORMED;
	request->after = memory_strdup(after);
	request->max = max < OBJECT_LIST_MAX ? max : OBJECT_LIST_MAX;
	request->fn.list = fn;
	return request;
}

struct object_request *object_request_delete(struct object_store *store, const struct env *env, const char *const *keys,
	size_t count, uint32_t timeout_ms, object_delete_fn fn, void *ctx)
{
	struct object_request *request = request_new(store, env, OBJECT_DELETE, "", timeout_ms, ctx);
	request->error = ERROR_OK;
	request->keys = memory_alloc(count * sizeof *request->keys);
	for (size_t i = 0; i < count; i++) {
		request->keys[i] = memory_strdup(keys[i]);
		if (!object_key_valid(keys[i]))
			request->error = ERROR_MALFORMED;
	}
	request->key_count = count;
	request->fn.deleted = fn;
	return request;
}

bool object_request_found(struct object_request *request, const char *key, uint64_t size, int64_t modified_ms)
{
	if (request->object_count == request->max) {
		request->more = true;
		return false;
	}
	if (request->object_count == request->object_capacity) {
		request->object_capacity = request->object_capacity ? 2 * request->object_capacity : 16;
		request->objects = memory_realloc(request->objects, request->object_capacity * sizeof *request->objects);
	}
	request->objects[request->object_count++] =
		(struct object_info){.key = bytes_of(memory_strdup(key)), .size = size, .modified_ms = modified_ms};
	return true;
}

enum error object_request_extent(const struct object_request *request, uint64_t object_bytes, size_t *ret_len)
{
	if (request->position > object_bytes || (request->position == object_bytes && request->len))
		return ERROR_OFFSET_OUT_OF_RANGE;
	uint64_t len = object_bytes - request->position;
	if (request->len && request->len < len)
		len = request->len;
	if (len > OBJECT_GET_BYTES_MAX)
		return ERROR_TOO_LARGE;
	*ret_len = (size_t)len;
	return ERROR_OK;
}

// An answer that tells how things stand is no failure of the store.
static bool counts_as_error(enum error error)
{
	return error && error != ERROR_NOT_FOUND && error != ERROR_ALREADY_EXISTS && error != ERROR_OFFSET_OUT_OF_RANGE;
}

static void request_count(struct object_request *request)
{
	struct object_store_counters *counters = &request->store->counters;
	if (!request->error && request->kind == OBJECT_GET)
		counters->get_bytes += request->bytes.len;
	if (!counts_as_error(request->error))
		return;
	if (request->kind == OBJECT_PUT)
		counters->put_errors++;
	else if (request->kind == OBJECT_GET)
		counters->get_errors++;
	else
		counters->other_errors++;
}

void object_request_call(struct object_request *request)
{
	bool ok = request->error == ERROR_OK;
	request_count(request);
	switch (request->kind) {
	case OBJECT_PUT:
		request->fn.put(request->ctx, request->error);
		break;
	case OBJECT_GET:
		request->fn.get(request->ctx, request->error, ok ? request->bytes : (struct slice){0});
		break;
	case OBJECT_HEAD:
		request->fn.head(request->ctx, request->error, ok ? request->size : 0);
		break;
	case OBJECT_LIST:
		request->fn.list(request->ctx, request->error, ok ? request->objects : NULL, ok ? request->object_count : 0,
			ok && request->more);
		break;
	case OBJECT_DELETE:
		request->fn.deleted(request->ctx, request->error);
		break;
	}
}

void object_request_answer(struct object_request **request)
{
	object_request_call(*request);
	object_request_free(request);
}

void object_request_free(struct object_request **held)
{
	struct object_request *request = *held;
	*held = NULL;
	for (size_t i = 0; i < request->part_count; i++)
		slice_done(&request->parts[i]);
	for (size_t i = 0; i < request->key_count; i++)
		free(request->keys[i]);
	for (size_t i = 0; i < request->object_count; i++)
		free((void *)(uintptr_t)request->objects[i].key.data);
	slice_done(&request->bytes);
	free(request->parts);
	free(request->keys);
	free(request->objects);
	free(request->key);
	free(request->after);
	free(request);
}
