#include "coordinator/controller.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "coordinator/kafka_producer_id.h"
#include "coordinator/kafka_topics.h"
#include "coordinator/ticket.h"
#include "proto/bus.pb-c.h"
#include "proto/kafka/kafka_api.h"

// Daemons register every second: after this long a new owner knows them all.
enum { GATHER_MS = 1300 };

struct controller *controller_new(struct coordinator *coordinator, struct shard *shard)
{
	struct controller *controller = memory_zalloc(sizeof *controller);
	controller->coordinator = coordinator;
	controller->shard = shard;
	controller->members = members_new(coordinator->deps.env);
	list_init(&controller->admin_calls);
	list_init(&controller->tickets);
	controller->works = topic_works_new(coordinator);
	controller->producer_ids = producer_ids_new(controller);
	// In a cluster that never had a frontend there is nobody to wait for.
	if (shard_state(shard)->catalogue.nodes)
		controller->gather_until_us = deadline_in_ms(coordinator->deps.env, GATHER_MS);
	return controller;
}

void controller_close(struct controller *controller)
{
	controller->closed = true;
	tickets_abandon(&controller->tickets);
	topic_works_close(controller->works);
}

void controller_free(struct controller **pointer)
{
	struct controller *controller = *pointer;
	*pointer = NULL;
	if (!controller)
		return;
	topic_works_free(&controller->works);
	producer_ids_free(&controller->producer_ids);
	admin_calls_free(&controller->admin_calls);
	members_free(&controller->members);
	free(controller);
}

uint64_t controller_step(struct controller *controller)
{
	const struct env *env = controller->coordinator->deps.env;
	uint64_t next_us = members_expire(controller->members);
	next_us = deadline_min(next_us, topic_works_step(controller->works));
	next_us = deadline_min(next_us, admin_calls_step(&controller->admin_calls, env));
	return controller->gather_until_us > env->now_us ? deadline_min(next_us, controller->gather_until_us) : next_us;
}

static void topic_done_applied(struct controller *controller, const Weir__TopicDone *done, const struct apply_result *result)
{
	struct feed *feed = controller->coordinator->slots[0].feed;
	struct uuid id;
	if (result->error != ERROR_OK || !protobuf_get_uuid(done->topic_id, &id))
		return;
	if (result->topic_deleted)
		feed_add_deleted_topic(feed, &id);
	else
		feed_add_topic(feed, result->topic->now.info);
	topic_works_done(controller->works, &id);
}

void controller_applied(struct controller *controller, const Weir__Command *command, const struct apply_result *result)
{
	struct uuid id;
	if (command->kind_case == WEIR__COMMAND__KIND_TOPIC_DONE) {
		topic_done_applied(controller, command->topic_done, result);
	} else if (command->kind_case == WEIR__COMMAND__KIND_TOPIC_INTENT && result->error == ERROR_OK) {
		CHECK(protobuf_get_uuid(command->topic_intent->topic->id, &id));
		topic_works_start(controller->works, catalogue_topic_by_id(&shard_state(controller->shard)->catalogue, &id));
	}
}

// Members and view.

static bool controller_gathering(const struct controller *controller)
{
	return controller->gather_until_us > controller->coordinator->deps.env->now_us;
}

static Weir__ClusterView *controller_view(const struct controller *controller, struct arena *arena)
{
	Weir__ClusterView *view = coordinator_view(controller->coordinator, arena);
	members_fill(controller->members, view, arena);
	return view;
}

const Weir__ClusterView *controller_take_view(struct controller *controller, struct arena *arena)
{
	uint64_t version = coordinator_view_version(controller->coordinator) + members_version(controller->members);
	if (version == controller->view_told || controller_gathering(controller))
		return NULL;
	controller->view_told = version;
	return controller_view(controller, arena);
}

static void register_reply(
	struct controller *controller, struct bus_request *request, const Weir__Member *member, int32_t node_id)
{
	struct coordinator *coordinator = controller->coordinator;
	struct arena arena;
	arena_init(&arena, 0);
	enum error error = members_heard(controller->members, member, node_id);
	if (error == ERROR_OK && controller_gathering(controller))
		error = ERROR_LOADING;
	Weir__RegisterReply reply = WEIR__REGISTER_REPLY__INIT;
	reply.error = error;
	reply.node_id = node_id;
	reply.wall_ms = coordinator->deps.env->wall_ms;
	reply.view = controller_view(controller, &arena);
	control_reply(coordinator, request, WEIR__MESSAGE_TYPE__REGISTER, &reply.base);
	arena_done(&arena);
}

// A frontend's first registration waits for its node id.
struct node_call {
	struct coordinator *coordinator;
	struct bus_request *request;
	struct arena arena;
	Weir__Member *member;
	struct uuid instance;
};

static void node_assigned(void *ctx, enum error error, const struct apply_result *result)
{
	struct node_call *call = ctx;
	struct controller *controller = call->coordinator->controller;
	(void)result;
	if (error == ERROR_OK && controller && !controller->closed)
		register_reply(controller, call->request, call->member,
			catalogue_node_id(&shard_state(controller->shard)->catalogue, &call->instance));
	else
		control_reply_failed(call->coordinator, call->request, WEIR__MESSAGE_TYPE__REGISTER,
			error == ERROR_OK ? ERROR_NOT_OWNER : error);
	arena_done(&call->arena);
	free(call);
}

static void node_assign(
	struct controller *controller, struct bus_request *request, const Weir__Member *member, const struct uuid *instance)
{
	struct node_call *call = memory_zalloc(sizeof *call);
	struct buffer packed;
	call->coordinator = controller->coordinator;
	call->request = request;
	call->instance = *instance;
	arena_init(&call->arena, 0);
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&member->base, &packed);
	call->member = protobuf_unpack(&weir__member__descriptor, buffer_view(&packed), &call->arena);
	CHECK(call->member);
	buffer_done(&packed);
	int32_t next = shard_state(controller->shard)->catalogue.node_id_next;
	controller->node_id_proposed = next > controller->node_id_proposed ? next : controller->node_id_proposed + 1;
	Weir__NodeIdAssign assign = WEIR__NODE_ID_ASSIGN__INIT;
	assign.instance = protobuf_uuid(&call->instance);
	assign.node_id = controller->node_id_proposed;
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_NODE_ID;
	command.node_id = &assign;
	shard_propose(controller->shard, &command, (struct slice){0}, node_assigned, call);
}

void controller_register(struct controller *controller, struct bus_request *request, const Weir__RegisterRequest *message)
{
	struct uuid instance;
	if (!message->member || !protobuf_get_uuid(message->member->instance, &instance)) {
		control_malformed(controller->coordinator, request, WEIR__MESSAGE_TYPE__REGISTER);
		return;
	}
	int32_t node_id = catalogue_node_id(&shard_state(controller->shard)->catalogue, &instance);
	if (message->member->role == WEIR__ROLE__FRONTEND && node_id == 0)
		node_assign(controller, request, message->member, &instance);
	else
		register_reply(controller, request, message->member, node_id);
}

void controller_sync_meta(struct controller *controller, struct bus_request *request)
{
	struct coordinator *coordinator = controller->coordinator;
	const struct catalogue *catalogue = &shard_state(controller->shard)->catalogue;
	struct arena arena;
	if (controller_gathering(controller)) {
		control_reply_failed(coordinator, request, WEIR__MESSAGE_TYPE__SYNC_META, ERROR_LOADING);
		return;
	}
	arena_init(&arena, 0);
	Weir__SyncMetaReply reply = WEIR__SYNC_META_REPLY__INIT;
	reply.epoch = shard_epoch(controller->shard);
	reply.number = feed_meta_number(coordinator->slots[0].feed);
	reply.view = controller_view(controller, &arena);
	reply.topics = arena_alloc(&arena, HASH_COUNT(catalogue->topics) * sizeof *reply.topics);
	for (const struct catalogue_topic *topic = catalogue->topics; topic; topic = topic->hh.next) {
		if (catalogue_topic_live(topic))
			reply.topics[reply.n_topics++] = topic->now.info;
	}
	control_reply(coordinator, request, WEIR__MESSAGE_TYPE__SYNC_META, &reply.base);
	arena_done(&arena);
}

bool controller_kafka(struct controller *controller, struct bus_request *request, const Weir__KafkaCallRequest *call,
	struct bytes body, uint32_t remaining_ms)
{
	const struct kafka_topics_call topics_call = {controller, request, (int16_t)call->api_version, body, remaining_ms};
	switch (call->api_key) {
	case KAFKA_API_CREATE_TOPICS:
		kafka_create_topics(&topics_call);
		return true;
	case KAFKA_API_CREATE_PARTITIONS:
		kafka_create_partitions(&topics_call);
		return true;
	case KAFKA_API_DELETE_TOPICS:
		kafka_delete_topics(&topics_call);
		return true;
	case KAFKA_API_INIT_PRODUCER_ID:
		kafka_init_producer_id(&topics_call);
		return true;
	default:
		return false;
	}
}
