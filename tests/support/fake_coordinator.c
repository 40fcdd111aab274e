#include "tests/support/fake_coordinator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/hash_map.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/feed.pb-c.h"

enum { MEMBERS_MAX = 16, BEAT_MS = 200 };

static char address[] = "coordinator";
static char feed_address[] = "coordinator-feed";
static char empty[] = "";

struct partition {
	struct {
		struct uuid topic_id;
		int32_t number;
	} key;
	int64_t high_watermark, log_start;
	struct fake_entry *entries;
	size_t count, capacity;
	UT_hash_handle hh;
};

struct answer {
	struct {
		struct uuid writer;
		uint64_t sequence;
		uint64_t shard;
	} key;
	uint32_t crc;
	enum error error;
	struct buffer outcome;
	UT_hash_handle hh;
};

struct chain {
	struct {
		struct uuid writer;
		uint64_t shard;
	} key;
	uint64_t last;
	UT_hash_handle hh;
};

struct member {
	struct uuid instance;
	Weir__Role role;
	char *address;
	bool draining;
};

struct fake_coordinator {
	const struct env *env;
	struct bus *bus;
	uint32_t shards;
	uint64_t incarnation, epoch;
	int64_t skew_ms;
	struct uuid id;
	uint64_t *numbers; // index feed, a shard
	uint64_t beat_us;
	struct member members[MEMBERS_MAX];
	size_t member_count;
	struct partition *partitions;
	struct answer *answers;
	struct chain *chains;
	fake_judge_fn judge;
	void *judge_ctx;
	enum error refusal, whole_refusal;
	struct fake_counters counters;
};

static struct partition *partition_find(const struct fake_coordinator *fake, const struct uuid *topic_id, int32_t number)
{
	struct partition probe;
	struct partition *found;
	memset(&probe.key, 0, sizeof probe.key);
	probe.key.topic_id = *topic_id;
	probe.key.number = number;
	HASH_FIND(hh, fake->partitions, &probe.key, sizeof probe.key, found);
	return found;
}

static struct partition *partition_get(struct fake_coordinator *fake, const struct uuid *topic_id, int32_t number)
{
	struct partition *found = partition_find(fake, topic_id, number);
	if (found)
		return found;
	found = memory_zalloc(sizeof *found);
	found->key.topic_id = *topic_id;
	found->key.number = number;
	HASH_ADD(hh, fake->partitions, key, sizeof found->key, found);
	return found;
}

static void partition_add(struct partition *partition, const struct fake_entry *entry)
{
	if (partition->count == partition->capacity) {
		partition->capacity = partition->capacity ? partition->capacity * 2 : 8;
		partition->entries = memory_realloc(partition->entries, partition->capacity * sizeof *partition->entries);
	}
	partition->entries[partition->count++] = *entry;
}

// Registration.

static void view_fill(struct fake_coordinator *fake, Weir__ClusterView *view, struct arena *arena)
{
	weir__cluster_view__init(view);
	view->incarnation = fake->incarnation;
	view->cluster_id = empty;
	view->shards = fake->shards;
	Weir__CoordinatorInfo *info = arena_alloc(arena, sizeof *info);
	weir__coordinator_info__init(info);
	info->id = protobuf_uuid(&fake->id);
	info->address = address;
	info->feed_address = feed_address;
	view->coordinators = arena_alloc(arena, sizeof *view->coordinators);
	view->coordinators[view->n_coordinators++] = info;
	view->owners = arena_alloc(arena, fake->shards * sizeof *view->owners);
	for (uint32_t shard = 0; shard < fake->shards; shard++) {
		Weir__ShardOwner *owner = arena_alloc(arena, sizeof *owner);
		weir__shard_owner__init(owner);
		owner->shard = shard;
		owner->coordinator = protobuf_uuid(&fake->id);
		view->owners[view->n_owners++] = owner;
	}
	view->members = arena_alloc(arena, MEMBERS_MAX * sizeof *view->members);
	for (size_t i = 0; i < fake->member_count; i++) {
		Weir__Member *member = arena_alloc(arena, sizeof *member);
		weir__member__init(member);
		member->instance = protobuf_uuid(&fake->members[i].instance);
		member->role = fake->members[i].role;
		member->address = fake->members[i].address;
		member->draining = fake->members[i].draining;
		view->members[view->n_members++] = member;
	}
}

static struct member *member_find(const struct fake_coordinator *fake, const struct uuid *instance)
{
	for (size_t i = 0; i < fake->member_count; i++)
		if (uuid_equal(&fake->members[i].instance, instance))
			return (struct member *)&fake->members[i];
	return NULL;
}

static void on_register(struct fake_coordinator *fake, struct bus_request *request, struct bytes body, struct arena *arena)
{
	const Weir__RegisterRequest *asked = protobuf_unpack(&weir__register_request__descriptor, body, arena);
	struct uuid instance;
	CHECK(asked && protobuf_get_uuid(asked->member->instance, &instance));
	struct member *member = member_find(fake, &instance);
	if (!member) {
		CHECK(fake->member_count < MEMBERS_MAX);
		member = &fake->members[fake->member_count++];
		*member = (struct member){instance, asked->member->role, memory_strdup(asked->member->address), false};
	}
	member->draining = asked->member->draining;
	Weir__RegisterReply reply = WEIR__REGISTER_REPLY__INIT;
	Weir__ClusterView view;
	view_fill(fake, &view, arena);
	reply.error = asked->incarnation && asked->incarnation != fake->incarnation ? ERROR_FENCED : ERROR_OK;
	reply.view = &view;
	reply.node_id = 1;
	reply.wall_ms = fake->env->wall_ms + fake->skew_ms;
	bus_reply(fake->bus, request, &(struct bus_send){.type = WEIR__MESSAGE_TYPE__REGISTER, .body = &reply.base});
}

// Commits.

static Weir__RunOutcome *apply_run(
	struct fake_coordinator *fake, const Weir__CommitSection *commit, const struct section_run *run, struct arena *arena)
{
	struct partition *partition = partition_get(fake, &run->topic_id, run->partition);
	Weir__RunOutcome *outcome = arena_alloc(arena, sizeof *outcome);
	weir__run_outcome__init(outcome);
	outcome->exceptions = arena_alloc(arena, run->batch_count * sizeof *outcome->exceptions);
	outcome->base_offset = partition->high_watermark;
	outcome->log_start = partition->log_start;
	struct fake_entry entry = {.position = run->position, .max_timestamp = INT64_MIN, .base_offset = outcome->base_offset};
	CHECK(uuid_from_bytes(protobuf_view(commit->writer), &entry.object.writer));
	entry.object.sequence = commit->sequence;
	entry.object.created_ms = commit->created_ms;
	for (uint32_t i = 0; i <= run->batch_count; i++) {
		int64_t offset = -1;
		bool end = i == run->batch_count;
		enum error error = !end && fake->judge ? fake->judge(fake->judge_ctx, run, i, &offset) : ERROR_OK;
		if (end || error != ERROR_OK) {
			if (entry.batch_count)
				partition_add(partition, &entry);
			entry.position += entry.length + (end ? 0 : run->batches[i].size);
			entry.length = entry.batch_count = 0;
			entry.max_timestamp = INT64_MIN;
			entry.base_offset = partition->high_watermark;
		}
		if (error != ERROR_OK) {
			Weir__BatchException *exception = arena_alloc(arena, sizeof *exception);
			weir__batch_exception__init(exception);
			exception->batch = i;
			exception->error = error;
			exception->base_offset = offset;
			outcome->exceptions[outcome->n_exceptions++] = exception;
		} else if (!end) {
			entry.length += run->batches[i].size;
			entry.batch_count++;
			partition->high_watermark += run->batches[i].record_count;
			entry.last_offset = partition->high_watermark - 1;
			if (run->batches[i].max_timestamp > entry.max_timestamp)
				entry.max_timestamp = run->batches[i].max_timestamp;
		}
	}
	return outcome;
}

static void publish(struct fake_coordinator *fake, uint32_t shard, Weir__IndexUpdate *update)
{
	char prefix[16];
	Weir__IndexFeed feed = WEIR__INDEX_FEED__INIT;
	feed.shard = shard;
	feed.epoch = fake->epoch;
	feed.number = update ? ++fake->numbers[shard] : fake->numbers[shard];
	feed.n_updates = update ? 1 : 0;
	feed.updates = &update;
	snprintf(prefix, sizeof prefix, "index/%04x", shard);
	bus_publish(fake->bus, bytes_of(prefix), &feed.base);
}

static void apply_section(struct fake_coordinator *fake, uint32_t shard, Weir__CommitSection *commit, struct bytes bytes,
	struct answer *answer, struct arena *arena)
{
	struct section section;
	enum error error = section_decode(bytes, arena, &section);
	CHECK(error == ERROR_OK);
	CHECK(bytes.len == commit->section_length && crc32c(0, bytes.data, bytes.len) == commit->section_crc);
	Weir__CommitOutcome outcome = WEIR__COMMIT_OUTCOME__INIT;
	outcome.runs = arena_alloc(arena, section.run_count * sizeof *outcome.runs);
	for (uint32_t i = 0; i < section.run_count; i++) {
		CHECK(placement_partition_shard(&section.runs[i].topic_id, section.runs[i].partition, fake->shards) == shard);
		outcome.runs[outcome.n_runs++] = apply_run(fake, commit, &section.runs[i], arena);
	}
	protobuf_pack(&outcome.base, &answer->outcome);
	Weir__ObjectRef object = WEIR__OBJECT_REF__INIT;
	object.writer = commit->writer;
	object.sequence = commit->sequence;
	object.created_ms = commit->created_ms;
	Weir__IndexUpdate update = WEIR__INDEX_UPDATE__INIT;
	update.object = &object;
	update.section = protobuf_data(bytes);
	update.outcome = &outcome;
	publish(fake, shard, &update);
}

static uint64_t *chain_last(struct fake_coordinator *fake, const struct uuid *writer, uint32_t shard)
{
	struct chain probe;
	struct chain *chain;
	memset(&probe.key, 0, sizeof probe.key);
	probe.key.writer = *writer;
	probe.key.shard = shard;
	HASH_FIND(hh, fake->chains, &probe.key, sizeof probe.key, chain);
	if (!chain) {
		chain = memory_zalloc(sizeof *chain);
		chain->key = probe.key;
		HASH_ADD(hh, fake->chains, key, sizeof chain->key, chain);
	}
	return &chain->last;
}

static struct answer *commit_answer(
	struct fake_coordinator *fake, uint32_t shard, Weir__CommitSection *commit, struct bytes bytes, struct arena *arena)
{
	struct answer probe;
	struct answer *answer;
	memset(&probe.key, 0, sizeof probe.key);
	CHECK(uuid_from_bytes(protobuf_view(commit->writer), &probe.key.writer));
	probe.key.sequence = commit->sequence;
	probe.key.shard = shard;
	HASH_FIND(hh, fake->answers, &probe.key, sizeof probe.key, answer);
	if (answer) {
		fake->counters.repeated_sections++;
		fake->counters.chain_breaches += answer->crc != commit->section_crc;
		return answer;
	}
	uint64_t *last = chain_last(fake, &probe.key.writer, shard);
	fake->counters.chain_breaches += commit->previous_sequence != *last || commit->sequence <= *last;
	*last = commit->sequence;
	answer = memory_zalloc(sizeof *answer);
	answer->key = probe.key;
	answer->crc = commit->section_crc;
	answer->error = fake->refusal;
	buffer_init(&answer->outcome, SIZE_MAX);
	if (answer->error == ERROR_OK)
		apply_section(fake, shard, commit, bytes, answer, arena);
	HASH_ADD(hh, fake->answers, key, sizeof answer->key, answer);
	fake->counters.sections++;
	return answer;
}

static void on_commit(
	struct fake_coordinator *fake, struct bus_request *request, const struct bus_message *message, struct arena *arena)
{
	const Weir__CommitRequest *asked = protobuf_unpack(&weir__commit_request__descriptor, message->body, arena);
	CHECK(asked && asked->n_sections == message->frame_count && asked->incarnation == fake->incarnation);
	Weir__CommitReply reply = WEIR__COMMIT_REPLY__INIT;
	reply.error = fake->whole_refusal;
	fake->counters.commit_requests++;
	reply.results = arena_alloc(arena, asked->n_sections * sizeof *reply.results);
	for (size_t i = 0; i < asked->n_sections && reply.error == ERROR_OK; i++) {
		const struct answer *answer =
			commit_answer(fake, asked->shard, asked->sections[i], slice_bytes(message->frames[i]), arena);
		Weir__CommitResult *result = arena_alloc(arena, sizeof *result);
		weir__commit_result__init(result);
		result->error = answer->error;
		result->sequence = answer->key.sequence;
		if (answer->error == ERROR_OK)
			result->outcome =
				protobuf_unpack(&weir__commit_outcome__descriptor, buffer_view(&answer->outcome), arena);
		reply.results[reply.n_results++] = result;
	}
	bus_reply(fake->bus, request, &(struct bus_send){.type = WEIR__MESSAGE_TYPE__COMMIT, .body = &reply.base});
}

// Locate.

static void reply_entry(Weir__LocateReply *reply, const struct fake_entry *entry, struct arena *arena)
{
	Weir__ObjectRef *object = arena_alloc(arena, sizeof *object);
	weir__object_ref__init(object);
	object->writer = protobuf_uuid(&entry->object.writer);
	object->sequence = entry->object.sequence;
	object->created_ms = entry->object.created_ms;
	Weir__IndexEntry *message = arena_alloc(arena, sizeof *message);
	weir__index_entry__init(message);
	message->base_offset = entry->base_offset;
	message->last_offset = entry->last_offset;
	message->record_count = (uint32_t)(entry->last_offset - entry->base_offset + 1);
	message->batch_count = entry->batch_count;
	message->object = (uint32_t)reply->n_objects;
	message->position = entry->position;
	message->length = entry->length;
	message->max_timestamp = entry->max_timestamp;
	reply->objects[reply->n_objects++] = object;
	reply->entries[reply->n_entries++] = message;
}

static void reply_marks(const struct fake_coordinator *fake, const struct partition *partition, Weir__LocateReply *reply)
{
	uint32_t shard = placement_partition_shard(&partition->key.topic_id, partition->key.number, fake->shards);
	reply->epoch = fake->epoch;
	reply->number = fake->numbers[shard];
	reply->high_watermark = partition->high_watermark;
	reply->log_start = partition->log_start;
}

static void on_locate(struct fake_coordinator *fake, struct bus_request *request, struct bytes body, struct arena *arena)
{
	const Weir__LocateRequest *asked = protobuf_unpack(&weir__locate_request__descriptor, body, arena);
	struct uuid topic_id;
	CHECK(asked && protobuf_get_uuid(asked->topic_id, &topic_id));
	fake->counters.locates++;
	Weir__LocateReply reply = WEIR__LOCATE_REPLY__INIT;
	const struct partition *partition = partition_find(fake, &topic_id, asked->partition);
	if (!partition) {
		reply.error = ERROR_UNKNOWN_TOPIC_ID;
	} else {
		reply_marks(fake, partition, &reply);
		reply.objects = arena_alloc(arena, asked->entries_max * sizeof *reply.objects);
		reply.entries = arena_alloc(arena, asked->entries_max * sizeof *reply.entries);
		if (asked->offset > partition->high_watermark || asked->offset < partition->log_start)
			reply.error = ERROR_OFFSET_OUT_OF_RANGE;
		for (size_t i = 0; i < partition->count && reply.error == ERROR_OK; i++) {
			if (partition->entries[i].last_offset < asked->offset)
				continue;
			reply.more = reply.n_entries == asked->entries_max;
			if (reply.more)
				break;
			reply_entry(&reply, &partition->entries[i], arena);
		}
	}
	bus_reply(fake->bus, request, &(struct bus_send){.type = WEIR__MESSAGE_TYPE__LOCATE, .body = &reply.base});
}

static void on_locate_time(struct fake_coordinator *fake, struct bus_request *request, struct bytes body, struct arena *arena)
{
	const Weir__LocateTimeRequest *asked = protobuf_unpack(&weir__locate_time_request__descriptor, body, arena);
	struct uuid topic_id;
	CHECK(asked && protobuf_get_uuid(asked->topic_id, &topic_id));
	fake->counters.time_locates++;
	Weir__LocateReply reply = WEIR__LOCATE_REPLY__INIT;
	const struct partition *partition = partition_find(fake, &topic_id, asked->partition);
	const struct fake_entry *found = NULL;
	for (size_t i = 0; partition && i < partition->count; i++) {
		const struct fake_entry *entry = &partition->entries[i];
		if (asked->timestamp == -3 ? !found || entry->max_timestamp > found->max_timestamp
					   : !found && entry->max_timestamp >= asked->timestamp)
			found = entry;
	}
	reply.error = partition ? ERROR_OK : ERROR_UNKNOWN_TOPIC_ID;
	if (partition)
		reply_marks(fake, partition, &reply);
	reply.objects = arena_alloc(arena, sizeof *reply.objects);
	reply.entries = arena_alloc(arena, sizeof *reply.entries);
	if (found)
		reply_entry(&reply, found, arena);
	bus_reply(fake->bus, request, &(struct bus_send){.type = WEIR__MESSAGE_TYPE__LOCATE_TIME, .body = &reply.base});
}

static void on_request(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	struct fake_coordinator *fake = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	if (message->type == WEIR__MESSAGE_TYPE__REGISTER)
		on_register(fake, request, message->body, &arena);
	else if (message->type == WEIR__MESSAGE_TYPE__COMMIT)
		on_commit(fake, request, message, &arena);
	else if (message->type == WEIR__MESSAGE_TYPE__LOCATE)
		on_locate(fake, request, message->body, &arena);
	else
		on_locate_time(fake, request, message->body, &arena);
	arena_done(&arena);
}

// Life and scripts.

struct fake_coordinator *fake_coordinator_new(const struct env *env, struct bus *bus, uint32_t shards)
{
	struct fake_coordinator *fake = memory_zalloc(sizeof *fake);
	fake->env = env;
	fake->bus = bus;
	fake->shards = shards;
	fake->incarnation = UINT64_C(7) << 48 | 1;
	fake->epoch = 1;
	memset(fake->id.bytes, 0xc0, sizeof fake->id.bytes);
	fake->numbers = memory_zalloc(shards * sizeof *fake->numbers);
	bus_serve(bus, on_request, fake);
	return fake;
}

void fake_coordinator_free(struct fake_coordinator **pointer)
{
	struct fake_coordinator *fake = *pointer;
	*pointer = NULL;
	struct partition *partition, *next_partition;
	HASH_ITER(hh, fake->partitions, partition, next_partition)
	{
		HASH_DEL(fake->partitions, partition);
		free(partition->entries);
		free(partition);
	}
	struct answer *answer, *next_answer;
	HASH_ITER(hh, fake->answers, answer, next_answer)
	{
		HASH_DEL(fake->answers, answer);
		buffer_done(&answer->outcome);
		free(answer);
	}
	struct chain *chain, *next_chain;
	HASH_ITER(hh, fake->chains, chain, next_chain)
	{
		HASH_DEL(fake->chains, chain);
		free(chain);
	}
	for (size_t i = 0; i < fake->member_count; i++)
		free(fake->members[i].address);
	free(fake->numbers);
	free(fake);
}

uint64_t fake_coordinator_step(struct fake_coordinator *fake)
{
	if (fake->env->now_us < fake->beat_us)
		return fake->beat_us;
	fake->beat_us = deadline_in_ms(fake->env, BEAT_MS);
	for (uint32_t shard = 0; shard < fake->shards; shard++)
		publish(fake, shard, NULL);
	return fake->beat_us;
}

void fake_coordinator_judge(struct fake_coordinator *fake, fake_judge_fn judge, void *ctx)
{
	fake->judge = judge;
	fake->judge_ctx = ctx;
}

void fake_coordinator_refuse(struct fake_coordinator *fake, enum error error)
{
	fake->refusal = error;
}

void fake_coordinator_refuse_all(struct fake_coordinator *fake, enum error error)
{
	fake->whole_refusal = error;
}

void fake_coordinator_incarnation(struct fake_coordinator *fake, uint64_t incarnation)
{
	fake->incarnation = incarnation;
}

void fake_coordinator_epoch(struct fake_coordinator *fake, uint64_t epoch)
{
	fake->epoch = epoch;
	memset(fake->numbers, 0, fake->shards * sizeof *fake->numbers);
}

void fake_coordinator_skew(struct fake_coordinator *fake, int64_t skew_ms)
{
	fake->skew_ms = skew_ms;
}

void fake_coordinator_log_start(struct fake_coordinator *fake, const struct uuid *topic_id, int32_t partition, int64_t offset)
{
	partition_get(fake, topic_id, partition)->log_start = offset;
}

void fake_coordinator_forget(struct fake_coordinator *fake, const struct uuid *instance)
{
	struct member *member = member_find(fake, instance);
	CHECK(member != NULL);
	free(member->address);
	*member = fake->members[--fake->member_count];
}

bool fake_coordinator_draining(const struct fake_coordinator *fake, const struct uuid *instance)
{
	const struct member *member = member_find(fake, instance);
	return member && member->draining;
}

const struct fake_counters *fake_coordinator_counters(const struct fake_coordinator *fake)
{
	return &fake->counters;
}

int64_t fake_coordinator_high_watermark(const struct fake_coordinator *fake, const struct uuid *topic_id, int32_t partition)
{
	const struct partition *found = partition_find(fake, topic_id, partition);
	return found ? found->high_watermark : 0;
}

struct fake_entry *fake_coordinator_entry(
	struct fake_coordinator *fake, const struct uuid *topic_id, int32_t partition, size_t index)
{
	struct partition *found = partition_find(fake, topic_id, partition);
	return found && index < found->count ? &found->entries[index] : NULL;
}
