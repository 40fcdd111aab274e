#include "frontend/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/feed.pb-c.h"

enum { CATALOG_SYNC_TIMEOUT_MS = 5000, CATALOG_SYNC_PAUSE_MS = 100, TOPIC_NAME_MAX = 249 };

struct catalog {
	const struct env *env;
	struct catalog_events events;
	uint32_t message_bytes_max;
	struct topic *by_id;
	struct topic *by_name;
	struct feed_cursor cursor;
	bool ready;
	bool wanted;       // a full copy is needed
	uint64_t call;     // in flight; 0: none
	uint64_t again_us; // not before
};

struct catalog *catalog_new(const struct env *env, uint32_t message_bytes_max, const struct catalog_events *events)
{
	struct catalog *catalog = memory_zalloc(sizeof *catalog);
	catalog->env = env;
	catalog->events = *events;
	catalog->message_bytes_max = message_bytes_max;
	catalog->wanted = true;
	return catalog;
}

static void catalog_free_topic(struct topic *topic)
{
	free((void *)(uintptr_t)topic->name);
	for (size_t i = 0; i < topic->setting_count; i++) {
		free((void *)(uintptr_t)topic->settings[i].name);
		free((void *)(uintptr_t)topic->settings[i].value);
	}
	free((void *)(uintptr_t)topic->settings);
	free(topic);
}

static void catalog_remove(struct catalog *catalog, struct topic *topic)
{
	HASH_DELETE(by_id, catalog->by_id, topic);
	HASH_DELETE(by_name, catalog->by_name, topic);
	catalog_free_topic(topic);
}

void catalog_free(struct catalog **catalog)
{
	if (!*catalog)
		return;
	struct topic *topic, *next;
	HASH_ITER(by_id, (*catalog)->by_id, topic, next)
	catalog_remove(*catalog, topic);
	free(*catalog);
	*catalog = NULL;
}

const char *topic_setting_find(const struct topic *topic, const char *name)
{
	for (size_t i = 0; i < topic->setting_count; i++)
		if (strcmp(topic->settings[i].name, name) == 0)
			return topic->settings[i].value;
	return NULL;
}

// What produce needs of the settings, looked up once a change rather than once a batch.
static void catalog_derive(const struct catalog *catalog, struct topic *topic)
{
	const char *bytes_max = topic_setting_find(topic, "max.message.bytes");
	const char *timestamps = topic_setting_find(topic, "message.timestamp.type");
	long long value = bytes_max ? strtoll(bytes_max, NULL, 10) : catalog->message_bytes_max;
	topic->message_bytes_max = value < 0 ? 0 : value > INT32_MAX ? INT32_MAX : (uint32_t)value;
	topic->log_append_time = timestamps && strcmp(timestamps, "LogAppendTime") == 0;
}

static struct topic *catalog_make_topic(const struct catalog *catalog, const Weir__TopicInfo *info, const struct uuid *id)
{
	struct topic *topic = memory_zalloc(sizeof *topic);
	struct topic_setting *settings = memory_zalloc((info->n_configs + 1) * sizeof *settings);
	topic->id = *id;
	topic->name = memory_strdup(info->name);
	topic->name_view = bytes_of(topic->name);
	topic->partitions = info->partitions;
	topic->version = info->version;
	topic->seen = true;
	for (size_t i = 0; i < info->n_configs; i++)
		settings[i] =
			(struct topic_setting){memory_strdup(info->configs[i]->name), memory_strdup(info->configs[i]->value)};
	topic->settings = settings;
	topic->setting_count = info->n_configs;
	catalog_derive(catalog, topic);
	return topic;
}

static struct topic *catalog_find_id(const struct catalog *catalog, const struct uuid *id)
{
	struct topic *topic;
	HASH_FIND(by_id, catalog->by_id, id, sizeof *id, topic);
	return topic;
}

static struct topic *catalog_find_name(const struct catalog *catalog, struct bytes name)
{
	struct topic *topic;
	if (!name.data)
		return NULL;
	HASH_FIND(by_name, catalog->by_name, name.data, name.len, topic);
	return topic;
}

static void catalog_drop(struct catalog *catalog, struct topic *topic)
{
	if (catalog->events.on_gone)
		catalog->events.on_gone(catalog->events.ctx, topic);
	catalog_remove(catalog, topic);
}

static void catalog_take(struct catalog *catalog, const Weir__TopicInfo *info)
{
	struct uuid id;
	if (!protobuf_get_uuid(info->id, &id))
		return;
	struct topic *known = catalog_find_id(catalog, &id);
	if (known && known->version >= info->version) {
		known->seen = true;
		return;
	}
	if (known)
		catalog_remove(catalog, known); // changed, not gone: its partitions keep their watermarks
	struct topic *topic = catalog_make_topic(catalog, info, &id);
	struct topic *namesake = catalog_find_name(catalog, topic->name_view);
	if (namesake)
		catalog_drop(catalog, namesake);
	HASH_ADD(by_id, catalog->by_id, id, sizeof topic->id, topic);
	HASH_ADD_KEYPTR(by_name, catalog->by_name, topic->name, topic->name_view.len, topic);
}

static void catalog_changed(struct catalog *catalog)
{
	if (catalog->events.on_change)
		catalog->events.on_change(catalog->events.ctx);
}

static void catalog_apply(struct catalog *catalog, const Weir__MetaFeed *feed)
{
	for (size_t i = 0; i < feed->n_deleted_topics; i++) {
		struct uuid id;
		struct topic *topic = protobuf_get_uuid(feed->deleted_topics[i], &id) ? catalog_find_id(catalog, &id) : NULL;
		if (topic)
			catalog_drop(catalog, topic);
	}
	for (size_t i = 0; i < feed->n_topics; i++)
		catalog_take(catalog, feed->topics[i]);
	if (feed->n_topics + feed->n_deleted_topics > 0)
		catalog_changed(catalog);
}

void catalog_feed(struct catalog *catalog, struct bytes body)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__MetaFeed *feed = protobuf_unpack(&weir__meta_feed__descriptor, body, &arena);
	if (feed) {
		bool carries = feed->view || feed->n_topics || feed->n_deleted_topics;
		switch (feed_cursor_accept(&catalog->cursor, catalog->env, feed->epoch, feed->number, carries)) {
		case FEED_APPLY:
			catalog_apply(catalog, feed);
			break;
		case FEED_GAP:
			catalog->wanted = true;
			break;
		case FEED_SKIP:
			break;
		}
	}
	arena_done(&arena);
}

static void catalog_replace(struct catalog *catalog, const Weir__SyncMetaReply *reply)
{
	struct topic *topic, *next;
	HASH_ITER(by_id, catalog->by_id, topic, next)
	topic->seen = false;
	for (size_t i = 0; i < reply->n_topics; i++)
		catalog_take(catalog, reply->topics[i]);
	HASH_ITER(by_id, catalog->by_id, topic, next)
	if (!topic->seen)
		catalog_drop(catalog, topic);
	feed_cursor_synced(&catalog->cursor, catalog->env, reply->epoch, reply->number);
	catalog->ready = true;
	catalog->wanted = false;
	catalog_changed(catalog);
}

static void catalog_on_sync(void *ctx, enum error error, const struct bus_message *message)
{
	struct catalog *catalog = ctx;
	catalog->call = 0;
	catalog->again_us = deadline_in_ms(catalog->env, CATALOG_SYNC_PAUSE_MS);
	if (error != ERROR_OK)
		return;
	struct arena arena;
	arena_init(&arena, 0);
	Weir__SyncMetaReply *reply = protobuf_unpack(&weir__sync_meta_reply__descriptor, message->body, &arena);
	if (reply && reply->error == ERROR_OK)
		catalog_replace(catalog, reply);
	arena_done(&arena);
}

uint64_t catalog_step(struct catalog *catalog, struct cluster_client *cluster)
{
	if (catalog->ready && feed_cursor_silent(&catalog->cursor, catalog->env))
		catalog->wanted = true;
	if (!catalog->wanted || catalog->call)
		return catalog->env->now_us + FEED_SILENCE_MS * 1000;
	if (cluster_client_view(cluster)->incarnation == 0)
		return catalog->env->now_us + CATALOG_SYNC_PAUSE_MS * 1000;
	if (catalog->env->now_us < catalog->again_us)
		return catalog->again_us;
	Weir__SyncMetaRequest request = WEIR__SYNC_META_REQUEST__INIT;
	struct bus_send send = {
		.type = WEIR__MESSAGE_TYPE__SYNC_META, .body = &request.base, .timeout_ms = CATALOG_SYNC_TIMEOUT_MS};
	catalog->call = cluster_client_call(cluster, 0, &send, true, catalog_on_sync, catalog);
	return catalog->env->now_us + FEED_SILENCE_MS * 1000;
}

void catalog_stop(struct catalog *catalog, struct cluster_client *cluster)
{
	if (catalog->call)
		cluster_client_cancel(cluster, catalog->call);
	catalog->call = 0;
}

bool catalog_ready(const struct catalog *catalog)
{
	return catalog->ready;
}

const struct topic *catalog_by_name(const struct catalog *catalog, struct bytes name)
{
	return catalog_find_name(catalog, name);
}

const struct topic *catalog_by_id(const struct catalog *catalog, const struct uuid *id)
{
	return catalog_find_id(catalog, id);
}

const struct topic *catalog_next(const struct catalog *catalog, const struct topic *topic)
{
	return topic ? topic->by_id.next : catalog->by_id;
}

size_t catalog_count(const struct catalog *catalog)
{
	return HASH_CNT(by_id, catalog->by_id);
}

static bool topic_name_char(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool topic_name_valid(struct bytes name)
{
	if (name.len == 0 || name.len > TOPIC_NAME_MAX || bytes_equal(name, bytes_of(".")) || bytes_equal(name, bytes_of("..")))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!topic_name_char(name.data[i]))
			return false;
	return true;
}
