// Life of a commit here: chain checked -> each run finds its partition -> each batch passes the producer rules -> accepted ones
// take the next offsets and enter the index, the others become exceptions of the outcome and holes in the object -> the outcome
// is kept as the writer's answer.
#include "coordinator/shard_state.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"

struct shard_state *shard_state_new(uint32_t shard, uint32_t shards, struct groups *groups)
{
	struct shard_state *state = memory_zalloc(sizeof *state);
	state->shard = shard;
	state->shards = shards;
	state->apply_version = SHARD_APPLY_VERSION_FIRST;
	state->groups = groups;
	catalogue_init(&state->catalogue);
	list_init(&state->changed);
	return state;
}

static void partition_free(struct shard_state *state, struct shard_partition *partition)
{
	list_remove(&partition->changed);
	partition_index_done(&partition->index, &state->objects);
	producer_states_done(&partition->producers);
	free(partition);
	state->partition_count--;
}

static void topic_free(struct shard_state *state, struct shard_topic *topic)
{
	HASH_DEL(state->topics, topic);
	for (int32_t i = 0; i < topic->partition_count; i++) {
		if (topic->partitions[i])
			partition_free(state, topic->partitions[i]);
	}
	free(topic->partitions);
	free(topic->name);
	free(topic);
}

void shard_state_free(struct shard_state **pointer)
{
	struct shard_state *state = *pointer;
	*pointer = NULL;
	if (!state)
		return;
	while (state->topics)
		topic_free(state, state->topics);
	writer_chains_done(&state->writers);
	catalogue_done(&state->catalogue);
	free(state);
}

static struct shard_topic *topic_find(const struct shard_state *state, const struct uuid *id)
{
	struct shard_topic *topic;
	HASH_FIND(hh, state->topics, id, sizeof *id, topic);
	return topic;
}

struct shard_partition *shard_state_partition(const struct shard_state *state, const struct uuid *topic_id, int32_t number)
{
	const struct shard_topic *topic = topic_find(state, topic_id);
	return topic && number >= 0 && number < topic->partition_count ? topic->partitions[number] : NULL;
}

static void partition_changed(struct shard_state *state, struct shard_partition *partition)
{
	if (list_empty(&partition->changed))
		list_append(&state->changed, &partition->changed);
}

// Topics.

static void partition_open(struct shard_state *state, struct shard_topic *topic, int32_t number)
{
	struct shard_partition *partition = memory_zalloc(sizeof *partition);
	partition->topic = topic;
	partition->number = number;
	list_init(&partition->changed);
	topic->partitions[number] = partition;
	state->partition_count++;
	partition_changed(state, partition);
}

static bool topic_was_dropped(const struct shard_state *state, const struct uuid *id)
{
	for (size_t i = 0; i < DROPPED_TOPICS_KEPT && i < state->dropped_count; i++) {
		if (uuid_equal(&state->dropped[i], id))
			return true;
	}
	return false;
}

static void apply_partitions_open(struct shard_state *state, const Weir__PartitionsOpen *open)
{
	struct uuid id;
	if (!protobuf_get_uuid(open->topic_id, &id) || topic_was_dropped(state, &id))
		return;
	struct shard_topic *topic = topic_find(state, &id);
	if (!topic) {
		topic = memory_zalloc(sizeof *topic);
		topic->id = id;
		topic->name = memory_strdup(open->name);
		HASH_ADD(hh, state->topics, id, sizeof topic->id, topic);
	}
	if (open->partitions <= topic->partition_count)
		return;
	topic->partitions = memory_realloc(topic->partitions, (size_t)open->partitions * sizeof(struct shard_partition *));
	while (topic->partition_count < open->partitions) {
		int32_t number = topic->partition_count++;
		topic->partitions[number] = NULL;
		if (placement_partition_shard(&id, number, state->shards) == state->shard)
			partition_open(state, topic, number);
	}
}

static void apply_topic_drop(struct shard_state *state, const Weir__TopicDrop *drop)
{
	struct uuid id;
	if (!protobuf_get_uuid(drop->topic_id, &id) || topic_was_dropped(state, &id))
		return;
	state->dropped[state->dropped_count++ % DROPPED_TOPICS_KEPT] = id;
	struct shard_topic *topic = topic_find(state, &id);
	if (topic)
		topic_free(state, topic);
	if (state->groups)
		groups_drop_topic(state->groups, &id);
}

// Commits.

struct run_apply {
	struct shard_state *state;
	struct shard_partition *partition;
	struct index_object *object;
	const struct section_run *run;
	struct arena *arena;
	Weir__RunOutcome *outcome;
	bool base_set;
	bool joins; // the batch before was accepted
};

static void run_except(struct run_apply *apply, uint32_t batch, enum error error, int64_t base_offset)
{
	Weir__RunOutcome *outcome = apply->outcome;
	if (!outcome->exceptions)
		outcome->exceptions = arena_alloc(apply->arena, apply->run->batch_count * sizeof(Weir__BatchException *));
	Weir__BatchException *exception = arena_alloc(apply->arena, sizeof *exception);
	weir__batch_exception__init(exception);
	exception->batch = batch;
	exception->error = error;
	exception->base_offset = base_offset;
	outcome->exceptions[outcome->n_exceptions++] = exception;
	apply->joins = false;
	if (error == ERROR_DUPLICATE_SEQUENCE)
		apply->state->batches_duplicate++;
	else
		apply->state->batches_refused++;
}

static void run_accept(struct run_apply *apply, const struct section_batch *batch, uint64_t position)
{
	struct shard_partition *partition = apply->partition;
	int64_t base_offset = partition->high_watermark;
	struct index_batch indexed = {base_offset, batch->max_timestamp, position, batch->size, batch->record_count};
	producer_accept(&partition->producers, batch, base_offset);
	partition_index_add(&partition->index, apply->object, &indexed, apply->joins);
	partition->high_watermark += batch->record_count;
	apply->joins = true;
	if (!apply->base_set)
		apply->outcome->base_offset = base_offset;
	apply->base_set = true;
	apply->state->batches_accepted++;
}

static void run_apply_batches(struct run_apply *apply)
{
	const struct section_run *run = apply->run;
	uint64_t position = run->position;
	for (uint32_t i = 0; i < run->batch_count; i++) {
		const struct section_batch *batch = &run->batches[i];
		int64_t known_offset = -1;
		enum error error = producer_check(&apply->partition->producers, batch, &known_offset);
		if (error == ERROR_OK)
			run_accept(apply, batch, position);
		else
			run_except(apply, i, error, known_offset);
		position += batch->size;
	}
}

static Weir__RunOutcome *apply_run(
	struct shard_state *state, const struct section_run *run, struct index_object *object, struct arena *arena)
{
	Weir__RunOutcome *outcome = arena_alloc(arena, sizeof *outcome);
	weir__run_outcome__init(outcome);
	struct shard_partition *partition = shard_state_partition(state, &run->topic_id, run->partition);
	if (!partition) {
		outcome->error = ERROR_UNKNOWN_TOPIC_ID;
		outcome->base_offset = -1;
		state->batches_refused += run->batch_count;
		return outcome;
	}
	struct run_apply apply = {
		.state = state, .partition = partition, .object = object, .run = run, .arena = arena, .outcome = outcome};
	int64_t high_watermark = partition->high_watermark;
	outcome->base_offset = -1;
	run_apply_batches(&apply);
	outcome->log_start = partition->log_start;
	if (partition->high_watermark != high_watermark)
		partition_changed(state, partition);
	return outcome;
}

static struct bytes pack_outcome(const Weir__CommitOutcome *outcome)
{
	size_t len = weir__commit_outcome__get_packed_size(outcome);
	uint8_t *packed = memory_alloc(len + 1); // never NULL: an empty outcome is one too
	weir__commit_outcome__pack(outcome, packed);
	return bytes_view(packed, len);
}

static struct bytes apply_section(
	struct shard_state *state, const Weir__CommitSection *commit, const struct uuid *writer, const struct section *section)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__CommitOutcome outcome = WEIR__COMMIT_OUTCOME__INIT;
	outcome.runs = arena_alloc(&arena, section->run_count * sizeof(Weir__RunOutcome *));
	struct index_object *object = index_objects_ref(&state->objects, writer, commit->sequence, commit->created_ms);
	for (uint32_t i = 0; i < section->run_count; i++)
		outcome.runs[outcome.n_runs++] = apply_run(state, &section->runs[i], object, &arena);
	index_objects_unref(&state->objects, object);
	struct bytes packed = pack_outcome(&outcome);
	arena_done(&arena);
	return packed;
}

static void commit_repeat(const struct writer_answer *known, const Weir__CommitSection *commit, struct apply_result *result)
{
	result->repeated = true;
	result->error = known->section_crc == commit->section_crc ? known->error : ERROR_CORRUPT;
	if (result->error == ERROR_OK)
		result->outcome = known->outcome;
}

static void apply_commit(struct shard_state *state, const Weir__CommitSection *commit, const struct section *section,
	struct apply_result *result)
{
	struct uuid writer;
	if (!protobuf_get_uuid(commit->writer, &writer)) {
		result->error = ERROR_MALFORMED;
		return;
	}
	const struct writer_answer *known = writer_chains_known(&state->writers, &writer, commit->sequence);
	if (known) {
		commit_repeat(known, commit, result);
		return;
	}
	uint64_t last = writer_chains_last(&state->writers, &writer);
	if (commit->previous_sequence != last || commit->sequence <= last) {
		result->error = ERROR_OUT_OF_CHAIN;
		return;
	}
	struct writer_answer answer = {.sequence = commit->sequence, .section_crc = commit->section_crc};
	if (commit->refused_too_old) {
		answer.error = ERROR_TOO_OLD;
	} else {
		CHECK(section);
		answer.outcome = apply_section(state, commit, &writer, section);
	}
	result->error = answer.error;
	result->outcome = writer_chains_add(&state->writers, &writer, &answer)->outcome;
}

static void apply_topic_done(
	struct shard_state *state, const Weir__TopicDone *done, uint64_t position, struct apply_result *result)
{
	result->topic = catalogue_apply_done(&state->catalogue, done, position, &result->topic_deleted);
	if (!result->topic && !result->topic_deleted)
		result->error = ERROR_UNKNOWN_TOPIC_ID;
}

void shard_state_apply(struct shard_state *state, const Weir__Command *command, const struct apply_at *at,
	const struct section *section, struct apply_result *result)
{
	*result = (struct apply_result){0};
	state->time_ms = at->time_ms;
	switch (command->kind_case) {
	case WEIR__COMMAND__KIND_COMMIT:
		apply_commit(state, command->commit, section, result);
		break;
	case WEIR__COMMAND__KIND_PARTITIONS_OPEN:
		apply_partitions_open(state, command->partitions_open);
		break;
	case WEIR__COMMAND__KIND_TOPIC_DROP:
		apply_topic_drop(state, command->topic_drop);
		break;
	case WEIR__COMMAND__KIND_TOPIC_INTENT:
		result->error = catalogue_apply_intent(&state->catalogue, command->topic_intent);
		break;
	case WEIR__COMMAND__KIND_TOPIC_DONE:
		apply_topic_done(state, command->topic_done, at->position, result);
		break;
	case WEIR__COMMAND__KIND_PRODUCER_ID_BLOCK:
		catalogue_apply_block(&state->catalogue, command->producer_id_block);
		break;
	case WEIR__COMMAND__KIND_NODE_ID:
		catalogue_apply_node(&state->catalogue, command->node_id);
		break;
	case WEIR__COMMAND__KIND_GROUP_STATE:
	case WEIR__COMMAND__KIND_GROUP_OFFSETS:
	case WEIR__COMMAND__KIND_GROUP_REMOVE:
		if (state->groups)
			groups_apply(state->groups, command, at->time_ms);
		break;
	case WEIR__COMMAND__KIND_APPLY_VERSION:
		if (command->apply_version->version > state->apply_version)
			state->apply_version = command->apply_version->version;
		break;
	default:
		result->error = ERROR_MALFORMED;
	}
}

// The hash.

static uint64_t hash_index(const struct partition_index *index, uint64_t seed)
{
	for (size_t i = 0; i < index->count; i++) {
		const struct index_entry *entry = &index->entries[i];
		seed = placement_mix(seed, (uint64_t)entry->base_offset);
		seed = placement_mix(seed, (uint64_t)entry->max_timestamp);
		seed = placement_mix(seed, entry->position);
		seed = placement_mix(seed, ((uint64_t)entry->length << 32) + entry->offset_span);
		seed = placement_mix(seed, ((uint64_t)entry->record_count << 32) + entry->batch_count);
		seed = placement_mix(seed, placement_hash(uuid_view(&entry->object->key.writer)) + entry->object->key.sequence);
	}
	return seed;
}

static uint64_t hash_producers(const struct producer_states *states, uint64_t seed)
{
	for (const struct producer *producer = states->table; producer; producer = producer->hh.next) {
		seed = placement_mix(seed, (uint64_t)producer->id);
		seed = placement_mix(seed, (uint64_t)producer->epoch);
		for (unsigned i = 0; i < producer->batch_count; i++) {
			const struct producer_batch *batch = &producer->batches[i];
			seed = placement_mix(seed, (uint64_t)batch->base_offset);
			seed = placement_mix(seed, ((uint64_t)batch->first_sequence << 32) + (uint64_t)batch->last_sequence);
		}
	}
	return seed;
}

static uint64_t hash_partition(const struct shard_partition *partition, uint64_t seed)
{
	seed = placement_mix(seed, (uint64_t)partition->number);
	seed = placement_mix(seed, (uint64_t)partition->high_watermark);
	seed = placement_mix(seed, (uint64_t)partition->log_start);
	return hash_producers(&partition->producers, hash_index(&partition->index, seed));
}

uint64_t shard_state_hash(const struct shard_state *state)
{
	uint64_t seed = placement_mix(placement_mix(state->shard, state->shards), state->apply_version);
	for (const struct shard_topic *topic = state->topics; topic; topic = topic->hh.next) {
		seed = placement_mix(seed, placement_hash(uuid_view(&topic->id)) + (uint64_t)topic->partition_count);
		for (int32_t i = 0; i < topic->partition_count; i++) {
			if (topic->partitions[i])
				seed = hash_partition(topic->partitions[i], seed);
		}
	}
	for (size_t i = 0; i < DROPPED_TOPICS_KEPT && i < state->dropped_count; i++)
		seed = placement_mix(seed, placement_hash(uuid_view(&state->dropped[i])));
	seed = placement_mix(seed, (uint64_t)state->time_ms);
	return catalogue_hash(&state->catalogue, writer_chains_hash(&state->writers, seed));
}
