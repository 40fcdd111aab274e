// Life of a lookup: LocateTime -> an entry, or none: there is no such record -> walk from the entry on -> the first batch whose
// greatest timestamp reaches the wanted one -> its first record that does (KIP-79). The entry's promise may be void by then (a
// batch may end before log start), so the walk goes on to the next ones. For -3 (KIP-734) the entry with the greatest timestamp
// is walked to its end, and the first record that has it is the answer.

#include "reader/time_lookup.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/fetch.pb-c.h"

enum {
	TIMESTAMP_MAX = -3,
	TIME_DEFAULT_MS = 5000,
	UNFOLDED_BYTES_MAX = 256 << 20,
	REPLY_ARENA_BYTES = 64 << 20,
};

struct time_lookup {
	struct task task;
	struct time_lookups *lookups;
	struct bus_request *request;
	uint64_t correlation;
	uint64_t deadline_us;
	uint64_t call; // LocateTime; 0: answered
	struct walk walk;
	int64_t wanted;                        // timestamp, or TIMESTAMP_MAX
	int64_t last_offset;                   // of the entry the owner named
	int64_t found_offset, found_timestamp; // best so far; -1: none
};

static void time_lookup_free(struct time_lookup *lookup)
{
	if (lookup->call)
		cluster_client_cancel(lookup->lookups->walker->cluster, lookup->call);
	walk_done(&lookup->walk);
	task_end(&lookup->task);
	free(lookup);
}

static void time_lookup_reply(struct time_lookups *lookups, struct bus_request *request, uint64_t correlation, enum error error,
	int64_t offset, int64_t timestamp)
{
	Weir__TimeOffsetReply reply = WEIR__TIME_OFFSET_REPLY__INIT;
	reply.error = error;
	reply.offset = offset;
	reply.timestamp = timestamp;
	lookups->errors += error != ERROR_OK;
	bus_reply(lookups->bus, request,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__TIME_OFFSET, .body = &reply.base, .correlation = correlation});
}

static void time_lookup_finish(struct time_lookup *lookup, enum error error)
{
	bool found = error == ERROR_OK && lookup->found_offset >= 0;
	time_lookup_reply(lookup->lookups, lookup->request, lookup->correlation, error, found ? lookup->found_offset : -1,
		found ? lookup->found_timestamp : -1);
	time_lookup_free(lookup);
}

struct record_search {
	int64_t from_offset; // records before it are not asked for
	int64_t timestamp;   // at or after
	int64_t offset, found;
};

static bool record_search_look(void *ctx, const struct record *record)
{
	struct record_search *search = ctx;
	if (record->offset < search->from_offset || record->timestamp < search->timestamp)
		return true;
	search->offset = record->offset;
	search->found = record->timestamp;
	return false;
}

// The first record of the batch at hand that is wanted, if any.
static enum error time_lookup_search(struct time_lookup *lookup, int64_t timestamp)
{
	struct slice bytes = walk_batch_bytes(&lookup->walk);
	struct record_search search = {.from_offset = lookup->walk.offset, .timestamp = timestamp, .offset = -1};
	enum error error = record_batch_each(slice_bytes(bytes), UNFOLDED_BYTES_MAX, record_search_look, &search);
	slice_done(&bytes);
	if (error == ERROR_OK && search.offset >= 0) {
		lookup->found_offset = search.offset;
		lookup->found_timestamp = search.found;
	}
	return error;
}

// True when the answer is known.
static bool time_lookup_batch(struct time_lookup *lookup, enum error *ret_error)
{
	const struct record_batch *batch = &lookup->walk.batch;
	bool control = batch->attributes & RECORD_BATCH_CONTROL; // markers are no records to a consumer
	if (lookup->wanted != TIMESTAMP_MAX) {
		if (!control && batch->max_timestamp >= lookup->wanted)
			*ret_error = time_lookup_search(lookup, lookup->wanted);
		return lookup->found_offset >= 0;
	}
	if (!control && (lookup->found_offset < 0 || batch->max_timestamp > lookup->found_timestamp))
		*ret_error = time_lookup_search(lookup, batch->max_timestamp);
	return batch->base_offset + batch->last_offset_delta >= lookup->last_offset;
}

static void time_lookup_walk(struct time_lookup *lookup)
{
	for (;;) {
		enum error error = ERROR_OK;
		enum walk_result result = walk_next(&lookup->walk, UINT64_MAX);
		if (result == WALK_WAIT)
			return;
		if (result == WALK_END || result == WALK_FAILED) {
			time_lookup_finish(lookup, result == WALK_FAILED ? lookup->walk.error : ERROR_OK);
			return;
		}
		CHECK(result == WALK_BATCH);
		bool known = time_lookup_batch(lookup, &error);
		if (error != ERROR_OK || known) {
			time_lookup_finish(lookup, error == ERROR_OK ? ERROR_OK : ERROR_NOT_FOUND);
			return;
		}
		walk_take(&lookup->walk);
	}
}

static void time_lookup_located(struct time_lookup *lookup, const Weir__LocateReply *reply)
{
	enum error error = index_adopt(lookup->walk.partition, reply, -1);
	if (error != ERROR_OK || reply->n_entries == 0) {
		time_lookup_finish(lookup, error);
		return;
	}
	lookup->walk.offset = reply->entries[0]->base_offset;
	if (lookup->walk.offset < reply->log_start)
		lookup->walk.offset = reply->log_start;
	lookup->walk.since_us = lookup->lookups->env->now_us;
	lookup->last_offset = reply->entries[0]->last_offset;
	task_wake(&lookup->task);
}

static void time_lookup_on_locate(void *ctx, enum error error, const struct bus_message *message)
{
	struct time_lookup *lookup = ctx;
	struct arena arena;
	arena_init(&arena, REPLY_ARENA_BYTES);
	lookup->call = 0;
	const Weir__LocateReply *reply =
		error == ERROR_OK ? protobuf_unpack(&weir__locate_reply__descriptor, message->body, &arena) : NULL;
	if (reply)
		time_lookup_located(lookup, reply);
	else
		time_lookup_finish(lookup, ERROR_STORAGE);
	arena_done(&arena);
}

static void time_lookup_run(struct task *task)
{
	struct time_lookup *lookup = container_of(task, struct time_lookup, task);
	if (lookup->lookups->env->now_us >= lookup->deadline_us) {
		time_lookup_finish(lookup, ERROR_STORAGE);
		return;
	}
	task_wake_at(task, lookup->deadline_us);
	if (!lookup->call)
		time_lookup_walk(lookup);
}

static void time_lookup_cancel(struct task *task)
{
	time_lookup_finish(container_of(task, struct time_lookup, task), ERROR_STORAGE);
}

static void time_lookup_ask(struct time_lookup *lookup, const Weir__TimeOffsetRequest *body, uint32_t timeout_ms)
{
	struct walker *walker = lookup->lookups->walker;
	Weir__LocateTimeRequest request = WEIR__LOCATE_TIME_REQUEST__INIT;
	request.topic_id = body->topic_id;
	request.partition = body->partition;
	request.timestamp = body->timestamp;
	walker->index->counters.locates++;
	lookup->call = cluster_client_call(walker->cluster, lookup->walk.partition->shard,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__LOCATE_TIME, .body = &request.base, .timeout_ms = timeout_ms},
		true, time_lookup_on_locate, lookup);
}

void time_lookup_start(struct time_lookups *lookups, struct bus_request *request, const struct bus_message *message)
{
	struct arena arena;
	struct uuid topic_id;
	arena_init(&arena, 0);
	lookups->requests++;
	const Weir__TimeOffsetRequest *body = protobuf_unpack(&weir__time_offset_request__descriptor, message->body, &arena);
	CHECK(body != NULL);
	bool known = lookups->walker->index->shard_count > 0;
	if (!known || !protobuf_get_uuid(body->topic_id, &topic_id)) {
		time_lookup_reply(
			lookups, request, message->correlation, known ? ERROR_UNKNOWN_TOPIC_ID : ERROR_STORAGE, -1, -1);
		arena_done(&arena);
		return;
	}
	uint32_t time_ms = message->remaining_ms ? message->remaining_ms : TIME_DEFAULT_MS;
	struct time_lookup *lookup = memory_zalloc(sizeof *lookup);
	lookup->lookups = lookups;
	lookup->request = request;
	lookup->correlation = message->correlation;
	lookup->wanted = body->timestamp;
	lookup->found_offset = lookup->found_timestamp = -1;
	lookup->deadline_us = deadline_in_ms(lookups->env, time_ms);
	lookup->task.run = time_lookup_run;
	lookup->task.cancel = time_lookup_cancel;
	task_start(lookups->tasks, &lookup->task);
	walk_init(&lookup->walk, lookups->walker, &lookup->task, &topic_id, body->partition, 0);
	lookup->walk.known_high_watermark = body->known_high_watermark;
	time_lookup_ask(lookup, body, time_ms);
	arena_done(&arena);
}
