// LeaveGroup, one member (versions 0 to 2) or several (KIP-345). It is answered at once, before the emptied group is logged:
// should that be lost with the owner, the next one lets the member's session run out.

#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

enum { LEAVE_BATCH_VERSION = 3 };

static int16_t leave_one(struct group *group, const struct kafka_leave_group_request_member_identity *identity)
{
	struct group_pending *pending = group_find_pending(group, identity->member_id);
	if (pending) {
		group_remove_pending(group, pending);
		return KAFKA_ERROR_NONE;
	}
	struct group_member *member = NULL;
	int16_t code = KAFKA_ERROR_NONE;
	// An administrator removes a static member by its instance id alone.
	if (identity->member_id.len == 0 && identity->group_instance_id.data)
		member = group_find_static(group, identity->group_instance_id);
	else
		code = group_check_member(group, identity->member_id, identity->group_instance_id, &member);
	if (member)
		group_remove_member(group, member);
	return !member && code == KAFKA_ERROR_NONE ? KAFKA_ERROR_UNKNOWN_MEMBER_ID : code;
}

static void leave_rebalance(struct group *group)
{
	if (group->state == GROUP_PREPARING_REBALANCE)
		group_try_complete_join(group);
	else if (group->state != GROUP_EMPTY)
		group_prepare_rebalance(group);
}

static void leave_all(struct group *group, const struct kafka_leave_group_request_member_identity *identities, int32_t count,
	struct kafka_leave_group_response *response)
{
	bool left = false;
	for (int32_t i = 0; i < count; i++) {
		response->members[i].member_id = identities[i].member_id;
		response->members[i].group_instance_id = identities[i].group_instance_id;
		response->members[i].error_code = group ? leave_one(group, &identities[i]) : KAFKA_ERROR_UNKNOWN_MEMBER_ID;
		left = left || response->members[i].error_code == KAFKA_ERROR_NONE;
	}
	if (left)
		leave_rebalance(group);
}

static void leave_batch(struct group_request *request, struct group *group, const struct kafka_leave_group_request *message)
{
	struct kafka_leave_group_response response;
	kafka_leave_group_response_init(&response);
	response.members = kafka_leave_group_response_member_response_array(&request->groups->arena, message->members_count);
	response.members_count = message->members_count;
	leave_all(group, message->members, message->members_count, &response);
	GROUP_REPLY(request->groups, &request->waiter, leave_group, &response);
}

static void leave_single(struct group_request *request, struct group *group, const struct kafka_leave_group_request *message)
{
	struct kafka_leave_group_request_member_identity identity;
	kafka_leave_group_request_member_identity_init(&identity);
	identity.member_id = message->member_id;
	struct kafka_leave_group_response_member_response member;
	struct kafka_leave_group_response response;
	kafka_leave_group_response_init(&response);
	response.members = &member;
	leave_all(group, &identity, 1, &response);
	response.members = NULL; // these versions have one code for all
	response.error_code = member.error_code;
	GROUP_REPLY(request->groups, &request->waiter, leave_group, &response);
}

void group_leave_request(struct group_request *request)
{
	GROUP_DECODE(request, leave_group, message);
	if (message.group_id.len == 0) {
		struct kafka_leave_group_response response;
		kafka_leave_group_response_init(&response);
		response.error_code = KAFKA_ERROR_INVALID_GROUP_ID;
		GROUP_REPLY(request->groups, &request->waiter, leave_group, &response);
		return;
	}
	struct group *group = groups_find(request->groups, message.group_id);
	if (request->waiter.api_version >= LEAVE_BATCH_VERSION)
		leave_batch(request, group, &message);
	else
		leave_single(request, group, &message);
	if (group)
		group_tidy(group);
}
