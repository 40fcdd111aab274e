// Life of a fetch: admitted (memory) -> each partition resolves its index -> in order, each gets a limit from what is left of
// max_bytes and walks its batches -> all done, or the time is up: the reply. What a partition may still take is reserved, so
// that those behind it can start at once; a partition for which nothing is left waits until the earlier ones are done, because
// they may take less.

#include "reader/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/fetch.pb-c.h"

enum {
	ADMISSION_RETRY_MS = 2,
	TIME_DEFAULT_MS = 5000,
	TIME_MARGIN_MS = 50,         // for the way back
	JOIN_BELOW_BYTES = 64 << 10, // a small result is one frame
	SHORT_PIECE_BYTES = 16 << 10,
	READ_AHEAD_BYTES = 2 << 20,
	PIECES_MAX = 512, // of a result: more batches come with the next fetch
};

enum part_state { PART_RESOLVING, PART_RESOLVED, PART_READING, PART_DONE };

struct fetch_part {
	struct walk walk;
	enum part_state state;
	enum error error;
	int64_t high_watermark, log_start;
	bool expected;  // its blocks have been asked for
	uint64_t limit; // set when reading begins: reserved until done
	uint64_t bytes;
	struct slice *pieces; // held, neighbours joined
	size_t piece_count, piece_capacity;
};

struct fetch {
	struct task task;
	struct fetches *fetches;
	struct bus_request *request;
	uint64_t correlation;
	uint64_t arrived_us, deadline_us;
	bool admitted;
	struct arena arena;
	const Weir__FetchRequest *body;
	struct fetch_part *parts;
};

// ---- one partition

static void part_finish(struct fetch_part *part, enum error error)
{
	const struct index_partition *partition = part->walk.partition;
	part->state = PART_DONE;
	part->error = error;
	part->high_watermark = partition ? partition->high_watermark : -1;
	part->log_start = partition ? partition->log_start : -1;
	walk_done(&part->walk);
}

static void part_resolve(struct fetch_part *part)
{
	enum walk_result result = walk_resolve(&part->walk);
	if (result == WALK_READY)
		part->state = PART_RESOLVED;
	else if (result == WALK_END)
		part_finish(part, ERROR_OK);
	else if (result == WALK_FAILED)
		part_finish(part, part->walk.error);
}

static bool slices_join(const struct slice *first, const struct slice *second)
{
	return first->block == second->block && first->data + first->len == second->data;
}

static void part_add_piece(struct fetch_part *part, struct slice piece)
{
	if (part->piece_count > 0 && slices_join(&part->pieces[part->piece_count - 1], &piece)) {
		part->pieces[part->piece_count - 1].len += piece.len;
		slice_done(&piece);
		return;
	}
	if (part->piece_count == part->piece_capacity) {
		part->piece_capacity = part->piece_capacity ? part->piece_capacity * 2 : 4;
		part->pieces = memory_realloc(part->pieces, part->piece_capacity * sizeof *part->pieces);
	}
	part->pieces[part->piece_count++] = piece;
}

static void part_take_batch(struct fetch_part *part)
{
	size_t count = walk_piece_count(&part->walk);
	struct slice *pieces = memory_alloc(count * sizeof *pieces);
	walk_pieces(&part->walk, pieces);
	for (size_t i = 0; i < count; i++)
		part_add_piece(part, pieces[i]);
	free(pieces);
	part->bytes += part->walk.batch.size;
	walk_take(&part->walk);
}

static void part_complete(struct fetch_part *part, enum error error)
{
	// What was read before something failed is good; the failure shows in the next fetch, at its first batch.
	if (part->bytes > 0) {
		walk_remember(&part->walk);
		walk_read_ahead(&part->walk, READ_AHEAD_BYTES);
		error = ERROR_OK;
	}
	part_finish(part, error);
}

// may_exceed: by its first batch, since no partition before it has anything.
static void part_read(struct fetch_part *part, bool may_exceed)
{
	for (;;) {
		uint64_t left = part->limit > part->bytes ? part->limit - part->bytes : 0;
		bool exceeds = part->bytes == 0 && may_exceed;
		enum walk_result result = walk_next(&part->walk, exceeds ? UINT64_MAX : left);
		if (result == WALK_BATCH && part->piece_count < PIECES_MAX) {
			part_take_batch(part);
			continue;
		}
		// More could be located, but what is here is not held up for it.
		bool enough = part->bytes > 0 && !part->walk.in_entry;
		if (result == WALK_WAIT && !enough)
			return;
		part_complete(part, result == WALK_FAILED ? part->walk.error : ERROR_OK);
		return;
	}
}

// The blocks are asked for at once, though what may be taken of them is decided in order.
static void part_expect(struct fetch_part *part, uint64_t limit)
{
	if (part->expected)
		return;
	part->expected = true;
	walk_read_ahead(&part->walk, limit);
}

// ---- the request

static uint64_t part_reserved(const struct fetch_part *part, const Weir__FetchPartition *wanted)
{
	if (part->state == PART_DONE)
		return part->bytes;
	uint64_t limit = part->state == PART_READING ? part->limit : wanted->max_bytes;
	return limit > part->bytes ? limit : part->bytes;
}

// first: no partition before this one has anything so far; undecided: one of them may still get something.
static void fetch_run_part(struct fetch *fetch, struct fetch_part *part, const Weir__FetchPartition *wanted, uint64_t left,
	bool first, bool undecided)
{
	bool may_exceed = wanted->at_least_one_batch && first;
	uint64_t limit = wanted->max_bytes < left ? wanted->max_bytes : left;
	if (part->state == PART_RESOLVING)
		part_resolve(part);
	if (part->state == PART_RESOLVED) {
		part_expect(part, limit);
		// While it is open who is the first with anything, nobody knows by how much that one exceeds its limit.
		bool must_wait = undecided && (first || limit == 0);
		if (!must_wait && (limit > 0 || may_exceed)) {
			part->state = PART_READING;
			part->limit = limit;
		} else if (!must_wait) {
			part_finish(part, ERROR_OK);
		}
	}
	if (part->state == PART_READING)
		part_read(part, may_exceed);
	if (part->state == PART_DONE)
		fetch->fetches->counters.errors += part->error != ERROR_OK;
}

// True when every partition is done.
static bool fetch_run_parts(struct fetch *fetch)
{
	uint64_t reserved = 0;
	bool first = true, undecided = false;
	for (size_t i = 0; i < fetch->body->n_partitions; i++) {
		struct fetch_part *part = &fetch->parts[i];
		uint64_t left = fetch->body->max_bytes > reserved ? fetch->body->max_bytes - reserved : 0;
		if (part->state != PART_DONE)
			fetch_run_part(fetch, part, fetch->body->partitions[i], left, first, undecided);
		reserved += part_reserved(part, fetch->body->partitions[i]);
		first &= part->bytes == 0;
		undecided |= part->state != PART_DONE;
	}
	return !undecided;
}

// Found data makes an answer at once; a partition whose index is unknown has none.
static void fetch_time_is_up(struct fetch *fetch)
{
	fetch->fetches->counters.timeouts++;
	for (size_t i = 0; i < fetch->body->n_partitions; i++) {
		struct fetch_part *part = &fetch->parts[i];
		if (part->state == PART_RESOLVING)
			part_finish(part, ERROR_STORAGE);
		else if (part->state != PART_DONE)
			part_finish(part, ERROR_OK);
	}
}

// ---- the reply

// Short pieces from *at on become one frame, as a frame costs as much as 8 KiB.
static struct slice part_join_pieces(struct cache *cache, const struct fetch_part *part, size_t *at, bool all)
{
	size_t len = 0, end = *at;
	for (; end < part->piece_count && (all || part->pieces[end].len < SHORT_PIECE_BYTES); end++)
		len += part->pieces[end].len;
	struct block *block = cache_memory_new(cache, len);
	uint8_t *to = block->data;
	for (; *at < end; ++*at) {
		memcpy(to, part->pieces[*at].data, part->pieces[*at].len);
		to += part->pieces[*at].len;
	}
	return slice_take(&block);
}

static size_t part_frames(struct cache *cache, const struct fetch_part *part, struct slice *frames)
{
	size_t count = 0;
	bool all = part->bytes < JOIN_BELOW_BYTES;
	for (size_t at = 0; at < part->piece_count;) {
		bool alone = at + 1 == part->piece_count || part->pieces[at].len >= SHORT_PIECE_BYTES;
		if (alone && !(all && part->piece_count > 1))
			frames[count++] = slice_ref(part->pieces[at++]);
		else
			frames[count++] = part_join_pieces(cache, part, &at, all);
	}
	return count;
}

static size_t fetch_piece_count(const struct fetch *fetch)
{
	size_t count = 0;
	for (size_t i = 0; i < fetch->body->n_partitions; i++)
		count += fetch->parts[i].piece_count;
	return count;
}

static void fetch_fill_result(struct fetch *fetch, const struct fetch_part *part, Weir__FetchResult *result,
	struct slice *frames, size_t *frame_count)
{
	weir__fetch_result__init(result);
	result->error = part->error;
	result->high_watermark = part->high_watermark;
	result->log_start = part->log_start;
	result->bytes = (uint32_t)part->bytes;
	size_t count = part_frames(fetch->fetches->walker->cache, part, frames + *frame_count);
	result->frame_count = (uint32_t)count;
	*frame_count += count;
	fetch->fetches->counters.bytes += part->bytes;
}

static void fetch_reply(struct fetch *fetch)
{
	Weir__FetchReply reply = WEIR__FETCH_REPLY__INIT;
	size_t count = fetch->body->n_partitions;
	Weir__FetchResult *results = arena_alloc(&fetch->arena, count * sizeof *results);
	reply.n_results = count;
	reply.results = arena_alloc(&fetch->arena, count * sizeof *reply.results);
	struct slice *frames = memory_alloc((fetch_piece_count(fetch) + 1) * sizeof *frames);
	size_t frame_count = 0;
	for (size_t i = 0; i < count; i++) {
		reply.results[i] = &results[i];
		fetch_fill_result(fetch, &fetch->parts[i], &results[i], frames, &frame_count);
	}
	bus_reply(fetch->fetches->bus, fetch->request,
		&(struct bus_send){.type = WEIR__MESSAGE_TYPE__FETCH,
			.body = &reply.base,
			.frames = frames,
			.frame_count = frame_count,
			.correlation = fetch->correlation});
	for (size_t i = 0; i < frame_count; i++)
		slice_done(&frames[i]);
	free(frames);
}

static void fetch_free(struct fetch *fetch)
{
	struct fetches *fetches = fetch->fetches;
	for (size_t i = 0; i < fetch->body->n_partitions; i++) {
		struct fetch_part *part = &fetch->parts[i];
		walk_done(&part->walk);
		for (size_t j = 0; j < part->piece_count; j++)
			slice_done(&part->pieces[j]);
		free(part->pieces);
	}
	metrics_observe_us(&fetches->counters.latency, fetches->env->now_us - fetch->arrived_us);
	fetches->counters.waiting--;
	task_end(&fetch->task);
	arena_done(&fetch->arena);
	free(fetch);
}

static void fetch_finish(struct fetch *fetch)
{
	fetch_reply(fetch);
	fetch_free(fetch);
}

// ---- life

static bool fetch_admit(struct fetch *fetch)
{
	struct fetches *fetches = fetch->fetches;
	if (fetch->admitted)
		return true;
	if (cache_live_bytes(fetches->walker->cache) > fetches->live_bytes_max) {
		fetches->counters.held_back++;
		task_wake_at(&fetch->task, deadline_in_ms(fetches->env, ADMISSION_RETRY_MS));
		return false;
	}
	return fetch->admitted = true;
}

static void fetch_run(struct task *task)
{
	struct fetch *fetch = container_of(task, struct fetch, task);
	bool up = fetch->fetches->env->now_us >= fetch->deadline_us;
	bool done = (fetch_admit(fetch) && fetch_run_parts(fetch)) || up;
	if (!done) {
		task_wake_at(task, fetch->deadline_us);
		return;
	}
	if (up)
		fetch_time_is_up(fetch);
	fetch_finish(fetch);
}

static void fetch_cancel(struct task *task)
{
	struct fetch *fetch = container_of(task, struct fetch, task);
	for (size_t i = 0; i < fetch->body->n_partitions; i++)
		if (fetch->parts[i].state != PART_DONE)
			part_finish(&fetch->parts[i], ERROR_STORAGE);
	fetch_finish(fetch);
}

static void fetch_start_part(struct fetch *fetch, struct fetch_part *part, const Weir__FetchPartition *wanted)
{
	struct uuid topic_id;
	if (!protobuf_get_uuid(wanted->topic_id, &topic_id)) {
		part_finish(part, ERROR_UNKNOWN_TOPIC_ID);
		return;
	}
	if (fetch->fetches->walker->index->shard_count == 0) {
		part_finish(part, ERROR_STORAGE); // not registered yet
		return;
	}
	walk_init(&part->walk, fetch->fetches->walker, &fetch->task, &topic_id, wanted->partition, wanted->offset);
	part->walk.known_high_watermark = wanted->known_high_watermark;
	part->walk.known_log_start = wanted->known_log_start;
}

void fetch_start(struct fetches *fetches, struct bus_request *request, const struct bus_message *message)
{
	struct fetch *fetch = memory_zalloc(sizeof *fetch);
	fetch->fetches = fetches;
	fetch->request = request;
	fetch->correlation = message->correlation;
	fetch->arrived_us = fetches->env->now_us;
	uint64_t time_ms = message->remaining_ms ? message->remaining_ms : TIME_DEFAULT_MS;
	fetch->deadline_us =
		deadline_in_ms(fetches->env, time_ms > 2 * TIME_MARGIN_MS ? time_ms - TIME_MARGIN_MS : time_ms / 2);
	arena_init(&fetch->arena, 0);
	fetch->body = protobuf_unpack(&weir__fetch_request__descriptor, message->body, &fetch->arena);
	CHECK(fetch->body != NULL); // a sibling's malformed message is a bug of ours
	fetch->parts = arena_alloc(&fetch->arena, fetch->body->n_partitions * sizeof *fetch->parts);
	fetch->task.run = fetch_run;
	fetch->task.cancel = fetch_cancel;
	task_start(fetches->tasks, &fetch->task);
	fetches->counters.requests++;
	fetches->counters.partitions += fetch->body->n_partitions;
	fetches->counters.waiting++;
	for (size_t i = 0; i < fetch->body->n_partitions; i++)
		fetch_start_part(fetch, &fetch->parts[i], fetch->body->partitions[i]);
}
