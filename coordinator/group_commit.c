// OffsetCommit. Checked against the live group, then proposed; commits of a group reach the log in the order of their arrival,
// and each is answered when it is durable. A partition that cannot be committed gets its error, the others go on.

#include "common/runtime/protobuf.h"
#include "coordinator/group.h"
#include "proto/kafka/kafka_messages.h"

enum { COMMIT_TOPIC_ID_VERSION = 10 };

struct commit {
	struct group_request *request;
	const struct kafka_offset_commit_request *message;
	struct group *group;
	int16_t error; // for all partitions
	struct kafka_offset_commit_response response;
	Weir__GroupOffsets offsets;
	size_t added; // partitions that the group has no offset of yet
};

static int16_t commit_check_member(struct group *group, const struct kafka_offset_commit_request *message)
{
	struct group_member *member = NULL;
	int16_t code = group_check_member(group, message->member_id, message->group_instance_id, &member);
	if (code != KAFKA_ERROR_NONE)
		return code;
	if (message->generation_id_or_member_epoch != group->generation)
		return KAFKA_ERROR_ILLEGAL_GENERATION;
	if (group->state == GROUP_COMPLETING_REBALANCE)
		return KAFKA_ERROR_REBALANCE_IN_PROGRESS;
	group_session_restart(group, member);
	return KAFKA_ERROR_NONE;
}

// Without a generation it is a consumer that assigns itself, or an administrator: only for a group that nobody is in.
static int16_t commit_check(struct group *group, const struct kafka_offset_commit_request *message)
{
	bool simple = message->generation_id_or_member_epoch < 0;
	if (simple && (!group || group->state == GROUP_EMPTY))
		return KAFKA_ERROR_NONE;
	if (!group || (simple && message->member_id.len == 0 && !message->group_instance_id.data))
		return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
	return commit_check_member(group, message);
}

static bool commit_resolve(const struct commit *commit,
	const struct kafka_offset_commit_request_offset_commit_request_topic *topic, struct bytes *ret_name,
	const struct uuid **ret_id)
{
	if (commit->request->waiter.api_version >= COMMIT_TOPIC_ID_VERSION) {
		*ret_id = &topic->topic_id;
		*ret_name = group_request_topic_name(commit->request, &topic->topic_id);
		return ret_name->data != NULL;
	}
	*ret_name = topic->name;
	*ret_id = group_request_topic_id(commit->request, topic->name);
	return *ret_id != NULL;
}

// A group at its bound may still move the offsets that it has.
static bool commit_fits(struct commit *commit, const struct uuid *id, int32_t partition)
{
	struct group_offset_topic *topic = group_find_offset_topic(commit->group, id);
	if (topic && group_find_offset(topic, partition))
		return true;
	return commit->group->offset_count + commit->added++ < GROUP_OFFSETS_MAX;
}

static int16_t commit_check_partition(struct commit *commit, const struct uuid *id,
	const struct kafka_offset_commit_request_offset_commit_request_partition *partition)
{
	if (commit->error != KAFKA_ERROR_NONE)
		return commit->error;
	if (partition->partition_index < 0)
		return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	if (partition->committed_metadata.len > commit->request->groups->deps.settings->offset_metadata_bytes_max)
		return KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE;
	if (!group_text_valid(partition->committed_metadata))
		return KAFKA_ERROR_INVALID_REQUEST;
	return commit_fits(commit, id, partition->partition_index) ? KAFKA_ERROR_NONE : KAFKA_ERROR_INVALID_COMMIT_OFFSET_SIZE;
}

static void commit_add(struct commit *commit, struct bytes name, const struct uuid *id,
	const struct kafka_offset_commit_request_offset_commit_request_partition *partition)
{
	struct arena *arena = &commit->request->groups->arena;
	Weir__GroupOffset *offset = arena_alloc(arena, sizeof *offset);
	weir__group_offset__init(offset);
	offset->topic_id = protobuf_uuid(id);
	offset->topic = arena_string(arena, name);
	offset->partition = partition->partition_index;
	offset->offset = partition->committed_offset;
	offset->leader_epoch = partition->committed_leader_epoch;
	offset->metadata = arena_string(arena, group_text_or_empty(partition->committed_metadata));
	offset->time_ms = commit->request->groups->deps.env->wall_ms;
	commit->offsets.offsets[commit->offsets.n_offsets++] = offset;
}

static int16_t commit_one(struct commit *commit, struct bytes name, const struct uuid *id,
	const struct kafka_offset_commit_request_offset_commit_request_partition *partition)
{
	int16_t code = commit_check_partition(commit, id, partition);
	if (code == KAFKA_ERROR_NONE)
		commit_add(commit, name, id, partition);
	return code;
}

static void commit_topic_all(
	struct commit *commit, const struct kafka_offset_commit_request_offset_commit_request_topic *topic, int32_t index)
{
	struct kafka_offset_commit_response_offset_commit_response_topic *answer = &commit->response.topics[index];
	answer->name = topic->name;
	answer->topic_id = topic->topic_id;
	answer->partitions_count = topic->partitions_count;
	answer->partitions = kafka_offset_commit_response_offset_commit_response_partition_array(
		&commit->request->groups->arena, topic->partitions_count);
	bool by_id = commit->request->waiter.api_version >= COMMIT_TOPIC_ID_VERSION;
	struct bytes name;
	const struct uuid *id;
	bool known = commit_resolve(commit, topic, &name, &id);
	for (int32_t i = 0; i < topic->partitions_count; i++) {
		answer->partitions[i].partition_index = topic->partitions[i].partition_index;
		if (known)
			answer->partitions[i].error_code = commit_one(commit, name, id, &topic->partitions[i]);
		else
			answer->partitions[i].error_code =
				by_id ? KAFKA_ERROR_UNKNOWN_TOPIC_ID : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
	}
}

static void commit_prepare(struct commit *commit)
{
	const struct kafka_offset_commit_request *message = commit->message;
	struct arena *arena = &commit->request->groups->arena;
	size_t total = 0;
	for (int32_t i = 0; i < message->topics_count; i++)
		total += (size_t)message->topics[i].partitions_count;
	weir__group_offsets__init(&commit->offsets);
	commit->offsets.group = arena_string(arena, message->group_id);
	commit->offsets.offsets = arena_alloc(arena, total * sizeof *commit->offsets.offsets);
	kafka_offset_commit_response_init(&commit->response);
	commit->response.topics = kafka_offset_commit_response_offset_commit_response_topic_array(arena, message->topics_count);
	commit->response.topics_count = message->topics_count;
	for (int32_t i = 0; i < message->topics_count; i++)
		commit_topic_all(commit, &message->topics[i], i);
}

static void commit_propose(struct commit *commit)
{
	struct groups *groups = commit->request->groups;
	kafka_offset_commit_response_encode(&commit->response, group_reply_begin(groups), commit->request->waiter.api_version);
	if (kafka_writer_failed(&groups->writer)) {
		group_reply_error(&commit->request->waiter, ERROR_INTERNAL);
		return;
	}
	struct group_proposal *proposal = group_proposal_new(commit->group);
	group_proposal_answer(proposal, group_answer_keep(groups, &commit->request->waiter));
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_GROUP_OFFSETS;
	command.group_offsets = &commit->offsets;
	group_propose(proposal, &command);
}

void group_commit_request(struct group_request *request)
{
	GROUP_DECODE(request, offset_commit, message);
	struct commit commit = {.request = request, .message = &message};
	commit.group = groups_find(request->groups, message.group_id);
	commit.error = group_text_valid(message.group_id) ? commit_check(commit.group, &message) : KAFKA_ERROR_INVALID_GROUP_ID;
	if (commit.error == KAFKA_ERROR_NONE && !commit.group)
		commit.group = groups_find_or_add(request->groups, message.group_id);
	if (!commit.group && commit.error == KAFKA_ERROR_NONE)
		commit.error = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
	commit_prepare(&commit);
	if (commit.offsets.n_offsets > 0)
		commit_propose(&commit);
	else
		GROUP_REPLY(request->groups, &request->waiter, offset_commit, &commit.response);
	if (commit.group)
		group_tidy(commit.group);
}
