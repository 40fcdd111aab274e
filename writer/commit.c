// Life of a section: added at its object's sealing (the chain's order) -> its object becomes durable -> sent -> answered: each
// batch gets its offset or its error, the section is freed.
//
// What goes wrong: the call fails or times out -> the same sections are sent again, for ever. TOO_OLD: the object aged before
// its commit got through; the owner logged the refusal, so the chain goes on and the clients may try again. FENCED,
// OUT_OF_CHAIN and anything we do not understand: our state and the owner's differ, so this instance ends (on_fatal); a new one
// starts a new chain, and clients repeat what was not answered.

#include "writer/commit.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"

enum {
	SECTIONS_MAX = 32, // a request: the owner keeps that many answers an instance
	REQUEST_BYTES_MAX = 1 << 20,
	CALL_TIMEOUT_MS = 5000,
	PAUSE_MS_MAX = 100, // between a failed call and its repetition
	REPLY_ARENA_BYTES = 256 << 20,
};

struct commit_shard {
	struct commits *commits;
	uint32_t shard;
	struct list queue; // sections in flush order; the first sent_count are in the outstanding request
	uint32_t sent_count;
	uint64_t call;          // 0: none
	uint64_t again_us;      // not before
	uint64_t last_sequence; // of the last section queued
	uint64_t pinned_bytes;
};

void commits_init(struct commits *commits, struct env *env, struct cluster_client *cluster, const struct uuid *instance,
	uint64_t incarnation, uint32_t shards, const struct commit_events *events)
{
	*commits = (struct commits){.env = env,
		.cluster = cluster,
		.instance = *instance,
		.incarnation = incarnation,
		.events = *events,
		.shard_count = shards};
	commits->shards = memory_zalloc(shards * sizeof *commits->shards);
	for (uint32_t i = 0; i < shards; i++) {
		commits->shards[i].commits = commits;
		commits->shards[i].shard = i;
		list_init(&commits->shards[i].queue);
	}
}

// The section at the head of its queue has been dealt with.
static void commit_shard_pop(struct commit_shard *shard)
{
	struct sealed_section *section = container_of(list_pop(&shard->queue), struct sealed_section, link);
	struct commits *commits = shard->commits;
	commits->waiting--;
	if (section->object->durable)
		shard->pinned_bytes -= section->charge;
	commits->events.on_answered(commits->events.ctx, section);
	struct sealed_object *object = section->object;
	sealed_section_done(section);
	sealed_object_unref(&object);
}

static void section_settle_error(struct sealed_section *section, enum error error)
{
	for (uint32_t i = 0; i < section->run_count; i++)
		for (struct batch *batch = section->runs[i].first; batch; batch = batch->next)
			append_settle_error(batch->append, batch->index, error, NULL);
}

void commits_done(struct commits *commits)
{
	for (uint32_t i = 0; i < commits->shard_count; i++) {
		struct commit_shard *shard = &commits->shards[i];
		if (shard->call)
			cluster_client_cancel(commits->cluster, shard->call);
		while (!list_empty(&shard->queue)) {
			section_settle_error(container_of(shard->queue.next, struct sealed_section, link), ERROR_CANCELED);
			commit_shard_pop(shard);
		}
	}
	free(commits->shards);
	commits->shards = NULL;
	commits->shard_count = 0;
}

void commits_add(struct commits *commits, struct sealed_object *object)
{
	for (uint32_t i = 0; i < object->section_count; i++) {
		struct sealed_section *section = &object->sections[i];
		CHECK(section->shard < commits->shard_count);
		struct commit_shard *shard = &commits->shards[section->shard];
		section->previous_sequence = shard->last_sequence;
		shard->last_sequence = object->id.sequence;
		sealed_object_ref(object);
		list_append(&shard->queue, &section->link);
		commits->waiting++;
	}
}

void commits_durable(struct commits *commits, struct sealed_object *object)
{
	CHECK(!object->durable);
	object->durable = true;
	object->durable_us = commits->env->now_us;
	for (uint32_t i = 0; i < object->section_count; i++)
		commits->shards[object->sections[i].shard].pinned_bytes += object->sections[i].charge;
}

uint64_t commits_pinned(const struct commits *commits, uint32_t shard)
{
	return commits->shards[shard].pinned_bytes;
}

static void commits_fatal(struct commits *commits, const struct commit_shard *shard, const char *reason, enum error error)
{
	if (commits->stopped)
		return;
	commits->stopped = true;
	log_event(LOG_ERROR, "commit_refused", LOG_NUMBER("shard", shard->shard), LOG_TEXT("reason", reason), LOG_CAUSE(error));
	commits->events.on_fatal(commits->events.ctx, reason);
}

// A batch's result from its run's outcome. *base_offset is that of the next accepted batch.
static struct append_result batch_result(
	const struct batch *batch, const Weir__RunOutcome *run, const Weir__BatchException *exception, int64_t *base_offset)
{
	struct append_result result = {ERROR_OK, *base_offset, batch->log_append_time_ms, run->log_start, NULL};
	if (!exception) {
		*base_offset += batch->facts.record_count;
		return result;
	}
	result.error = error_from_wire(exception->error);
	result.base_offset = exception->base_offset;
	if (result.error == ERROR_DUPLICATE_SEQUENCE) {
		result.error = ERROR_OK; // it is in the log since its first append: to the client that is success
		return result;
	}
	result.base_offset = -1;
	result.log_append_time_ms = -1;
	return result;
}

static void run_settle(const struct sealed_run *sealed, const Weir__RunOutcome *run)
{
	int64_t base_offset = run->base_offset;
	size_t next_exception = 0;
	uint32_t index = 0;
	for (struct batch *batch = sealed->first; batch; batch = batch->next, index++) {
		const Weir__BatchException *exception = NULL;
		if (next_exception < run->n_exceptions && run->exceptions[next_exception]->batch == index)
			exception = run->exceptions[next_exception++];
		if (run->error != ERROR_OK) {
			append_settle_error(batch->append, batch->index, error_from_wire(run->error), NULL);
			continue;
		}
		struct append_result result = batch_result(batch, run, exception, &base_offset);
		append_settle(batch->append, batch->index, &result);
	}
}

// Exceptions name batches of the run, in ascending order.
static bool run_outcome_fits(const struct sealed_run *sealed, const Weir__RunOutcome *run)
{
	for (size_t i = 0; i < run->n_exceptions; i++) {
		if (run->exceptions[i]->batch >= sealed->batch_count || run->exceptions[i]->error == ERROR_OK)
			return false;
		if (i > 0 && run->exceptions[i]->batch <= run->exceptions[i - 1]->batch)
			return false;
	}
	return true;
}

static bool outcome_fits(const struct sealed_section *section, const Weir__CommitOutcome *outcome)
{
	if (!outcome || outcome->n_runs != section->run_count)
		return false;
	for (uint32_t i = 0; i < section->run_count; i++)
		if (!run_outcome_fits(&section->runs[i], outcome->runs[i]))
			return false;
	return true;
}

// NULL, or why this answer ends the instance; nothing is settled then.
static const char *section_settle(struct sealed_section *section, const Weir__CommitResult *result)
{
	if (result->sequence != section->object->id.sequence)
		return "a commit's answer names another object";
	enum error error = error_from_wire(result->error);
	if (error == ERROR_TOO_OLD) {
		section_settle_error(section, error);
		return NULL;
	}
	if (error != ERROR_OK)
		return "the shard's owner refused a commit";
	if (!outcome_fits(section, result->outcome))
		return "a commit's outcome does not fit its section";
	for (uint32_t i = 0; i < section->run_count; i++)
		run_settle(&section->runs[i], result->outcome->runs[i]);
	return NULL;
}

static void commit_shard_answered(struct commit_shard *shard, const Weir__CommitReply *reply)
{
	struct commits *commits = shard->commits;
	if (reply->n_results != shard->sent_count) {
		commits_fatal(commits, shard, "a commit's answer has another number of sections", ERROR_MALFORMED);
		return;
	}
	for (size_t i = 0; i < reply->n_results; i++) {
		struct sealed_section *section = container_of(shard->queue.next, struct sealed_section, link);
		const char *reason = section_settle(section, reply->results[i]);
		if (reason) {
			commits_fatal(commits, shard, reason, error_from_wire(reply->results[i]->error));
			return;
		}
		metrics_observe_us(&commits->latency, commits->env->now_us - section->object->durable_us);
		commits->sections++;
		commits->in_doubt--;
		shard->sent_count--;
		commit_shard_pop(shard);
	}
}

static void commit_shard_again(struct commit_shard *shard)
{
	struct env *env = shard->commits->env;
	shard->commits->repeats++;
	shard->again_us = env->now_us + prng_below(&env->prng, PAUSE_MS_MAX * 1000);
}

static void commit_on_reply(void *ctx, enum error error, const struct bus_message *message)
{
	struct commit_shard *shard = ctx;
	shard->call = 0;
	if (shard->commits->stopped)
		return;
	if (error != ERROR_OK) {
		commit_shard_again(shard);
		return;
	}
	struct arena arena;
	arena_init(&arena, REPLY_ARENA_BYTES);
	const Weir__CommitReply *reply = protobuf_unpack(&weir__commit_reply__descriptor, message->body, &arena);
	if (!reply)
		commits_fatal(shard->commits, shard, "a commit's answer cannot be read", ERROR_MALFORMED);
	else if (reply->error == ERROR_FENCED)
		commits_fatal(shard->commits, shard, "the cluster has another incarnation", ERROR_FENCED);
	else if (reply->error != ERROR_OK)
		commit_shard_again(shard);
	else
		commit_shard_answered(shard, reply);
	arena_done(&arena);
}

// How many sections the next request takes: those of the last one, or what is durable at the head of the queue.
static uint32_t commit_shard_gather(struct commit_shard *shard)
{
	if (shard->sent_count > 0)
		return shard->sent_count;
	uint32_t count = 0;
	size_t bytes = 0;
	LIST_EACH (&shard->queue, link) {
		const struct sealed_section *section = container_of(link, struct sealed_section, link);
		bytes += section->bytes.len;
		if (!section->object->durable || count == SECTIONS_MAX || (count > 0 && bytes > REQUEST_BYTES_MAX))
			break;
		count++;
	}
	shard->commits->in_doubt += count;
	return count;
}

static void commit_section_fill(const struct sealed_section *section, Weir__CommitSection *message)
{
	weir__commit_section__init(message);
	message->writer = protobuf_uuid(&section->object->id.writer);
	message->sequence = section->object->id.sequence;
	message->previous_sequence = section->previous_sequence;
	message->created_ms = section->object->id.created_ms;
	message->section_position = section->position;
	message->section_length = (uint32_t)section->bytes.len;
	message->section_crc = section->crc;
}

static void commit_shard_send(struct commit_shard *shard)
{
	struct commits *commits = shard->commits;
	Weir__CommitSection messages[SECTIONS_MAX];
	Weir__CommitSection *pointers[SECTIONS_MAX];
	struct slice frames[SECTIONS_MAX];
	uint32_t count = 0;
	for (struct list *link = shard->queue.next; count < shard->sent_count; link = link->next, count++) {
		const struct sealed_section *section = container_of(link, struct sealed_section, link);
		commit_section_fill(section, &messages[count]);
		pointers[count] = &messages[count];
		frames[count] = section->bytes;
	}
	Weir__CommitRequest request = WEIR__COMMIT_REQUEST__INIT;
	request.shard = shard->shard;
	request.writer = protobuf_uuid(&commits->instance);
	request.incarnation = commits->incarnation;
	request.n_sections = count;
	request.sections = pointers;
	commits->requests++;
	shard->call = cluster_client_call(commits->cluster, shard->shard,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__COMMIT,
			.body = &request.base,
			.frames = frames,
			.frame_count = count,
			.timeout_ms = CALL_TIMEOUT_MS},
		true, commit_on_reply, shard);
}

uint64_t commits_step(struct commits *commits)
{
	uint64_t next_us = DEADLINE_NEVER;
	if (commits->stopped)
		return next_us;
	for (uint32_t i = 0; i < commits->shard_count; i++) {
		struct commit_shard *shard = &commits->shards[i];
		if (shard->call || list_empty(&shard->queue))
			continue;
		if (shard->again_us > commits->env->now_us) {
			next_us = deadline_min(next_us, shard->again_us);
			continue;
		}
		shard->sent_count = commit_shard_gather(shard);
		if (shard->sent_count > 0)
			commit_shard_send(shard);
	}
	return next_us;
}
