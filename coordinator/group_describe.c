// DescribeGroups and ListGroups.

#include <strings.h>

#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

enum {
	DESCRIBE_NOT_FOUND_VERSION = 6,
	// READ, DELETE and DESCRIBE as bits of AclOperation: what there is to do with a group. Whether this client may is the
	// frontend's to know.
	DESCRIBE_OPERATIONS = 1 << 3 | 1 << 6 | 1 << 8,
};

// The generated name is too long to read often.
typedef struct kafka_describe_groups_response_described_group described_group;

static void describe_member(const struct group *group, const struct group_member *member,
	struct kafka_describe_groups_response_described_group_member *to)
{
	to->member_id = member->id;
	to->group_instance_id = member->instance_id;
	to->client_id = member->client_id;
	to->client_host = member->client_host;
	to->member_assignment = group_text_or_empty(member->assignment);
	to->member_metadata = bytes_of("");
	if (group->state == GROUP_STABLE && group->protocol.data)
		to->member_metadata = group_member_metadata(member, group->protocol);
}

static void describe_known(const struct group *group, described_group *to, struct arena *arena)
{
	to->group_state = bytes_of(group_state_text(group->state));
	to->protocol_type = group_text_or_empty(group->protocol_type);
	to->protocol_data = group->state == GROUP_STABLE ? group_text_or_empty(group->protocol) : bytes_of("");
	to->members_count = (int32_t)group_member_total(group);
	to->members = kafka_describe_groups_response_described_group_member_array(arena, to->members_count);
	int32_t i = 0;
	for (const struct group_member *member = group->members; member; member = member->hh.next, i++)
		describe_member(group, member, &to->members[i]);
}

// Kafka's word for a group that does not exist is the state Dead; version 6 has an error for it (KIP-1043).
static void describe_unknown(struct group_request *request, described_group *to)
{
	to->group_state = bytes_of(group_state_text(GROUP_DEAD));
	to->protocol_type = to->protocol_data = bytes_of("");
	if (request->waiter.api_version < DESCRIBE_NOT_FOUND_VERSION)
		return;
	to->error_code = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
	to->error_message = bytes_of("Group not found.");
}

void group_describe_request(struct group_request *request)
{
	GROUP_DECODE(request, describe_groups, message);
	struct arena *arena = &request->groups->arena;
	struct kafka_describe_groups_response response;
	kafka_describe_groups_response_init(&response);
	response.groups_count = message.groups_count;
	response.groups = kafka_describe_groups_response_described_group_array(arena, message.groups_count);
	for (int32_t i = 0; i < message.groups_count; i++) {
		const struct group *group = groups_find(request->groups, message.groups[i]);
		response.groups[i].group_id = message.groups[i];
		if (message.include_authorized_operations)
			response.groups[i].authorized_operations = DESCRIBE_OPERATIONS;
		if (group)
			describe_known(group, &response.groups[i], arena);
		else
			describe_unknown(request, &response.groups[i]);
	}
	GROUP_REPLY(request->groups, &request->waiter, describe_groups, &response);
}

// An empty filter lets everything through; Kafka compares without case.
static bool list_matches(const struct bytes *filter, int32_t count, const char *text)
{
	struct bytes wanted = bytes_of(text);
	for (int32_t i = 0; i < count; i++)
		if (filter[i].len == wanted.len && strncasecmp((const char *)filter[i].data, text, wanted.len) == 0)
			return true;
	return count == 0;
}

void group_list_request(struct group_request *request)
{
	GROUP_DECODE(request, list_groups, message);
	struct groups *groups = request->groups;
	struct kafka_list_groups_response response;
	kafka_list_groups_response_init(&response);
	response.groups = kafka_list_groups_response_listed_group_array(&groups->arena, (int32_t)HASH_COUNT(groups->table));
	bool classic = list_matches(message.types_filter, message.types_filter_count, "classic");
	for (const struct group *group = classic ? groups->table : NULL; group; group = group->hh.next) {
		if (!list_matches(message.states_filter, message.states_filter_count, group_state_text(group->state)))
			continue;
		struct kafka_list_groups_response_listed_group *listed = &response.groups[response.groups_count++];
		listed->group_id = group->id;
		listed->protocol_type = group_text_or_empty(group->protocol_type);
		listed->group_state = bytes_of(group_state_text(group->state));
		listed->group_type = bytes_of("classic");
	}
	GROUP_REPLY(groups, &request->waiter, list_groups, &response);
}
