#include "coordinator/coordinator_daemon.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/coordinator.h"

struct role_settings {
	struct daemon_settings common;
	const char *etcd;
	const char *etcd_user;
	const char *etcd_password;
	const char *etcd_ca_file;
	const char *etcd_cert_file;
	const char *etcd_key_file;
	const char *store;
	int64_t start_timeout_ms;
	struct coordinator_settings core;
};

#define AT(member) OPTION_AT(struct role_settings, member)
#define DAY_MS (24ll * 3600 * 1000)

static const struct option_row rows[] = {
	{"etcd", OPTION_TEXT, "127.0.0.1:2379", 0, 0, "", "etcd endpoints, comma-separated", AT(etcd), false},
	{"etcd-user", OPTION_TEXT, "", 0, 0, "", "etcd user; empty: no authentication", AT(etcd_user), false},
	{"etcd-password", OPTION_TEXT, "", 0, 0, "", "etcd password", AT(etcd_password), true},
	{"etcd-ca-file", OPTION_TEXT, "", 0, 0, "", "CA of etcd's certificate; empty: plain text", AT(etcd_ca_file), false},
	{"etcd-cert-file", OPTION_TEXT, "", 0, 0, "", "our certificate for etcd", AT(etcd_cert_file), false},
	{"etcd-key-file", OPTION_TEXT, "", 0, 0, "", "its key", AT(etcd_key_file), false},
	{"etcd-prefix", OPTION_TEXT, "/weir", 0, 0, "", "of all our keys in etcd", AT(core.etcd_prefix), false},
	{"store", OPTION_TEXT, NULL, 0, 0, "", "object store: file:///directory", AT(store), false},
	{"start-timeout", OPTION_MS, "60s", 100, DAY_MS, "ms", "etcd must have answered by then, else we end with an error",
		AT(start_timeout_ms), false},
	{"namespace", OPTION_TEXT, "default", 0, 0, "", "of segment keys in the store; not mixed or meta",
		AT(core.key_namespace), false},
	{"shards", OPTION_NUMBER, "8", 1, 4096, "", "of a cluster that is created; fixed from then on", AT(core.shards), false},
	{"lease-ttl", OPTION_MS, "5s", 2000, 60000, "ms", "how long a dead coordinator keeps its shards", AT(core.lease_ttl_ms),
		false},
	{"num-partitions", OPTION_NUMBER, "1", 1, 100000, "", "of topics that do not say", AT(core.num_partitions), false},
	{"partitions-max", OPTION_NUMBER, "200000", 1, 10000000, "", "of all topics together", AT(core.partitions_max), false},
	{"grace", OPTION_MS, "1h", 60000, 7 * DAY_MS, "ms", "of garbage; commits of objects older than half of it are refused",
		AT(core.grace_ms), false},
	{"group-min-session-timeout", OPTION_MS, "6000", 1, 2147483647, "ms", "Kafka's group.min.session.timeout.ms",
		AT(core.group_session_timeout_min_ms), false},
	{"group-max-session-timeout", OPTION_MS, "1800000", 1, 2147483647, "ms", "Kafka's group.max.session.timeout.ms",
		AT(core.group_session_timeout_max_ms), false},
	{"group-initial-rebalance-delay", OPTION_MS, "3000", 0, 600000, "ms", "Kafka's group.initial.rebalance.delay.ms",
		AT(core.group_initial_rebalance_delay_ms), false},
	{"group-max-size", OPTION_NUMBER, "10000", 1, 1000000, "", "Kafka's group.max.size: members a group",
		AT(core.group_members_max), false},
	{"groups-max", OPTION_NUMBER, "100000", 1, 100000000, "", "consumer groups a shard", AT(core.groups_max), false},
	{"offset-metadata-max-bytes", OPTION_BYTES, "4096", 0, 1 << 20, "bytes", "Kafka's offset.metadata.max.bytes",
		AT(core.offset_metadata_bytes_max), false},
};

struct role {
	struct metadata_store *metadata;
	struct object_store *objects;
	struct coordinator *coordinator;
	struct loop *loop;
	struct loop_step step;
	struct loop_timer start_timer;
	const char *etcd;
};

// Once etcd has been reached, outages are waited out; an etcd that never answers is most likely a wrong address.
static void role_start_due(struct loop_timer *timer)
{
	const struct role *role = container_of(timer, struct role, start_timer);
	if (coordinator_has_lease(role->coordinator))
		return;
	log_event(LOG_ERROR, "etcd_unreachable", LOG_TEXT("etcd", role->etcd));
	_Exit(EXIT_FAILURE);
}

static uint64_t role_step(void *ctx)
{
	struct role *role = ctx;
	return coordinator_step(role->coordinator);
}

static bool settings_usable(const struct role_settings *settings)
{
	const char *reserved[] = {"mixed", "meta", ""};
	for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
		if (strcmp(settings->core.key_namespace, reserved[i]) == 0) {
			log_event(LOG_ERROR, "namespace_reserved", LOG_TEXT("namespace", settings->core.key_namespace));
			return false;
		}
	}
	if (strlen(settings->core.etcd_prefix) > 200 || !object_key_valid(settings->core.key_namespace)) {
		log_event(LOG_ERROR, "setting_unusable", LOG_TEXT("etcd_prefix", settings->core.etcd_prefix),
			LOG_TEXT("namespace", settings->core.key_namespace));
		return false;
	}
	return true;
}

static bool open_stores(struct role *role, struct daemon *daemon, const struct role_settings *settings)
{
	char reason[256] = "";
	const struct metadata_store_settings etcd = {settings->etcd, settings->etcd_user, settings->etcd_password,
		settings->etcd_ca_file, settings->etcd_cert_file, settings->etcd_key_file};
	enum error error = metadata_store_etcd_new(daemon->loop, &etcd, &role->metadata, reason);
	if (error != ERROR_OK) {
		log_event(LOG_ERROR, "etcd_unusable", LOG_CAUSE(error), LOG_TEXT("reason", reason));
		return false;
	}
	error = object_store_open(settings->store, daemon->loop, &role->objects, reason);
	if (error != ERROR_OK) {
		log_event(LOG_ERROR, "store_unusable", LOG_CAUSE(error), LOG_TEXT("reason", reason));
		return false;
	}
	object_store_metrics(role->objects, daemon->metrics);
	return true;
}

static bool role_start(struct daemon *daemon, const void *raw_settings)
{
	const struct role_settings *settings = raw_settings;
	struct role *role = memory_zalloc(sizeof *role);
	if (!settings_usable(settings) || !open_stores(role, daemon, settings)) {
		object_store_free(&role->objects);
		metadata_store_free(&role->metadata);
		free(role);
		return false;
	}
	const struct coordinator_deps deps = {
		.env = daemon->env,
		.bus = daemon->bus,
		.metadata = role->metadata,
		.objects = role->objects,
		.settings = &settings->core,
		.instance = daemon->instance,
		.address = daemon->address,
		.feed_address = daemon->feed_address ? daemon->feed_address : "",
		.metrics = daemon->metrics,
	};
	role->coordinator = coordinator_new(&deps);
	role->step = (struct loop_step){.run = role_step, .ctx = role};
	loop_step_add(daemon->loop, &role->step);
	role->loop = daemon->loop;
	role->etcd = settings->etcd;
	role->start_timer.on_due = role_start_due;
	loop_timer_set(role->loop, &role->start_timer, deadline_in_ms(daemon->env, (uint64_t)settings->start_timeout_ms));
	daemon->role = role;
	return true;
}

static const char *role_ready(struct daemon *daemon)
{
	const struct role *role = daemon->role;
	return coordinator_ready(role->coordinator);
}

static void role_drain(struct daemon *daemon)
{
	const struct role *role = daemon->role;
	coordinator_drain(role->coordinator);
}

static bool role_drained(struct daemon *daemon)
{
	const struct role *role = daemon->role;
	return coordinator_drained(role->coordinator);
}

static void role_stop(struct daemon *daemon)
{
	struct role *role = daemon->role;
	loop_timer_clear(role->loop, &role->start_timer);
	loop_step_remove(daemon->loop, &role->step);
	coordinator_free(&role->coordinator);
	object_store_free(&role->objects);
	metadata_store_free(&role->metadata);
	free(role);
	daemon->role = NULL;
}

const struct daemon_spec coordinator_daemon_spec = {
	.role = "coordinator",
	.summary = "Orders the log: owns shards by etcd, commits what writers flushed, keeps topics, groups and members, "
		   "publishes the feed.",
	.rows = rows,
	.row_count = sizeof rows / sizeof rows[0],
	.settings_size = sizeof(struct role_settings),
	.serves = true,
	.publishes = true,
	.start = role_start,
	.ready = role_ready,
	.drain = role_drain,
	.drained = role_drained,
	.stop = role_stop,
};
