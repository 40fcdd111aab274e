// etcd in memory. A call takes effect when it is made and answers at the next step, so other handles may see the effect (and
// the watcher its event) before the caller has its answer, as with etcd. Data: the rows in key order; beside them the history
// of the last changes, which the watches read at their own pace. A row and its history share one counted entry.

#include "common/storage/metadata_store_memory.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/memory.h"
#include "common/storage/metadata_store_backend.h"

enum { HISTORY_MAX = 8192, HISTORY_BYTES_MAX = 64 << 20, KEEPALIVE_RETRY_US = 500 * 1000 };

struct entry {
	unsigned refs;
	bool deleted;
	struct metadata_row row; // the bytes follow
};

struct lease {
	struct list link;
	int64_t id;
	uint64_t ttl_us;
	uint64_t expires_us;
};

// A Txn that its caller has given up and that takes effect all the same (METADATA_FAULT_LATE).
struct late {
	struct list link;
	uint64_t due_us;
	struct arena arena;
	struct metadata_txn txn;
};

struct data {
	unsigned refs;
	int64_t revision;
	int64_t compacted; // history up to here is gone
	struct entry **rows;
	size_t row_count;
	size_t row_capacity;
	struct entry *history[HISTORY_MAX];
	size_t history_first;
	size_t history_count;
	size_t history_bytes;
	struct list leases;
	int64_t last_lease;
	struct list late;
};

enum answer_kind { ANSWER_RANGE, ANSWER_TXN, ANSWER_LEASE };

struct answer {
	struct list link;
	enum answer_kind kind;
	union {
		metadata_range_fn range;
		metadata_txn_fn txn;
		metadata_lease_fn lease;
	} fn;
	void *ctx;
	enum error error;
	uint64_t due_us; // of a hanging call
	struct entry **entries;
	size_t count;
	bool more;
	bool succeeded;
	int64_t revision;
	int64_t lease;
};

struct watch {
	struct list link;
	uint64_t id;
	struct arena arena;
	struct bytes prefix;
	struct bytes end;
	int64_t next;
	metadata_watch_fn fn;
	void *ctx;
	bool dead; // swept by the next step
};

struct keep {
	struct list link;
	int64_t lease;
	uint64_t ttl_us;
	uint64_t next_us;
	bool answered; // fn is due at the next step
	uint64_t sent_us;
	uint64_t answer_ttl_ms;
	metadata_keepalive_fn fn;
	void *ctx;
	bool dead;
};

struct memory_store {
	struct metadata_store base;
	const struct env *env;
	struct data *data;
	struct list answers;
	struct list hanging;
	struct list watches;
	struct list keeps;
	uint64_t last_watch;
	enum metadata_fault (*fault)(void *ctx, uint64_t call_number);
	void *fault_ctx;
	uint64_t call_number;
	bool stepping;
};

static struct memory_store *memory_of(struct metadata_store *store)
{
	return container_of(store, struct memory_store, base);
}

// Entries.

static struct entry *entry_new(struct bytes key, struct bytes value)
{
	struct entry *entry = memory_zalloc(sizeof *entry + key.len + value.len);
	uint8_t *bytes = (uint8_t *)(entry + 1);
	entry->refs = 1;
	if (key.len)
		memcpy(bytes, key.data, key.len);
	if (value.len)
		memcpy(bytes + key.len, value.data, value.len);
	entry->row.key = bytes_view(bytes, key.len);
	entry->row.value = bytes_view(bytes + key.len, value.len);
	return entry;
}

static struct entry *entry_ref(struct entry *entry)
{
	entry->refs++;
	return entry;
}

static void entry_unref(struct entry *entry)
{
	if (--entry->refs == 0)
		free(entry);
}

static size_t entry_size(const struct entry *entry)
{
	return sizeof *entry + entry->row.key.len + entry->row.value.len;
}

// Rows and history.

// The first row whose key is not below key.
static size_t data_lower_bound(const struct data *data, struct bytes key)
{
	size_t low = 0;
	size_t high = data->row_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (bytes_compare(data->rows[middle]->row.key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry *data_find(const struct data *data, struct bytes key)
{
	size_t at = data_lower_bound(data, key);
	return at < data->row_count && bytes_equal(data->rows[at]->row.key, key) ? data->rows[at] : NULL;
}

static struct entry *data_history(const struct data *data, size_t index)
{
	return data->history[(data->history_first + index) % HISTORY_MAX];
}

static void data_history_drop(struct data *data)
{
	struct entry *oldest = data_history(data, 0);
	data->compacted = oldest->row.mod_revision;
	data->history_bytes -= entry_size(oldest);
	data->history_first = (data->history_first + 1) % HISTORY_MAX;
	data->history_count--;
	entry_unref(oldest);
}

// Takes the caller's hold on entry.
static void data_history_append(struct data *data, struct entry *entry)
{
	while (data->history_count == HISTORY_MAX || (data->history_count && data->history_bytes > HISTORY_BYTES_MAX))
		data_history_drop(data);
	data->history[(data->history_first + data->history_count++) % HISTORY_MAX] = entry;
	data->history_bytes += entry_size(entry);
}

static void data_put(struct data *data, const struct metadata_put *put, int64_t revision)
{
	size_t at = data_lower_bound(data, put->key);
	struct entry *entry = entry_new(put->key, put->value);
	entry->row.create_revision = entry->row.mod_revision = revision;
	entry->row.version = 1;
	entry->row.lease = put->lease;
	if (at < data->row_count && bytes_equal(data->rows[at]->row.key, put->key)) {
		entry->row.create_revision = data->rows[at]->row.create_revision;
		entry->row.version = data->rows[at]->row.version + 1;
		entry_unref(data->rows[at]);
	} else {
		if (data->row_count == data->row_capacity) {
			data->row_capacity = data->row_capacity ? data->row_capacity * 2 : 64;
			data->rows = memory_realloc(data->rows, data->row_capacity * sizeof(struct entry *));
		}
		memmove(data->rows + at + 1, data->rows + at, (data->row_count - at) * sizeof(struct entry *));
		data->row_count++;
	}
	data->rows[at] = entry;
	data_history_append(data, entry_ref(entry));
}

static void data_delete_row(struct data *data, size_t at, int64_t revision)
{
	struct entry *tombstone = entry_new(data->rows[at]->row.key, BYTES_NULL);
	tombstone->deleted = true;
	tombstone->row.mod_revision = revision;
	data_history_append(data, tombstone);
	entry_unref(data->rows[at]);
	memmove(data->rows + at, data->rows + at + 1, (data->row_count - at - 1) * sizeof(struct entry *));
	data->row_count--;
}

static bool data_delete(struct data *data, const struct metadata_delete *delete, int64_t revision)
{
	size_t at = data_lower_bound(data, delete->key);
	bool any = false;
	while (at < data->row_count && metadata_in_range(data->rows[at]->row.key, delete->key, delete->range_end)) {
		data_delete_row(data, at, revision);
		any = true;
	}
	return any;
}

// Leases.

static struct lease *data_find_lease(struct data *data, int64_t id)
{
	LIST_EACH (&data->leases, link) {
		struct lease *lease = container_of(link, struct lease, link);
		if (lease->id == id)
			return lease;
	}
	return NULL;
}

// Its keys go in one revision.
static void data_end_lease(struct data *data, struct lease *lease)
{
	bool any = false;
	for (size_t at = 0; at < data->row_count;) {
		if (data->rows[at]->row.lease != lease->id) {
			at++;
			continue;
		}
		data_delete_row(data, at, data->revision + 1);
		any = true;
	}
	data->revision += any;
	list_remove(&lease->link);
	free(lease);
}

static void data_expire_leases(struct data *data, uint64_t now_us)
{
	LIST_EACH (&data->leases, link) {
		struct lease *lease = container_of(link, struct lease, link);
		if (lease->expires_us <= now_us)
			data_end_lease(data, lease);
	}
}

// Txns.

static bool data_compare(const struct data *data, const struct metadata_compare *compare)
{
	const struct entry *entry = data_find(data, compare->key);
	switch (compare->kind) {
	case METADATA_COMPARE_ABSENT:
		return entry == NULL;
	case METADATA_COMPARE_VALUE:
		return entry && bytes_equal(entry->row.value, compare->value);
	case METADATA_COMPARE_CREATE_REVISION:
		return (entry ? entry->row.create_revision : 0) == compare->create_revision;
	}
	return false;
}

static enum error data_txn(struct data *data, const struct metadata_txn *txn, bool *ret_succeeded)
{
	enum error error = metadata_txn_check(txn);
	if (error)
		return error;
	for (size_t i = 0; i < txn->compare_count; i++) {
		if (!data_compare(data, &txn->compares[i])) {
			*ret_succeeded = false;
			return ERROR_OK;
		}
	}
	for (size_t i = 0; i < txn->put_count; i++)
		if (txn->puts[i].lease && !data_find_lease(data, txn->puts[i].lease))
			return ERROR_NOT_FOUND;
	bool any = txn->put_count > 0;
	for (size_t i = 0; i < txn->put_count; i++)
		data_put(data, &txn->puts[i], data->revision + 1);
	for (size_t i = 0; i < txn->delete_count; i++)
		any |= data_delete(data, &txn->deletes[i], data->revision + 1);
	data->revision += any;
	*ret_succeeded = true;
	return ERROR_OK;
}

static void data_add_late(struct data *data, const struct metadata_txn *txn, uint64_t due_us)
{
	struct late *late = memory_zalloc(sizeof *late);
	arena_init(&late->arena, 0);
	late->due_us = due_us;
	struct metadata_compare *compares = arena_alloc(&late->arena, txn->compare_count * sizeof *compares);
	struct metadata_put *puts = arena_alloc(&late->arena, txn->put_count * sizeof *puts);
	struct metadata_delete *deletes = arena_alloc(&late->arena, txn->delete_count * sizeof *deletes);
	for (size_t i = 0; i < txn->compare_count; i++) {
		compares[i] = txn->compares[i];
		compares[i].key = arena_copy(&late->arena, compares[i].key);
		compares[i].value = arena_copy(&late->arena, compares[i].value);
	}
	for (size_t i = 0; i < txn->put_count; i++) {
		puts[i] = txn->puts[i];
		puts[i].key = arena_copy(&late->arena, puts[i].key);
		puts[i].value = arena_copy(&late->arena, puts[i].value);
	}
	for (size_t i = 0; i < txn->delete_count; i++) {
		deletes[i].key = arena_copy(&late->arena, txn->deletes[i].key);
		deletes[i].range_end = arena_copy(&late->arena, txn->deletes[i].range_end);
	}
	late->txn = (struct metadata_txn){compares, txn->compare_count, puts, txn->put_count, deletes, txn->delete_count};
	list_append(&data->late, &late->link);
}

static void late_free(struct late *late)
{
	list_remove(&late->link);
	arena_done(&late->arena);
	free(late);
}

static void data_apply_late(struct data *data, uint64_t now_us)
{
	LIST_EACH (&data->late, link) {
		struct late *late = container_of(link, struct late, link);
		bool succeeded;
		if (late->due_us > now_us)
			continue;
		enum error error = data_txn(data, &late->txn, &succeeded);
		(void)error; // nobody waits for it
		late_free(late);
	}
}

static struct data *data_new(void)
{
	struct data *data = memory_zalloc(sizeof *data);
	data->refs = 1;
	data->revision = 1; // as a fresh etcd
	list_init(&data->leases);
	list_init(&data->late);
	return data;
}

static void data_unref(struct data *data)
{
	if (--data->refs)
		return;
	while (data->history_count)
		data_history_drop(data);
	for (size_t i = 0; i < data->row_count; i++)
		entry_unref(data->rows[i]);
	LIST_EACH (&data->leases, link) {
		free(container_of(link, struct lease, link));
	}
	LIST_EACH (&data->late, link) {
		late_free(container_of(link, struct late, link));
	}
	free(data->rows);
	free(data);
}

// Calls.

static enum metadata_fault memory_ask_script(struct memory_store *store)
{
	uint64_t number = store->call_number++;
	return store->fault ? store->fault(store->fault_ctx, number) : METADATA_FAULT_NONE;
}

static bool fault_takes_effect(enum metadata_fault fault)
{
	return fault == METADATA_FAULT_NONE || fault == METADATA_FAULT_AFTER;
}

// Queues the answer; its error says already what the fault makes of the call.
static struct answer *memory_begin(
	struct memory_store *store, enum answer_kind kind, uint32_t timeout_ms, void *ctx, enum metadata_fault *ret_fault)
{
	struct answer *answer = memory_zalloc(sizeof *answer);
	enum metadata_fault fault = memory_ask_script(store);
	bool hangs = fault == METADATA_FAULT_HANG || fault == METADATA_FAULT_LATE;
	answer->kind = kind;
	answer->ctx = ctx;
	answer->due_us = deadline_in_ms(store->env, timeout_ms);
	answer->error = hangs ? ERROR_TIMED_OUT : fault == METADATA_FAULT_NONE ? ERROR_OK : ERROR_DISCONNECTED;
	list_append(hangs ? &store->hanging : &store->answers, &answer->link);
	*ret_fault = fault;
	return answer;
}

// What the call itself says, unless the fault has lost it.
static void answer_set_error(struct answer *answer, enum error error)
{
	if (!answer->error)
		answer->error = error;
}

static void answer_deliver(struct answer *answer)
{
	bool ok = !answer->error;
	switch (answer->kind) {
	case ANSWER_RANGE: {
		size_t count = ok ? answer->count : 0;
		struct metadata_row *rows = memory_alloc(count * sizeof *rows);
		for (size_t i = 0; i < count; i++)
			rows[i] = answer->entries[i]->row;
		answer->fn.range(answer->ctx, answer->error, rows, count, ok && answer->more, ok ? answer->revision : 0);
		free(rows);
		break;
	}
	case ANSWER_TXN:
		answer->fn.txn(answer->ctx, answer->error, ok && answer->succeeded, ok ? answer->revision : 0);
		break;
	case ANSWER_LEASE:
		answer->fn.lease(answer->ctx, answer->error, ok ? answer->lease : 0);
		break;
	}
	for (size_t i = 0; i < answer->count; i++)
		entry_unref(answer->entries[i]);
	free(answer->entries);
	free(answer);
}

static size_t rows_bytes(const struct data *data, size_t first, size_t count)
{
	size_t bytes = 0;
	for (size_t i = first; i < first + count; i++)
		bytes += data->rows[i]->row.key.len + data->rows[i]->row.value.len;
	return bytes;
}

static void memory_range(struct metadata_store *base, struct bytes key, struct bytes range_end, size_t limit,
	uint32_t timeout_ms, metadata_range_fn fn, void *ctx)
{
	struct memory_store *store = memory_of(base);
	const struct data *data = store->data;
	enum metadata_fault fault;
	struct answer *answer = memory_begin(store, ANSWER_RANGE, timeout_ms, ctx, &fault);
	answer->fn.range = fn;
	answer->revision = data->revision;
	if (!fault_takes_effect(fault))
		return;
	if (key.len == 0 && range_end.len == 0) {
		answer_set_error(answer, ERROR_MALFORMED);
		return;
	}
	size_t first = data_lower_bound(data, key);
	size_t last = first;
	while (last < data->row_count && metadata_in_range(data->rows[last]->row.key, key, range_end))
		last++;
	size_t count = last - first;
	answer->more = limit && count > limit;
	count = answer->more ? limit : count;
	if (rows_bytes(data, first, count) > METADATA_RANGE_BYTES_MAX) {
		answer_set_error(answer, ERROR_TOO_LARGE);
		return;
	}
	answer->count = count;
	answer->entries = memory_alloc(answer->count * sizeof(struct entry *));
	for (size_t i = 0; i < answer->count; i++)
		answer->entries[i] = entry_ref(data->rows[first + i]);
}

static void memory_txn(
	struct metadata_store *base, const struct metadata_txn *txn, uint32_t timeout_ms, metadata_txn_fn fn, void *ctx)
{
	struct memory_store *store = memory_of(base);
	enum metadata_fault fault;
	struct answer *answer = memory_begin(store, ANSWER_TXN, timeout_ms, ctx, &fault);
	answer->fn.txn = fn;
	if (fault == METADATA_FAULT_LATE)
		data_add_late(store->data, txn, answer->due_us + (uint64_t)timeout_ms * 1000);
	if (!fault_takes_effect(fault))
		return;
	answer_set_error(answer, data_txn(store->data, txn, &answer->succeeded));
	answer->revision = store->data->revision;
}

static void memory_lease_grant(
	struct metadata_store *base, uint32_t ttl_ms, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx)
{
	struct memory_store *store = memory_of(base);
	enum metadata_fault fault;
	struct answer *answer = memory_begin(store, ANSWER_LEASE, timeout_ms, ctx, &fault);
	answer->fn.lease = fn;
	if (!fault_takes_effect(fault))
		return;
	struct lease *lease = memory_zalloc(sizeof *lease);
	lease->id = ++store->data->last_lease;
	lease->ttl_us = (uint64_t)metadata_lease_ttl_s(ttl_ms) * 1000000;
	lease->expires_us = store->env->now_us + lease->ttl_us;
	list_append(&store->data->leases, &lease->link);
	answer->lease = lease->id;
}

static void memory_lease_revoke(struct metadata_store *base, int64_t id, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx)
{
	struct memory_store *store = memory_of(base);
	enum metadata_fault fault;
	struct answer *answer = memory_begin(store, ANSWER_LEASE, timeout_ms, ctx, &fault);
	answer->fn.lease = fn;
	answer->lease = id;
	if (!fault_takes_effect(fault))
		return;
	struct lease *lease = data_find_lease(store->data, id);
	if (lease)
		data_end_lease(store->data, lease);
	else
		answer_set_error(answer, ERROR_NOT_FOUND);
}

static void memory_lease_keep(struct metadata_store *base, int64_t lease, uint32_t ttl_ms, metadata_keepalive_fn fn, void *ctx)
{
	struct memory_store *store = memory_of(base);
	struct keep *keep = memory_zalloc(sizeof *keep);
	*keep = (struct keep){.lease = lease, .ttl_us = (uint64_t)ttl_ms * 1000, .fn = fn, .ctx = ctx};
	keep->next_us = store->env->now_us;
	list_append(&store->keeps, &keep->link);
}

static void memory_lease_forget(struct metadata_store *base, int64_t lease)
{
	LIST_EACH (&memory_of(base)->keeps, link) {
		struct keep *keep = container_of(link, struct keep, link);
		keep->dead |= keep->lease == lease;
	}
}

static uint64_t memory_watch(
	struct metadata_store *base, struct bytes prefix, int64_t revision, metadata_watch_fn fn, void *ctx)
{
	struct memory_store *store = memory_of(base);
	struct watch *watch = memory_zalloc(sizeof *watch);
	arena_init(&watch->arena, 0);
	watch->id = ++store->last_watch;
	watch->prefix = arena_copy(&watch->arena, prefix);
	watch->end = metadata_prefix_end(watch->prefix, &watch->arena);
	watch->next = revision > 0 ? revision : store->data->revision + 1;
	watch->fn = fn;
	watch->ctx = ctx;
	list_append(&store->watches, &watch->link);
	return watch->id;
}

static void memory_unwatch(struct metadata_store *base, uint64_t id)
{
	LIST_EACH (&memory_of(base)->watches, link) {
		struct watch *watch = container_of(link, struct watch, link);
		watch->dead |= watch->id == id;
	}
}

// Deliveries.

static void watch_free(struct watch *watch)
{
	list_remove(&watch->link);
	arena_done(&watch->arena);
	free(watch);
}

// The first change that the watch has not seen.
static size_t watch_position(const struct watch *watch, const struct data *data)
{
	size_t low = 0;
	size_t high = data->history_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (data_history(data, middle)->row.mod_revision < watch->next)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void watch_deliver(struct watch *watch, const struct data *data)
{
	int64_t revision = data->revision;
	if (watch->next > revision)
		return;
	if (watch->next <= data->compacted) {
		watch->next = revision + 1;
		watch->fn(watch->ctx, NULL, 0, true, revision);
		return;
	}
	size_t first = watch_position(watch, data);
	size_t count = 0;
	struct entry **entries = memory_alloc((data->history_count - first) * sizeof(struct entry *));
	struct metadata_event *events = memory_alloc((data->history_count - first) * sizeof *events);
	for (size_t i = first; i < data->history_count; i++) {
		struct entry *entry = data_history(data, i);
		if (!metadata_in_range(entry->row.key, watch->prefix, watch->end))
			continue;
		events[count] = (struct metadata_event){entry->deleted, entry->row};
		entries[count++] = entry_ref(entry);
	}
	watch->next = revision + 1;
	if (count)
		watch->fn(watch->ctx, events, count, false, revision);
	for (size_t i = 0; i < count; i++)
		entry_unref(entries[i]);
	free(entries);
	free(events);
}

static void memory_deliver_watches(struct memory_store *store)
{
	LIST_EACH (&store->watches, link) {
		struct watch *watch = container_of(link, struct watch, link);
		if (!watch->dead)
			watch_deliver(watch, store->data);
	}
	LIST_EACH (&store->watches, link) {
		struct watch *watch = container_of(link, struct watch, link);
		if (watch->dead)
			watch_free(watch);
	}
}

static void keep_answer(struct keep *keep)
{
	keep->answered = false;
	keep->dead |= keep->answer_ttl_ms == 0;
	keep->fn(keep->ctx, keep->lease, keep->sent_us, keep->answer_ttl_ms);
}

static void keep_renew(struct keep *keep, struct memory_store *store)
{
	uint64_t now_us = store->env->now_us;
	enum metadata_fault fault = memory_ask_script(store);
	struct lease *lease = data_find_lease(store->data, keep->lease);
	if (lease && fault_takes_effect(fault))
		lease->expires_us = now_us + lease->ttl_us;
	keep->next_us = now_us + keep->ttl_us / 3;
	if (fault != METADATA_FAULT_NONE) {
		keep->next_us = deadline_min(keep->next_us, now_us + KEEPALIVE_RETRY_US);
		return;
	}
	keep->answered = true;
	keep->sent_us = now_us;
	keep->answer_ttl_ms = lease ? lease->ttl_us / 1000 : 0;
}

static void memory_deliver_keeps(struct memory_store *store)
{
	LIST_EACH (&store->keeps, link) {
		struct keep *keep = container_of(link, struct keep, link);
		if (!keep->dead && keep->answered)
			keep_answer(keep);
	}
	LIST_EACH (&store->keeps, link) {
		struct keep *keep = container_of(link, struct keep, link);
		if (keep->dead) {
			list_remove(&keep->link);
			free(keep);
		} else if (keep->next_us <= store->env->now_us) {
			keep_renew(keep, store);
		}
	}
}

static void memory_wake_hanging(struct memory_store *store)
{
	LIST_EACH (&store->hanging, link) {
		struct answer *answer = container_of(link, struct answer, link);
		if (answer->due_us > store->env->now_us)
			continue;
		list_remove(&answer->link);
		list_append(&store->answers, &answer->link);
	}
}

// Only what was asked before this step; callbacks ask more.
static void memory_deliver_answers(struct memory_store *store, bool canceled)
{
	struct list due = store->answers;
	if (list_empty(&store->answers))
		return;
	due.next->prev = due.prev->next = &due;
	list_init(&store->answers);
	LIST_EACH (&due, link) {
		struct answer *answer = container_of(link, struct answer, link);
		if (canceled)
			answer->error = ERROR_CANCELED;
		answer_deliver(answer);
	}
}

static uint64_t memory_next_us(const struct memory_store *store)
{
	uint64_t next_us = list_empty(&store->answers) ? DEADLINE_NEVER : 0;
	LIST_EACH (&store->hanging, link) {
		next_us = deadline_min(next_us, container_of(link, struct answer, link)->due_us);
	}
	LIST_EACH (&store->watches, link) {
		if (container_of(link, struct watch, link)->next <= store->data->revision)
			next_us = 0;
	}
	LIST_EACH (&store->keeps, link) {
		const struct keep *keep = container_of(link, struct keep, link);
		next_us = deadline_min(next_us, keep->answered || keep->dead ? 0 : keep->next_us);
	}
	LIST_EACH (&store->data->leases, link) {
		next_us = deadline_min(next_us, container_of(link, struct lease, link)->expires_us);
	}
	LIST_EACH (&store->data->late, link) {
		next_us = deadline_min(next_us, container_of(link, struct late, link)->due_us);
	}
	return next_us;
}

uint64_t metadata_store_memory_step(struct metadata_store *base)
{
	struct memory_store *store = memory_of(base);
	int64_t revision = store->data->revision;
	CHECK(!store->stepping);
	store->stepping = true;
	data_expire_leases(store->data, store->env->now_us);
	data_apply_late(store->data, store->env->now_us);
	bool changed = store->data->revision != revision; // another handle may have stepped already in this turn
	memory_wake_hanging(store);
	memory_deliver_watches(store);
	memory_deliver_answers(store, false);
	memory_deliver_keeps(store);
	store->stepping = false;
	return changed ? 0 : memory_next_us(store);
}

// Its leases stay, as when a process dies.
static void memory_free(struct metadata_store *base)
{
	struct memory_store *store = memory_of(base);
	CHECK(!store->stepping);
	for (struct list *link = list_pop(&store->hanging); link; link = list_pop(&store->hanging))
		list_append(&store->answers, link);
	while (!list_empty(&store->answers)) // a callback may ask more
		memory_deliver_answers(store, true);
	LIST_EACH (&store->watches, link) {
		watch_free(container_of(link, struct watch, link));
	}
	LIST_EACH (&store->keeps, link) {
		free(container_of(link, struct keep, link));
	}
	data_unref(store->data);
	free(store);
}

static const struct metadata_store_ops memory_ops = {
	.range = memory_range,
	.txn = memory_txn,
	.lease_grant = memory_lease_grant,
	.lease_revoke = memory_lease_revoke,
	.lease_keep = memory_lease_keep,
	.lease_forget = memory_lease_forget,
	.watch = memory_watch,
	.unwatch = memory_unwatch,
	.free = memory_free,
};

static struct metadata_store *memory_handle(struct data *data, const struct env *env)
{
	struct memory_store *store = memory_zalloc(sizeof *store);
	store->base.ops = &memory_ops;
	store->env = env;
	store->data = data;
	list_init(&store->answers);
	list_init(&store->hanging);
	list_init(&store->watches);
	list_init(&store->keeps);
	return &store->base;
}

struct metadata_store *metadata_store_memory_new(const struct env *env)
{
	return memory_handle(data_new(), env);
}

struct metadata_store *metadata_store_memory_attach(struct metadata_store *store, const struct env *env)
{
	struct data *data = memory_of(store)->data;
	data->refs++;
	return memory_handle(data, env);
}

void metadata_store_memory_script(
	struct metadata_store *base, enum metadata_fault (*fault)(void *ctx, uint64_t call_number), void *ctx)
{
	struct memory_store *store = memory_of(base);
	store->fault = fault;
	store->fault_ctx = ctx;
	store->call_number = 0;
}
