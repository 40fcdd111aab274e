// One keep-alive stream for all kept leases. Each lease has a timer that sends at a third of its ttl; the answer tells the
// owner how long the lease surely lives. If no answer has come when the next keep-alive is due, the stream counts as dead: it
// is opened again, perhaps to another member, and every lease is renewed at once.

#include "common/storage/metadata_store_etcd.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"

struct etcd_keep {
	struct list link;
	struct etcd_store *store;
	int64_t lease;
	uint32_t ttl_ms;
	uint64_t sent_us; // of the keep-alive under way
	bool outstanding;
	metadata_keepalive_fn fn;
	void *ctx;
	struct loop_timer timer;
};

static void keep_set_timer(struct etcd_keep *keep)
{
	loop_timer_set(keep->store->loop, &keep->timer, keep->sent_us + (uint64_t)keep->ttl_ms * 1000 / 3);
}

static void keep_send(struct etcd_keep *keep)
{
	Etcd__LeaseKeepAliveRequest request = ETCD__LEASE_KEEP_ALIVE_REQUEST__INIT;
	request.id = keep->lease;
	keep->sent_us = loop_env(keep->store->loop)->now_us;
	keep->outstanding = true;
	keep_set_timer(keep);
	etcd_stream_send(keep->store->lease_stream, &request.base);
}

static void keep_free(struct etcd_keep *keep)
{
	loop_timer_clear(keep->store->loop, &keep->timer);
	list_remove(&keep->link);
	free(keep);
}

static void leases_retry_later(struct etcd_store *store)
{
	etcd_leases_close(store);
	loop_timer_set(store->loop, &store->lease_timer, etcd_store_retry_due(store, &store->lease_retry_ms));
}

static struct etcd_keep *leases_find(struct etcd_store *store, int64_t lease)
{
	LIST_EACH (&store->keeps, link) {
		struct etcd_keep *keep = container_of(link, struct etcd_keep, link);
		if (keep->lease == lease)
			return keep;
	}
	return NULL;
}

static void leases_handle(struct etcd_store *store, const Etcd__LeaseKeepAliveResponse *response)
{
	struct etcd_keep *keep = leases_find(store, response->id);
	etcd_store_saw(store, response->header);
	store->lease_retry_ms = 0;
	if (!keep || !keep->outstanding)
		return; // forgotten meanwhile
	metadata_keepalive_fn fn = keep->fn;
	void *ctx = keep->ctx;
	uint64_t sent_us = keep->sent_us;
	keep->outstanding = false;
	if (response->ttl <= 0)
		keep_free(keep);
	fn(ctx, response->id, sent_us, response->ttl > 0 ? (uint64_t)response->ttl * 1000 : 0);
}

static void leases_on_message(void *ctx, struct bytes message)
{
	struct etcd_store *store = ctx;
	struct arena arena;
	arena_init(&arena, ETCD_REPLY_BYTES_MAX);
	const Etcd__LeaseKeepAliveResponse *response =
		protobuf_unpack(&etcd__lease_keep_alive_response__descriptor, message, &arena);
	if (response) {
		etcd_store_result(store, store->lease_endpoint, GRPC_STATUS_OK);
		leases_handle(store, response);
	} else {
		log_event(LOG_WARN, "etcd_keepalive_malformed");
		leases_retry_later(store);
	}
	arena_done(&arena);
}

static void leases_on_end(void *ctx, grpc_status_code status, struct bytes details)
{
	struct etcd_store *store = ctx;
	store->lease_stream = NULL;
	log_event(LOG_DEBUG, "etcd_keepalive_ended", LOG_NUMBER("status", status), LOG_BYTES("details", details));
	leases_retry_later(store);
	if (status == GRPC_STATUS_UNAUTHENTICATED)
		etcd_store_drop_token(store, store->lease_token_number);
	etcd_store_result(store, store->lease_endpoint, status);
}

void etcd_leases_open(struct etcd_store *store)
{
	static const struct etcd_stream_handlers handlers = {leases_on_message, leases_on_end};
	struct etcd_target target;
	if (store->lease_stream || list_empty(&store->keeps) || !etcd_store_target(store, &target))
		return;
	loop_timer_clear(store->loop, &store->lease_timer);
	store->lease_endpoint = store->endpoints.current;
	store->lease_token_number = store->token_number;
	store->lease_stream = etcd_stream_open(&target, "/etcdserverpb.Lease/LeaseKeepAlive", &handlers, store);
	LIST_EACH (&store->keeps, link) {
		keep_send(container_of(link, struct etcd_keep, link));
	}
}

void etcd_leases_close(struct etcd_store *store)
{
	etcd_stream_close(&store->lease_stream);
	LIST_EACH (&store->keeps, link) {
		struct etcd_keep *keep = container_of(link, struct etcd_keep, link);
		keep->outstanding = false;
		loop_timer_clear(store->loop, &keep->timer);
	}
}

static void keep_due(struct loop_timer *timer)
{
	struct etcd_keep *keep = container_of(timer, struct etcd_keep, timer);
	struct etcd_store *store = keep->store;
	if (!keep->outstanding) {
		keep_send(keep);
		return;
	}
	etcd_leases_close(store);
	etcd_store_result(store, store->lease_endpoint, GRPC_STATUS_DEADLINE_EXCEEDED);
	etcd_leases_open(store);
}

static void leases_retry_due(struct loop_timer *timer)
{
	etcd_leases_open(container_of(timer, struct etcd_store, lease_timer));
}

void etcd_lease_keep(struct metadata_store *base, int64_t lease, uint32_t ttl_ms, metadata_keepalive_fn fn, void *ctx)
{
	struct etcd_store *store = container_of(base, struct etcd_store, base);
	CHECK(ttl_ms > 0 && !store->closing);
	struct etcd_keep *keep = memory_zalloc(sizeof *keep);
	*keep = (struct etcd_keep){.store = store, .lease = lease, .ttl_ms = ttl_ms, .fn = fn, .ctx = ctx};
	keep->timer.on_due = keep_due;
	store->lease_timer.on_due = leases_retry_due;
	list_append(&store->keeps, &keep->link);
	if (store->lease_stream)
		keep_send(keep);
	else if (!store->lease_timer.heap_index)
		etcd_leases_open(store);
}

void etcd_lease_forget(struct metadata_store *base, int64_t lease)
{
	struct etcd_store *store = container_of(base, struct etcd_store, base);
	struct etcd_keep *keep = leases_find(store, lease);
	if (!keep)
		return;
	bool outstanding = keep->outstanding;
	keep_free(keep);
	if (!outstanding)
		return;
	// Its answer must not be taken for that of a later keep-alive, should the lease be kept again.
	etcd_leases_close(store);
	etcd_leases_open(store);
}

void etcd_leases_free(struct etcd_store *store)
{
	etcd_stream_close(&store->lease_stream);
	loop_timer_clear(store->loop, &store->lease_timer);
	LIST_EACH (&store->keeps, link) {
		keep_free(container_of(link, struct etcd_keep, link));
	}
}
