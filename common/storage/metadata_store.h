#pragma once
// The metadata store as the coordinator sees it: etcd v3's range, txn, lease and watch. Only the coordinator links it.
// Backends: etcd (grpc core + protobuf-c, metadata_store_etcd.c) and memory (metadata_store_memory.c, scripted faults).
//
// Asynchronous: every call answers exactly once through its callback in the loop's thread, never inside the call itself.
// ERROR_TIMED_OUT and ERROR_DISCONNECTED mean "outcome unknown": the caller reads back. ERROR_STORAGE with the store full
// (etcd NOSPACE) is logged once and shown by metadata_store_full().

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/runtime/loop.h"

struct metadata_store;

struct metadata_row {
	struct bytes key;
	struct bytes value;
	int64_t create_revision;
	int64_t mod_revision;
	int64_t version;
	int64_t lease;
};

// Rows are borrowed for the call, in key order. more: the limit cut the answer.
typedef void (*metadata_range_fn)(
	void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision);

enum metadata_compare_kind { METADATA_COMPARE_ABSENT, METADATA_COMPARE_VALUE, METADATA_COMPARE_CREATE_REVISION };
struct metadata_compare {
	enum metadata_compare_kind kind;
	struct bytes key;
	struct bytes value;      // METADATA_COMPARE_VALUE
	int64_t create_revision; // METADATA_COMPARE_CREATE_REVISION
};
struct metadata_put {
	struct bytes key;
	struct bytes value;
	int64_t lease; // 0: none
};
struct metadata_delete {
	struct bytes key;
	struct bytes range_end; // empty: just the key
};
// If all compares hold, the puts and deletes happen together, else nothing does. Everything is copied before the call returns.
// At most 128 operations of a kind, 1 MiB in all.
struct metadata_txn {
	const struct metadata_compare *compares;
	size_t compare_count;
	const struct metadata_put *puts;
	size_t put_count;
	const struct metadata_delete *deletes;
	size_t delete_count;
};
typedef void (*metadata_txn_fn)(void *ctx, enum error error, bool succeeded, int64_t revision);

typedef void (*metadata_lease_fn)(void *ctx, enum error error, int64_t lease);
// sent_us: when the keep-alive that was answered was *sent*: the lease is surely alive until sent_us + ttl.
// ttl_ms 0: the lease is gone.
typedef void (*metadata_keepalive_fn)(void *ctx, int64_t lease, uint64_t sent_us, uint64_t ttl_ms);

struct metadata_event {
	bool deleted;
	struct metadata_row row; // key and mod_revision only if deleted
};
// Events of one or more revisions, in order, none missed, none twice across reconnects. resync: history before now was
// compacted; the watcher must range again (the watch goes on by itself after `revision`).
typedef void (*metadata_watch_fn)(void *ctx, const struct metadata_event *events, size_t count, bool resync, int64_t revision);

struct metadata_store_ops {
	// Keys in [key, range_end); range_end empty: just the key. limit 0: all. ERROR_TOO_LARGE: the answer has more than 16
	// MiB.
	void (*range)(struct metadata_store *store, struct bytes key, struct bytes range_end, size_t limit, uint32_t timeout_ms,
		metadata_range_fn fn, void *ctx);
	void (*txn)(struct metadata_store *store, const struct metadata_txn *txn, uint32_t timeout_ms, metadata_txn_fn fn,
		void *ctx);
	void (*lease_grant)(
		struct metadata_store *store, uint32_t ttl_ms, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx);
	void (*lease_revoke)(struct metadata_store *store, int64_t lease, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx);
	// Renews at a third of the ttl until revoked or gone; fn at each answer.
	void (*lease_keep)(struct metadata_store *store, int64_t lease, uint32_t ttl_ms, metadata_keepalive_fn fn, void *ctx);
	void (*lease_forget)(struct metadata_store *store, int64_t lease); // stops renewing, fn comes no more
	// All keys with prefix, from revision on (after a range: its revision + 1). Returns an id for unwatch.
	uint64_t (*watch)(struct metadata_store *store, struct bytes prefix, int64_t revision, metadata_watch_fn fn, void *ctx);
	void (*unwatch)(struct metadata_store *store, uint64_t watch);
	// Calls in flight answer ERROR_CANCELED first. Never from one of the store's own callbacks.
	void (*free)(struct metadata_store *store);
};

struct metadata_store {
	const struct metadata_store_ops *ops;
	bool full; // the last write was refused for want of space
};

struct metadata_store_settings {
	const char *endpoints; // "127.0.0.1:2379,…" (http:// in front is accepted)
	const char *user;      // "" : no authentication
	const char *password;
	const char *ca_file, *cert_file, *key_file; // "" : plain text
};
// Does not wait for etcd. ERROR_MALFORMED: an endpoint or file is unusable, reason says which.
MUST_CHECK enum error metadata_store_etcd_new(
	struct loop *loop, const struct metadata_store_settings *settings, struct metadata_store **ret_store, char reason[256]);
void metadata_store_free(struct metadata_store **store);
// Whether the last write was refused for want of space; the next one that is taken ends it.
bool metadata_store_full(const struct metadata_store *store);

void metadata_range(struct metadata_store *store, struct bytes key, struct bytes range_end, size_t limit, uint32_t timeout_ms,
	metadata_range_fn fn, void *ctx);
void metadata_txn_commit(
	struct metadata_store *store, const struct metadata_txn *txn, uint32_t timeout_ms, metadata_txn_fn fn, void *ctx);
void metadata_lease_grant(struct metadata_store *store, uint32_t ttl_ms, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx);
void metadata_lease_revoke(struct metadata_store *store, int64_t lease, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx);
void metadata_lease_keep(struct metadata_store *store, int64_t lease, uint32_t ttl_ms, metadata_keepalive_fn fn, void *ctx);
void metadata_lease_forget(struct metadata_store *store, int64_t lease);
uint64_t metadata_watch(struct metadata_store *store, struct bytes prefix, int64_t revision, metadata_watch_fn fn, void *ctx);
void metadata_unwatch(struct metadata_store *store, uint64_t watch);

// The end of the range of all keys with this prefix; the view lives in the arena.
struct arena;
struct bytes metadata_prefix_end(struct bytes prefix, struct arena *arena);
