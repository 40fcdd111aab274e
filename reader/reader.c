// Wiring of the reader: requests in, links to the writers that live, drain, metrics. The work is in fetch, time_lookup, walk,
// index and cache.

#include "reader/reader.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/hash_map.h"
#include "common/base/memory.h"
#include "proto/bus.pb-c.h"
#include "proto/fetch.pb-c.h"
#include "reader/fetch.h"
#include "reader/time_lookup.h"

enum {
	TAIL_ENTRIES_MAX = 4096, // of one partition
	// After SIGTERM frontends hear of it by the coordinator's feed; what they sent before that is still served.
	DRAIN_QUIET_MS = 200,
};

// A link to a live writer, made when its tail is first wanted.
struct writer_link {
	struct uuid instance;
	struct bus_link *link;
	UT_hash_handle hh;
};

struct reader_core {
	struct reader_deps deps;
	struct cluster_client *cluster;
	uint64_t incarnation;
	struct object_names names;
	struct index index;
	struct cache cache;
	struct tasks tasks;
	struct walker walker;
	struct fetches fetches;
	struct time_lookups lookups;
	struct writer_link *writers;
	uint64_t quiet_since_us;
	bool draining;
};

// ---- writers

static const struct cluster_member *reader_find_writer(const struct reader_core *reader, const struct uuid *instance)
{
	const struct cluster_view *view = cluster_client_view(reader->cluster);
	size_t low = 0, high = view->member_count;
	while (low < high) { // members are in order of instance
		size_t middle = low + (high - low) / 2;
		if (memcmp(view->members[middle].instance.bytes, instance->bytes, sizeof instance->bytes) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == view->member_count || !uuid_equal(&view->members[low].instance, instance))
		return NULL;
	return view->members[low].role == WEIR__ROLE__WRITER && view->members[low].address[0] ? &view->members[low] : NULL;
}

static struct bus_link *reader_writer_link(void *ctx, const struct uuid *instance)
{
	struct reader_core *reader = ctx;
	struct writer_link *writer;
	HASH_FIND(hh, reader->writers, instance, sizeof *instance, writer);
	if (writer)
		return writer->link;
	const struct cluster_member *member = reader_find_writer(reader, instance);
	if (!member)
		return NULL;
	writer = memory_zalloc(sizeof *writer);
	writer->instance = *instance;
	writer->link = bus_link(reader->deps.bus, member->address);
	HASH_ADD(hh, reader->writers, instance, sizeof writer->instance, writer);
	return writer->link;
}

static void writer_link_free(struct reader_core *reader, struct writer_link *writer)
{
	HASH_DEL(reader->writers, writer);
	bus_unlink(reader->deps.bus, writer->link);
	free(writer);
}

static void reader_forget_writers(struct reader_core *reader, bool all)
{
	struct writer_link *writer, *next;
	HASH_ITER(hh, reader->writers, writer, next)
	{
		if (all || !reader_find_writer(reader, &writer->instance))
			writer_link_free(reader, writer);
	}
}

// ---- the cluster

static void reader_on_view(void *ctx)
{
	struct reader_core *reader = ctx;
	const struct cluster_view *view = cluster_client_view(reader->cluster);
	if (view->incarnation == 0)
		return;
	if (reader->incarnation == 0) {
		index_open(&reader->index, view->shards);
	} else if (reader->incarnation != view->incarnation) {
		// The log was rebuilt: offsets may mean other records, and batches carry another leader epoch.
		index_reset(&reader->index);
		cache_clear(&reader->cache);
	}
	reader->incarnation = view->incarnation;
	reader_forget_writers(reader, false);
}

static void reader_on_feed(void *ctx, struct bytes prefix, struct bytes body)
{
	struct reader_core *reader = ctx;
	static const char channel[] = "index/";
	if (prefix.len >= sizeof channel - 1 && memcmp(prefix.data, channel, sizeof channel - 1) == 0)
		index_on_feed(&reader->index, body);
}

// ---- requests

static void reader_on_request(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	struct reader_core *reader = ctx;
	reader->quiet_since_us = reader->deps.env->now_us;
	if (message->type == WEIR__MESSAGE_TYPE__FETCH) {
		fetch_start(&reader->fetches, request, message);
	} else if (message->type == WEIR__MESSAGE_TYPE__TIME_OFFSET) {
		time_lookup_start(&reader->lookups, request, message);
	} else {
		Weir__TimeOffsetReply reply = WEIR__TIME_OFFSET_REPLY__INIT;
		reply.error = ERROR_MALFORMED;
		bus_reply(reader->deps.bus, request, &(struct bus_send){.type = message->type, .body = &reply.base});
	}
}

// ---- life

struct reader_core *reader_new(const struct reader_deps *deps, const struct reader_settings *settings)
{
	struct reader_core *reader = memory_zalloc(sizeof *reader);
	reader->deps = *deps;
	reader->cluster = cluster_client_new(deps->env, deps->bus, deps->cluster,
		&(struct cluster_client_events){.on_view = reader_on_view, .on_feed = reader_on_feed, .ctx = reader});
	tasks_init(&reader->tasks, deps->env);
	index_init(&reader->index, deps->env, reader->cluster, &reader->names,
		&(struct index_settings){
			(uint32_t)settings->locate_entries, TAIL_ENTRIES_MAX, (uint64_t)settings->index_entries});
	cache_init(&reader->cache, deps->env, deps->bus, deps->store,
		&(struct cache_settings){
			(uint64_t)settings->cache_bytes, (uint32_t)settings->gets_max, (uint32_t)settings->get_timeout_ms},
		&(struct cache_events){reader_writer_link, reader});
	reader->walker =
		(struct walker){.env = deps->env, .cluster = reader->cluster, .index = &reader->index, .cache = &reader->cache};
	reader->fetches = (struct fetches){.env = deps->env,
		.bus = deps->bus,
		.walker = &reader->walker,
		.tasks = &reader->tasks,
		.live_bytes_max = (uint64_t)settings->cache_bytes + (uint64_t)settings->replies_bytes};
	reader->lookups =
		(struct time_lookups){.env = deps->env, .bus = deps->bus, .walker = &reader->walker, .tasks = &reader->tasks};
	cluster_client_subscribe(reader->cluster, "index/");
	bus_serve(deps->bus, reader_on_request, reader);
	return reader;
}

void reader_free(struct reader_core **reader)
{
	struct reader_core *freed = *reader;
	*reader = NULL;
	if (!freed)
		return;
	bus_serve(freed->deps.bus, NULL, NULL);
	tasks_cancel_all(&freed->tasks);
	cache_done(&freed->cache);
	index_done(&freed->index);
	CHECK(freed->names.by_key == NULL);
	reader_forget_writers(freed, true);
	cluster_client_free(&freed->cluster);
	free(freed);
}

uint64_t reader_step(struct reader_core *reader)
{
	uint64_t next_us = cluster_client_step(reader->cluster);
	next_us = deadline_min(next_us, tasks_step(&reader->tasks));
	next_us = deadline_min(next_us, cache_step(&reader->cache));
	if (reader->draining)
		next_us = deadline_min(next_us, deadline_in_ms(reader->deps.env, DRAIN_QUIET_MS));
	return next_us;
}

void reader_drain(struct reader_core *reader)
{
	reader->draining = true;
	reader->quiet_since_us = reader->deps.env->now_us;
	cluster_client_drain(reader->cluster);
}

bool reader_drained(const struct reader_core *reader)
{
	bool quiet = reader->deps.env->now_us - reader->quiet_since_us >= DRAIN_QUIET_MS * 1000;
	return reader->draining && quiet && reader->tasks.count == 0;
}

const char *reader_ready(struct reader_core *reader)
{
	if (reader->draining)
		return "draining";
	if (reader->incarnation == 0 || !cluster_client_ready(reader->cluster))
		return "not registered with the coordinators";
	return NULL;
}

void reader_count(const struct reader_core *reader, struct reader_counters *ret_counters)
{
	const struct cache_counters *cache = &reader->cache.counters;
	const struct walk_counters *walk = &reader->walker.counters;
	*ret_counters = (struct reader_counters){
		.fetches = reader->fetches.counters.requests,
		.fetched_bytes = reader->fetches.counters.bytes,
		.cache_hits = cache->hits,
		.cache_misses = cache->misses,
		.cache_bytes = reader->cache.bytes,
		.tail_requests = cache->tail_requests,
		.tail_hits = cache->tail_hits,
		.store_gets = cache->store_gets,
		.locates = reader->index.counters.locates,
		.feed_gaps = reader->index.counters.feed_gaps,
		.second_looks = walk->second_looks,
		.corrupt = walk->corrupt,
		.missing = walk->missing,
	};
}

// ---- metrics

static int64_t reader_gauge_cache(void *ctx)
{
	return (int64_t)((struct reader_core *)ctx)->cache.bytes;
}

static int64_t reader_gauge_live(void *ctx)
{
	return (int64_t)cache_live_bytes(&((struct reader_core *)ctx)->cache);
}

static int64_t reader_gauge_waiting(void *ctx)
{
	return ((struct reader_core *)ctx)->tasks.count;
}

static int64_t reader_gauge_partitions(void *ctx)
{
	return (int64_t)HASH_COUNT(((struct reader_core *)ctx)->index.partitions);
}

static int64_t reader_gauge_entries(void *ctx)
{
	return (int64_t)((struct reader_core *)ctx)->index.entries;
}

static void reader_metrics_fetches(struct reader_core *reader, struct metrics *metrics)
{
	const struct fetch_counters *fetches = &reader->fetches.counters;
	metrics_counter(metrics, "fetch_requests_total", NULL, "Fetch requests.", &fetches->requests);
	metrics_counter(metrics, "fetch_partitions_total", NULL, "Partitions in them.", &fetches->partitions);
	metrics_counter(metrics, "fetch_bytes_total", NULL, "Bytes of batches answered.", &fetches->bytes);
	metrics_counter(metrics, "fetch_errors_total", NULL, "Partitions answered with an error.", &fetches->errors);
	metrics_counter(metrics, "fetch_timeouts_total", NULL, "Fetches answered when their time was up.", &fetches->timeouts);
	metrics_counter(metrics, "fetch_held_back_total", NULL, "Times a fetch waited for memory.", &fetches->held_back);
	metrics_histogram(metrics, "fetch_seconds", NULL, "Arrival of a fetch to its reply.", &fetches->latency);
	metrics_counter(metrics, "time_lookups_total", NULL, "Lookups by time.", &reader->lookups.requests);
	metrics_counter(metrics, "time_lookup_errors_total", NULL, "Lookups that failed.", &reader->lookups.errors);
	metrics_gauge_of(metrics, "requests_waiting", NULL, "Requests under way.", reader_gauge_waiting, reader);
}

static void reader_metrics_cache(struct reader_core *reader, struct metrics *metrics)
{
	const struct cache_counters *cache = &reader->cache.counters;
	metrics_counter(metrics, "cache_hits_total", NULL, "Blocks found in memory.", &cache->hits);
	metrics_counter(metrics, "cache_misses_total", NULL, "Blocks that had to be loaded.", &cache->misses);
	metrics_gauge_of(metrics, "cache_bytes", NULL, "Blocks in memory.", reader_gauge_cache, reader);
	metrics_gauge_of(
		metrics, "live_bytes", NULL, "Blocks in memory or on their way in replies.", reader_gauge_live, reader);
	metrics_counter(metrics, "tail_requests_total", NULL, "Blocks asked of live writers.", &cache->tail_requests);
	metrics_counter(metrics, "tail_hits_total", NULL, "Blocks that live writers had.", &cache->tail_hits);
	metrics_counter(metrics, "tail_bytes_total", NULL, "Bytes from live writers.", &cache->tail_bytes);
	metrics_counter(metrics, "store_gets_total", NULL, "Blocks asked of the object store.", &cache->store_gets);
	metrics_counter(metrics, "store_bytes_total", NULL, "Bytes from the object store.", &cache->store_bytes);
	metrics_counter(metrics, "store_failures_total", NULL, "GETs that failed.", &cache->store_failures);
}

void reader_metrics(struct reader_core *reader, struct metrics *metrics)
{
	const struct index_counters *index = &reader->index.counters;
	const struct walk_counters *walk = &reader->walker.counters;
	reader_metrics_fetches(reader, metrics);
	reader_metrics_cache(reader, metrics);
	metrics_counter(metrics, "locates_total", NULL, "Lookups at shard owners.", &index->locates);
	metrics_counter(metrics, "locate_failures_total", NULL, "Those that failed.", &index->locate_failures);
	metrics_counter(metrics, "feed_messages_total", NULL, "Messages of the index feed.", &index->feed_messages);
	metrics_counter(metrics, "feed_gaps_total", NULL, "Gaps in it.", &index->feed_gaps);
	metrics_counter(metrics, "index_evictions_total", NULL, "Partitions forgotten for room.", &index->evicted_partitions);
	metrics_gauge_of(metrics, "index_partitions", NULL, "Partitions with a known index.", reader_gauge_partitions, reader);
	metrics_gauge_of(metrics, "index_entries", NULL, "Index entries in memory.", reader_gauge_entries, reader);
	metrics_counter(metrics, "waits_for_feed_total", NULL, "Fetches that knew more than the feed.", &walk->waits_for_feed);
	metrics_counter(
		metrics, "served_stale_total", NULL, "Known records served while the owner was away.", &walk->served_stale);
	metrics_counter(metrics, "second_looks_total", NULL, "Objects looked up again.", &walk->second_looks);
	metrics_counter(metrics, "corrupt_total", NULL, "Batches whose bytes were wrong.", &walk->corrupt);
	metrics_counter(metrics, "missing_total", NULL, "Objects that were not there.", &walk->missing);
}
