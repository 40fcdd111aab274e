#include "frontend/frontend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "frontend/kafka/serve.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

// How memory is shared out over the classes, in eighths: produce holds bodies until the writers have them, fetch holds answers.
static const uint64_t admission_eighths[ADMISSION_CLASS_COUNT] = {
	[ADMISSION_PRODUCE] = 4, [ADMISSION_FETCH] = 3, [ADMISSION_OTHER] = 1};

static void frontend_on_view(void *ctx)
{
	struct frontend *frontend = ctx;
	router_view(frontend->router, cluster_client_view(frontend->cluster));
}

static bool frontend_has_prefix(struct bytes text, const char *prefix)
{
	size_t len = strlen(prefix);
	return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static void frontend_on_feed(void *ctx, struct bytes prefix, struct bytes body)
{
	struct frontend *frontend = ctx;
	if (frontend_has_prefix(prefix, "meta/"))
		catalog_feed(frontend->catalog, body);
	else if (frontend_has_prefix(prefix, "hw/"))
		watermarks_feed(frontend->watermarks, body);
}

static void frontend_on_catalog(void *ctx)
{
	((struct frontend *)ctx)->catalog_changed = true;
}

static void frontend_on_topic_gone(void *ctx, const struct topic *topic)
{
	watermarks_forget(((struct frontend *)ctx)->watermarks, &topic->id, topic->partitions);
}

static void frontend_start_cluster(struct frontend *frontend)
{
	const struct frontend_settings *settings = &frontend->settings;
	struct cluster_client_settings client = {.coordinators = settings->coordinators,
		.instance = settings->instance,
		.role = WEIR__ROLE__FRONTEND,
		.address = "",
		.kafka_host = settings->kafka_host,
		.kafka_port = settings->kafka_port,
		.zone = settings->zone};
	struct cluster_client_events events = {frontend_on_view, frontend_on_feed, frontend};
	frontend->cluster = cluster_client_new(frontend->env, frontend->bus, &client, &events);
	cluster_client_subscribe(frontend->cluster, "meta/");
	cluster_client_subscribe(frontend->cluster, "hw/");
}

struct frontend *frontend_new(const struct env *env, struct bus *bus, const struct frontend_settings *settings)
{
	struct frontend *frontend = memory_zalloc(sizeof *frontend);
	uint64_t budgets[ADMISSION_CLASS_COUNT];
	for (int class = 0; class < ADMISSION_CLASS_COUNT; class ++)
		budgets[class] = settings->memory_bytes / 8 * admission_eighths[class];
	struct router_settings router = {settings->zone, settings->instance, settings->window_bytes};
	struct catalog_events catalog = {frontend_on_catalog, frontend_on_topic_gone, frontend};
	frontend->env = env;
	frontend->bus = bus;
	frontend->settings = *settings;
	frontend->prng = env->prng;
	(void)prng_next(&frontend->prng);
	list_init(&frontend->catalog_watchers);
	timeouts_init(&frontend->timeouts);
	frontend->admission = admission_new(budgets);
	frontend->catalog = catalog_new(env, settings->message_bytes_max, &catalog);
	frontend->watermarks = watermarks_new(env);
	frontend->router = router_new(env, bus, &frontend->timeouts, &router);
	frontend_start_cluster(frontend);
	return frontend;
}

void frontend_free(struct frontend **frontend)
{
	struct frontend *gone = *frontend;
	*frontend = NULL;
	if (!gone)
		return;
	CHECK(list_empty(&gone->catalog_watchers));
	catalog_stop(gone->catalog, gone->cluster);
	watermarks_stop(gone->watermarks, gone->cluster);
	cluster_client_free(&gone->cluster);
	router_free(&gone->router);
	watermarks_free(&gone->watermarks);
	catalog_free(&gone->catalog);
	admission_free(&gone->admission);
	timeouts_done(&gone->timeouts);
	free(gone->scheduled);
	free(gone);
}

void frontend_schedule(struct frontend *frontend, struct request *request)
{
	if (request->scheduled)
		return;
	if (frontend->scheduled_count == frontend->scheduled_capacity) {
		frontend->scheduled_capacity = frontend->scheduled_capacity ? frontend->scheduled_capacity * 2 : 16;
		frontend->scheduled =
			memory_realloc(frontend->scheduled, frontend->scheduled_capacity * sizeof(struct request *));
	}
	frontend->scheduled[frontend->scheduled_count++] = request;
	request->scheduled = frontend->scheduled_count;
}

void frontend_unschedule(struct frontend *frontend, struct request *request)
{
	if (request->scheduled)
		frontend->scheduled[request->scheduled - 1] = NULL;
	request->scheduled = 0;
}

// What is scheduled meanwhile runs too.
static void frontend_run_scheduled(struct frontend *frontend)
{
	for (size_t i = 0; i < frontend->scheduled_count; i++) {
		struct request *request = frontend->scheduled[i];
		if (!request)
			continue;
		frontend_unschedule(frontend, request);
		request->run(request);
	}
	frontend->scheduled_count = 0;
}

static void frontend_tell_watchers(struct frontend *frontend)
{
	if (!frontend->catalog_changed)
		return;
	frontend->catalog_changed = false;
	// A watcher may leave or finish, which takes it out of the list; so each is moved over before it is told.
	struct list watchers;
	list_init(&watchers);
	for (struct list *link; (link = list_pop(&frontend->catalog_watchers));)
		list_append(&watchers, link);
	for (struct list *link; (link = list_pop(&watchers));) {
		struct request *request = container_of(link, struct request, catalog_link);
		list_append(&frontend->catalog_watchers, link);
		request->on_catalog(request);
	}
}

uint64_t frontend_step(struct frontend *frontend)
{
	uint64_t next_us = cluster_client_step(frontend->cluster);
	next_us = deadline_min(next_us, catalog_step(frontend->catalog, frontend->cluster));
	next_us = deadline_min(next_us, watermarks_step(frontend->watermarks, frontend->cluster));
	frontend_tell_watchers(frontend);
	frontend_run_scheduled(frontend);
	next_us = deadline_min(next_us, admission_step(frontend->admission, frontend->env));
	next_us = deadline_min(next_us, timeouts_step(&frontend->timeouts, frontend->env));
	next_us = deadline_min(next_us, router_step(frontend->router));
	if (!frontend->synced_once && !frontend_ready(frontend)) {
		frontend->synced_once = true;
		log_event(LOG_INFO, "frontend_synced", LOG_NUMBER("topics", catalog_count(frontend->catalog)),
			LOG_NUMBER("node_id", cluster_client_node_id(frontend->cluster)));
	}
	return frontend->scheduled_count || frontend->catalog_changed ? 0 : next_us;
}

void frontend_drain(struct frontend *frontend)
{
	cluster_client_drain(frontend->cluster);
}

const char *frontend_ready(const struct frontend *frontend)
{
	if (!cluster_client_ready(frontend->cluster))
		return "not registered with a coordinator";
	if (!catalog_ready(frontend->catalog))
		return "topics not known yet";
	if (!watermarks_ready(frontend->watermarks))
		return "watermarks not known yet";
	if (router_writer_count(frontend->router) == 0)
		return "no writer";
	if (router_reader_count(frontend->router) == 0)
		return "no reader";
	return NULL;
}

bool frontend_synced(const struct frontend *frontend)
{
	return frontend->synced_once;
}

bool frontend_api_served(int16_t key, int16_t version)
{
	const struct serve_api *served = serve_find(key);
	const struct kafka_api *api = kafka_api_find(key);
	if (key == KAFKA_API_API_VERSIONS)
		return true; // a version we do not know is told so
	return served && api && version >= api->min_version && version <= api->max_version;
}

enum admission_class frontend_api_class(int16_t key)
{
	return serve_find(key)->class;
}

void frontend_handle(struct request *request)
{
	struct reader *reader = &request->body;
	int16_t key = reader_i16(reader), version = reader_i16(reader);
	request->key = key;
	request->version = version;
	*reader = reader_of(slice_bytes(request->frame));
	enum error error = kafka_request_header_decode(
		&request->header, reader, kafka_request_header_version(key, version), &request->arena);
	CHECK(frontend_api_served(key, version));
	request->body_position = (size_t)(reader->pos - request->frame.data);
	request->frontend->counters.requests[key]++;
	if (error != ERROR_OK)
		request_close(request);
	else
		serve_find(key)->serve(request);
}

static void frontend_observe(struct metrics_histogram *histogram, const struct request *request)
{
	metrics_observe_us(histogram, request->frontend->env->now_us - request->started_us);
}

void frontend_finished(struct frontend *frontend, struct request *request)
{
	if (request->key == KAFKA_API_PRODUCE)
		frontend_observe(&frontend->counters.produce_us, request);
	else if (request->key == KAFKA_API_FETCH)
		frontend_observe(&frontend->counters.fetch_us, request);
}

void frontend_release(struct frontend *frontend, struct request *request)
{
	admission_return(frontend->admission, ADMISSION_FETCH, request->reserved_bytes);
	request->reserved_bytes = 0;
}

int16_t frontend_error(struct frontend *frontend, int16_t code)
{
	if (code && code >= -1 && code < FRONTEND_ERROR_MAX - 1)
		frontend->counters.errors[code + 1]++;
	return code;
}

// Brokers

static int frontend_compare_brokers(const void *a, const void *b)
{
	const struct frontend_broker *left = a, *right = b;
	return (left->node_id > right->node_id) - (left->node_id < right->node_id);
}

static struct frontend_broker frontend_self(const struct frontend *frontend)
{
	const struct frontend_settings *settings = &frontend->settings;
	return (struct frontend_broker){cluster_client_node_id(frontend->cluster), bytes_of(settings->kafka_host),
		settings->kafka_port, settings->zone, placement_hash(uuid_view(&settings->instance))};
}

struct frontend_broker *frontend_brokers(const struct frontend *frontend, struct arena *arena, size_t *ret_count)
{
	const struct cluster_view *view = cluster_client_view(frontend->cluster);
	struct frontend_broker *brokers = arena_alloc(arena, (view->member_count + 1) * sizeof *brokers);
	size_t count = 0;
	brokers[count++] = frontend_self(frontend);
	for (size_t i = 0; i < view->member_count; i++) {
		const struct cluster_member *member = &view->members[i];
		if (member->role != WEIR__ROLE__FRONTEND || member->draining || member->node_id == brokers[0].node_id ||
			uuid_equal(&member->instance, &frontend->settings.instance))
			continue;
		brokers[count++] = (struct frontend_broker){
			member->node_id, bytes_of(member->kafka_host), member->kafka_port, member->zone, member->hash};
	}
	qsort(brokers, count, sizeof *brokers, frontend_compare_brokers);
	*ret_count = count;
	return brokers;
}

const struct frontend_broker *frontend_broker_for(const struct frontend_broker *brokers, size_t count, uint64_t key)
{
	const struct frontend_broker *best = &brokers[0];
	uint64_t best_weight = placement_mix(best->hash, key);
	for (size_t i = 1; i < count; i++) {
		uint64_t weight = placement_mix(brokers[i].hash, key);
		if (weight > best_weight) {
			best = &brokers[i];
			best_weight = weight;
		}
	}
	return best;
}

// Metrics

static int64_t frontend_gauge_produce(void *ctx)
{
	return (int64_t)admission_used(((struct frontend *)ctx)->admission, ADMISSION_PRODUCE);
}

static int64_t frontend_gauge_fetch(void *ctx)
{
	return (int64_t)admission_used(((struct frontend *)ctx)->admission, ADMISSION_FETCH);
}

static int64_t frontend_gauge_other(void *ctx)
{
	return (int64_t)admission_used(((struct frontend *)ctx)->admission, ADMISSION_OTHER);
}

static int64_t frontend_gauge_waiting(void *ctx)
{
	struct admission *admission = ((struct frontend *)ctx)->admission;
	size_t waiting = 0;
	for (int class = 0; class < ADMISSION_CLASS_COUNT; class ++)
		waiting += admission_waiting(admission, (enum admission_class) class);
	return (int64_t)waiting;
}

static int64_t frontend_gauge_in_flight(void *ctx)
{
	return (int64_t)router_in_flight_bytes(((struct frontend *)ctx)->router);
}

static int64_t frontend_gauge_queued(void *ctx)
{
	return (int64_t)router_waiting(((struct frontend *)ctx)->router);
}

static int64_t frontend_gauge_unsynced(void *ctx)
{
	return (int64_t)watermarks_unsynced(((struct frontend *)ctx)->watermarks);
}

static int64_t frontend_gauge_topics(void *ctx)
{
	return (int64_t)catalog_count(((struct frontend *)ctx)->catalog);
}

#define FRONTEND_ERROR_METRIC(name, code)                                                                                      \
	metrics_counter(metrics, "errors_total", "error=\"" #name "\"", "Errors told to clients, a partition or request each", \
		&frontend->counters.errors[(code) + 1]);

static void frontend_register_errors(struct frontend *frontend, struct metrics *metrics)
{
	KAFKA_ERROR_TABLE(FRONTEND_ERROR_METRIC)
}

static void frontend_register_requests(struct frontend *frontend, struct metrics *metrics)
{
	for (int i = 0; i < serve_count(); i++) {
		const struct kafka_api *api = kafka_api_find(serve_at(i)->key);
		char labels[64];
		snprintf(labels, sizeof labels, "api=\"%s\"", api->name);
		metrics_counter(metrics, "requests_total", labels, "Requests by API", &frontend->counters.requests[api->key]);
	}
}

void frontend_register_metrics(struct frontend *frontend, struct metrics *metrics)
{
	const struct frontend_counters *counters = &frontend->counters;
	const struct router_counters *router = router_counters(frontend->router);
	frontend_register_requests(frontend, metrics);
	frontend_register_errors(frontend, metrics);
	metrics_counter(metrics, "produce_bytes_total", NULL, "Record batch bytes taken", &counters->produce_bytes);
	metrics_counter(metrics, "fetch_bytes_total", NULL, "Record batch bytes given", &counters->fetch_bytes);
	metrics_histogram(
		metrics, "produce_seconds", NULL, "Produce requests, from the whole body to the answer", &counters->produce_us);
	metrics_histogram(metrics, "fetch_seconds", NULL, "Fetch requests, long polls included", &counters->fetch_us);
	metrics_counter(metrics, "appends_total", NULL, "Append requests sent to writers", &router->appends);
	metrics_counter(metrics, "append_bytes_total", NULL, "Payload bytes sent to writers", &router->append_bytes);
	metrics_counter(metrics, "append_reroutes_total", NULL, "Appends whose writer was not reached", &router->reroutes);
	const char *help = "Bytes granted by admission";
	metrics_gauge_of(metrics, "memory_bytes", "class=\"produce\"", help, frontend_gauge_produce, frontend);
	metrics_gauge_of(metrics, "memory_bytes", "class=\"fetch\"", help, frontend_gauge_fetch, frontend);
	metrics_gauge_of(metrics, "memory_bytes", "class=\"other\"", help, frontend_gauge_other, frontend);
	metrics_gauge_of(metrics, "memory_waiting", NULL, "Asks that wait for memory", frontend_gauge_waiting, frontend);
	metrics_gauge_of(metrics, "appends_in_flight_bytes", NULL, "Bytes that writers have not answered",
		frontend_gauge_in_flight, frontend);
	metrics_gauge_of(metrics, "appends_waiting", NULL, "Appends that wait for a writer", frontend_gauge_queued, frontend);
	metrics_gauge_of(metrics, "watermark_shards_unsynced", NULL, "Shards whose feed must be synced",
		frontend_gauge_unsynced, frontend);
	metrics_gauge_of(metrics, "topics", NULL, "Topics known", frontend_gauge_topics, frontend);
}
