// Life of an upload: put if absent -> OK: durable. Any failure, also of unknown outcome -> wait (full jitter) -> the same put
// again. ALREADY_EXISTS: the key holds our random instance, so it is an earlier attempt of ours that took effect; its size is
// compared by HEAD before we believe it. A HEAD that finds nothing leads back to the put.
//
// The store cannot be told to forget a call, so an upload lives until its answer came, even when its owner is gone.

#include "writer/upload.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { BACKOFF_MS_MIN = 50, BACKOFF_MS_MAX = 5000 };

struct upload {
	struct list link;
	struct uploads *uploads; // NULL: the owner is gone
	struct sealed_object *object;
	uint64_t started_us;
	uint64_t again_us; // when the next attempt is due; 0: an answer is awaited
	uint32_t failures;
};

void uploads_init(struct uploads *uploads, struct env *env, struct object_store *store, const struct upload_settings *settings,
	const struct upload_events *events)
{
	*uploads = (struct uploads){.env = env, .store = store, .settings = *settings, .events = *events};
	list_init(&uploads->active);
	list_init(&uploads->waiting);
}

static void upload_free(struct upload *upload)
{
	sealed_object_unref(&upload->object);
	free(upload);
}

void uploads_done(struct uploads *uploads)
{
	struct list *link;
	while ((link = list_pop(&uploads->waiting)))
		upload_free(container_of(link, struct upload, link));
	while ((link = list_pop(&uploads->active))) {
		struct upload *upload = container_of(link, struct upload, link);
		upload->uploads = NULL;
		if (upload->again_us)
			upload_free(upload);
	}
}

static void upload_finish(struct upload *upload)
{
	struct uploads *uploads = upload->uploads;
	list_remove(&upload->link);
	uploads->active_count--;
	metrics_observe_us(&uploads->latency, uploads->env->now_us - upload->started_us);
	uploads->events.on_durable(uploads->events.ctx, upload->object);
	upload_free(upload);
}

static void upload_retry(struct upload *upload, enum error error)
{
	struct uploads *uploads = upload->uploads;
	uint32_t doublings = upload->failures < 7 ? upload->failures : 7;
	uint64_t ceiling_ms = (uint64_t)BACKOFF_MS_MIN << doublings;
	if (ceiling_ms > BACKOFF_MS_MAX)
		ceiling_ms = BACKOFF_MS_MAX;
	upload->failures++;
	uploads->retries++;
	// A line at the 1st, 2nd, 4th, 8th … failure: an outage of an hour must not be told a thousand times.
	if ((upload->failures & (upload->failures - 1)) == 0)
		log_event(LOG_WARN, "put_failed", LOG_TEXT("key", upload->object->key),
			LOG_NUMBER("failures", upload->failures), LOG_CAUSE(error));
	upload->again_us = uploads->env->now_us + 1 + prng_below(&uploads->env->prng, ceiling_ms * 1000);
}

static void upload_on_head(void *ctx, enum error error, uint64_t size)
{
	struct upload *upload = ctx;
	struct uploads *uploads = upload->uploads;
	if (!uploads) {
		upload_free(upload);
	} else if (error != ERROR_OK) {
		upload_retry(upload, error);
	} else if (size == upload->object->bytes) {
		upload_finish(upload);
	} else {
		log_event(LOG_ERROR, "object_key_taken", LOG_TEXT("key", upload->object->key), LOG_NUMBER("bytes", size),
			LOG_NUMBER("expected", upload->object->bytes));
		uploads->events.on_lost(uploads->events.ctx, upload->object);
		upload_retry(upload, ERROR_ALREADY_EXISTS);
	}
}

static void upload_on_put(void *ctx, enum error error)
{
	struct upload *upload = ctx;
	struct uploads *uploads = upload->uploads;
	if (!uploads)
		upload_free(upload);
	else if (error == ERROR_OK)
		upload_finish(upload);
	else if (error == ERROR_ALREADY_EXISTS)
		object_head(uploads->store, upload->object->key, uploads->settings.timeout_ms, upload_on_head, upload);
	else
		upload_retry(upload, error);
}

static void upload_attempt(struct upload *upload)
{
	struct uploads *uploads = upload->uploads;
	const struct object_image *image = upload->object->image;
	upload->again_us = 0;
	object_put(uploads->store, upload->object->key, image->parts, image->part_count, true, uploads->settings.timeout_ms,
		upload_on_put, upload);
}

static void uploads_fill(struct uploads *uploads)
{
	while (uploads->active_count < uploads->settings.active_max && !list_empty(&uploads->waiting)) {
		struct upload *upload = container_of(list_pop(&uploads->waiting), struct upload, link);
		uploads->waiting_count--;
		uploads->active_count++;
		list_append(&uploads->active, &upload->link);
		upload->started_us = uploads->env->now_us;
		upload_attempt(upload);
	}
}

void uploads_add(struct uploads *uploads, struct sealed_object *object)
{
	struct upload *upload = memory_zalloc(sizeof *upload);
	upload->uploads = uploads;
	upload->object = sealed_object_ref(object);
	list_append(&uploads->waiting, &upload->link);
	uploads->waiting_count++;
	uploads_fill(uploads);
}

bool uploads_free_place(const struct uploads *uploads)
{
	return uploads->active_count < uploads->settings.active_max && list_empty(&uploads->waiting);
}

bool uploads_idle(const struct uploads *uploads)
{
	return list_empty(&uploads->active) && list_empty(&uploads->waiting);
}

uint64_t uploads_step(struct uploads *uploads)
{
	uint64_t next_us = DEADLINE_NEVER;
	uploads_fill(uploads);
	LIST_EACH (&uploads->active, link) {
		struct upload *upload = container_of(link, struct upload, link);
		if (upload->again_us && upload->again_us <= uploads->env->now_us)
			upload_attempt(upload);
		else if (upload->again_us)
			next_us = deadline_min(next_us, upload->again_us);
	}
	return next_us;
}
