// One stream per watch. As it goes well: open, "create from `next`", events, next = last revision + 1. When the stream ends for
// whatever reason it is opened again after a pause and goes on from `next`: nothing is missed, nothing comes twice. A big
// answer comes in fragments that may cut a revision in two; then the watch also remembers how many events of that revision it
// has passed on. If etcd has compacted `next` away the watcher is told to range again and the watch goes on behind the newest
// revision that we know of.

#include "common/storage/metadata_store_etcd.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"

struct etcd_watch {
	struct list link;
	struct etcd_store *store;
	uint64_t id;
	struct arena arena; // prefix and end
	struct bytes prefix;
	struct bytes end;
	int64_t next;          // 0: from now on, until etcd has told its revision
	int64_t partial;       // the revision of which only some events have been passed on; 0 for none
	size_t partial_passed; // how many of them
	size_t skip;           // of `partial`, still to come again on this stream
	metadata_watch_fn fn;
	void *ctx;
	struct etcd_stream *stream;
	size_t endpoint;
	uint64_t token_number;
	struct loop_timer retry_timer;
	uint32_t retry_ms;
	bool refusal_logged;
};

static void watch_retry_later(struct etcd_watch *watch)
{
	etcd_stream_close(&watch->stream);
	loop_timer_set(watch->store->loop, &watch->retry_timer, etcd_store_retry_due(watch->store, &watch->retry_ms));
}

// The watch goes on from revision, whatever has been passed on before.
static void watch_move(struct etcd_watch *watch, int64_t next)
{
	watch->next = next;
	watch->partial = 0;
	watch->partial_passed = watch->skip = 0;
}

// Fills events with what is new to the watcher and moves `next` behind it.
static size_t watch_take_events(struct etcd_watch *watch, const Etcd__WatchResponse *response, struct metadata_event *events)
{
	size_t count = 0;
	for (size_t i = 0; i < response->n_events; i++) {
		const Etcd__KeyValue *row = response->events[i]->kv;
		if (!row || row->mod_revision < watch->next)
			continue;
		if (row->mod_revision != watch->partial) {
			watch->partial = row->mod_revision;
			watch->partial_passed = watch->skip = 0;
		}
		if (watch->skip) {
			watch->skip--;
			continue;
		}
		watch->next = row->mod_revision;
		watch->partial_passed++;
		events[count].deleted = response->events[i]->type == ETCD__EVENT__TYPE__DELETE;
		events[count++].row = (struct metadata_row){protobuf_view(row->key), protobuf_view(row->value),
			row->create_revision, row->mod_revision, row->version, row->lease};
	}
	if (!response->fragment && watch->partial)
		watch_move(watch, watch->partial + 1); // the last fragment ends its revision
	return count;
}

static void watch_resync(struct etcd_watch *watch, int64_t compact_revision)
{
	int64_t seen = watch->store->revision_seen;
	watch_move(watch, compact_revision > seen ? compact_revision : seen + 1);
	watch->retry_ms = 0;
	watch_retry_later(watch);
	watch->fn(watch->ctx, NULL, 0, true, watch->next - 1); // the watch may be gone now
}

// A watch without the right to read comes back so, and one whose token etcd has forgotten.
static void watch_refused(struct etcd_watch *watch, const char *reason)
{
	if (!watch->refusal_logged)
		log_event(LOG_WARN, "etcd_watch_refused", LOG_BYTES("prefix", watch->prefix), LOG_TEXT("reason", reason));
	watch->refusal_logged = true;
	watch_retry_later(watch);
	etcd_store_drop_token(watch->store, watch->token_number);
}

static void watch_handle(struct etcd_watch *watch, const Etcd__WatchResponse *response, struct arena *arena)
{
	struct etcd_store *store = watch->store;
	etcd_store_saw(store, response->header);
	if (response->canceled) {
		if (response->compact_revision)
			watch_resync(watch, response->compact_revision);
		else
			watch_refused(watch, response->cancel_reason);
		return;
	}
	watch->retry_ms = 0;
	watch->refusal_logged = false;
	int64_t revision = response->header ? response->header->revision : 0;
	if (response->n_events == 0) {
		bool progress = !response->created && !response->fragment && !watch->partial;
		if ((progress && revision >= watch->next) || (response->created && watch->next == 0))
			watch_move(watch, revision + 1);
		return;
	}
	struct metadata_event *events = arena_alloc(arena, response->n_events * sizeof *events);
	size_t count = watch_take_events(watch, response, events);
	if (count)
		watch->fn(watch->ctx, events, count, false, events[count - 1].row.mod_revision); // it may be gone now
}

static void watch_on_message(void *ctx, struct bytes message)
{
	struct etcd_watch *watch = ctx;
	struct arena arena;
	arena_init(&arena, ETCD_REPLY_BYTES_MAX);
	const Etcd__WatchResponse *response = protobuf_unpack(&etcd__watch_response__descriptor, message, &arena);
	if (response) {
		etcd_store_result(watch->store, watch->endpoint, GRPC_STATUS_OK);
		watch_handle(watch, response, &arena);
	} else {
		log_event(LOG_WARN, "etcd_watch_malformed", LOG_BYTES("prefix", watch->prefix));
		watch_retry_later(watch);
	}
	arena_done(&arena);
}

static void watch_on_end(void *ctx, grpc_status_code status, struct bytes details)
{
	struct etcd_watch *watch = ctx;
	struct etcd_store *store = watch->store;
	watch->stream = NULL;
	log_event(LOG_DEBUG, "etcd_watch_ended", LOG_BYTES("prefix", watch->prefix), LOG_NUMBER("status", status),
		LOG_BYTES("details", details));
	watch_retry_later(watch);
	if (status == GRPC_STATUS_UNAUTHENTICATED)
		etcd_store_drop_token(store, watch->token_number);
	etcd_store_result(store, watch->endpoint, status);
}

static void watch_open(struct etcd_watch *watch)
{
	static const struct etcd_stream_handlers handlers = {watch_on_message, watch_on_end};
	static const uint8_t first_key[1] = {0}; // etcd wants a key; no key comes before this one
	struct etcd_target target;
	if (watch->stream || !etcd_store_target(watch->store, &target))
		return;
	loop_timer_clear(watch->store->loop, &watch->retry_timer);
	watch->skip = watch->partial ? watch->partial_passed : 0;
	Etcd__WatchCreateRequest create = ETCD__WATCH_CREATE_REQUEST__INIT;
	create.key = protobuf_data(watch->prefix.len ? watch->prefix : bytes_view(first_key, sizeof first_key));
	create.range_end = protobuf_data(watch->end);
	create.start_revision = watch->next;
	create.progress_notify = true; // moves `next` of an idle watch, so that compaction does not overtake it
	create.fragment = true;
	Etcd__WatchRequest request = ETCD__WATCH_REQUEST__INIT;
	request.request_case = ETCD__WATCH_REQUEST__REQUEST_CREATE_REQUEST;
	request.create_request = &create;
	watch->endpoint = watch->store->endpoints.current;
	watch->token_number = watch->store->token_number;
	watch->stream = etcd_stream_open(&target, "/etcdserverpb.Watch/Watch", &handlers, watch);
	etcd_stream_send(watch->stream, &request.base);
}

static void watch_retry_due(struct loop_timer *timer)
{
	watch_open(container_of(timer, struct etcd_watch, retry_timer));
}

uint64_t etcd_watch(struct metadata_store *base, struct bytes prefix, int64_t revision, metadata_watch_fn fn, void *ctx)
{
	struct etcd_store *store = container_of(base, struct etcd_store, base);
	struct etcd_watch *watch = memory_zalloc(sizeof *watch);
	CHECK(revision >= 0 && !store->closing);
	*watch = (struct etcd_watch){.store = store, .id = ++store->last_watch, .next = revision, .fn = fn, .ctx = ctx};
	watch->retry_timer.on_due = watch_retry_due;
	arena_init(&watch->arena, 0);
	watch->prefix = arena_copy(&watch->arena, prefix);
	watch->end = metadata_prefix_end(watch->prefix, &watch->arena);
	list_append(&store->watches, &watch->link);
	watch_open(watch);
	return watch->id;
}

static void watch_free(struct etcd_watch *watch)
{
	etcd_stream_close(&watch->stream);
	loop_timer_clear(watch->store->loop, &watch->retry_timer);
	list_remove(&watch->link);
	arena_done(&watch->arena);
	free(watch);
}

void etcd_unwatch(struct metadata_store *base, uint64_t id)
{
	struct etcd_store *store = container_of(base, struct etcd_store, base);
	LIST_EACH (&store->watches, link) {
		struct etcd_watch *watch = container_of(link, struct etcd_watch, link);
		if (watch->id == id)
			watch_free(watch);
	}
}

void etcd_watches_open(struct etcd_store *store)
{
	LIST_EACH (&store->watches, link) {
		watch_open(container_of(link, struct etcd_watch, link));
	}
}

void etcd_watches_close(struct etcd_store *store)
{
	LIST_EACH (&store->watches, link) {
		etcd_stream_close(&container_of(link, struct etcd_watch, link)->stream);
	}
}

void etcd_watches_free(struct etcd_store *store)
{
	LIST_EACH (&store->watches, link) {
		watch_free(container_of(link, struct etcd_watch, link));
	}
}
