#pragma once
// This coordinator's life in etcd: a lease, the cluster's identity (made by the first coordinator ever), and our own row among
// the coordinators, bound to the lease.
//
//	lease granted ──► cluster read or created ──► row put: UP ──► … lease lost: begin again
//	leave: row deleted, lease revoked
//
// Owner: the coordinator. A lost lease is normal life: everything owned is dropped, then we come back with a new one.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/uuid.h"
#include "common/storage/metadata_store.h"

struct session;

struct session_settings {
	const char *prefix; // of our etcd keys
	uint32_t lease_ttl_ms;
	uint32_t shards; // of a cluster that is created
	struct uuid instance;
	const char *address;
	const char *feed_address;
	uint32_t apply_version_max;
};

struct session_cluster {
	char id[UUID_BASE64_SIZE];
	uint32_t shards;
	uint64_t incarnation;           // number << 48 | random
	struct bytes incarnation_value; // of the key every fence compares
};

// on_lost: whatever hangs on the lease is gone or soon will be. Comes from session_step() or a store's callback.
struct session *session_new(struct env *env, struct metadata_store *store, const struct session_settings *settings,
	void (*on_lost)(void *ctx), void *ctx);
void session_free(struct session **session);
uint64_t session_step(struct session *session);

bool session_up(const struct session *session);
// Up, and the lease surely not run out: only then we answer for what we own.
bool session_alive(const struct session *session);
int64_t session_lease(const struct session *session);
// NULL until known; stays known when the lease is lost.
const struct session_cluster *session_cluster(const struct session *session);

// Gives the lease up and begins again: the incarnation has changed under us.
void session_restart(struct session *session);
// Deletes our row, so that others choose without us; the lease and what hangs on it stays until session_end().
void session_leave(struct session *session);
bool session_left(const struct session *session);
// Revokes the lease.
void session_end(struct session *session);
bool session_ended(const struct session *session);
