#include "coordinator/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "coordinator/ticket.h"
#include "proto/common.pb-c.h"

enum {
	CALL_TIMEOUT_MS = 2000,
	RETRY_MS = 300,
	KEY_SIZE = 640,
	INCARNATION_DIGITS = 16,
	LEASE_MARGIN_DIVISOR = 10, // the last tenth of the lease is not trusted: clocks drift, a turn takes time
};

enum session_state {
	SESSION_NO_LEASE,
	SESSION_NO_CLUSTER,     // lease there; the cluster's row is read
	SESSION_NO_INCARNATION, // and then the incarnation's
	SESSION_CREATE_CLUSTER,
	SESSION_NO_ROW,
	SESSION_UP,
	SESSION_LEAVING,
	SESSION_LEFT,
	SESSION_ENDING,
	SESSION_ENDED,
};

struct session {
	struct env *env;
	struct metadata_store *store;
	struct session_settings settings;
	void (*on_lost)(void *ctx);
	void *ctx;
	struct list tickets;
	enum session_state state;
	bool asked; // a call is out; its answer moves the state
	uint64_t retry_us;
	uint64_t asked_us;
	int64_t lease;
	uint64_t lease_safe_us;
	bool cluster_known;
	struct session_cluster cluster;
	char incarnation_text[INCARNATION_DIGITS + 1];
	char cluster_key[KEY_SIZE], incarnation_key[KEY_SIZE], row_key[KEY_SIZE];
};

static struct ticket *session_ask(struct session *session)
{
	struct ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket_open(ticket, &session->tickets, session);
	session->asked = true;
	session->asked_us = session->env->now_us;
	return ticket;
}

// NULL if the session is gone, the store closes, or the call failed: then it is asked again later.
static struct session *session_answered(void *ctx, enum error error, const char *what)
{
	struct ticket *ticket = ctx;
	struct session *session = ticket_take(ticket);
	free(ticket);
	if (!session || error == ERROR_CANCELED)
		return NULL;
	session->asked = false;
	if (error == ERROR_OK)
		return session;
	log_event(LOG_WARN, "etcd_call_failed", LOG_TEXT("call", what), LOG_CAUSE(error));
	session->retry_us = deadline_in_ms(session->env, RETRY_MS);
	return NULL;
}

static void session_forget_lease(struct session *session)
{
	if (session->lease)
		metadata_lease_forget(session->store, session->lease);
	session->lease = 0;
	session->lease_safe_us = 0;
}

static void session_begin_again(struct session *session)
{
	bool was_up = session->state >= SESSION_UP;
	tickets_abandon(&session->tickets);
	session_forget_lease(session);
	session->asked = false;
	session->state = session->state >= SESSION_LEAVING ? SESSION_ENDED : SESSION_NO_LEASE;
	session->retry_us = 0;
	if (was_up)
		session->on_lost(session->ctx);
}

// Lease.

static void lease_set_safe(struct session *session, uint64_t sent_us, uint64_t ttl_ms)
{
	session->lease_safe_us = sent_us + ttl_ms * 1000 - ttl_ms * 1000 / LEASE_MARGIN_DIVISOR;
}

static void lease_kept(void *ctx, int64_t lease, uint64_t sent_us, uint64_t ttl_ms)
{
	struct session *session = ctx;
	if (lease != session->lease)
		return;
	if (ttl_ms) {
		lease_set_safe(session, sent_us, ttl_ms);
		return;
	}
	log_event(LOG_WARN, "lease_lost", LOG_NUMBER("lease", lease));
	session_begin_again(session);
}

static void lease_granted(void *ctx, enum error error, int64_t lease)
{
	struct session *session = session_answered(ctx, error, "lease_grant");
	if (!session)
		return;
	session->lease = lease;
	lease_set_safe(session, session->asked_us, session->settings.lease_ttl_ms);
	metadata_lease_keep(session->store, lease, session->settings.lease_ttl_ms, lease_kept, session);
	session->state = SESSION_NO_CLUSTER;
}

static void lease_revoked(void *ctx, enum error error, int64_t lease)
{
	struct session *session = session_answered(ctx, ERROR_OK, "lease_revoke");
	(void)error; // it runs out by itself then
	(void)lease;
	if (session)
		session->state = SESSION_ENDED;
}

// Cluster.

static bool cluster_parse(struct bytes text, struct session_cluster *cluster)
{
	char line[256];
	if (text.len >= sizeof line)
		return false;
	memcpy(line, text.data, text.len);
	line[text.len] = '\0';
	return sscanf(line, "cluster_id=%22s shards=%" SCNu32, cluster->id, &cluster->shards) == 2 && cluster->shards > 0 &&
	       cluster->shards <= 65536;
}

static void incarnation_read(
	void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct session *session = session_answered(ctx, error, "incarnation");
	(void)more;
	(void)revision;
	if (!session)
		return;
	if (count == 0 || rows[0].value.len != INCARNATION_DIGITS) {
		log_event(LOG_ERROR, "incarnation_malformed", LOG_TEXT("key", session->incarnation_key));
		session->retry_us = deadline_in_ms(session->env, RETRY_MS);
		return;
	}
	memcpy(session->incarnation_text, rows[0].value.data, INCARNATION_DIGITS);
	session->cluster.incarnation = strtoull(session->incarnation_text, NULL, 16);
	session->cluster.incarnation_value = bytes_view(session->incarnation_text, INCARNATION_DIGITS);
	session->cluster_known = true;
	session->state = SESSION_NO_ROW;
}

static void cluster_read(
	void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct session *session = session_answered(ctx, error, "cluster");
	(void)more;
	(void)revision;
	if (!session)
		return;
	if (count == 0) {
		session->state = SESSION_CREATE_CLUSTER;
	} else if (!cluster_parse(rows[0].value, &session->cluster)) {
		log_event(LOG_ERROR, "cluster_malformed", LOG_TEXT("key", session->cluster_key));
		session->retry_us = deadline_in_ms(session->env, RETRY_MS);
	} else {
		if (session->cluster.shards != session->settings.shards && !session->cluster_known)
			log_event(LOG_WARN, "shards_setting_ignored", LOG_NUMBER("setting", session->settings.shards),
				LOG_NUMBER("cluster", session->cluster.shards));
		session->state = SESSION_NO_INCARNATION;
	}
}

// Made by us, by another at the same time, or unknown: what there is now is read.
static void cluster_created(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	struct session *session = session_answered(ctx, error, "cluster_create");
	(void)succeeded;
	(void)revision;
	if (session)
		session->state = SESSION_NO_CLUSTER;
}

static void cluster_create(struct session *session)
{
	char text[256];
	char incarnation[INCARNATION_DIGITS + 1];
	char id_text[UUID_BASE64_SIZE];
	struct uuid id = uuid_random(&session->env->prng);
	uuid_base64(&id, id_text);
	uint64_t value = 1ull << 48 | prng_next(&session->env->prng) >> 16;
	snprintf(incarnation, sizeof incarnation, "%016" PRIx64, value);
	int len = snprintf(
		text, sizeof text, "cluster_id=%s shards=%" PRIu32 " incarnation=1", id_text, session->settings.shards);
	const struct metadata_compare compare = {METADATA_COMPARE_ABSENT, bytes_of(session->cluster_key), BYTES_NULL, 0};
	const struct metadata_put puts[] = {
		{bytes_of(session->cluster_key), bytes_view(text, (size_t)len), 0},
		{bytes_of(session->incarnation_key), bytes_view(incarnation, INCARNATION_DIGITS), 0},
	};
	const struct metadata_txn txn = {&compare, 1, puts, 2, NULL, 0};
	metadata_txn_commit(session->store, &txn, CALL_TIMEOUT_MS, cluster_created, session_ask(session));
}

// Our row.

static void row_put(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	struct session *session = session_answered(ctx, error, "register");
	(void)revision;
	if (!session)
		return;
	if (!succeeded) {
		session->state = SESSION_NO_CLUSTER; // another incarnation
		return;
	}
	session->state = SESSION_UP;
	log_event(LOG_INFO, "coordinator_up", LOG_TEXT("cluster", session->cluster.id),
		LOG_NUMBER("incarnation", session->cluster.incarnation >> 48), LOG_NUMBER("shards", session->cluster.shards));
}

static void row_send(struct session *session)
{
	union {
		const char *constant;
		char *text;
	} address = {session->settings.address}, feed_address = {session->settings.feed_address};
	Weir__CoordinatorInfo info = WEIR__COORDINATOR_INFO__INIT;
	info.id = protobuf_uuid(&session->settings.instance);
	info.address = address.text;
	info.feed_address = feed_address.text;
	info.apply_version_max = session->settings.apply_version_max;
	struct buffer packed;
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&info.base, &packed);
	const struct metadata_compare compare = {
		METADATA_COMPARE_VALUE, bytes_of(session->incarnation_key), session->cluster.incarnation_value, 0};
	const struct metadata_put put = {bytes_of(session->row_key), buffer_view(&packed), session->lease};
	const struct metadata_txn txn = {&compare, 1, &put, 1, NULL, 0};
	metadata_txn_commit(session->store, &txn, CALL_TIMEOUT_MS, row_put, session_ask(session));
	buffer_done(&packed);
}

static void row_deleted(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	struct session *session = session_answered(ctx, error, "unregister");
	(void)succeeded;
	(void)revision;
	if (session)
		session->state = SESSION_LEFT;
}

static void row_delete(struct session *session)
{
	const struct metadata_delete delete = {bytes_of(session->row_key), BYTES_NULL};
	const struct metadata_txn txn = {NULL, 0, NULL, 0, &delete, 1};
	metadata_txn_commit(session->store, &txn, CALL_TIMEOUT_MS, row_deleted, session_ask(session));
}

// The steps.

static void session_send(struct session *session)
{
	switch (session->state) {
	case SESSION_NO_LEASE:
		metadata_lease_grant(
			session->store, session->settings.lease_ttl_ms, CALL_TIMEOUT_MS, lease_granted, session_ask(session));
		break;
	case SESSION_NO_CLUSTER:
		metadata_range(session->store, bytes_of(session->cluster_key), BYTES_NULL, 1, CALL_TIMEOUT_MS, cluster_read,
			session_ask(session));
		break;
	case SESSION_NO_INCARNATION:
		metadata_range(session->store, bytes_of(session->incarnation_key), BYTES_NULL, 1, CALL_TIMEOUT_MS,
			incarnation_read, session_ask(session));
		break;
	case SESSION_CREATE_CLUSTER:
		cluster_create(session);
		break;
	case SESSION_NO_ROW:
		row_send(session);
		break;
	case SESSION_LEAVING:
		row_delete(session);
		break;
	case SESSION_ENDING:
		metadata_lease_revoke(session->store, session->lease, CALL_TIMEOUT_MS, lease_revoked, session_ask(session));
		break;
	default:
		break;
	}
}

uint64_t session_step(struct session *session)
{
	if (session->asked)
		return DEADLINE_NEVER;
	if (session->retry_us > session->env->now_us)
		return session->retry_us;
	session_send(session);
	return DEADLINE_NEVER;
}

struct session *session_new(struct env *env, struct metadata_store *store, const struct session_settings *settings,
	void (*on_lost)(void *ctx), void *ctx)
{
	struct session *session = memory_zalloc(sizeof *session);
	char hex[UUID_HEX_SIZE];
	session->env = env;
	session->store = store;
	session->settings = *settings;
	session->on_lost = on_lost;
	session->ctx = ctx;
	list_init(&session->tickets);
	uuid_hex(&settings->instance, hex);
	snprintf(session->cluster_key, KEY_SIZE, "%s/cluster", settings->prefix);
	snprintf(session->incarnation_key, KEY_SIZE, "%s/incarnation", settings->prefix);
	snprintf(session->row_key, KEY_SIZE, "%s/coordinators/%s", settings->prefix, hex);
	return session;
}

void session_free(struct session **pointer)
{
	struct session *session = *pointer;
	*pointer = NULL;
	if (!session)
		return;
	tickets_abandon(&session->tickets);
	session_forget_lease(session);
	free(session);
}

bool session_up(const struct session *session)
{
	return session->state >= SESSION_UP && session->state < SESSION_ENDING;
}

bool session_alive(const struct session *session)
{
	return session_up(session) && session->env->now_us < session->lease_safe_us;
}

int64_t session_lease(const struct session *session)
{
	return session->lease;
}

const struct session_cluster *session_cluster(const struct session *session)
{
	return session->cluster_known ? &session->cluster : NULL;
}

void session_restart(struct session *session)
{
	if (session->state != SESSION_UP)
		return;
	log_event(LOG_WARN, "session_restarts");
	session_begin_again(session);
}

void session_leave(struct session *session)
{
	bool has_lease = session->lease != 0;
	if (session->state >= SESSION_LEAVING)
		return;
	if (!has_lease) {
		tickets_abandon(&session->tickets);
		session->state = SESSION_ENDED;
		return;
	}
	// Before UP nothing is in etcd but the lease; a row that is being put hangs on it.
	if (session->state != SESSION_UP) {
		tickets_abandon(&session->tickets);
		session->asked = false;
	}
	session->state = SESSION_LEAVING;
	session->retry_us = 0;
}

bool session_left(const struct session *session)
{
	return session->state >= SESSION_LEFT;
}

void session_end(struct session *session)
{
	if (session->state == SESSION_LEFT)
		session->state = SESSION_ENDING;
}

bool session_ended(const struct session *session)
{
	return session->state == SESSION_ENDED;
}
