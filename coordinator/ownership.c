// Who owns which shard. The owner key (bound to our lease, with a random value per acquisition) is the only truth; we act on
// what its mirror shows, never on the answer of the Txn that wrote it, so that an acquisition of unknown outcome needs no case
// of its own:
//
//	key absent, we are the choice ──► Txn: if absent, put our value ──► mirror shows our value ──► shard replays, serves
//	a better choice for 1 s, or drain ──► shard finishes its Txn ──► Txn: if our value, delete ──► mirror shows it gone ──►
// dropped 	mirror shows another value or none ──► dropped at once
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "coordinator/controller.h"
#include "coordinator/core.h"
#include "coordinator/ticket.h"

enum { TXN_TIMEOUT_MS = 2000, RETRY_MS = 200, HAND_OVER_AFTER_MS = 1000, LOST_PATIENCE_MS = 1000 };

static const struct mirror_row *slot_row(const struct slot *slot)
{
	return mirror_count(slot->owner) ? mirror_at(slot->owner, 0) : NULL;
}

// The key holds the value of our last attempt.
static bool slot_mine(const struct slot *slot)
{
	const struct mirror_row *row = slot_row(slot);
	return row && slot->value[0] && bytes_equal(row->value, bytes_of(slot->value));
}

static bool owner_of_value(struct bytes value, struct uuid *ret_id)
{
	enum { HEX_LEN = UUID_HEX_SIZE - 1 };
	if (value.len < HEX_LEN)
		return false;
	return uuid_from_hex(bytes_view(value.data + value.len - HEX_LEN, HEX_LEN), ret_id);
}

bool ownership_owner(const struct coordinator *coordinator, uint32_t shard, struct uuid *ret_id)
{
	if (shard >= coordinator->slot_count)
		return false;
	const struct mirror_row *row = slot_row(&coordinator->slots[shard]);
	return row && owner_of_value(row->value, ret_id);
}

static bool row_coordinator_id(const struct mirror_row *row, struct uuid *ret_id)
{
	return owner_of_value(row->key, ret_id); // the key ends in the id as the value does
}

const char *ownership_address(const struct coordinator *coordinator, uint32_t shard, struct arena *arena)
{
	struct uuid owner;
	struct uuid id;
	if (!ownership_owner(coordinator, shard, &owner))
		return NULL;
	for (size_t i = 0; i < mirror_count(coordinator->coordinators); i++) {
		const struct mirror_row *row = mirror_at(coordinator->coordinators, i);
		if (!row_coordinator_id(row, &id) || !uuid_equal(&id, &owner))
			continue;
		const Weir__CoordinatorInfo *info = protobuf_unpack(&weir__coordinator_info__descriptor, row->value, arena);
		return info ? info->address : NULL;
	}
	return NULL;
}

// The choice among the live coordinators. False: nobody is there.
static bool slot_choice(const struct slot *slot, struct uuid *ret_id)
{
	const struct mirror *mirror = slot->coordinator->coordinators;
	struct arena arena;
	arena_init(&arena, 0);
	uint64_t *hashes = arena_alloc(&arena, (mirror_count(mirror) + 1) * sizeof *hashes);
	struct uuid *ids = arena_alloc(&arena, (mirror_count(mirror) + 1) * sizeof *ids);
	size_t count = 0;
	for (size_t i = 0; i < mirror_count(mirror); i++) {
		if (!row_coordinator_id(mirror_at(mirror, i), &ids[count]))
			continue;
		hashes[count] = placement_hash(uuid_view(&ids[count]));
		count++;
	}
	if (count)
		*ret_id = ids[placement_choose(placement_mix(slot->number, 0x5eed), hashes, count)];
	arena_done(&arena);
	return count > 0;
}

// The key is ours by an attempt that we no longer know of: one of unknown outcome that got in after its slot was dropped, or
// one under the lease before. Our lease may keep it for ever, and nothing of ours is written under it any more.
static bool slot_forgotten(const struct slot *slot)
{
	const struct mirror_row *row = slot_row(slot);
	struct uuid id;
	return row && !slot_mine(slot) && owner_of_value(row->value, &id) && uuid_equal(&id, &slot->coordinator->deps.instance);
}

static bool slot_is_choice(const struct slot *slot)
{
	struct uuid choice;
	return slot_choice(slot, &choice) && uuid_equal(&choice, &slot->coordinator->deps.instance);
}

// Txns on the owner key. Their answers only pace us: the mirror tells what is.

static void slot_txn_answered(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	struct ticket *ticket = ctx;
	struct slot *slot = ticket_take(ticket);
	(void)revision;
	free(ticket);
	if (!slot || error == ERROR_CANCELED)
		return;
	slot->asked = false;
	// Success shows in the mirror soon; whatever else, look again a little later.
	slot->retry_us = deadline_in_ms(slot->coordinator->deps.env, RETRY_MS);
	(void)succeeded;
}

static void slot_txn(struct slot *slot, const struct metadata_txn *txn)
{
	struct ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket_open(ticket, &slot->tickets, slot);
	slot->asked = true;
	metadata_txn_commit(slot->coordinator->deps.metadata, txn, TXN_TIMEOUT_MS, slot_txn_answered, ticket);
}

static void slot_new_value(struct slot *slot)
{
	struct coordinator *coordinator = slot->coordinator;
	char random_hex[UUID_HEX_SIZE];
	char own_hex[UUID_HEX_SIZE];
	struct uuid random = uuid_random(&coordinator->deps.env->prng);
	uuid_hex(&random, random_hex);
	uuid_hex(&coordinator->deps.instance, own_hex);
	snprintf(slot->value, sizeof slot->value, "%s/%s", random_hex, own_hex);
}

static struct metadata_compare incarnation_compare(const struct coordinator *coordinator, char key[OWNER_KEY_SIZE])
{
	snprintf(key, OWNER_KEY_SIZE, "%s/incarnation", coordinator->settings.etcd_prefix);
	return (struct metadata_compare){
		METADATA_COMPARE_VALUE, bytes_of(key), session_cluster(coordinator->session)->incarnation_value, 0};
}

static void slot_acquire(struct slot *slot)
{
	char incarnation_key[OWNER_KEY_SIZE];
	// A value of an attempt whose outcome is unknown is kept: should it get in late, it is still ours.
	if (!slot->value[0])
		slot_new_value(slot);
	const struct metadata_compare compares[] = {
		{METADATA_COMPARE_ABSENT, bytes_of(slot->owner_key), BYTES_NULL, 0},
		incarnation_compare(slot->coordinator, incarnation_key),
	};
	const struct metadata_put put = {
		bytes_of(slot->owner_key), bytes_of(slot->value), session_lease(slot->coordinator->session)};
	const struct metadata_txn txn = {compares, 2, &put, 1, NULL, 0};
	slot_txn(slot, &txn);
}

// Whatever attempt of ours it is of.
static void slot_give_up_key(struct slot *slot)
{
	char incarnation_key[OWNER_KEY_SIZE];
	const struct metadata_compare compares[] = {
		{METADATA_COMPARE_VALUE, bytes_of(slot->owner_key), slot_row(slot)->value, 0},
		incarnation_compare(slot->coordinator, incarnation_key),
	};
	const struct metadata_delete delete = {bytes_of(slot->owner_key), BYTES_NULL};
	const struct metadata_txn txn = {compares, 2, NULL, 0, &delete, 1};
	slot_txn(slot, &txn);
}

// The shard of a slot.

static void slot_applied(
	void *ctx, struct shard *shard, const Weir__Command *command, struct slice section, const struct apply_result *result)
{
	struct slot *slot = ctx;
	(void)shard;
	if (command->kind_case == WEIR__COMMAND__KIND_COMMIT) {
		if (result->error == ERROR_OK && !result->repeated)
			feed_add_commit(slot->feed, command->commit, section, result->outcome);
	} else if (slot->coordinator->controller && slot->number == 0) {
		controller_applied(slot->coordinator->controller, command, result);
	}
}

static void slot_serving(void *ctx, struct shard *shard)
{
	struct slot *slot = ctx;
	if (slot->number == 0)
		slot->coordinator->controller = controller_new(slot->coordinator, shard);
}

static void slot_start(struct slot *slot)
{
	struct coordinator *coordinator = slot->coordinator;
	uint64_t epoch = (uint64_t)slot_row(slot)->create_revision;
	const struct shard_deps deps = {
		.env = coordinator->deps.env,
		.metadata = coordinator->deps.metadata,
		.objects = coordinator->deps.objects,
		.prefix = coordinator->settings.etcd_prefix,
		.number = slot->number,
		.count = coordinator->slot_count,
		.owner_value = bytes_of(slot->value),
		.incarnation_value = session_cluster(coordinator->session)->incarnation_value,
		.epoch = epoch,
		.apply_version_max = coordinator->deps.apply_version_max,
		.groups = &coordinator->groups,
		.counters = &coordinator->counters.shard,
		.on_applied = slot_applied,
		.on_serving = slot_serving,
		.ctx = slot,
	};
	log_event(LOG_INFO, "shard_taken", LOG_NUMBER("shard", slot->number), LOG_NUMBER("epoch", epoch));
	coordinator->counters.shards_taken++;
	slot->feed = feed_new(coordinator->deps.env, coordinator->deps.bus, slot->number, epoch);
	slot->version_proposed = 0;
	slot->shard = shard_new(&deps);
}

static void slot_drop(struct slot *slot, const char *reason)
{
	struct coordinator *coordinator = slot->coordinator;
	tickets_abandon(&slot->tickets);
	slot->asked = false;
	slot->value[0] = '\0';
	slot->better_since_us = 0;
	slot->lost_since_us = 0;
	if (!slot->shard)
		return;
	log_event(LOG_INFO, "shard_dropped", LOG_NUMBER("shard", slot->number), LOG_TEXT("reason", reason));
	coordinator->counters.shards_dropped++;
	const struct shard_state *state = shard_state(slot->shard);
	coordinator->counters.batches_accepted += state->batches_accepted;
	coordinator->counters.batches_duplicate += state->batches_duplicate;
	coordinator->counters.batches_refused += state->batches_refused;
	// The shard tells the controller's proposals first, then the controller goes.
	if (slot->number == 0 && coordinator->controller)
		controller_close(coordinator->controller);
	shard_free(&slot->shard);
	if (slot->number == 0)
		controller_free(&coordinator->controller);
	feed_free(&slot->feed);
}

static bool slot_must_hand_over(struct slot *slot)
{
	const struct env *env = slot->coordinator->deps.env;
	if (slot->coordinator->draining)
		return session_left(slot->coordinator->session);
	if (slot_is_choice(slot)) {
		slot->better_since_us = 0;
		return false;
	}
	if (!slot->better_since_us)
		slot->better_since_us = env->now_us;
	return env->now_us - slot->better_since_us >= HAND_OVER_AFTER_MS * 1000ull;
}

static uint64_t slot_retry_or(struct slot *slot, void (*act)(struct slot *slot))
{
	const struct env *env = slot->coordinator->deps.env;
	if (slot->asked)
		return DEADLINE_NEVER;
	if (slot->retry_us > env->now_us)
		return slot->retry_us;
	act(slot);
	return DEADLINE_NEVER;
}

// Fenced though the mirror says that the key is ours. Either it is only late, or the incarnation has changed: then we begin
// again.
static uint64_t slot_step_lost(struct slot *slot)
{
	struct coordinator *coordinator = slot->coordinator;
	uint64_t now_us = coordinator->deps.env->now_us;
	if (!slot->lost_since_us)
		slot->lost_since_us = now_us;
	uint64_t until_us = slot->lost_since_us + LOST_PATIENCE_MS * 1000ull;
	if (now_us < until_us)
		return deadline_min(until_us, shard_step(slot->shard));
	if (coordinator->draining)
		slot_drop(slot, "fenced");
	else
		session_restart(coordinator->session);
	return 0;
}

static uint64_t slot_step_owned(struct slot *slot)
{
	uint64_t next_us = DEADLINE_NEVER;
	if (!slot_mine(slot)) {
		slot_drop(slot, shard_phase(slot->shard) == SHARD_HANDED_OVER ? "handed_over" : "owner_key_gone");
		return 0;
	}
	if (shard_phase(slot->shard) == SHARD_LOST)
		return slot_step_lost(slot);
	if (slot_must_hand_over(slot))
		shard_hand_over(slot->shard);
	else if (slot->better_since_us)
		next_us = slot->better_since_us + HAND_OVER_AFTER_MS * 1000ull;
	if (shard_phase(slot->shard) == SHARD_HANDED_OVER)
		return slot_retry_or(slot, slot_give_up_key);
	return deadline_min(next_us, shard_step(slot->shard));
}

static uint64_t slot_step_free(struct slot *slot)
{
	struct coordinator *coordinator = slot->coordinator;
	if (slot_mine(slot) && coordinator->draining)
		return slot_retry_or(slot, slot_give_up_key);
	if (slot_mine(slot) && session_alive(coordinator->session)) {
		slot_start(slot);
		return 0;
	}
	if (slot_forgotten(slot) && session_alive(coordinator->session))
		return slot_retry_or(slot, slot_give_up_key);
	if (slot_row(slot) || !mirror_loaded(slot->owner) || coordinator->draining || !session_alive(coordinator->session))
		return DEADLINE_NEVER;
	if (!slot_is_choice(slot))
		return DEADLINE_NEVER;
	return slot_retry_or(slot, slot_acquire);
}

static void ownership_start(struct coordinator *coordinator)
{
	const struct session_cluster *cluster = session_cluster(coordinator->session);
	coordinator->slot_count = cluster->shards;
	coordinator->slots = memory_zalloc(cluster->shards * sizeof *coordinator->slots);
	for (uint32_t i = 0; i < cluster->shards; i++) {
		struct slot *slot = &coordinator->slots[i];
		slot->coordinator = coordinator;
		slot->number = i;
		list_init(&slot->tickets);
		snprintf(
			slot->owner_key, OWNER_KEY_SIZE, "%s/shards/%04" PRIx32 "/owner", coordinator->settings.etcd_prefix, i);
		slot->owner = mirror_new(coordinator->deps.env, coordinator->deps.metadata, slot->owner_key);
	}
}

uint64_t ownership_step(struct coordinator *coordinator)
{
	uint64_t next_us = mirror_step(coordinator->coordinators);
	if (!session_cluster(coordinator->session))
		return next_us;
	if (!coordinator->slots)
		ownership_start(coordinator);
	for (uint32_t i = 0; i < coordinator->slot_count; i++) {
		struct slot *slot = &coordinator->slots[i];
		next_us = deadline_min(next_us, mirror_step(slot->owner));
		next_us = deadline_min(next_us, slot->shard ? slot_step_owned(slot) : slot_step_free(slot));
	}
	return next_us;
}

void ownership_drop_all(struct coordinator *coordinator, const char *reason)
{
	for (uint32_t i = 0; i < coordinator->slot_count; i++)
		slot_drop(&coordinator->slots[i], reason);
}

void ownership_free(struct coordinator *coordinator)
{
	ownership_drop_all(coordinator, "stop");
	for (uint32_t i = 0; i < coordinator->slot_count; i++)
		mirror_free(&coordinator->slots[i].owner);
	free(coordinator->slots);
	coordinator->slots = NULL;
	coordinator->slot_count = 0;
}

bool ownership_settled(const struct coordinator *coordinator)
{
	if (!coordinator->slots)
		return false;
	for (uint32_t i = 0; i < coordinator->slot_count; i++) {
		const struct slot *slot = &coordinator->slots[i];
		if (slot_is_choice(slot) && (!slot->shard || shard_phase(slot->shard) == SHARD_READING))
			return false;
	}
	return true;
}

bool ownership_none(const struct coordinator *coordinator)
{
	for (uint32_t i = 0; i < coordinator->slot_count; i++) {
		if (coordinator->slots[i].shard || slot_mine(&coordinator->slots[i]))
			return false;
	}
	return true;
}
