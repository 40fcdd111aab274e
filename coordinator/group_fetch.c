// OffsetFetch. Answered from what is applied, so it never shows an offset that is not durable. Versions below 8 name one group;
// they are turned into the later form and back.

#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

enum { FETCH_GROUPS_VERSION = 8, FETCH_TOPIC_ID_VERSION = 10 };

// The generated names are too long to read often.
typedef struct kafka_offset_fetch_request_offset_fetch_request_group fetch_group_request;
typedef struct kafka_offset_fetch_request_offset_fetch_request_topics fetch_topic_request;
typedef struct kafka_offset_fetch_response_offset_fetch_response_group fetch_group_response;
typedef struct kafka_offset_fetch_response_offset_fetch_response_topics fetch_topic_response;
typedef struct kafka_offset_fetch_response_offset_fetch_response_partitions fetch_partition;

static void fetch_fill(fetch_partition *answer, int32_t partition, const struct group_offset *offset)
{
	answer->partition_index = partition;
	answer->committed_offset = offset ? offset->offset : -1;
	answer->committed_leader_epoch = offset ? offset->leader_epoch : -1;
	answer->metadata = offset ? offset->metadata : bytes_of("");
}

// The last one of that name: an earlier one, if there was one, is on its way out.
static struct group_offset_topic *fetch_known_by_name(const struct group *group, struct bytes name)
{
	struct group_offset_topic *found = NULL;
	for (struct group_offset_topic *topic = group->offset_topics; topic; topic = topic->hh.next)
		if (bytes_equal(topic->name, name))
			found = topic;
	return found;
}

// A frontend may not have heard of the topic yet though the group has offsets of it: to answer "none" would make the consumer
// begin anew. So what the group knows counts, whatever the frontend knows.
static struct group_offset_topic *fetch_known(
	struct group_request *request, struct group *group, const fetch_topic_request *topic, int16_t *ret_code)
{
	bool by_id = request->waiter.api_version >= FETCH_TOPIC_ID_VERSION;
	const struct uuid *id = by_id ? &topic->topic_id : group_request_topic_id(request, topic->name);
	struct group_offset_topic *known = NULL;
	if (group && id)
		known = group_find_offset_topic(group, id);
	else if (group)
		known = fetch_known_by_name(group, topic->name);
	if (!known && by_id && !group_request_topic_name(request, id).data)
		*ret_code = KAFKA_ERROR_UNKNOWN_TOPIC_ID;
	return known;
}

static void fetch_topic(
	struct group_request *request, struct group *group, const fetch_topic_request *topic, fetch_topic_response *answer)
{
	int16_t code = KAFKA_ERROR_NONE;
	struct group_offset_topic *known = fetch_known(request, group, topic, &code);
	answer->name = topic->name;
	answer->topic_id = topic->topic_id;
	answer->partitions_count = topic->partition_indexes_count;
	answer->partitions = kafka_offset_fetch_response_offset_fetch_response_partitions_array(
		&request->groups->arena, topic->partition_indexes_count);
	for (int32_t i = 0; i < topic->partition_indexes_count; i++) {
		int32_t partition = topic->partition_indexes[i];
		fetch_fill(&answer->partitions[i], partition, known ? group_find_offset(known, partition) : NULL);
		answer->partitions[i].error_code = code;
	}
}

static void fetch_topic_all(struct arena *arena, const struct group_offset_topic *topic, fetch_topic_response *answer)
{
	answer->name = topic->name;
	answer->topic_id = topic->id;
	answer->partitions_count = (int32_t)HASH_COUNT(topic->partitions);
	answer->partitions =
		kafka_offset_fetch_response_offset_fetch_response_partitions_array(arena, answer->partitions_count);
	int32_t i = 0;
	for (const struct group_offset *offset = topic->partitions; offset; offset = offset->hh.next, i++)
		fetch_fill(&answer->partitions[i], offset->partition, offset);
}

static void fetch_all(struct arena *arena, const struct group *group, fetch_group_response *answer)
{
	answer->topics_count = group ? (int32_t)HASH_COUNT(group->offset_topics) : 0;
	answer->topics = kafka_offset_fetch_response_offset_fetch_response_topics_array(arena, answer->topics_count);
	int32_t i = 0;
	for (const struct group_offset_topic *topic = group ? group->offset_topics : NULL; topic; topic = topic->hh.next, i++)
		fetch_topic_all(arena, topic, &answer->topics[i]);
}

static void fetch_group(struct group_request *request, const fetch_group_request *asked, fetch_group_response *answer)
{
	struct arena *arena = &request->groups->arena;
	struct group *group = groups_find(request->groups, asked->group_id);
	answer->group_id = asked->group_id;
	if (asked->topics_count < 0) { // null: all
		fetch_all(arena, group, answer);
		return;
	}
	answer->topics_count = asked->topics_count;
	answer->topics = kafka_offset_fetch_response_offset_fetch_response_topics_array(arena, asked->topics_count);
	for (int32_t i = 0; i < asked->topics_count; i++)
		fetch_topic(request, group, &asked->topics[i], &answer->topics[i]);
}

// The one group of a request below version 8.
static fetch_group_request fetch_asked_before_8(const struct kafka_offset_fetch_request *message, struct arena *arena)
{
	fetch_group_request asked;
	kafka_offset_fetch_request_offset_fetch_request_group_init(&asked);
	asked.group_id = message->group_id;
	asked.topics_count = message->topics_count;
	if (message->topics_count <= 0)
		return asked;
	asked.topics = kafka_offset_fetch_request_offset_fetch_request_topics_array(arena, message->topics_count);
	for (int32_t i = 0; i < message->topics_count; i++) {
		asked.topics[i].name = message->topics[i].name;
		asked.topics[i].partition_indexes = message->topics[i].partition_indexes;
		asked.topics[i].partition_indexes_count = message->topics[i].partition_indexes_count;
	}
	return asked;
}

static void fetch_copy_partitions(const fetch_topic_response *from,
	struct kafka_offset_fetch_response_offset_fetch_response_topic *to, struct arena *arena)
{
	to->name = from->name;
	to->partitions_count = from->partitions_count;
	to->partitions = kafka_offset_fetch_response_offset_fetch_response_partition_array(arena, from->partitions_count);
	for (int32_t i = 0; i < from->partitions_count; i++) {
		to->partitions[i].partition_index = from->partitions[i].partition_index;
		to->partitions[i].committed_offset = from->partitions[i].committed_offset;
		to->partitions[i].committed_leader_epoch = from->partitions[i].committed_leader_epoch;
		to->partitions[i].metadata = from->partitions[i].metadata;
		to->partitions[i].error_code = from->partitions[i].error_code;
	}
}

static void fetch_before_8(struct group_request *request, const struct kafka_offset_fetch_request *message,
	struct kafka_offset_fetch_response *response)
{
	struct arena *arena = &request->groups->arena;
	fetch_group_request asked = fetch_asked_before_8(message, arena);
	fetch_group_response answer;
	kafka_offset_fetch_response_offset_fetch_response_group_init(&answer);
	fetch_group(request, &asked, &answer);
	response->topics_count = answer.topics_count;
	response->topics = kafka_offset_fetch_response_offset_fetch_response_topic_array(arena, answer.topics_count);
	for (int32_t i = 0; i < answer.topics_count; i++)
		fetch_copy_partitions(&answer.topics[i], &response->topics[i], arena);
}

static void fetch_groups(struct group_request *request, const struct kafka_offset_fetch_request *message,
	struct kafka_offset_fetch_response *response)
{
	response->groups_count = message->groups_count;
	response->groups =
		kafka_offset_fetch_response_offset_fetch_response_group_array(&request->groups->arena, message->groups_count);
	for (int32_t i = 0; i < message->groups_count; i++)
		fetch_group(request, &message->groups[i], &response->groups[i]);
}

void group_fetch_request(struct group_request *request)
{
	GROUP_DECODE(request, offset_fetch, message);
	struct kafka_offset_fetch_response response;
	kafka_offset_fetch_response_init(&response);
	if (request->waiter.api_version < FETCH_GROUPS_VERSION)
		fetch_before_8(request, &message, &response);
	else
		fetch_groups(request, &message, &response);
	GROUP_REPLY(request->groups, &request->waiter, offset_fetch, &response);
}
