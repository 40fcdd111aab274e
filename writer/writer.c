// Wiring of the writer: requests in, the decision when to flush, budgets, metrics. The steps themselves are in batching,
// sealed_object, upload, commit and tail_ring.

#include "writer/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "common/storage/record_batch.h"
#include "proto/append.pb-c.h"
#include "proto/bus.pb-c.h"
#include "proto/tail.pb-c.h"
#include "writer/append.h"
#include "writer/batching.h"
#include "writer/commit.h"
#include "writer/tail_ring.h"
#include "writer/upload.h"

enum {
	SKEW_MS_MAX = 60 * 1000,
	REQUEST_ARENA_BYTES = 64 << 20,
	WINDOW_BYTES_MIN = 1 << 20,
	// After SIGTERM siblings hear of it by the coordinator's feed; what they sent before that is still taken.
	DRAIN_QUIET_MS = 200,
	TOKEN = 1000000, // one PUT of the budget, so that a rate a second refills whole units a µs
};

struct writer {
	struct writer_deps deps;
	struct writer_settings settings;
	struct cluster_client *cluster;
	struct uuid instance;
	uint64_t incarnation; // 0 until known; then fixed for this instance
	uint32_t shards;
	struct appends appends;
	struct batching batching;
	struct uploads uploads;
	struct commits commits;
	struct tail_ring ring;
	struct arena arena; // of the request at hand
	uint64_t sequence;  // of the last object
	uint64_t pinned_bytes;
	uint64_t tokens; // of the PUT budget, in 1/TOKEN
	uint64_t tokens_us;
	uint64_t quiet_since_us; // last append, or start of the drain
	bool draining;
	bool failed;
	char not_ready[96];
	struct writer_counters counters;
};

static void writer_fail(struct writer *writer, const char *reason)
{
	if (writer->failed)
		return;
	writer->failed = true;
	writer->deps.fatal(writer->deps.fatal_ctx, reason);
}

// ---- flush: open object -> sealed object -> upload and commit queues

static void writer_count_object(struct writer *writer, const struct sealed_object *object, enum flush_cause cause)
{
	static const uint64_t sizes[] = {64 << 10, 512 << 10, 2 << 20, 8 << 20};
	size_t size = 0;
	while (size < sizeof sizes / sizeof *sizes && object->bytes > sizes[size])
		size++;
	writer->counters.object_sizes[size]++;
	writer->counters.objects++;
	writer->counters.object_bytes += object->bytes;
	writer->counters.flushes[cause]++;
}

// A full object is paid for by its bytes: it takes a token only if there is one.
static void writer_take_token(struct writer *writer)
{
	writer->tokens = writer->tokens > TOKEN ? writer->tokens - TOKEN : 0;
}

static void writer_flush(struct writer *writer, enum flush_cause cause)
{
	struct mixed_object_header header = {.level = 0,
		.incarnation = writer->incarnation,
		.id = {writer->instance, ++writer->sequence, cluster_client_wall_ms(writer->cluster)}};
	struct sealed_object *object = batching_seal(&writer->batching, &header, writer->shards);
	writer_take_token(writer);
	writer_count_object(writer, object, cause);
	commits_add(&writer->commits, object);
	uploads_add(&writer->uploads, object);
	sealed_object_unref(&object);
}

static void writer_refill_tokens(struct writer *writer)
{
	uint64_t now_us = writer->deps.env->now_us;
	uint64_t full = (uint64_t)writer->settings.put_burst * TOKEN;
	uint64_t fresh = (now_us - writer->tokens_us) * (uint64_t)writer->settings.put_rate;
	writer->tokens = fresh > full - writer->tokens ? full : writer->tokens + fresh;
	writer->tokens_us = now_us;
}

// When the open object may go without being full.
static uint64_t writer_flush_due(const struct writer *writer, enum flush_cause *ret_cause)
{
	uint64_t now_us = writer->deps.env->now_us;
	*ret_cause = writer->draining ? FLUSH_DRAIN : FLUSH_BUDGET;
	if (writer->draining || writer->tokens >= TOKEN)
		return now_us;
	uint64_t rate = (uint64_t)writer->settings.put_rate;
	uint64_t token_us = now_us + (TOKEN - writer->tokens + rate - 1) / rate;
	uint64_t linger_us = writer->batching.since_us + (uint64_t)writer->settings.linger_max_ms * 1000;
	if (linger_us < token_us)
		*ret_cause = FLUSH_LINGER;
	return deadline_min(token_us, linger_us);
}

// Returns when to look again. While all uploads are busy the open object just grows: a flush would only wait behind them.
static uint64_t writer_flush_if_due(struct writer *writer)
{
	writer_refill_tokens(writer);
	if (writer->batching.batch_count == 0 || !uploads_free_place(&writer->uploads))
		return DEADLINE_NEVER;
	enum flush_cause cause;
	uint64_t due_us = writer_flush_due(writer, &cause);
	if (due_us > writer->deps.env->now_us)
		return due_us;
	writer_flush(writer, cause);
	return DEADLINE_NEVER;
}

static void writer_on_durable(void *ctx, struct sealed_object *object)
{
	struct writer *writer = ctx;
	// Into the ring before the commit goes out: readers hear of the object from the owner, maybe before we do.
	tail_ring_add(&writer->ring, object->image);
	object_image_unref(&object->image);
	commits_durable(&writer->commits, object);
}

static void writer_on_lost(void *ctx, struct sealed_object *object)
{
	(void)object;
	writer_fail(ctx, "another object has our key");
}

static void writer_on_answered(void *ctx, const struct sealed_section *section)
{
	struct writer *writer = ctx;
	CHECK(writer->pinned_bytes >= section->charge);
	writer->pinned_bytes -= section->charge;
}

static void writer_on_commit_fatal(void *ctx, const char *reason)
{
	writer_fail(ctx, reason);
}

// ---- the cluster: incarnation, shards, windows

// The budget is shared out evenly: what all frontends may have unanswered here adds up to it.
static void writer_grant_windows(struct writer *writer)
{
	const struct cluster_view *view = cluster_client_view(writer->cluster);
	uint64_t frontends = 0;
	for (size_t i = 0; i < view->member_count; i++)
		frontends += view->members[i].role == WEIR__ROLE__FRONTEND;
	uint64_t window = (uint64_t)writer->settings.memory_bytes / (frontends ? frontends : 1);
	writer->appends.window_bytes = window > WINDOW_BYTES_MIN ? window : WINDOW_BYTES_MIN;
}

static void writer_join(struct writer *writer, const struct cluster_view *view)
{
	writer->incarnation = view->incarnation;
	writer->shards = view->shards;
	CHECK(view->shards > 0);
	commits_init(&writer->commits, writer->deps.env, writer->cluster, &writer->instance, view->incarnation, view->shards,
		&(struct commit_events){writer_on_answered, writer_on_commit_fatal, writer});
}

static void writer_on_view(void *ctx)
{
	struct writer *writer = ctx;
	const struct cluster_view *view = cluster_client_view(writer->cluster);
	if (view->incarnation == 0)
		return;
	if (writer->incarnation == 0)
		writer_join(writer, view);
	if (view->incarnation != writer->incarnation || view->shards != writer->shards)
		writer_fail(writer, "the cluster has another incarnation");
	writer_grant_windows(writer);
}

// ---- appends

// Durable bytes a shard may pin before only its partitions are pushed back.
static uint64_t writer_shard_pinned_max(const struct writer *writer)
{
	uint64_t share = (uint64_t)writer->settings.memory_bytes / writer->shards;
	uint64_t object = (uint64_t)writer->settings.object_bytes;
	return share > object ? share : object;
}

// NULL if there is room for a batch of this shard.
static const char *writer_no_room(const struct writer *writer, uint32_t shard, uint32_t length)
{
	if (writer->pinned_bytes + length > (uint64_t)writer->settings.memory_bytes)
		return "the writer's memory budget is full";
	if (commits_pinned(&writer->commits, shard) > writer_shard_pinned_max(writer))
		return "commits of this shard are behind";
	return NULL;
}

static bool partition_bytes(const Weir__AppendPartition *partition, const struct bus_message *message, struct slice *ret_bytes)
{
	if (partition->frame >= message->frame_count)
		return false;
	const struct slice *frame = &message->frames[partition->frame];
	if (partition->position > frame->len || partition->length > frame->len - partition->position)
		return false;
	*ret_bytes = (struct slice){frame->block, frame->data + partition->position, partition->length};
	return true;
}

static void section_batch_of(const struct record_batch *batch, struct section_batch *facts)
{
	*facts = (struct section_batch){
		.size = batch->size,
		.record_count = (uint32_t)batch->last_offset_delta + 1,
		.attributes = batch->attributes,
		.first_timestamp = batch->base_timestamp,
		.max_timestamp = batch->max_timestamp,
		.producer_id = batch->producer_id,
		.producer_epoch = batch->producer_epoch,
		.base_sequence = batch->base_sequence,
	};
}

// The batch's own copy with the append time set; bytes is replaced by it.
static void slice_stamp(struct slice *bytes, int64_t append_time_ms)
{
	struct slice copy = slice_copy(slice_bytes(*bytes));
	record_batch_set_append_time(copy.block->data, copy.len, append_time_ms);
	slice_done(bytes);
	*bytes = copy;
}

// bytes is borrowed. ERROR_OK: *ret_batch is to be added.
static enum error batch_make(
	const struct writer *writer, const Weir__AppendPartition *partition, struct slice bytes, struct batch **ret_batch)
{
	struct record_batch facts;
	if (partition->message_bytes_max > 0 && bytes.len > partition->message_bytes_max)
		return ERROR_TOO_LARGE;
	enum error error = record_batch_validate(slice_bytes(bytes), &facts);
	if (error == ERROR_OK && facts.size != bytes.len)
		error = ERROR_INVALID_RECORD; // Kafka: one batch a partition and request
	if (error != ERROR_OK)
		return error;
	struct slice held = slice_ref(bytes);
	int64_t append_time_ms = -1;
	if (partition->log_append_time) {
		append_time_ms = cluster_client_wall_ms(writer->cluster);
		slice_stamp(&held, append_time_ms);
		error = record_batch_parse(slice_bytes(held), &facts);
		CHECK(error == ERROR_OK);
	}
	struct batch *batch = memory_zalloc(sizeof *batch);
	batch->bytes = held;
	batch->log_append_time_ms = append_time_ms;
	section_batch_of(&facts, &batch->facts);
	*ret_batch = batch;
	return ERROR_OK;
}

static void writer_take_batch(
	struct writer *writer, const struct uuid *topic_id, int32_t partition, uint32_t shard, struct batch *batch)
{
	writer->pinned_bytes += batch_charge(batch);
	writer->counters.batches++;
	writer->counters.batch_bytes += batch->facts.size;
	batching_add(&writer->batching, topic_id, partition, shard, &batch, writer->deps.env->now_us);
	if (writer->batching.bytes >= (uint64_t)writer->settings.object_bytes)
		writer_flush(writer, FLUSH_SIZE);
}

// Takes one partition's batch into the open object, or settles it with the reason why not.
static void writer_append_partition(struct writer *writer, struct append *append, uint32_t index,
	const Weir__AppendPartition *partition, const struct bus_message *message)
{
	struct uuid topic_id;
	struct slice bytes;
	if (!protobuf_get_uuid(partition->topic_id, &topic_id) || !partition_bytes(partition, message, &bytes)) {
		append_settle_error(append, index, ERROR_MALFORMED, NULL);
		return;
	}
	uint32_t shard = placement_partition_shard(&topic_id, partition->partition, writer->shards);
	const char *no_room = writer_no_room(writer, shard, partition->length);
	if (no_room) {
		append_settle_error(append, index, ERROR_BUSY, no_room);
		return;
	}
	struct batch *batch;
	enum error error = batch_make(writer, partition, bytes, &batch);
	if (error != ERROR_OK) {
		append_settle_error(append, index, error, NULL);
		return;
	}
	batch->append = append;
	batch->index = index;
	writer_take_batch(writer, &topic_id, partition->partition, shard, batch);
}

static void writer_on_append(struct writer *writer, struct bus_request *request, const struct bus_message *message)
{
	const Weir__AppendRequest *body = protobuf_unpack(&weir__append_request__descriptor, message->body, &writer->arena);
	CHECK(body != NULL); // a sibling's malformed message is a bug of ours
	CHECK(body->n_partitions < UINT32_MAX);
	uint32_t count = (uint32_t)body->n_partitions;
	struct append *append = append_new(&writer->appends, request, message->correlation, count);
	bool known = writer->incarnation != 0 && !writer->failed;
	for (uint32_t i = 0; i < count; i++) {
		if (known)
			writer_append_partition(writer, append, i, body->partitions[i], message);
		else
			append_settle_error(append, i, ERROR_BUSY, "the writer is not registered yet");
	}
	append_admitted(append);
	writer->quiet_since_us = writer->deps.env->now_us;
}

// ---- tail

static void writer_reply_tail(struct writer *writer, struct bus_request *request, enum error error,
	const struct object_image *image, const Weir__TailRequest *body)
{
	Weir__TailReply reply = WEIR__TAIL_REPLY__INIT;
	struct slice *frames = NULL;
	size_t frame_count = 0;
	reply.error = error;
	if (image) {
		reply.object_bytes = image->bytes;
		frame_count = object_image_read(image, body->position, body->length, &frames);
	}
	for (size_t i = 0; i < frame_count; i++)
		writer->ring.served_bytes += frames[i].len;
	bus_reply(writer->deps.bus, request,
		&(struct bus_send){
			.type = WEIR__MESSAGE_TYPE__TAIL, .body = &reply.base, .frames = frames, .frame_count = frame_count});
	object_image_frames_free(frames, frame_count);
}

static void writer_on_tail(struct writer *writer, struct bus_request *request, const struct bus_message *message)
{
	const Weir__TailRequest *body = protobuf_unpack(&weir__tail_request__descriptor, message->body, &writer->arena);
	CHECK(body != NULL);
	struct uuid instance;
	bool ours = protobuf_get_uuid(body->writer, &instance) && uuid_equal(&instance, &writer->instance);
	const struct object_image *image = ours ? tail_ring_find(&writer->ring, body->sequence) : NULL;
	if (image)
		writer->ring.hits++;
	else
		writer->ring.misses++;
	writer_reply_tail(writer, request, image ? ERROR_OK : ERROR_NOT_FOUND, image, body);
}

static void writer_on_request(void *ctx, struct bus_request *request, const struct bus_message *message)
{
	struct writer *writer = ctx;
	arena_reset(&writer->arena);
	if (message->type == WEIR__MESSAGE_TYPE__APPEND)
		writer_on_append(writer, request, message);
	else if (message->type == WEIR__MESSAGE_TYPE__TAIL)
		writer_on_tail(writer, request, message);
	else
		writer_reply_tail(writer, request, ERROR_MALFORMED, NULL, NULL);
}

// ---- life

struct writer *writer_new(const struct writer_deps *deps, const struct writer_settings *settings)
{
	struct writer *writer = memory_zalloc(sizeof *writer);
	writer->deps = *deps;
	writer->settings = *settings;
	writer->instance = deps->cluster->instance;
	writer->tokens = (uint64_t)settings->put_burst * TOKEN;
	writer->tokens_us = deps->env->now_us;
	arena_init(&writer->arena, REQUEST_ARENA_BYTES);
	appends_init(&writer->appends, deps->env, deps->bus);
	batching_init(&writer->batching);
	tail_ring_init(&writer->ring, (uint64_t)settings->ring_bytes);
	uploads_init(&writer->uploads, deps->env, deps->store,
		&(struct upload_settings){(uint32_t)settings->uploads_max, (uint32_t)settings->upload_timeout_ms},
		&(struct upload_events){writer_on_durable, writer_on_lost, writer});
	writer->cluster = cluster_client_new(
		deps->env, deps->bus, deps->cluster, &(struct cluster_client_events){.on_view = writer_on_view, .ctx = writer});
	bus_serve(deps->bus, writer_on_request, writer);
	return writer;
}

static void batch_cancel(void *ctx, struct batch *batch)
{
	(void)ctx;
	append_settle_error(batch->append, batch->index, ERROR_CANCELED, NULL);
}

void writer_free(struct writer **writer)
{
	struct writer *freed = *writer;
	*writer = NULL;
	if (!freed)
		return;
	bus_serve(freed->deps.bus, NULL, NULL);
	batching_each(&freed->batching, batch_cancel, NULL);
	batching_done(&freed->batching);
	uploads_done(&freed->uploads);
	if (freed->incarnation != 0)
		commits_done(&freed->commits);
	CHECK(freed->appends.open == 0);
	cluster_client_free(&freed->cluster);
	tail_ring_done(&freed->ring);
	arena_done(&freed->arena);
	free(freed);
}

uint64_t writer_step(struct writer *writer)
{
	if (writer->failed)
		return DEADLINE_NEVER;
	uint64_t next_us = cluster_client_step(writer->cluster);
	next_us = deadline_min(next_us, uploads_step(&writer->uploads));
	if (writer->incarnation == 0)
		return next_us;
	next_us = deadline_min(next_us, writer_flush_if_due(writer));
	next_us = deadline_min(next_us, commits_step(&writer->commits));
	if (writer->draining)
		next_us = deadline_min(next_us, deadline_in_ms(writer->deps.env, DRAIN_QUIET_MS));
	return next_us;
}

void writer_drain(struct writer *writer)
{
	writer->draining = true;
	writer->quiet_since_us = writer->deps.env->now_us;
	cluster_client_drain(writer->cluster);
}

bool writer_drained(const struct writer *writer)
{
	bool quiet = writer->deps.env->now_us - writer->quiet_since_us >= DRAIN_QUIET_MS * 1000;
	return writer->draining && quiet && writer->appends.open == 0 && writer->pinned_bytes == 0;
}

const char *writer_ready(struct writer *writer)
{
	if (writer->failed)
		return "this instance has ended";
	if (writer->draining)
		return "draining";
	if (writer->incarnation == 0 || !cluster_client_ready(writer->cluster))
		return "not registered with the coordinators";
	int64_t skew_ms = cluster_client_skew_ms(writer->cluster);
	if (skew_ms > SKEW_MS_MAX || skew_ms < -SKEW_MS_MAX) {
		snprintf(writer->not_ready, sizeof writer->not_ready, "clock differs by %lld ms from the coordinators'",
			(long long)skew_ms);
		return writer->not_ready;
	}
	return NULL;
}

const struct writer_counters *writer_counters(const struct writer *writer)
{
	return &writer->counters;
}

uint64_t writer_pinned_bytes(const struct writer *writer)
{
	return writer->pinned_bytes;
}

// ---- metrics

static void writer_metrics_appends(struct writer *writer, struct metrics *metrics)
{
	static char labels[ERROR_COUNT][48]; // the registry keeps views of them
	const struct writer_counters *counters = &writer->counters;
	metrics_counter(metrics, "append_requests_total", NULL, "Append requests.", &writer->appends.requests);
	for (int error = 0; error < ERROR_COUNT; error++) {
		snprintf(labels[error], sizeof labels[error], "result=\"%s\"", error_text((enum error)error));
		metrics_counter(
			metrics, "append_results_total", labels[error], "Batches by outcome.", &writer->appends.results[error]);
	}
	metrics_counter(metrics, "append_batches_total", NULL, "Batches taken into objects.", &counters->batches);
	metrics_counter(metrics, "append_bytes_total", NULL, "Bytes of those batches.", &counters->batch_bytes);
	metrics_histogram(metrics, "append_seconds", NULL, "Arrival of an append to its reply.", &writer->appends.latency);
}

static void writer_metrics_objects(struct writer *writer, struct metrics *metrics)
{
	static const char *const causes[FLUSH_CAUSE_COUNT] = {
		"cause=\"size\"", "cause=\"budget\"", "cause=\"linger\"", "cause=\"drain\""};
	static const char *const sizes[] = {
		"up_to=\"64KiB\"", "up_to=\"512KiB\"", "up_to=\"2MiB\"", "up_to=\"8MiB\"", "up_to=\"+\""};
	const struct writer_counters *counters = &writer->counters;
	metrics_counter(metrics, "objects_total", NULL, "Objects flushed.", &counters->objects);
	metrics_counter(metrics, "object_bytes_total", NULL, "Bytes of flushed objects.", &counters->object_bytes);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		metrics_counter(
			metrics, "object_sizes_total", sizes[i], "Flushed objects by size.", &counters->object_sizes[i]);
	for (int cause = 0; cause < FLUSH_CAUSE_COUNT; cause++)
		metrics_counter(metrics, "flushes_total", causes[cause], "Flushes by cause.", &counters->flushes[cause]);
	metrics_counter(metrics, "upload_retries_total", NULL, "Uploads asked again.", &writer->uploads.retries);
	metrics_histogram(metrics, "upload_seconds", NULL, "First attempt to durable.", &writer->uploads.latency);
}

static int64_t writer_gauge_pinned(void *ctx)
{
	return (int64_t)((struct writer *)ctx)->pinned_bytes;
}

static int64_t writer_gauge_uploads(void *ctx)
{
	return (int64_t)((struct writer *)ctx)->uploads.active_count + ((struct writer *)ctx)->uploads.waiting_count;
}

static int64_t writer_gauge_in_doubt(void *ctx)
{
	return (int64_t)((struct writer *)ctx)->commits.in_doubt;
}

static int64_t writer_gauge_ring(void *ctx)
{
	return (int64_t)((struct writer *)ctx)->ring.bytes;
}

static void writer_metrics_gauges(struct writer *writer, struct metrics *metrics)
{
	metrics_gauge_of(metrics, "waiting_bytes", NULL, "Batch bytes not answered yet.", writer_gauge_pinned, writer);
	metrics_gauge_of(metrics, "uploads_active", NULL, "Uploads in progress or queued.", writer_gauge_uploads, writer);
	metrics_gauge_of(metrics, "commits_in_doubt", NULL, "Sections sent and not answered.", writer_gauge_in_doubt, writer);
	metrics_gauge_of(metrics, "ring_bytes", NULL, "Flushed objects kept for the tail.", writer_gauge_ring, writer);
}

void writer_metrics(struct writer *writer, struct metrics *metrics)
{
	writer_metrics_appends(writer, metrics);
	writer_metrics_objects(writer, metrics);
	writer_metrics_gauges(writer, metrics);
	metrics_counter(metrics, "commit_sections_total", NULL, "Sections answered.", &writer->commits.sections);
	metrics_counter(metrics, "commit_requests_total", NULL, "Commit requests sent.", &writer->commits.requests);
	metrics_counter(metrics, "commit_repeats_total", NULL, "Commit requests that failed.", &writer->commits.repeats);
	metrics_histogram(metrics, "commit_seconds", NULL, "Durable to committed.", &writer->commits.latency);
	metrics_counter(metrics, "tail_requests_total", "result=\"hit\"", "Tail requests.", &writer->ring.hits);
	metrics_counter(metrics, "tail_requests_total", "result=\"miss\"", "Tail requests.", &writer->ring.misses);
	metrics_counter(metrics, "tail_bytes_total", NULL, "Bytes served to readers.", &writer->ring.served_bytes);
}
