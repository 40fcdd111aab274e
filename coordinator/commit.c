// Life of a commit: unpacked -> each section is known (answered from the state), or follows its writer's chain and is proposed,
// or is refused -> when all proposed ones are durable and applied, the reply.
//
// A section that is on its way already makes the whole request busy: the writer asks again and finds it known.
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "coordinator/core.h"
#include "proto/bus.pb-c.h"

enum { SECTION_ARENA_BYTES_MAX = 256 << 20 };

struct commit_call {
	struct coordinator *coordinator;
	struct bus_request *request;
	struct arena arena;
	Weir__CommitResult *results;
	size_t result_count;
	size_t pending;
	enum error error; // of the whole
	bool sealed;      // all sections are dealt out
};

struct commit_part {
	struct commit_call *call;
	Weir__CommitResult *result;
};

static void commit_call_finish(struct commit_call *call)
{
	if (call->pending || !call->sealed)
		return;
	Weir__CommitReply reply = WEIR__COMMIT_REPLY__INIT;
	Weir__CommitResult **results = arena_alloc(&call->arena, call->result_count * sizeof *results);
	for (size_t i = 0; i < call->result_count; i++)
		results[i] = &call->results[i];
	reply.error = call->error;
	if (call->error == ERROR_OK) {
		reply.results = results;
		reply.n_results = call->result_count;
	}
	control_reply(call->coordinator, call->request, WEIR__MESSAGE_TYPE__COMMIT, &reply.base);
	arena_done(&call->arena);
	free(call);
}

static void result_count_refusal(struct coordinator *coordinator, enum error error)
{
	coordinator->counters.commits_out_of_chain += error == ERROR_OUT_OF_CHAIN;
	coordinator->counters.commits_too_old += error == ERROR_TOO_OLD;
	coordinator->counters.commits_corrupt += error == ERROR_CORRUPT;
}

static void result_set(struct commit_call *call, Weir__CommitResult *result, enum error error, struct bytes packed_outcome)
{
	result->error = error;
	result_count_refusal(call->coordinator, error);
	if (error != ERROR_OK)
		return;
	struct bytes copy = arena_copy(&call->arena, packed_outcome);
	result->outcome = protobuf_unpack(&weir__commit_outcome__descriptor, copy, &call->arena);
	CHECK(result->outcome);
}

static void commit_proposed(void *ctx, enum error error, const struct apply_result *applied)
{
	struct commit_part *part = ctx;
	struct commit_call *call = part->call;
	if (error != ERROR_OK)
		call->error = error;
	else
		result_set(call, part->result, applied->error, applied->outcome);
	call->pending--;
	commit_call_finish(call);
}

// Whether the bytes are the section that the message describes, and a section at all, of an object that can have a key.
static bool section_sound(const Weir__CommitSection *commit, struct bytes bytes)
{
	if (!mixed_object_created_valid(commit->created_ms))
		return false;
	if (bytes.len != commit->section_length || crc32c(0, bytes.data, bytes.len) != commit->section_crc)
		return false;
	struct arena arena;
	struct section section;
	arena_init(&arena, SECTION_ARENA_BYTES_MAX);
	enum error error = section_decode(bytes, &arena, &section);
	arena_done(&arena);
	return error == ERROR_OK;
}

static bool commit_too_old(const struct coordinator *coordinator, const Weir__CommitSection *commit)
{
	return commit->created_ms < coordinator->deps.env->wall_ms - coordinator->settings.grace_ms / 2;
}

static void commit_propose(struct commit_call *call, struct slot *slot, Weir__CommitSection *commit, struct slice bytes,
	Weir__CommitResult *result)
{
	struct commit_part *part = arena_alloc(&call->arena, sizeof *part);
	*part = (struct commit_part){call, result};
	commit->refused_too_old = commit_too_old(call->coordinator, commit);
	commit->inline_section = (ProtobufCBinaryData){0, NULL};
	if (bytes.len <= SHARD_INLINE_SECTION_BYTES && !commit->refused_too_old)
		commit->inline_section = protobuf_data(slice_bytes(bytes));
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_COMMIT;
	command.commit = commit;
	call->pending++;
	shard_propose(slot->shard, &command, commit->refused_too_old ? (struct slice){0} : bytes, commit_proposed, part);
}

// Chain and bytes are checked before anything is logged. expected: the writer's last sequence once all before are applied.
static void commit_section(struct commit_call *call, struct slot *slot, const struct uuid *writer, Weir__CommitSection *commit,
	struct slice bytes, uint64_t *expected, Weir__CommitResult *result)
{
	const struct writer_chains *chains = &shard_state(slot->shard)->writers;
	const struct writer_answer *known = writer_chains_known(chains, writer, commit->sequence);
	result->sequence = commit->sequence;
	if (known) {
		bool same = known->section_crc == commit->section_crc;
		call->coordinator->counters.commits_known++;
		if (!same)
			log_event(LOG_ERROR, "commit_repeated_with_another_section", LOG_NUMBER("shard", slot->number),
				LOG_NUMBER("sequence", commit->sequence));
		result_set(call, result, same ? known->error : ERROR_CORRUPT, known->outcome);
	} else if (commit->sequence <= *expected || commit->previous_sequence != *expected) {
		result_set(call, result, ERROR_OUT_OF_CHAIN, BYTES_NULL);
	} else if (!section_sound(commit, slice_bytes(bytes))) {
		log_event(LOG_ERROR, "commit_section_corrupt", LOG_NUMBER("shard", slot->number),
			LOG_NUMBER("sequence", commit->sequence));
		result_set(call, result, ERROR_CORRUPT, BYTES_NULL);
	} else {
		*expected = commit->sequence;
		commit_propose(call, slot, commit, bytes, result);
	}
}

static bool commit_on_its_way(struct slot *slot, const struct uuid *writer, const Weir__CommitRequest *request)
{
	uint64_t pending_last = 0;
	if (!shard_writer_pending(slot->shard, writer, &pending_last))
		return false;
	for (size_t i = 0; i < request->n_sections; i++) {
		uint64_t sequence = request->sections[i]->sequence;
		bool known = writer_chains_known(&shard_state(slot->shard)->writers, writer, sequence) != NULL;
		if (sequence <= pending_last && !known)
			return true;
	}
	return false;
}

static void commit_sections(struct coordinator *coordinator, struct slot *slot, struct bus_request *bus_request,
	const Weir__CommitRequest *request, const struct uuid *writer, const struct slice *frames)
{
	struct commit_call *call = memory_zalloc(sizeof *call);
	call->coordinator = coordinator;
	call->request = bus_request;
	arena_init(&call->arena, 0);
	call->results = arena_alloc(&call->arena, request->n_sections * sizeof *call->results);
	call->result_count = request->n_sections;
	uint64_t expected = writer_chains_last(&shard_state(slot->shard)->writers, writer);
	(void)shard_writer_pending(slot->shard, writer, &expected);
	for (size_t i = 0; i < request->n_sections; i++) {
		weir__commit_result__init(&call->results[i]);
		request->sections[i]->writer = protobuf_uuid(writer);
		commit_section(call, slot, writer, request->sections[i], frames[i], &expected, &call->results[i]);
	}
	call->sealed = true;
	commit_call_finish(call);
}

void commit_request(struct coordinator *coordinator, struct bus_request *bus_request, const struct bus_message *message,
	struct arena *arena)
{
	enum { TYPE = WEIR__MESSAGE_TYPE__COMMIT };
	const Weir__CommitRequest *request = protobuf_unpack(&weir__commit_request__descriptor, message->body, arena);
	struct uuid writer;
	enum error error;
	if (!request || request->n_sections != message->frame_count || !protobuf_get_uuid(request->writer, &writer)) {
		control_malformed(coordinator, bus_request, TYPE);
		return;
	}
	struct slot *slot = coordinator_slot(coordinator, request->shard, &error);
	if (!slot)
		control_reply_failed(coordinator, bus_request, TYPE, error);
	else if (request->incarnation != session_cluster(coordinator->session)->incarnation)
		control_reply_failed(coordinator, bus_request, TYPE, ERROR_FENCED);
	else if (commit_on_its_way(slot, &writer, request))
		control_reply_failed(coordinator, bus_request, TYPE, ERROR_BUSY);
	else
		commit_sections(coordinator, slot, bus_request, request, &writer, message->frames);
}
