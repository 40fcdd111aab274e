#include "common/storage/metadata_store.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/storage/metadata_store_backend.h"

void metadata_store_free(struct metadata_store **store)
{
	if (!*store)
		return;
	(*store)->ops->free(*store);
	*store = NULL;
}

bool metadata_store_full(const struct metadata_store *store)
{
	return store->full;
}

void metadata_range(struct metadata_store *store, struct bytes key, struct bytes range_end, size_t limit, uint32_t timeout_ms,
	metadata_range_fn fn, void *ctx)
{
	store->ops->range(store, key, range_end, limit, timeout_ms, fn, ctx);
}

void metadata_txn_commit(
	struct metadata_store *store, const struct metadata_txn *txn, uint32_t timeout_ms, metadata_txn_fn fn, void *ctx)
{
	store->ops->txn(store, txn, timeout_ms, fn, ctx);
}

void metadata_lease_grant(struct metadata_store *store, uint32_t ttl_ms, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx)
{
	store->ops->lease_grant(store, ttl_ms, timeout_ms, fn, ctx);
}

void metadata_lease_revoke(struct metadata_store *store, int64_t lease, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx)
{
	store->ops->lease_revoke(store, lease, timeout_ms, fn, ctx);
}

void metadata_lease_keep(struct metadata_store *store, int64_t lease, uint32_t ttl_ms, metadata_keepalive_fn fn, void *ctx)
{
	store->ops->lease_keep(store, lease, ttl_ms, fn, ctx);
}

void metadata_lease_forget(struct metadata_store *store, int64_t lease)
{
	store->ops->lease_forget(store, lease);
}

uint64_t metadata_watch(struct metadata_store *store, struct bytes prefix, int64_t revision, metadata_watch_fn fn, void *ctx)
{
	return store->ops->watch(store, prefix, revision, fn, ctx);
}

void metadata_unwatch(struct metadata_store *store, uint64_t watch)
{
	store->ops->unwatch(store, watch);
}

struct bytes metadata_prefix_end(struct bytes prefix, struct arena *arena)
{
	size_t len = prefix.len;
	while (len > 0 && prefix.data[len - 1] == 0xff)
		len--;
	uint8_t *end = arena_alloc(arena, len ? len : 1);
	if (len == 0) // no key comes after all with this prefix: etcd's one zero byte, already there
		return bytes_view(end, 1);
	memcpy(end, prefix.data, len);
	end[len - 1]++;
	return bytes_view(end, len);
}

bool metadata_in_range(struct bytes candidate, struct bytes key, struct bytes range_end)
{
	if (range_end.len == 0)
		return bytes_equal(candidate, key);
	if (bytes_compare(candidate, key) < 0)
		return false;
	return (range_end.len == 1 && range_end.data[0] == 0) || bytes_compare(candidate, range_end) < 0;
}

static bool metadata_put_collides(const struct metadata_txn *txn, size_t index)
{
	struct bytes key = txn->puts[index].key;
	for (size_t i = 0; i < index; i++)
		if (bytes_equal(txn->puts[i].key, key))
			return true;
	for (size_t i = 0; i < txn->delete_count; i++)
		if (metadata_in_range(key, txn->deletes[i].key, txn->deletes[i].range_end))
			return true;
	return false;
}

enum error metadata_txn_check(const struct metadata_txn *txn)
{
	if (txn->compare_count > METADATA_TXN_OPERATIONS_MAX || txn->put_count > METADATA_TXN_OPERATIONS_MAX ||
		txn->delete_count > METADATA_TXN_OPERATIONS_MAX - txn->put_count)
		return ERROR_MALFORMED;
	size_t size = 0;
	bool keys = true;
	for (size_t i = 0; i < txn->compare_count; i++) {
		keys = keys && txn->compares[i].key.len > 0;
		size += txn->compares[i].key.len + txn->compares[i].value.len;
	}
	for (size_t i = 0; i < txn->put_count; i++) {
		keys = keys && txn->puts[i].key.len > 0 && !metadata_put_collides(txn, i);
		size += txn->puts[i].key.len + txn->puts[i].value.len;
	}
	for (size_t i = 0; i < txn->delete_count; i++) {
		keys = keys && txn->deletes[i].key.len > 0;
		size += txn->deletes[i].key.len + txn->deletes[i].range_end.len;
	}
	if (!keys)
		return ERROR_MALFORMED;
	return size > METADATA_TXN_BYTES_MAX ? ERROR_TOO_LARGE : ERROR_OK;
}

int64_t metadata_lease_ttl_s(uint32_t ttl_ms)
{
	int64_t ttl_s = ((int64_t)ttl_ms + 999) / 1000;
	return ttl_s < METADATA_LEASE_TTL_MIN_S ? METADATA_LEASE_TTL_MIN_S : ttl_s;
}
