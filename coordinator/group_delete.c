// DeleteGroups and OffsetDelete: what administrators take away. Both answer when it is durable.

#include "common/runtime/protobuf.h"
#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

// Ids that were given out go with the group; whoever joined meanwhile stays.
static void delete_removed(struct group_proposal *proposal, enum error error)
{
	if (error == ERROR_OK && proposal->group->state == GROUP_EMPTY)
		group_clear_live(proposal->group);
}

static void delete_propose(struct group *group, struct group_answer *answer)
{
	struct group_proposal *proposal = group_proposal_new(group);
	proposal->done = delete_removed;
	group_proposal_answer(proposal, answer);
	Weir__GroupRemove remove = WEIR__GROUP_REMOVE__INIT;
	remove.group = group_text_c(group->id);
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_GROUP_REMOVE;
	command.group_remove = &remove;
	group_propose(proposal, &command);
}

static int16_t delete_check(const struct group *group)
{
	if (!group)
		return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
	return group->state == GROUP_EMPTY ? KAFKA_ERROR_NONE : KAFKA_ERROR_NON_EMPTY_GROUP;
}

static int32_t delete_fill(struct group_request *request, const struct kafka_delete_groups_request *message,
	struct kafka_delete_groups_response *response)
{
	int32_t deletable = 0;
	response->results_count = message->groups_names_count;
	response->results =
		kafka_delete_groups_response_deletable_group_result_array(&request->groups->arena, message->groups_names_count);
	for (int32_t i = 0; i < message->groups_names_count; i++) {
		response->results[i].group_id = message->groups_names[i];
		response->results[i].error_code = delete_check(groups_find(request->groups, message->groups_names[i]));
		deletable += response->results[i].error_code == KAFKA_ERROR_NONE;
	}
	return deletable;
}

void group_delete_request(struct group_request *request)
{
	GROUP_DECODE(request, delete_groups, message);
	struct groups *groups = request->groups;
	struct kafka_delete_groups_response response;
	kafka_delete_groups_response_init(&response);
	if (delete_fill(request, &message, &response) == 0) {
		GROUP_REPLY(groups, &request->waiter, delete_groups, &response);
		return;
	}
	kafka_delete_groups_response_encode(&response, group_reply_begin(groups), request->waiter.api_version);
	struct group_answer *answer = group_answer_keep(groups, &request->waiter);
	for (int32_t i = 0; i < response.results_count; i++)
		if (response.results[i].error_code == KAFKA_ERROR_NONE)
			delete_propose(groups_find(groups, response.results[i].group_id), answer);
}

// ---- OffsetDelete

struct offset_delete {
	struct group_request *request;
	struct group *group;
	struct kafka_offset_delete_response response;
	Weir__GroupOffsets offsets;
};

// The generated name is too long to read often.
typedef struct kafka_offset_delete_request_offset_delete_request_topic offset_delete_topic;

static int16_t offset_delete_check(const struct group *group, const struct kafka_offset_delete_request *message)
{
	if (message->group_id.len == 0)
		return KAFKA_ERROR_INVALID_GROUP_ID;
	if (!group)
		return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
	bool consumers = bytes_equal(group_text_or_empty(group->protocol_type), bytes_of("consumer"));
	return group->state == GROUP_EMPTY || consumers ? KAFKA_ERROR_NONE : KAFKA_ERROR_NON_EMPTY_GROUP;
}

static void offset_delete_add(struct offset_delete *delete, const struct uuid *topic_id, int32_t partition)
{
	struct group_offset_topic *topic = group_find_offset_topic(delete->group, topic_id);
	if (!topic || !group_find_offset(topic, partition))
		return;
	Weir__GroupOffset *offset = arena_alloc(&delete->request->groups->arena, sizeof *offset);
	weir__group_offset__init(offset);
	offset->topic_id = protobuf_uuid(&topic->id);
	offset->partition = partition;
	offset->removed = true;
	delete->offsets.offsets[delete->offsets.n_offsets++] = offset;
}

static void offset_delete_one_topic(struct offset_delete *delete, const offset_delete_topic *topic, int32_t index)
{
	struct kafka_offset_delete_response_offset_delete_response_topic *answer = &delete->response.topics[index];
	const struct uuid *id = group_request_topic_id(delete->request, topic->name);
	int16_t code = id ? KAFKA_ERROR_NONE : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	if (id && group_consumes(delete->group, topic->name))
		code = KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC;
	answer->name = topic->name;
	answer->partitions_count = topic->partitions_count;
	answer->partitions = kafka_offset_delete_response_offset_delete_response_partition_array(
		&delete->request->groups->arena, topic->partitions_count);
	for (int32_t i = 0; i < topic->partitions_count; i++) {
		answer->partitions[i].partition_index = topic->partitions[i].partition_index;
		answer->partitions[i].error_code = code;
		if (code == KAFKA_ERROR_NONE)
			offset_delete_add(delete, id, topic->partitions[i].partition_index);
	}
}

static void offset_delete_topics(struct offset_delete *delete, const struct kafka_offset_delete_request *message)
{
	struct arena *arena = &delete->request->groups->arena;
	size_t total = 0;
	for (int32_t i = 0; i < message->topics_count; i++)
		total += (size_t)message->topics[i].partitions_count;
	delete->offsets.group = group_text_c(delete->group->id);
	delete->offsets.offsets = arena_alloc(arena, total * sizeof *delete->offsets.offsets);
	delete->response.topics = kafka_offset_delete_response_offset_delete_response_topic_array(arena, message->topics_count);
	delete->response.topics_count = message->topics_count;
	for (int32_t i = 0; i < message->topics_count; i++)
		offset_delete_one_topic(delete, &message->topics[i], i);
}

static void offset_delete_propose(struct offset_delete *delete)
{
	struct groups *groups = delete->request->groups;
	kafka_offset_delete_response_encode(&delete->response, group_reply_begin(groups), delete->request->waiter.api_version);
	struct group_proposal *proposal = group_proposal_new(delete->group);
	group_proposal_answer(proposal, group_answer_keep(groups, &delete->request->waiter));
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_GROUP_OFFSETS;
	command.group_offsets = &delete->offsets;
	group_propose(proposal, &command);
}

void group_offset_delete_request(struct group_request *request)
{
	GROUP_DECODE(request, offset_delete, message);
	struct offset_delete delete = {.request = request, .group = groups_find(request->groups, message.group_id)};
	kafka_offset_delete_response_init(&delete.response);
	weir__group_offsets__init(&delete.offsets);
	delete.response.error_code = offset_delete_check(delete.group, &message);
	if (delete.response.error_code == KAFKA_ERROR_NONE)
		offset_delete_topics(&delete, &message);
	if (delete.offsets.n_offsets > 0)
		offset_delete_propose(&delete);
	else
		GROUP_REPLY(request->groups, &request->waiter, offset_delete, &delete.response);
}
