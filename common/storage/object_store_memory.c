// Requests take effect in the order they were made, at the step that answers them.
#include "common/storage/object_store_memory.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/storage/object_store_backend.h"

struct stored_object {
	char *key;
	struct slice bytes;
	int64_t modified_ms;
};

// Shared by the handles; objects by key.
struct bucket {
	size_t handles;
	struct stored_object *objects;
	size_t count, capacity;
};

struct memory_store {
	struct object_store base;
	const struct env *env;
	struct bucket *bucket;
	struct list waiting; // not yet seen by a step
	struct list due;     // taken by the running step
	struct list hanging; // answered at their deadline
	struct list late;    // answered; take effect at their deadline
	enum object_fault (*fault)(void *ctx, uint64_t call_number);
	void *fault_ctx;
	uint64_t call_number;
	struct loop *loop; // NULL: the owner steps
	struct loop_timer timer;
	bool *ret_freed; // set by free during a step
};

static struct memory_store *memory_of(struct object_store *store)
{
	return container_of(store, struct memory_store, base);
}

// The first object whose key is not before key.
static size_t bucket_find(const struct bucket *bucket, const char *key)
{
	size_t low = 0, high = bucket->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(bucket->objects[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct stored_object *bucket_get(struct bucket *bucket, const char *key)
{
	size_t at = bucket_find(bucket, key);
	if (at == bucket->count || strcmp(bucket->objects[at].key, key) != 0)
		return NULL;
	return &bucket->objects[at];
}

static struct stored_object *bucket_add(struct bucket *bucket, const char *key)
{
	size_t at = bucket_find(bucket, key);
	if (bucket->count == bucket->capacity) {
		bucket->capacity = bucket->capacity ? 2 * bucket->capacity : 16;
		bucket->objects = memory_realloc(bucket->objects, bucket->capacity * sizeof *bucket->objects);
	}
	memmove(bucket->objects + at + 1, bucket->objects + at, (bucket->count - at) * sizeof *bucket->objects);
	bucket->count++;
	bucket->objects[at] = (struct stored_object){.key = memory_strdup(key)};
	return &bucket->objects[at];
}

static void bucket_delete(struct bucket *bucket, const char *key)
{
	struct stored_object *object = bucket_get(bucket, key);
	if (!object)
		return;
	free(object->key);
	slice_done(&object->bytes);
	size_t behind = bucket->count - (size_t)(object - bucket->objects) - 1;
	memmove(object, object + 1, behind * sizeof *object);
	bucket->count--;
}

static void bucket_unref(struct bucket *bucket)
{
	if (--bucket->handles)
		return;
	for (size_t i = 0; i < bucket->count; i++) {
		free(bucket->objects[i].key);
		slice_done(&bucket->objects[i].bytes);
	}
	free(bucket->objects);
	free(bucket);
}

static struct slice concatenate(const struct slice *parts, size_t count)
{
	size_t len = 0;
	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	struct block *block = block_new(len);
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len)
			memcpy(block->data + at, parts[i].data, parts[i].len);
		at += parts[i].len;
	}
	return slice_take(&block);
}

static enum error execute_put(struct memory_store *store, struct object_request *request)
{
	struct stored_object *object = bucket_get(store->bucket, request->key);
	if (object && request->if_absent)
		return ERROR_ALREADY_EXISTS;
	if (!object)
		object = bucket_add(store->bucket, request->key);
	slice_done(&object->bytes);
	object->bytes = concatenate(request->parts, request->part_count);
	object->modified_ms = store->env->wall_ms;
	return ERROR_OK;
}

static enum error execute_get(struct memory_store *store, struct object_request *request)
{
	const struct stored_object *object = bucket_get(store->bucket, request->key);
	if (!object)
		return ERROR_NOT_FOUND;
	size_t len;
	enum error error = object_request_extent(request, object->bytes.len, &len);
	if (!error)
		request->bytes = slice_part(object->bytes, (size_t)request->position, len);
	return error;
}

static enum error execute_head(struct memory_store *store, struct object_request *request)
{
	const struct stored_object *object = bucket_get(store->bucket, request->key);
	if (!object)
		return ERROR_NOT_FOUND;
	request->size = object->bytes.len;
	return ERROR_OK;
}

static enum error execute_list(struct memory_store *store, struct object_request *request)
{
	const struct bucket *bucket = store->bucket;
	bool skips = strcmp(request->after, request->key) > 0;
	size_t prefix_len = strlen(request->key);
	for (size_t at = bucket_find(bucket, skips ? request->after : request->key); at < bucket->count; at++) {
		const struct stored_object *object = &bucket->objects[at];
		if (strncmp(object->key, request->key, prefix_len) != 0)
			break;
		if (strcmp(object->key, request->after) <= 0)
			continue;
		if (!object_request_found(request, object->key, object->bytes.len, object->modified_ms))
			break;
	}
	return ERROR_OK;
}

static enum error execute_delete(struct memory_store *store, struct object_request *request)
{
	for (size_t i = 0; i < request->key_count; i++)
		bucket_delete(store->bucket, request->keys[i]);
	return ERROR_OK;
}

static void execute(struct memory_store *store, struct object_request *request)
{
	static enum error (*const executes[])(struct memory_store * store, struct object_request * request) = {
		[OBJECT_PUT] = execute_put,
		[OBJECT_GET] = execute_get,
		[OBJECT_HEAD] = execute_head,
		[OBJECT_LIST] = execute_list,
		[OBJECT_DELETE] = execute_delete,
	};
	if (!request->error)
		request->error = executes[request->kind](store, request);
}

// A put that comes late is still on its way when its process dies.
static void run_late(struct memory_store *store, uint64_t now_us)
{
	LIST_EACH (&store->late, link) {
		struct object_request *request = container_of(link, struct object_request, link);
		if (request->deadline_us > now_us)
			continue;
		list_remove(link);
		execute(store, request);
		object_request_free(&request);
	}
}

static void answer_due(struct memory_store *store, const bool *freed)
{
	struct list *link;
	while ((link = list_pop(&store->waiting)))
		list_append(&store->due, link);
	while (!*freed && (link = list_pop(&store->due))) {
		struct object_request *request = container_of(link, struct object_request, link);
		execute(store, request);
		if (request->note == OBJECT_FAULT_AFTER && !request->error)
			request->error = ERROR_DISCONNECTED;
		object_request_answer(&request);
	}
}

static void answer_hanging(struct memory_store *store, const bool *freed)
{
	uint64_t now_us = store->env->now_us;
	LIST_EACH (&store->hanging, link) {
		struct object_request *request = container_of(link, struct object_request, link);
		if (request->deadline_us > now_us)
			continue;
		list_remove(link);
		bool late = request->note == OBJECT_FAULT_LATE && !request->error;
		enum error malformed = request->error;
		request->error = malformed ? malformed : ERROR_TIMED_OUT;
		object_request_call(request);
		request->error = malformed;
		if (late && !*freed) {
			request->deadline_us = now_us + (uint64_t)request->timeout_ms * 1000;
			list_append(&store->late, &request->link);
		} else {
			object_request_free(&request);
		}
		if (*freed)
			return;
	}
}

static uint64_t first_deadline(const struct list *queue)
{
	uint64_t first_us = DEADLINE_NEVER;
	LIST_EACH (queue, link) {
		first_us = deadline_min(first_us, container_of(link, struct object_request, link)->deadline_us);
	}
	return first_us;
}

uint64_t object_store_memory_step(struct object_store *base)
{
	struct memory_store *store = memory_of(base);
	bool freed = false;
	CHECK(!store->ret_freed);
	store->ret_freed = &freed;
	run_late(store, store->env->now_us);
	answer_due(store, &freed);
	if (!freed)
		answer_hanging(store, &freed);
	if (freed)
		return DEADLINE_NEVER;
	store->ret_freed = NULL;
	if (!list_empty(&store->waiting))
		return store->env->now_us;
	return deadline_min(first_deadline(&store->hanging), first_deadline(&store->late));
}

static void memory_timer_due(struct loop_timer *timer)
{
	struct memory_store *store = container_of(timer, struct memory_store, timer);
	uint64_t next_us = object_store_memory_step(&store->base);
	if (next_us != DEADLINE_NEVER) // else the store may be gone
		loop_timer_set(store->loop, timer, next_us);
}

static void memory_enqueue(struct memory_store *store, struct object_request *request)
{
	uint64_t number = store->call_number++;
	enum object_fault fault = store->fault ? store->fault(store->fault_ctx, number) : OBJECT_FAULT_NONE;
	struct list *queue = &store->waiting;
	if (fault == OBJECT_FAULT_BEFORE)
		request->error = ERROR_STORAGE;
	else if (fault == OBJECT_FAULT_THROTTLE)
		request->error = ERROR_THROTTLED;
	else if (fault == OBJECT_FAULT_HANG || fault == OBJECT_FAULT_LATE)
		queue = &store->hanging;
	request->note = (int)fault;
	list_append(queue, &request->link);
	if (store->loop)
		loop_timer_set(store->loop, &store->timer, store->env->now_us);
}

static void memory_put(struct object_store *store, const char *key, const struct slice *parts, size_t part_count,
	bool if_absent, uint32_t timeout_ms, object_put_fn fn, void *ctx)
{
	const struct env *env = memory_of(store)->env;
	memory_enqueue(
		memory_of(store), object_request_put(store, env, key, parts, part_count, if_absent, timeout_ms, fn, ctx));
}

static void memory_get(struct object_store *store, const char *key, uint64_t position, uint64_t len, uint32_t timeout_ms,
	object_get_fn fn, void *ctx)
{
	const struct env *env = memory_of(store)->env;
	memory_enqueue(memory_of(store), object_request_get(store, env, key, position, len, timeout_ms, fn, ctx));
}

static void memory_head(struct object_store *store, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx)
{
	memory_enqueue(memory_of(store), object_request_head(store, memory_of(store)->env, key, timeout_ms, fn, ctx));
}

static void memory_list(struct object_store *store, const char *prefix, const char *after, size_t max, uint32_t timeout_ms,
	object_list_fn fn, void *ctx)
{
	const struct env *env = memory_of(store)->env;
	memory_enqueue(memory_of(store), object_request_list(store, env, prefix, after, max, timeout_ms, fn, ctx));
}

static void memory_delete_many(
	struct object_store *store, const char *const *keys, size_t count, uint32_t timeout_ms, object_delete_fn fn, void *ctx)
{
	const struct env *env = memory_of(store)->env;
	memory_enqueue(memory_of(store), object_request_delete(store, env, keys, count, timeout_ms, fn, ctx));
}

static void cancel_all(struct list *queue)
{
	struct list *link;
	while ((link = list_pop(queue))) {
		struct object_request *request = container_of(link, struct object_request, link);
		request->error = ERROR_CANCELED;
		object_request_answer(&request);
	}
}

static void memory_free(struct object_store *base)
{
	struct memory_store *store = memory_of(base);
	if (store->ret_freed)
		*store->ret_freed = true;
	cancel_all(&store->due);
	cancel_all(&store->waiting);
	cancel_all(&store->hanging);
	run_late(store, UINT64_MAX);
	if (store->loop)
		loop_timer_clear(store->loop, &store->timer);
	bucket_unref(store->bucket);
	free(store);
}

static const struct object_store_ops memory_ops = {
	.put = memory_put,
	.get = memory_get,
	.head = memory_head,
	.list = memory_list,
	.delete_many = memory_delete_many,
	.free = memory_free,
};

static struct object_store *memory_new(const struct env *env, struct bucket *bucket)
{
	struct memory_store *store = memory_zalloc(sizeof *store);
	store->base.ops = &memory_ops;
	store->env = env;
	store->bucket = bucket;
	bucket->handles++;
	list_init(&store->waiting);
	list_init(&store->due);
	list_init(&store->hanging);
	list_init(&store->late);
	store->timer.on_due = memory_timer_due;
	return &store->base;
}

struct object_store *object_store_memory_new(const struct env *env)
{
	return memory_new(env, memory_zalloc(sizeof(struct bucket)));
}

struct object_store *object_store_memory_attach(struct object_store *store, const struct env *env)
{
	return memory_new(env, memory_of(store)->bucket);
}

struct object_store *object_store_memory_new_in_loop(struct loop *loop)
{
	struct object_store *store = object_store_memory_new(loop_env(loop));
	memory_of(store)->loop = loop;
	return store;
}

void object_store_memory_script(
	struct object_store *store, enum object_fault (*fault)(void *ctx, uint64_t call_number), void *ctx)
{
	memory_of(store)->fault = fault;
	memory_of(store)->fault_ctx = ctx;
}
