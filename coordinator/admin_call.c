#include "coordinator/admin_call.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "coordinator/controller.h"

enum { RESPONSE_BYTES_MAX = 32 << 20, REQUEST_ARENA_BYTES_MAX = 64 << 20, BUS_MARGIN_MS = 50 };

struct admin_call *admin_call_new(struct controller *controller, struct bus_request *request, int16_t version)
{
	struct admin_call *call = memory_zalloc(sizeof *call);
	call->controller = controller;
	call->request = request;
	call->version = version;
	call->deadline_us = DEADLINE_NEVER;
	arena_init(&call->arena, REQUEST_ARENA_BYTES_MAX);
	list_init(&call->link);
	list_append(&controller->admin_calls, &call->link);
	return call;
}

void admin_call_set(struct admin_call *call, size_t topic_count, int32_t timeout_ms, uint32_t remaining_ms)
{
	// A little sooner than the bus gives up, so that the client gets what is known of each topic.
	uint64_t limit_ms = remaining_ms > BUS_MARGIN_MS ? remaining_ms - BUS_MARGIN_MS : 0;
	if (timeout_ms >= 0 && (uint64_t)timeout_ms < limit_ms)
		limit_ms = (uint64_t)timeout_ms;
	call->deadline_us = deadline_in_ms(call->controller->coordinator->deps.env, limit_ms);
	call->topics = arena_alloc(&call->arena, topic_count * sizeof *call->topics);
	call->topic_count = topic_count;
	for (size_t i = 0; i < topic_count; i++) {
		call->topics[i].call = call;
		call->topics[i].error = KAFKA_ERROR_REQUEST_TIMED_OUT;
	}
}

static void admin_call_answer(struct admin_call *call)
{
	struct kafka_writer writer;
	struct coordinator *coordinator = call->controller->coordinator;
	struct bus_request *request = call->request;
	call->request = NULL;
	kafka_writer_init(&writer, RESPONSE_BYTES_MAX);
	call->encode(call, &writer);
	bool failed = kafka_writer_failed(&writer);
	control_reply_kafka(coordinator, request, failed ? ERROR_TOO_LARGE : ERROR_OK, buffer_view(&writer.buffer));
	kafka_writer_done(&writer);
}

static void admin_call_free(struct admin_call *call)
{
	list_remove(&call->link);
	arena_done(&call->arena);
	free(call);
}

static void admin_call_settle(struct admin_call *call)
{
	if (!call->sealed || call->pending)
		return;
	if (call->request)
		admin_call_answer(call);
	admin_call_free(call);
}

void admin_call_hold(struct admin_call *call)
{
	call->pending++;
}

void admin_call_release(struct admin_call *call)
{
	call->pending--;
	admin_call_settle(call);
}

void admin_call_seal(struct admin_call *call)
{
	call->sealed = true;
	admin_call_settle(call);
}

void admin_topic_refuse(struct admin_topic *topic, int16_t error, const char *message)
{
	topic->error = error;
	topic->message = message;
}

bool admin_topic_reserve(struct admin_topic *topic, int64_t partitions)
{
	struct controller *controller = topic->call->controller;
	int64_t known = shard_state(controller->shard)->catalogue.partitions + controller->partitions_reserved;
	if (known + partitions > controller->coordinator->settings.partitions_max)
		return false;
	topic->reserved = partitions;
	controller->partitions_reserved += partitions;
	return true;
}

void admin_topic_unreserve(struct admin_topic *topic)
{
	topic->call->controller->partitions_reserved -= topic->reserved;
	topic->reserved = 0;
}

static int16_t intent_error(const struct admin_topic *topic, enum error error)
{
	switch (error) {
	case ERROR_OK:
		return KAFKA_ERROR_NONE;
	case ERROR_ALREADY_EXISTS:
		return KAFKA_ERROR_TOPIC_ALREADY_EXISTS;
	case ERROR_UNKNOWN_TOPIC_ID:
		return uuid_is_zero(&topic->id) ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION : KAFKA_ERROR_UNKNOWN_TOPIC_ID;
	case ERROR_BUSY:
		return KAFKA_ERROR_REASSIGNMENT_IN_PROGRESS;
	case ERROR_NOT_OWNER:
		return KAFKA_ERROR_REQUEST_TIMED_OUT; // it may be in the log or not: the client looks
	default:
		return error_kafka_code(error);
	}
}

// Done, or left to the next owner of shard 0.
static void topic_work_ended(void *ctx, enum error error)
{
	struct admin_topic *topic = ctx;
	admin_topic_refuse(topic, intent_error(topic, error), NULL);
	admin_call_release(topic->call);
}

static void topic_proposed(void *ctx, enum error error, const struct apply_result *result)
{
	struct admin_topic *topic = ctx;
	struct uuid id;
	admin_topic_unreserve(topic);
	if (error == ERROR_OK)
		error = result->error;
	if (error != ERROR_OK) {
		admin_topic_refuse(topic, intent_error(topic, error), NULL);
		admin_call_release(topic->call);
		return;
	}
	CHECK(protobuf_get_uuid(topic->info->id, &id));
	topic_works_wait(topic->call->controller->works, &id, topic_work_ended, topic);
}

void admin_topic_propose(struct admin_topic *topic)
{
	Weir__TopicIntent intent = WEIR__TOPIC_INTENT__INIT;
	intent.kind = topic->kind;
	intent.topic = topic->info;
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_TOPIC_INTENT;
	command.topic_intent = &intent;
	admin_call_hold(topic->call);
	shard_propose(topic->call->controller->shard, &command, (struct slice){0}, topic_proposed, topic);
}

uint64_t admin_calls_step(struct list *calls, const struct env *env)
{
	uint64_t next_us = DEADLINE_NEVER;
	LIST_EACH (calls, link) {
		struct admin_call *call = container_of(link, struct admin_call, link);
		if (!call->request)
			continue;
		if (call->deadline_us <= env->now_us)
			admin_call_answer(call);
		else
			next_us = deadline_min(next_us, call->deadline_us);
	}
	return next_us;
}

void admin_calls_free(struct list *calls)
{
	while (!list_empty(calls)) {
		struct admin_call *call = container_of(calls->next, struct admin_call, link);
		if (call->request)
			control_reply_kafka(call->controller->coordinator, call->request, ERROR_TIMED_OUT, BYTES_NULL);
		admin_call_free(call);
	}
}
