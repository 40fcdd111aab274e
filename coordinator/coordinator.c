#include "coordinator/coordinator.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "coordinator/controller.h"
#include "coordinator/core.h"

enum { PREFIX_SIZE = 600 };

struct coordinator_settings coordinator_settings_default(void)
{
	return (struct coordinator_settings){
		.etcd_prefix = "/weir",
		.key_namespace = "default",
		.shards = 8,
		.lease_ttl_ms = 5000,
		.num_partitions = 1,
		.partitions_max = 200000,
		.grace_ms = 3600 * 1000,
		.group_session_timeout_min_ms = 6000,
		.group_session_timeout_max_ms = 1800000,
		.group_initial_rebalance_delay_ms = 3000,
		.group_members_max = 10000,
		.groups_max = 100000,
		.offset_metadata_bytes_max = 4096,
	};
}

// The view.

static Weir__CoordinatorInfo **view_coordinators(const struct mirror *mirror, size_t *ret_count, struct arena *arena)
{
	Weir__CoordinatorInfo **rows = arena_alloc(arena, mirror_count(mirror) * sizeof(Weir__CoordinatorInfo *));
	for (size_t i = 0; i < mirror_count(mirror); i++) {
		Weir__CoordinatorInfo *info =
			protobuf_unpack(&weir__coordinator_info__descriptor, mirror_at(mirror, i)->value, arena);
		if (info)
			rows[(*ret_count)++] = info;
	}
	return rows;
}

static Weir__ShardOwner *view_owner(const struct coordinator *coordinator, uint32_t shard, struct arena *arena)
{
	Weir__ShardOwner *owner = arena_alloc(arena, sizeof *owner);
	struct uuid id;
	weir__shard_owner__init(owner);
	owner->shard = shard;
	if (ownership_owner(coordinator, shard, &id))
		owner->coordinator = protobuf_data(arena_copy(arena, uuid_view(&id)));
	return owner;
}

Weir__ClusterView *coordinator_view(const struct coordinator *coordinator, struct arena *arena)
{
	const struct session_cluster *cluster = session_cluster(coordinator->session);
	Weir__ClusterView *view = arena_alloc(arena, sizeof *view);
	weir__cluster_view__init(view);
	view->coordinators = view_coordinators(coordinator->coordinators, &view->n_coordinators, arena);
	if (!cluster)
		return view;
	view->incarnation = cluster->incarnation;
	view->cluster_id = arena_string(arena, bytes_of(cluster->id));
	view->shards = cluster->shards;
	view->owners = arena_alloc(arena, coordinator->slot_count * sizeof *view->owners);
	for (uint32_t i = 0; i < coordinator->slot_count; i++)
		view->owners[view->n_owners++] = view_owner(coordinator, i, arena);
	return view;
}

uint64_t coordinator_view_version(const struct coordinator *coordinator)
{
	uint64_t version = 1 + mirror_version(coordinator->coordinators);
	for (uint32_t i = 0; i < coordinator->slot_count; i++)
		version += mirror_version(coordinator->slots[i].owner);
	return version;
}

// Who answers.

struct slot *coordinator_slot(struct coordinator *coordinator, uint32_t shard, enum error *ret_error)
{
	struct slot *slot = shard < coordinator->slot_count ? &coordinator->slots[shard] : NULL;
	*ret_error = ERROR_NOT_OWNER;
	if (!slot || !slot->shard || !session_alive(coordinator->session))
		return NULL;
	*ret_error = shard_ready(slot->shard);
	return *ret_error == ERROR_OK ? slot : NULL;
}

struct slot *coordinator_partition_slot(
	struct coordinator *coordinator, const struct uuid *topic_id, int32_t partition, enum error *ret_error)
{
	*ret_error = ERROR_NOT_OWNER;
	if (!coordinator->slot_count)
		return NULL;
	uint32_t shard = placement_partition_shard(topic_id, partition, coordinator->slot_count);
	return coordinator_slot(coordinator, shard, ret_error);
}

// Metrics.

static int64_t count_phase(const struct coordinator *coordinator, enum shard_phase phase)
{
	int64_t count = 0;
	for (uint32_t i = 0; i < coordinator->slot_count; i++) {
		const struct shard *shard = coordinator->slots[i].shard;
		count += shard && shard_phase(shard) == phase;
	}
	return count;
}

static int64_t gauge_serving(void *ctx)
{
	return count_phase(ctx, SHARD_SERVING);
}

static int64_t gauge_loading(void *ctx)
{
	return count_phase(ctx, SHARD_READING);
}

static int64_t gauge_damaged(void *ctx)
{
	return count_phase(ctx, SHARD_DAMAGED);
}

static int64_t gauge_members(void *ctx)
{
	const struct coordinator *coordinator = ctx;
	return coordinator->controller ? (int64_t)members_count(coordinator->controller->members) : 0;
}

static int64_t gauge_intents(void *ctx)
{
	const struct coordinator *coordinator = ctx;
	return coordinator->controller ? (int64_t)topic_works_count(coordinator->controller->works) : 0;
}

typedef int64_t (*slot_figure_fn)(const struct slot *slot);

static int64_t sum_slots(const struct coordinator *coordinator, slot_figure_fn figure)
{
	int64_t sum = 0;
	for (uint32_t i = 0; i < coordinator->slot_count; i++) {
		if (coordinator->slots[i].shard)
			sum += figure(&coordinator->slots[i]);
	}
	return sum;
}

static int64_t figure_queue(const struct slot *slot)
{
	return (int64_t)shard_queue_count(slot->shard);
}

static int64_t figure_partitions(const struct slot *slot)
{
	return (int64_t)shard_state(slot->shard)->partition_count;
}

static int64_t figure_objects(const struct slot *slot)
{
	return (int64_t)index_objects_count(&shard_state(slot->shard)->objects);
}

static int64_t figure_accepted(const struct slot *slot)
{
	return (int64_t)shard_state(slot->shard)->batches_accepted;
}

static int64_t figure_duplicate(const struct slot *slot)
{
	return (int64_t)shard_state(slot->shard)->batches_duplicate;
}

static int64_t figure_refused(const struct slot *slot)
{
	return (int64_t)shard_state(slot->shard)->batches_refused;
}

static int64_t figure_groups(const struct slot *slot)
{
	return (int64_t)groups_count(shard_groups(slot->shard));
}

static int64_t figure_group_members(const struct slot *slot)
{
	return (int64_t)groups_member_count(shard_groups(slot->shard));
}

#define SUM_GAUGE(name)                                                                                                        \
	static int64_t gauge_##name(void *ctx)                                                                                 \
	{                                                                                                                      \
		return sum_slots(ctx, figure_##name);                                                                          \
	}
SUM_GAUGE(queue)
SUM_GAUGE(partitions)
SUM_GAUGE(objects)
SUM_GAUGE(groups)
SUM_GAUGE(group_members)

static int64_t gauge_accepted(void *ctx)
{
	const struct coordinator *coordinator = ctx;
	return (int64_t)coordinator->counters.batches_accepted + sum_slots(coordinator, figure_accepted);
}

static int64_t gauge_duplicate(void *ctx)
{
	const struct coordinator *coordinator = ctx;
	return (int64_t)coordinator->counters.batches_duplicate + sum_slots(coordinator, figure_duplicate);
}

static int64_t gauge_refused(void *ctx)
{
	const struct coordinator *coordinator = ctx;
	return (int64_t)coordinator->counters.batches_refused + sum_slots(coordinator, figure_refused);
}

static int64_t gauge_etcd_full(void *ctx)
{
	const struct coordinator *coordinator = ctx;
	return metadata_store_full(coordinator->deps.metadata);
}

static void coordinator_gauges(struct coordinator *coordinator, struct metrics *metrics)
{
	const struct {
		const char *name, *labels, *help;
		metrics_gauge_fn fn;
	} gauges[] = {
		{"shards", "phase=\"serving\"", "Shards of ours by phase.", gauge_serving},
		{"shards", "phase=\"loading\"", "Shards of ours by phase.", gauge_loading},
		{"shards", "phase=\"damaged\"", "Shards of ours by phase.", gauge_damaged},
		{"queue_commands", NULL, "Commands waiting for the next Txn.", gauge_queue},
		{"partitions", NULL, "Partitions of our shards.", gauge_partitions},
		{"index_objects", NULL, "Mixed objects that the index names.", gauge_objects},
		{"groups", NULL, "Consumer groups of our shards.", gauge_groups},
		{"group_members", NULL, "Members of the groups of our shards.", gauge_group_members},
		{"members", NULL, "Registered daemons (shard 0's owner).", gauge_members},
		{"topic_intents", NULL, "Topic changes in progress (shard 0's owner).", gauge_intents},
		{"batches", "result=\"accepted\"", "Batches by result since start, replay included.", gauge_accepted},
		{"batches", "result=\"duplicate\"", "Batches by result since start, replay included.", gauge_duplicate},
		{"batches", "result=\"refused\"", "Batches by result since start, replay included.", gauge_refused},
		{"etcd_full", NULL, "1 while etcd refuses writes for want of space.", gauge_etcd_full},
	};
	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
		metrics_gauge_of(metrics, gauges[i].name, gauges[i].labels, gauges[i].help, gauges[i].fn, coordinator);
}

static void coordinator_metrics(struct coordinator *coordinator, struct metrics *metrics)
{
	const struct coordinator_counters *counters = &coordinator->counters;
	const struct {
		const char *name, *labels, *help;
		const uint64_t *value;
	} rows[] = {
		{"requests_total", NULL, "Requests on the control pipe.", &counters->requests},
		{"requests_malformed_total", NULL, "Requests that were refused as malformed.", &counters->requests_malformed},
		{"txns_total", NULL, "Log entries written.", &counters->shard.txns},
		{"txns_unknown_total", NULL, "Txns whose outcome had to be read back.", &counters->shard.txns_unknown},
		{"entry_bytes_total", NULL, "Bytes of log entries written.", &counters->shard.entry_bytes},
		{"commands_total", NULL, "Commands logged.", &counters->shard.commands},
		{"commits_total", NULL, "Sections committed.", &counters->shard.commits},
		{"commits_repeated_total", NULL, "Commits answered from the state.", &counters->commits_known},
		{"commits_refused_total", "reason=\"out_of_chain\"", "Commits refused.", &counters->commits_out_of_chain},
		{"commits_refused_total", "reason=\"too_old\"", "Commits refused.", &counters->commits_too_old},
		{"commits_refused_total", "reason=\"corrupt\"", "Commits refused.", &counters->commits_corrupt},
		{"replayed_entries_total", NULL, "Log entries replayed at take-overs.", &counters->shard.replayed_entries},
		{"replayed_sections_total", NULL, "Sections read at take-overs.", &counters->shard.replayed_sections},
		{"shards_taken_total", NULL, "Shards taken over.", &counters->shards_taken},
		{"shards_dropped_total", NULL, "Shards handed over or lost.", &counters->shards_dropped},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		metrics_counter(metrics, rows[i].name, rows[i].labels, rows[i].help, rows[i].value);
	metrics_histogram(
		metrics, "txn_seconds", NULL, "From the first attempt of a Txn to its known outcome.", &counters->shard.txn_us);
	coordinator_gauges(coordinator, metrics);
}

// Life.

static void session_lost(void *ctx)
{
	ownership_drop_all(ctx, "lease_lost");
}

static struct groups_settings groups_settings_of(const struct coordinator_settings *settings)
{
	return (struct groups_settings){
		.session_timeout_min_ms = (uint32_t)settings->group_session_timeout_min_ms,
		.session_timeout_max_ms = (uint32_t)settings->group_session_timeout_max_ms,
		.initial_rebalance_delay_ms = (uint32_t)settings->group_initial_rebalance_delay_ms,
		.members_max = (uint32_t)settings->group_members_max,
		.offset_metadata_bytes_max = (uint32_t)settings->offset_metadata_bytes_max,
		.groups_max = (uint32_t)settings->groups_max,
	};
}

struct coordinator *coordinator_new(const struct coordinator_deps *deps)
{
	struct coordinator *coordinator = memory_zalloc(sizeof *coordinator);
	char prefix[PREFIX_SIZE];
	coordinator->deps = *deps;
	if (!coordinator->deps.apply_version_max)
		coordinator->deps.apply_version_max = SHARD_APPLY_VERSION;
	coordinator->settings = *deps->settings;
	coordinator->groups = groups_settings_of(deps->settings);
	const struct session_settings session_settings = {
		.prefix = coordinator->settings.etcd_prefix,
		.lease_ttl_ms = (uint32_t)coordinator->settings.lease_ttl_ms,
		.shards = (uint32_t)coordinator->settings.shards,
		.instance = deps->instance,
		.address = deps->address,
		.feed_address = deps->feed_address,
		.apply_version_max = coordinator->deps.apply_version_max,
	};
	coordinator->session = session_new(deps->env, deps->metadata, &session_settings, session_lost, coordinator);
	int len = snprintf(prefix, sizeof prefix, "%s/coordinators/", coordinator->settings.etcd_prefix);
	CHECK(len > 0 && (size_t)len < sizeof prefix);
	coordinator->coordinators = mirror_new(deps->env, deps->metadata, prefix);
	if (deps->metrics)
		coordinator_metrics(coordinator, deps->metrics);
	bus_serve(deps->bus, control_request, coordinator);
	return coordinator;
}

void coordinator_free(struct coordinator **pointer)
{
	struct coordinator *coordinator = *pointer;
	*pointer = NULL;
	if (!coordinator)
		return;
	ownership_free(coordinator);
	mirror_free(&coordinator->coordinators);
	session_free(&coordinator->session);
	free(coordinator);
}

static uint64_t coordinator_publish(struct coordinator *coordinator)
{
	uint64_t next_us = DEADLINE_NEVER;
	// Without a lease that surely holds we have no say about the newest number.
	if (!session_alive(coordinator->session))
		return next_us;
	for (uint32_t i = 0; i < coordinator->slot_count; i++) {
		struct slot *slot = &coordinator->slots[i];
		struct arena arena;
		if (!slot->shard || shard_ready(slot->shard) != ERROR_OK)
			continue;
		arena_init(&arena, 0);
		const Weir__ClusterView *view = NULL;
		if (i == 0 && coordinator->controller)
			view = controller_take_view(coordinator->controller, &arena);
		next_us = deadline_min(next_us, feed_publish(slot->feed, shard_state(slot->shard), view));
		arena_done(&arena);
	}
	return next_us;
}

// Apply rules: raised in each shard that is ours once every live coordinator knows the newer ones, since any of them may be the
// next to replay the log.

static uint32_t versions_common(const struct mirror *mirror)
{
	uint32_t common = UINT32_MAX;
	struct arena arena;
	size_t count = 0;
	arena_init(&arena, 0);
	Weir__CoordinatorInfo **infos = view_coordinators(mirror, &count, &arena);
	for (size_t i = 0; i < count; i++) {
		uint32_t known = infos[i]->apply_version_max ? infos[i]->apply_version_max : SHARD_APPLY_VERSION_FIRST;
		common = known < common ? known : common;
	}
	bool readable = count > 0 && count == mirror_count(mirror);
	arena_done(&arena);
	return readable ? common : 0;
}

static void version_proposed(void *ctx, enum error error, const struct apply_result *result)
{
	struct slot *slot = ctx;
	(void)result;
	if (error != ERROR_OK)
		slot->version_proposed = 0; // again at the next look
	else
		log_event(LOG_INFO, "apply_version_raised", LOG_NUMBER("shard", slot->number),
			LOG_NUMBER("version", slot->version_proposed));
}

static void slot_raise_version(struct slot *slot, uint32_t version)
{
	if (!slot->shard || shard_ready(slot->shard) != ERROR_OK || version <= shard_state(slot->shard)->apply_version ||
		slot->version_proposed == version)
		return;
	Weir__ApplyVersion raise = WEIR__APPLY_VERSION__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	raise.version = version;
	command.kind_case = WEIR__COMMAND__KIND_APPLY_VERSION;
	command.apply_version = &raise;
	slot->version_proposed = version;
	shard_propose(slot->shard, &command, (struct slice){0}, version_proposed, slot);
}

static void versions_step(struct coordinator *coordinator)
{
	if (!session_alive(coordinator->session) || !mirror_loaded(coordinator->coordinators))
		return;
	if (coordinator->versions_seen != mirror_version(coordinator->coordinators)) {
		coordinator->versions_seen = mirror_version(coordinator->coordinators);
		coordinator->versions_common = versions_common(coordinator->coordinators);
	}
	for (uint32_t i = 0; i < coordinator->slot_count; i++)
		slot_raise_version(&coordinator->slots[i], coordinator->versions_common);
}

static void drain_step(struct coordinator *coordinator)
{
	if (coordinator->draining && session_left(coordinator->session) && ownership_none(coordinator))
		session_end(coordinator->session);
}

// The controller proposes, then the shards send what was proposed, then everybody is told.
uint64_t coordinator_step(struct coordinator *coordinator)
{
	uint64_t next_us = session_step(coordinator->session);
	if (coordinator->controller)
		next_us = deadline_min(next_us, controller_step(coordinator->controller));
	versions_step(coordinator); // before ownership, whose step runs the shards
	next_us = deadline_min(next_us, ownership_step(coordinator));
	next_us = deadline_min(next_us, coordinator_publish(coordinator));
	drain_step(coordinator);
	return next_us;
}

bool coordinator_has_lease(const struct coordinator *coordinator)
{
	return session_alive(coordinator->session);
}

const char *coordinator_ready(const struct coordinator *coordinator)
{
	if (!session_alive(coordinator->session))
		return "no lease in etcd";
	if (count_phase(coordinator, SHARD_DAMAGED))
		return "a shard is damaged";
	return ownership_settled(coordinator) ? NULL : "shards are being taken over";
}

void coordinator_drain(struct coordinator *coordinator)
{
	coordinator->draining = true;
	session_leave(coordinator->session);
}

bool coordinator_drained(const struct coordinator *coordinator)
{
	return session_ended(coordinator->session);
}

size_t coordinator_shards_serving(const struct coordinator *coordinator)
{
	return (size_t)count_phase(coordinator, SHARD_SERVING);
}

bool coordinator_shard_hash(const struct coordinator *coordinator, uint32_t shard, uint64_t *ret_hash, uint64_t *ret_position)
{
	if (shard >= coordinator->slot_count)
		return false;
	struct shard *owned = coordinator->slots[shard].shard;
	if (!owned || shard_ready(owned) != ERROR_OK)
		return false;
	*ret_hash = shard_state_hash(shard_state(owned));
	*ret_position = shard_position(owned);
	return true;
}

uint32_t coordinator_apply_version(const struct coordinator *coordinator, uint32_t shard)
{
	if (shard >= coordinator->slot_count)
		return 0;
	struct shard *owned = coordinator->slots[shard].shard;
	return owned && shard_phase(owned) == SHARD_SERVING ? shard_state(owned)->apply_version : 0;
}
