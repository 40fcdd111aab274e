#include "frontend/kafka/serve_call.h"

#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "frontend/frontend.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/kafka/kafka_errors.h"

static void serve_put_topics(const struct serve_call *call, struct arena *arena, Weir__KafkaCallRequest *message)
{
	Weir__TopicRef *rows = arena_alloc(arena, call->topic_count * sizeof *rows);
	message->topics = arena_alloc(arena, call->topic_count * sizeof *message->topics);
	message->n_topics = call->topic_count;
	for (size_t i = 0; i < call->topic_count; i++) {
		weir__topic_ref__init(&rows[i]);
		rows[i].name = arena_string(arena, call->topics[i].name);
		rows[i].id = protobuf_uuid(&call->topics[i].id);
		message->topics[i] = &rows[i];
	}
}

void serve_call(struct request *request, const struct serve_call *call, request_reply_fn fn, void *ctx)
{
	Weir__KafkaCallRequest message = WEIR__KAFKA_CALL_REQUEST__INIT;
	message.api_key = (uint32_t)call->key;
	message.api_version = (uint32_t)call->version;
	message.client_id = arena_string(&request->arena, request->header.client_id);
	message.client_host = request->session->client_host;
	message.shard = call->shard;
	message.auto_create = call->auto_create;
	serve_put_topics(call, &request->arena, &message);
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__KAFKA_CALL,
		.body = &message.base,
		.frames = &call->body,
		.frame_count = 1,
		.timeout_ms = call->timeout_ms,
		.correlation = request->correlation};
	request_call_shard(request, call->shard, &send, call->repeat, fn, ctx);
}

enum error serve_call_answer(enum error error, const struct bus_message *reply, struct slice *ret_body)
{
	if (error == ERROR_OK)
		error = control_reply_error(reply->body);
	if (error == ERROR_OK && reply->frame_count == 0)
		error = ERROR_INTERNAL;
	if (error == ERROR_OK)
		*ret_body = reply->frames[0];
	return error;
}

struct serve_call serve_call_of(struct request *request, uint32_t shard)
{
	return (struct serve_call){.key = request->key,
		.version = request->version,
		.shard = shard,
		.timeout_ms = request->frontend->settings.call_timeout_ms};
}

uint32_t serve_name_shard(const struct request *request, struct bytes name)
{
	uint32_t shards = cluster_client_view(request->frontend->cluster)->shards;
	return shards ? placement_name_shard(name, shards) : 0;
}

int16_t serve_group_error(struct request *request, enum error error)
{
	int16_t code;
	switch (error) {
	case ERROR_LOADING:
		code = KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
		break;
	case ERROR_NOT_OWNER:
	case ERROR_FENCED:
		code = KAFKA_ERROR_NOT_COORDINATOR;
		break;
	case ERROR_INTERNAL:
		code = KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
		break;
	case ERROR_MALFORMED:
		code = KAFKA_ERROR_INVALID_REQUEST;
		break;
	default:
		code = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
		break;
	}
	return frontend_error(request->frontend, code);
}

int16_t serve_admin_error(struct request *request, enum error error)
{
	int16_t code = error == ERROR_INTERNAL    ? KAFKA_ERROR_UNKNOWN_SERVER_ERROR
		       : error == ERROR_MALFORMED ? KAFKA_ERROR_INVALID_REQUEST
						  : KAFKA_ERROR_REQUEST_TIMED_OUT;
	return frontend_error(request->frontend, code);
}
