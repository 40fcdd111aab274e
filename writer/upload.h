#pragma once
// Uploads of sealed objects, several at once, each repeated until the store has it: an object is never given up, since acks
// wait for it. Past active_max objects wait in order (the writer stops sealing by budget then, so what waits is bounded by its
// memory budget).

#include "common/base/env.h"
#include "common/runtime/metrics.h"
#include "common/storage/object_store.h"
#include "writer/sealed_object.h"

struct upload_settings {
	uint32_t active_max;
	uint32_t timeout_ms; // of one attempt
};

struct upload_events {
	// The object is in the store; its image is still held.
	void (*on_durable)(void *ctx, struct sealed_object *object);
	// It can never be: another object has its key.
	void (*on_lost)(void *ctx, struct sealed_object *object);
	void *ctx;
};

struct uploads {
	struct env *env;
	struct object_store *store;
	struct upload_settings settings;
	struct upload_events events;
	struct list active;  // asked of the store, or waiting to be asked again
	struct list waiting; // for a place among the active
	uint32_t active_count;
	uint32_t waiting_count;
	uint64_t retries;
	struct metrics_histogram latency; // first attempt to durable
};

void uploads_init(struct uploads *uploads, struct env *env, struct object_store *store, const struct upload_settings *settings,
	const struct upload_events *events);
// Forgets all; answers of the store that are still to come find nobody.
void uploads_done(struct uploads *uploads);
// Takes a hold of its own.
void uploads_add(struct uploads *uploads, struct sealed_object *object);
// Another object would start at once.
bool uploads_free_place(const struct uploads *uploads);
bool uploads_idle(const struct uploads *uploads);
uint64_t uploads_step(struct uploads *uploads);
