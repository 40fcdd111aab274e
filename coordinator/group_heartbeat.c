#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

static int16_t heartbeat_check(struct group_request *request, const struct kafka_heartbeat_request *message)
{
	if (message->group_id.len == 0)
		return KAFKA_ERROR_INVALID_GROUP_ID;
	struct group *group = groups_find(request->groups, message->group_id);
	if (!group)
		return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
	struct group_member *member = NULL;
	int16_t code = group_check_member(group, message->member_id, message->group_instance_id, &member);
	if (code != KAFKA_ERROR_NONE)
		return code;
	if (message->generation_id != group->generation)
		return KAFKA_ERROR_ILLEGAL_GENERATION;
	group_session_restart(group, member);
	return group->state == GROUP_PREPARING_REBALANCE ? KAFKA_ERROR_REBALANCE_IN_PROGRESS : KAFKA_ERROR_NONE;
}

void group_heartbeat_request(struct group_request *request)
{
	GROUP_DECODE(request, heartbeat, message);
	struct kafka_heartbeat_response response;
	kafka_heartbeat_response_init(&response);
	response.error_code = heartbeat_check(request, &message);
	GROUP_REPLY(request->groups, &request->waiter, heartbeat, &response);
}
