// Happy path: replay -> serving -> commands queue -> gather -> Txn -> landed -> apply in order, reply.
//
// What fails: a Txn of unknown outcome keeps its number, id and bytes until log/‹n› shows whose entry is there; so the late
// effect of an earlier attempt is recognised as ours, and two entries of ours can never both get in. A compare that fails for
// any other reason means that the fence is gone: the shard is lost and everybody waiting is told to look for the new owner.
#include "coordinator/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "coordinator/log_entry.h"
#include "coordinator/replay.h"
#include "coordinator/ticket.h"

enum {
	TXN_TIMEOUT_MS = 2000, // short: after a leader change etcd answers new calls at once and old ones never (facts/etcd.md)
	TXN_RETRY_MS = 100,
	TXN_TOPIC_KEYS_MAX = 64, // keys for human eyes in one Txn (etcd takes 128 operations)
	KEY_SIZE = 640,
};

struct shard_command {
	struct list link;
	Weir__Command__KindCase kind;
	struct bytes packed; // ours
	struct uuid writer;  // commits
	struct slice section;
	shard_proposed_fn fn;
	void *ctx;
	enum error refused; // told at the next step
};

// Commits of a writer on their way: the chain as it will be once they are applied.
struct pending_writer {
	struct uuid instance;
	uint64_t last_sequence;
	uint32_t count;
	UT_hash_handle hh;
};

// The one Txn in flight. It keeps its bytes until its outcome is known.
struct flight {
	bool active;
	bool asked;   // a call is out
	bool doubted; // next comes a look at log/‹n›
	bool told;    // of the doubt, in the log
	uint64_t retry_us;
	uint64_t sent_us;
	struct uuid id;
	struct buffer entry;
	struct list commands;
};

struct shard {
	struct shard_deps deps;
	char *prefix;
	char *log_prefix;
	char *owner_key;
	char *incarnation_key;
	struct buffer owner_value;
	struct buffer incarnation_value;
	enum shard_phase phase;
	struct list tickets;
	struct replay *replay;
	struct shard_state *state;
	struct groups *groups;
	struct list queue;
	size_t queue_count;
	size_t queue_bytes;
	struct list refused;
	struct pending_writer *pending_writers;
	struct flight flight;
	uint64_t position;
};

static char *format(const char *pattern, const char *prefix, uint32_t number)
{
	char text[KEY_SIZE];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	int len = snprintf(text, sizeof text, pattern, prefix, number);
#pragma GCC diagnostic pop
	CHECK(len > 0 && (size_t)len < sizeof text);
	return memory_strdup(text);
}

// Pending writers.

static void pending_writer_add(struct shard *shard, const struct uuid *instance, uint64_t sequence)
{
	struct pending_writer *pending;
	HASH_FIND(hh, shard->pending_writers, instance, sizeof *instance, pending);
	if (!pending) {
		pending = memory_zalloc(sizeof *pending);
		pending->instance = *instance;
		HASH_ADD(hh, shard->pending_writers, instance, sizeof pending->instance, pending);
	}
	pending->last_sequence = sequence;
	pending->count++;
}

static void pending_writer_drop(struct shard *shard, const struct uuid *instance)
{
	struct pending_writer *pending;
	HASH_FIND(hh, shard->pending_writers, instance, sizeof *instance, pending);
	if (!pending || --pending->count)
		return;
	HASH_DEL(shard->pending_writers, pending);
	free(pending);
}

bool shard_writer_pending(const struct shard *shard, const struct uuid *writer, uint64_t *ret_last_sequence)
{
	struct pending_writer *pending;
	HASH_FIND(hh, shard->pending_writers, writer, sizeof *writer, pending);
	if (pending)
		*ret_last_sequence = pending->last_sequence;
	return pending != NULL;
}

// Commands.

static struct bytes pack_command(const Weir__Command *command)
{
	size_t len = weir__command__get_packed_size(command);
	uint8_t *packed = memory_alloc(len + 1);
	weir__command__pack(command, packed);
	return bytes_view(packed, len);
}

static void command_free(struct shard_command *command)
{
	union {
		const uint8_t *constant;
		uint8_t *owned;
	} packed = {command->packed.data};
	free(packed.owned);
	slice_done(&command->section);
	free(command);
}

static size_t command_bytes(const struct shard_command *command)
{
	return command->packed.len + command->section.len;
}

// Out of whatever list it is in.
static void command_finish(
	struct shard *shard, struct shard_command *command, enum error error, const struct apply_result *result)
{
	list_remove(&command->link);
	if (command->kind == WEIR__COMMAND__KIND_COMMIT && !command->refused)
		pending_writer_drop(shard, &command->writer);
	command->fn(command->ctx, error, result);
	command_free(command);
}

static void commands_fail(struct shard *shard, struct list *commands, enum error error)
{
	while (!list_empty(commands)) {
		struct shard_command *command = container_of(commands->next, struct shard_command, link);
		command_finish(shard, command, command->refused ? command->refused : error, NULL);
	}
}

// Only those of now: who is told may propose again.
static void refused_tell(struct shard *shard)
{
	struct list now;
	list_init(&now);
	while (!list_empty(&shard->refused)) {
		struct list *link = list_pop(&shard->refused);
		list_append(&now, link);
	}
	commands_fail(shard, &now, ERROR_NOT_OWNER);
}

static void queue_fail(struct shard *shard, enum error error)
{
	shard->queue_count = 0;
	shard->queue_bytes = 0;
	commands_fail(shard, &shard->queue, error);
}

static enum error propose_refusal(const struct shard *shard, const struct shard_command *command)
{
	if (shard->phase != SHARD_SERVING)
		return ERROR_NOT_OWNER;
	if (command->packed.len > SHARD_COMMAND_BYTES_MAX)
		return ERROR_TOO_LARGE;
	if (shard->queue_bytes + command_bytes(command) > SHARD_QUEUE_BYTES_MAX)
		return ERROR_BUSY;
	return ERROR_OK;
}

void shard_propose(struct shard *shard, const Weir__Command *proposed, struct slice section, shard_proposed_fn fn, void *ctx)
{
	struct shard_command *command = memory_zalloc(sizeof *command);
	command->kind = proposed->kind_case;
	command->packed = pack_command(proposed);
	command->section = slice_ref(section);
	command->fn = fn;
	command->ctx = ctx;
	command->refused = propose_refusal(shard, command);
	if (command->refused) {
		list_append(&shard->refused, &command->link);
		return;
	}
	if (command->kind == WEIR__COMMAND__KIND_COMMIT) {
		CHECK(protobuf_get_uuid(proposed->commit->writer, &command->writer));
		pending_writer_add(shard, &command->writer, proposed->commit->sequence);
	}
	list_append(&shard->queue, &command->link);
	shard->queue_count++;
	shard->queue_bytes += command_bytes(command);
}

struct groups_proposal {
	groups_proposed_fn fn;
	void *ctx;
};

static void groups_proposed(void *ctx, enum error error, const struct apply_result *result)
{
	struct groups_proposal *proposal = ctx;
	(void)result;
	proposal->fn(proposal->ctx, error);
	free(proposal);
}

static void groups_propose(void *ctx, const Weir__Command *command, groups_proposed_fn fn, void *fn_ctx)
{
	struct groups_proposal *proposal = memory_zalloc(sizeof *proposal);
	*proposal = (struct groups_proposal){fn, fn_ctx};
	shard_propose(ctx, command, (struct slice){0}, groups_proposed, proposal);
}

// Applying.

static void apply_one(struct shard *shard, uint64_t position, const Weir__LogEntry *entry, size_t index,
	const struct section *section, struct apply_result *ret_result)
{
	struct apply_at at = {position, entry->time_ms};
	shard_state_apply(shard->state, entry->commands[index], &at, section, ret_result);
	if (ret_result->repeated && ret_result->error == ERROR_CORRUPT)
		log_event(LOG_ERROR, "commit_repeated_with_another_section", LOG_NUMBER("shard", shard->deps.number),
			LOG_NUMBER("position", position));
}

static void replay_apply(void *ctx, uint64_t position, const Weir__LogEntry *entry, const struct section *const *sections)
{
	struct shard *shard = ctx;
	for (size_t i = 0; i < entry->n_commands; i++) {
		struct apply_result result;
		apply_one(shard, position, entry, i, sections[i], &result);
	}
	shard->deps.counters->replayed_entries++;
}

static const struct section *command_section(const struct shard_command *command, struct arena *arena)
{
	if (!command->section.data)
		return NULL;
	struct section *section = arena_alloc(arena, sizeof *section);
	// It was decoded when proposed.
	CHECK(section_decode(slice_bytes(command->section), arena, section) == ERROR_OK);
	return section;
}

static void flight_apply(struct shard *shard, struct flight *flight, uint64_t position)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__LogEntry *entry = protobuf_unpack(&weir__log_entry__descriptor, buffer_view(&flight->entry), &arena);
	CHECK(entry);
	for (size_t i = 0; i < entry->n_commands; i++) {
		struct shard_command *command = container_of(flight->commands.next, struct shard_command, link);
		struct apply_result result;
		apply_one(shard, position, entry, i, command_section(command, &arena), &result);
		if (shard->deps.on_applied)
			shard->deps.on_applied(shard->deps.ctx, shard, entry->commands[i], command->section, &result);
		shard->deps.counters->commits += command->kind == WEIR__COMMAND__KIND_COMMIT;
		command_finish(shard, command, ERROR_OK, &result);
	}
	CHECK(list_empty(&flight->commands));
	shard->deps.counters->commands += entry->n_commands;
	arena_done(&arena);
}

static void flight_end(struct flight *flight)
{
	flight->active = false;
	buffer_clear(&flight->entry);
}

static void flight_landed(struct shard *shard)
{
	struct flight *flight = &shard->flight;
	shard->deps.counters->txns++;
	shard->deps.counters->entry_bytes += flight->entry.len;
	metrics_observe_us(&shard->deps.counters->txn_us, shard->deps.env->now_us - flight->sent_us);
	uint64_t position = shard->position++;
	flight_apply(shard, flight, position);
	flight_end(flight);
}

static void shard_lose(struct shard *shard, const char *reason)
{
	if (shard->phase == SHARD_LOST)
		return;
	log_event(LOG_WARN, "shard_lost", LOG_NUMBER("shard", shard->deps.number), LOG_TEXT("reason", reason),
		LOG_NUMBER("position", shard->position));
	shard->phase = SHARD_LOST;
}

// Outcome unknown.

static void flight_retry(struct shard *shard, bool doubted)
{
	shard->flight.doubted = doubted;
	shard->flight.retry_us = deadline_in_ms(shard->deps.env, TXN_RETRY_MS);
}

static void flight_read_back(
	void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct ticket *ticket = ctx;
	struct shard *shard = ticket_take(ticket);
	struct uuid id;
	(void)more;
	(void)revision;
	free(ticket);
	if (!shard || error == ERROR_CANCELED)
		return;
	struct flight *flight = &shard->flight;
	flight->asked = false;
	if (error != ERROR_OK)
		flight_retry(shard, true);
	else if (count && log_entry_id(rows[0].value, &id) && uuid_equal(&id, &flight->id))
		flight_landed(shard);
	else if (count)
		shard_lose(shard, "another_entry_in_place");
	else if (flight->doubted)
		flight_retry(shard, false);
	else
		shard_lose(shard, "fenced");
}

// doubted stays as it is: it says whether an absent entry means "repeat" or "the compare failed for another reason".
static void flight_look(struct shard *shard)
{
	struct buffer key;
	buffer_init(&key, KEY_SIZE);
	log_key(&key, shard->log_prefix, shard->position);
	struct ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket_open(ticket, &shard->tickets, shard);
	shard->flight.asked = true;
	metadata_range(shard->deps.metadata, buffer_view(&key), BYTES_NULL, 1, TXN_TIMEOUT_MS, flight_read_back, ticket);
	buffer_done(&key);
}

// Surely nothing happened, and a repetition would fare no better.
static void flight_give_up(struct shard *shard, enum error error)
{
	log_event(LOG_ERROR, "txn_refused", LOG_NUMBER("shard", shard->deps.number), LOG_CAUSE(error));
	commands_fail(shard, &shard->flight.commands, error);
	flight_end(&shard->flight);
}

static void flight_doubt(struct shard *shard, enum error error)
{
	shard->deps.counters->txns_unknown++;
	if (!shard->flight.told)
		log_event(LOG_WARN, "txn_outcome_unknown", LOG_NUMBER("shard", shard->deps.number),
			LOG_NUMBER("position", shard->position), LOG_CAUSE(error));
	shard->flight.told = true;
	flight_retry(shard, true);
}

static void flight_answered(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	struct ticket *ticket = ctx;
	struct shard *shard = ticket_take(ticket);
	(void)revision;
	free(ticket);
	if (!shard || error == ERROR_CANCELED)
		return;
	shard->flight.asked = false;
	if (error == ERROR_OK && succeeded) {
		flight_landed(shard);
	} else if (error == ERROR_OK) {
		shard->flight.doubted = false;
		flight_look(shard); // why: ours from an earlier attempt, or no longer the owner
	} else if (error == ERROR_TOO_LARGE || error == ERROR_MALFORMED) {
		flight_give_up(shard, error);
	} else {
		flight_doubt(shard, error);
	}
}

// The Txn.

struct topic_keys {
	struct metadata_put puts[TXN_TOPIC_KEYS_MAX + 1];
	struct metadata_delete deletes[TXN_TOPIC_KEYS_MAX];
	size_t put_count, delete_count;
};

static struct bytes topic_key(const struct shard *shard, const char *name, struct arena *arena)
{
	struct buffer key;
	buffer_init(&key, KEY_SIZE);
	buffer_bytes(&key, bytes_of(shard->prefix));
	buffer_bytes(&key, bytes_of("/topics/"));
	buffer_bytes(&key, bytes_of(name));
	struct bytes copy = arena_copy(arena, buffer_view(&key));
	buffer_done(&key);
	return copy;
}

// A readable row a topic, for who looks into etcd; nothing reads it back.
static void topic_keys_add(struct topic_keys *keys, const struct shard *shard, const Weir__TopicDone *done, struct arena *arena)
{
	struct uuid id;
	if (!protobuf_get_uuid(done->topic_id, &id))
		return;
	const struct catalogue_topic *topic = catalogue_topic_by_id(&shard->state->catalogue, &id);
	if (!topic || !topic->target.info)
		return;
	struct bytes key = topic_key(shard, topic->target.info->name, arena);
	if (topic->intent == WEIR__TOPIC_INTENT__KIND__DELETE) {
		keys->deletes[keys->delete_count++] = (struct metadata_delete){.key = key};
		return;
	}
	char text[160];
	char hex[UUID_HEX_SIZE];
	uuid_hex(&id, hex);
	int len = snprintf(text, sizeof text, "id=%s partitions=%d created_ms=%lld", hex, topic->target.info->partitions,
		(long long)topic->target.info->created_ms);
	keys->puts[keys->put_count++] =
		(struct metadata_put){.key = key, .value = arena_copy(arena, bytes_view(text, (size_t)len))};
}

static void flight_topic_keys(const struct shard *shard, struct topic_keys *keys, struct arena *arena)
{
	LIST_EACH (&shard->flight.commands, link) {
		const struct shard_command *command = container_of(link, struct shard_command, link);
		if (command->kind != WEIR__COMMAND__KIND_TOPIC_DONE)
			continue;
		Weir__Command *unpacked = protobuf_unpack(&weir__command__descriptor, command->packed, arena);
		CHECK(unpacked);
		topic_keys_add(keys, shard, unpacked->topic_done, arena);
	}
}

static void flight_send(struct shard *shard)
{
	struct flight *flight = &shard->flight;
	struct topic_keys keys = {0};
	struct buffer key;
	struct arena arena;
	arena_init(&arena, 0);
	buffer_init(&key, KEY_SIZE);
	log_key(&key, shard->log_prefix, shard->position);
	flight_topic_keys(shard, &keys, &arena);
	keys.puts[keys.put_count++] = (struct metadata_put){.key = buffer_view(&key), .value = buffer_view(&flight->entry)};
	const struct metadata_compare compares[] = {
		{METADATA_COMPARE_VALUE, bytes_of(shard->owner_key), buffer_view(&shard->owner_value), 0},
		{METADATA_COMPARE_VALUE, bytes_of(shard->incarnation_key), buffer_view(&shard->incarnation_value), 0},
		{METADATA_COMPARE_ABSENT, buffer_view(&key), BYTES_NULL, 0},
	};
	const struct metadata_txn txn = {
		compares, sizeof compares / sizeof compares[0], keys.puts, keys.put_count, keys.deletes, keys.delete_count};
	struct ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket_open(ticket, &shard->tickets, shard);
	flight->asked = true;
	metadata_txn_commit(shard->deps.metadata, &txn, TXN_TIMEOUT_MS, flight_answered, ticket);
	buffer_done(&key);
	arena_done(&arena);
}

static int64_t entry_time(const struct shard *shard)
{
	int64_t wall_ms = shard->deps.env->wall_ms;
	return wall_ms > shard->state->time_ms ? wall_ms : shard->state->time_ms;
}

static void flight_gather(struct shard *shard)
{
	struct flight *flight = &shard->flight;
	size_t topic_keys = 0;
	flight->id = uuid_random(&shard->deps.env->prng);
	log_entry_begin(&flight->entry, &flight->id, entry_time(shard), shard->state->apply_version);
	while (!list_empty(&shard->queue)) {
		struct shard_command *command = container_of(shard->queue.next, struct shard_command, link);
		bool first = list_empty(&flight->commands);
		if (!first && flight->entry.len + command->packed.len > SHARD_ENTRY_BYTES_MAX)
			break;
		topic_keys += command->kind == WEIR__COMMAND__KIND_TOPIC_DONE;
		if (topic_keys > TXN_TOPIC_KEYS_MAX)
			break;
		log_entry_add(&flight->entry, command->packed);
		list_remove(&command->link);
		list_append(&flight->commands, &command->link);
		shard->queue_count--;
		shard->queue_bytes -= command_bytes(command);
	}
	CHECK(!flight->entry.failed);
}

static void flight_start(struct shard *shard)
{
	struct flight *flight = &shard->flight;
	flight_gather(shard);
	flight->active = true;
	flight->doubted = flight->told = false;
	flight->retry_us = 0;
	flight->sent_us = shard->deps.env->now_us;
	flight_send(shard);
}

static uint64_t flight_step(struct shard *shard)
{
	struct flight *flight = &shard->flight;
	if (!flight->active || flight->asked)
		return DEADLINE_NEVER;
	if (flight->retry_us > shard->deps.env->now_us)
		return flight->retry_us;
	if (flight->doubted)
		flight_look(shard);
	else
		flight_send(shard);
	return DEADLINE_NEVER;
}

// Phases.

static void shard_damage(struct shard *shard)
{
	const struct replay_damage *damage = replay_damage(shard->replay);
	log_event(LOG_ERROR, "shard_damaged", LOG_NUMBER("shard", shard->deps.number), LOG_NUMBER("position", damage->position),
		LOG_TEXT("object", damage->object), LOG_TEXT("reason", damage->reason));
	shard->deps.counters->damaged++;
	shard->phase = SHARD_DAMAGED;
}

static void shard_start_serving(struct shard *shard)
{
	shard->position = replay_position(shard->replay);
	shard->deps.counters->replayed_sections += replay_sections_read(shard->replay);
	log_event(LOG_INFO, "shard_serving", LOG_NUMBER("shard", shard->deps.number), LOG_NUMBER("position", shard->position),
		LOG_NUMBER("sections", replay_sections_read(shard->replay)));
	replay_free(&shard->replay);
	// Whoever follows the feed syncs at the new epoch.
	LIST_EACH (&shard->state->changed, link) {
		list_remove(link);
	}
	shard->phase = SHARD_SERVING;
	groups_take_over(shard->groups);
	if (shard->deps.on_serving)
		shard->deps.on_serving(shard->deps.ctx, shard);
}

static uint64_t step_reading(struct shard *shard)
{
	uint64_t next_us;
	switch (replay_step(shard->replay, &next_us)) {
	case REPLAY_RUNNING:
		return next_us;
	case REPLAY_DAMAGED:
		shard_damage(shard);
		replay_free(&shard->replay);
		return DEADLINE_NEVER;
	case REPLAY_DONE:
		shard_start_serving(shard);
		return 0;
	}
	return DEADLINE_NEVER;
}

static uint64_t step_serving(struct shard *shard)
{
	uint64_t next_us = groups_step(shard->groups);
	if (!shard->flight.active && !list_empty(&shard->queue))
		flight_start(shard);
	next_us = deadline_min(next_us, flight_step(shard));
	return list_empty(&shard->refused) ? next_us : 0;
}

static uint64_t step_handing_over(struct shard *shard)
{
	queue_fail(shard, ERROR_NOT_OWNER);
	uint64_t next_us = flight_step(shard);
	if (!shard->flight.active) {
		shard->phase = SHARD_HANDED_OVER;
		return 0;
	}
	return next_us;
}

uint64_t shard_step(struct shard *shard)
{
	refused_tell(shard);
	switch (shard->phase) {
	case SHARD_READING:
		return step_reading(shard);
	case SHARD_SERVING:
		return step_serving(shard);
	case SHARD_HANDING_OVER:
		return step_handing_over(shard);
	default:
		return list_empty(&shard->refused) ? DEADLINE_NEVER : 0;
	}
}

void shard_hand_over(struct shard *shard)
{
	if (shard->phase == SHARD_SERVING)
		shard->phase = SHARD_HANDING_OVER;
	else if (shard->phase == SHARD_READING || shard->phase == SHARD_DAMAGED)
		shard->phase = SHARD_HANDED_OVER;
}

enum error shard_ready(const struct shard *shard)
{
	switch (shard->phase) {
	case SHARD_SERVING:
		return ERROR_OK;
	case SHARD_READING:
		return ERROR_LOADING;
	case SHARD_DAMAGED:
		return ERROR_STORAGE;
	default:
		return ERROR_NOT_OWNER;
	}
}

struct shard *shard_new(const struct shard_deps *deps)
{
	struct shard *shard = memory_zalloc(sizeof *shard);
	shard->deps = *deps;
	shard->prefix = memory_strdup(deps->prefix);
	shard->log_prefix = format("%s/shards/%04x/log/", deps->prefix, deps->number);
	shard->owner_key = format("%s/shards/%04x/owner", deps->prefix, deps->number);
	shard->incarnation_key = format("%s/incarnation", deps->prefix, 0);
	buffer_init(&shard->owner_value, SIZE_MAX);
	buffer_bytes(&shard->owner_value, deps->owner_value);
	buffer_init(&shard->incarnation_value, SIZE_MAX);
	buffer_bytes(&shard->incarnation_value, deps->incarnation_value);
	buffer_init(&shard->flight.entry, SIZE_MAX);
	list_init(&shard->flight.commands);
	list_init(&shard->tickets);
	list_init(&shard->queue);
	list_init(&shard->refused);
	const struct groups_deps groups_deps = {deps->env, deps->groups, groups_propose, shard};
	shard->groups = groups_new(&groups_deps);
	shard->state = shard_state_new(deps->number, deps->count, shard->groups);
	const struct replay_deps replay_deps = {
		deps->env, deps->metadata, deps->objects, shard->log_prefix, deps->apply_version_max, replay_apply, shard};
	shard->replay = replay_new(&replay_deps, 1);
	return shard;
}

void shard_free(struct shard **pointer)
{
	struct shard *shard = *pointer;
	*pointer = NULL;
	if (!shard)
		return;
	shard->phase = SHARD_LOST;
	tickets_abandon(&shard->tickets);
	replay_free(&shard->replay);
	commands_fail(shard, &shard->flight.commands, ERROR_NOT_OWNER);
	queue_fail(shard, ERROR_NOT_OWNER);
	groups_free(&shard->groups);
	// What was proposed by those who were just told.
	commands_fail(shard, &shard->refused, ERROR_NOT_OWNER);
	shard_state_free(&shard->state);
	buffer_done(&shard->owner_value);
	buffer_done(&shard->incarnation_value);
	buffer_done(&shard->flight.entry);
	free(shard->prefix);
	free(shard->log_prefix);
	free(shard->owner_key);
	free(shard->incarnation_key);
	free(shard);
}

enum shard_phase shard_phase(const struct shard *shard)
{
	return shard->phase;
}

uint32_t shard_number(const struct shard *shard)
{
	return shard->deps.number;
}

uint64_t shard_epoch(const struct shard *shard)
{
	return shard->deps.epoch;
}

struct shard_state *shard_state(struct shard *shard)
{
	return shard->state;
}

struct groups *shard_groups(struct shard *shard)
{
	return shard->groups;
}

size_t shard_queue_count(const struct shard *shard)
{
	return shard->queue_count;
}

uint64_t shard_position(const struct shard *shard)
{
	return shard->position;
}
