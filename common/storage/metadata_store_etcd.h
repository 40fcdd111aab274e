#pragma once
// The inside of the etcd metadata store, shared by its three files: metadata_store_etcd.c (calls, authentication, endpoints),
// metadata_store_etcd_watch.c and metadata_store_etcd_lease.c.

#include "common/storage/etcd.pb-c.h"
#include "common/storage/etcd_call.h"
#include "common/storage/etcd_endpoints.h"
#include "common/storage/etcd_queue.h"
#include "common/storage/metadata_store.h"

enum {
	ETCD_REPLY_BYTES_MAX = 64 << 20, // of one unpacked reply; the packed one has at most 16 MiB
	ETCD_RETRY_MIN_MS = 200,         // streams are opened again at this pace,
	ETCD_RETRY_MAX_MS = 1000,        // doubling up to this
};

struct etcd_store {
	struct metadata_store base;
	struct loop *loop;
	struct etcd_queue *queue;
	struct etcd_endpoints endpoints;
	bool closing;
	int64_t revision_seen; // the newest that any answer told

	struct list requests; // under way, or answered and waiting for the next turn
	size_t request_count;
	size_t request_bytes;

	// user NULL: no authentication. token NULL: none yet, requests and streams wait for it.
	char *user;
	char *password;
	char *token;
	uint64_t token_number; // which one, so that a late refusal of an old token does not drop the new one
	bool authenticating;
	struct list waiting; // requests
	struct loop_timer authenticate_timer;

	struct list watches;
	uint64_t last_watch;

	struct list keeps;
	struct etcd_stream *lease_stream;
	size_t lease_endpoint;
	uint64_t lease_token_number;
	struct loop_timer lease_timer;
	uint32_t lease_retry_ms;
};

// Where a stream goes now; false: a token must come first, etcd_store_streams_open() is called then.
bool etcd_store_target(struct etcd_store *store, struct etcd_target *ret_target);
// How a call or stream to that endpoint went; may move all streams to the next endpoint.
void etcd_store_result(struct etcd_store *store, size_t endpoint, grpc_status_code status);
// The token with that number is refused; unless there is a newer one, ask for it.
void etcd_store_drop_token(struct etcd_store *store, uint64_t token_number);
void etcd_store_saw(struct etcd_store *store, const Etcd__ResponseHeader *header);
uint64_t etcd_store_retry_due(struct etcd_store *store, uint32_t *retry_ms);

// Opens what should be open and is not.
void etcd_watches_open(struct etcd_store *store);
void etcd_watches_close(struct etcd_store *store);
void etcd_watches_free(struct etcd_store *store);
uint64_t etcd_watch(struct metadata_store *base, struct bytes prefix, int64_t revision, metadata_watch_fn fn, void *ctx);
void etcd_unwatch(struct metadata_store *base, uint64_t id);

void etcd_leases_open(struct etcd_store *store);
void etcd_leases_close(struct etcd_store *store);
void etcd_leases_free(struct etcd_store *store);
void etcd_lease_keep(struct metadata_store *base, int64_t lease, uint32_t ttl_ms, metadata_keepalive_fn fn, void *ctx);
void etcd_lease_forget(struct metadata_store *base, int64_t lease);
