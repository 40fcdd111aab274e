// Requests about many groups, whose owners differ: OffsetFetch (KIP-709), DescribeGroups, DeleteGroups, ListGroups. Each owner
// gets a request for its own groups; the answers are merged in the order of the client's request.

#include "frontend/kafka/serve.h"
#include "frontend/kafka/serve_groups.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

struct split_share {
	struct group_split *split;
	size_t *items;
	size_t count;
};

static void split_fail(struct split_share *share, enum error error)
{
	int16_t code = serve_group_error(share->split->request, error);
	for (size_t i = 0; i < share->count; i++)
		share->split->ops->fail(share->split, share->items[i], code);
}

static void split_on_reply(struct request *request, void *ctx, enum error error, const struct bus_message *reply)
{
	struct split_share *share = ctx;
	struct group_split *split = share->split;
	struct slice body;
	error = serve_call_answer(error, reply, &body);
	if (error == ERROR_OK) {
		struct reader reader = reader_of(slice_bytes(body));
		request_hold(request, body); // what is taken are views
		if (!split->ops->take(split, share->items, share->count, &reader))
			error = ERROR_INTERNAL;
	}
	if (error != ERROR_OK)
		split_fail(share, error);
	if (--split->left == 0)
		split->ops->answer(split);
}

static struct split_share *split_share_of(struct group_split *split, uint32_t shard)
{
	struct arena *arena = &split->request->arena;
	struct split_share *share = arena_alloc(arena, sizeof *share);
	share->split = split;
	share->items = arena_alloc(arena, split->count * sizeof *share->items);
	for (size_t i = 0; i < split->count; i++)
		if (split->shards[i] == shard)
			share->items[share->count++] = i;
	return share;
}

static void split_send(struct group_split *split, uint32_t shard, struct split_share *share)
{
	struct request *request = split->request;
	struct serve_call call = serve_call_of(request, shard);
	struct kafka_writer writer;
	kafka_writer_init(&writer, request->frontend->settings.request_bytes_max);
	split->ops->encode(split, share->items, share->count, &writer);
	struct slice body = slice_copy(buffer_view(&writer.buffer));
	call.body = body;
	call.topics = split->refs.rows;
	call.topic_count = split->refs.count;
	call.repeat = request->key != KAFKA_API_DELETE_GROUPS;
	split->left++;
	serve_call(request, &call, split_on_reply, share);
	slice_done(&body);
	kafka_writer_done(&writer);
}

void group_split_run(struct request *request, struct group_split *split)
{
	uint32_t shards = cluster_client_view(request->frontend->cluster)->shards;
	split->request = request;
	for (uint32_t shard = 0; shard < shards; shard++) {
		struct split_share *share = split_share_of(split, shard);
		if (share->count > 0)
			split_send(split, shard, share);
	}
	if (split->left == 0)
		split->ops->answer(split);
}

static struct group_split *split_new(
	struct request *request, const struct group_split_ops *ops, const void *message, void *response, size_t count)
{
	struct group_split *split = arena_alloc(&request->arena, sizeof *split);
	split->request = request;
	split->ops = ops;
	split->message = message;
	split->response = response;
	split->count = count;
	split->shards = arena_alloc(&request->arena, count * sizeof *split->shards);
	return split;
}

// OffsetFetch

static void offset_fetch_encode(struct group_split *split, const size_t *items, size_t count, struct kafka_writer *writer)
{
	const struct kafka_offset_fetch_request *all = split->message;
	struct kafka_offset_fetch_request part = *all;
	part.groups = kafka_offset_fetch_request_offset_fetch_request_group_array(&split->request->arena, (int32_t)count);
	part.groups_count = (int32_t)count;
	for (size_t i = 0; i < count; i++)
		part.groups[i] = all->groups[items[i]];
	kafka_offset_fetch_request_encode(&part, writer, split->request->version);
}

static bool offset_fetch_take(struct group_split *split, const size_t *items, size_t count, struct reader *reader)
{
	struct kafka_offset_fetch_response part, *all = split->response;
	enum error error = kafka_offset_fetch_response_decode(&part, reader, split->request->version, &split->request->arena);
	if (error != ERROR_OK || part.groups_count != (int32_t)count)
		return false;
	for (size_t i = 0; i < count; i++)
		all->groups[items[i]] = part.groups[i];
	return true;
}

static void offset_fetch_fail_group(struct group_split *split, size_t item, int16_t code)
{
	const struct kafka_offset_fetch_request *message = split->message;
	struct kafka_offset_fetch_response *response = split->response;
	response->groups[item].group_id = message->groups[item].group_id;
	response->groups[item].error_code = code;
}

static void offset_fetch_answer(struct group_split *split)
{
	const struct kafka_offset_fetch_response *response = split->response;
	REQUEST_ANSWER(split->request, kafka_offset_fetch_response_encode, response);
}

static const struct group_split_ops offset_fetch_ops = {
	offset_fetch_encode, offset_fetch_take, offset_fetch_fail_group, offset_fetch_answer};

// Before version 8: one group. Version 1 has no error of its own, so each partition tells it.
static void offset_fetch_fail(struct request *request, const void *message, int16_t code)
{
	const struct kafka_offset_fetch_request *fetch = message;
	struct kafka_offset_fetch_response response;
	kafka_offset_fetch_response_init(&response);
	response.error_code = code;
	response.topics_count = request->version < 2 && fetch->topics_count > 0 ? fetch->topics_count : 0;
	response.topics = kafka_offset_fetch_response_offset_fetch_response_topic_array(&request->arena, response.topics_count);
	for (int32_t i = 0; i < response.topics_count; i++) {
		const struct kafka_offset_fetch_request_offset_fetch_request_topic *topic = &fetch->topics[i];
		struct kafka_offset_fetch_response_offset_fetch_response_topic *row = &response.topics[i];
		row->name = topic->name;
		row->partitions_count = topic->partition_indexes_count;
		row->partitions = kafka_offset_fetch_response_offset_fetch_response_partition_array(
			&request->arena, row->partitions_count);
		for (int32_t p = 0; p < row->partitions_count; p++) {
			row->partitions[p].partition_index = topic->partition_indexes[p];
			row->partitions[p].committed_offset = -1;
			row->partitions[p].error_code = code;
		}
	}
	if (request->version < 2)
		response.error_code = KAFKA_ERROR_NONE;
	REQUEST_ANSWER(request, kafka_offset_fetch_response_encode, &response);
}

// With one group, this is what is passed on; the group-level error of version 8 and later is told in the group's row.
static void offset_fetch_fail_one(struct request *request, const void *message, int16_t code)
{
	const struct kafka_offset_fetch_request *fetch = message;
	struct kafka_offset_fetch_response response;
	kafka_offset_fetch_response_init(&response);
	response.groups_count = 1;
	response.groups = kafka_offset_fetch_response_offset_fetch_response_group_array(&request->arena, 1);
	response.groups[0].group_id = fetch->groups[0].group_id;
	response.groups[0].error_code = code;
	REQUEST_ANSWER(request, kafka_offset_fetch_response_encode, &response);
}

static struct group_refs offset_fetch_refs(struct request *request, const struct kafka_offset_fetch_request *message)
{
	size_t count = message->topics_count > 0 ? (size_t)message->topics_count : 0;
	for (int32_t g = 0; g < message->groups_count; g++)
		count += message->groups[g].topics_count > 0 ? (size_t)message->groups[g].topics_count : 0;
	struct group_refs refs = group_refs_new(request, count);
	for (int32_t i = 0; i < message->topics_count; i++)
		group_refs_add(&refs, request, message->topics[i].name, NULL);
	for (int32_t g = 0; g < message->groups_count; g++)
		for (int32_t i = 0; i < message->groups[g].topics_count; i++)
			group_refs_add(
				&refs, request, message->groups[g].topics[i].name, &message->groups[g].topics[i].topic_id);
	return refs;
}

static void offset_fetch_split(
	struct request *request, const struct kafka_offset_fetch_request *message, struct group_refs refs)
{
	struct kafka_offset_fetch_response *response = arena_alloc(&request->arena, sizeof *response);
	kafka_offset_fetch_response_init(response);
	response->groups_count = message->groups_count;
	response->groups =
		kafka_offset_fetch_response_offset_fetch_response_group_array(&request->arena, message->groups_count);
	struct group_split *split = split_new(request, &offset_fetch_ops, message, response, (size_t)message->groups_count);
	split->refs = refs;
	for (size_t i = 0; i < split->count; i++)
		split->shards[i] = serve_name_shard(request, message->groups[i].group_id);
	group_split_run(request, split);
}

void serve_offset_fetch(struct request *request)
{
	struct kafka_offset_fetch_request *message = arena_alloc(&request->arena, sizeof *message);
	if (!REQUEST_DECODE(request, kafka_offset_fetch_request_decode, message))
		return;
	struct group_refs refs = offset_fetch_refs(request, message);
	struct group_pass pass = {.message = message, .topics = refs.rows, .topic_count = refs.count, .repeat = true};
	if (request->version < 8) {
		pass.group = message->group_id;
		pass.fail = offset_fetch_fail;
		group_pass(request, &pass);
	} else if (message->groups_count == 1) {
		pass.group = message->groups[0].group_id;
		pass.fail = offset_fetch_fail_one;
		group_pass(request, &pass);
	} else {
		offset_fetch_split(request, message, refs);
	}
}

// DescribeGroups

static void describe_groups_encode(struct group_split *split, const size_t *items, size_t count, struct kafka_writer *writer)
{
	const struct kafka_describe_groups_request *all = split->message;
	struct kafka_describe_groups_request part = *all;
	part.groups = arena_alloc(&split->request->arena, count * sizeof *part.groups);
	part.groups_count = (int32_t)count;
	for (size_t i = 0; i < count; i++)
		part.groups[i] = all->groups[items[i]];
	kafka_describe_groups_request_encode(&part, writer, split->request->version);
}

static bool describe_groups_take(struct group_split *split, const size_t *items, size_t count, struct reader *reader)
{
	struct kafka_describe_groups_response part, *all = split->response;
	enum error error =
		kafka_describe_groups_response_decode(&part, reader, split->request->version, &split->request->arena);
	if (error != ERROR_OK || part.groups_count != (int32_t)count)
		return false;
	for (size_t i = 0; i < count; i++)
		all->groups[items[i]] = part.groups[i];
	return true;
}

static void describe_groups_fail(struct group_split *split, size_t item, int16_t code)
{
	const struct kafka_describe_groups_request *message = split->message;
	struct kafka_describe_groups_response *response = split->response;
	response->groups[item].group_id = message->groups[item];
	response->groups[item].error_code = code;
}

static void describe_groups_answer(struct group_split *split)
{
	const struct kafka_describe_groups_response *response = split->response;
	REQUEST_ANSWER(split->request, kafka_describe_groups_response_encode, response);
}

static const struct group_split_ops describe_groups_ops = {
	describe_groups_encode, describe_groups_take, describe_groups_fail, describe_groups_answer};

void serve_describe_groups(struct request *request)
{
	struct kafka_describe_groups_request *message = arena_alloc(&request->arena, sizeof *message);
	struct kafka_describe_groups_response *response = arena_alloc(&request->arena, sizeof *response);
	if (!REQUEST_DECODE(request, kafka_describe_groups_request_decode, message))
		return;
	kafka_describe_groups_response_init(response);
	response->groups_count = message->groups_count;
	response->groups = kafka_describe_groups_response_described_group_array(&request->arena, message->groups_count);
	struct group_split *split = split_new(request, &describe_groups_ops, message, response, (size_t)message->groups_count);
	for (size_t i = 0; i < split->count; i++)
		split->shards[i] = serve_name_shard(request, message->groups[i]);
	group_split_run(request, split);
}

// DeleteGroups

static void delete_groups_encode(struct group_split *split, const size_t *items, size_t count, struct kafka_writer *writer)
{
	const struct kafka_delete_groups_request *all = split->message;
	struct kafka_delete_groups_request part = *all;
	part.groups_names = arena_alloc(&split->request->arena, count * sizeof *part.groups_names);
	part.groups_names_count = (int32_t)count;
	for (size_t i = 0; i < count; i++)
		part.groups_names[i] = all->groups_names[items[i]];
	kafka_delete_groups_request_encode(&part, writer, split->request->version);
}

static bool delete_groups_take(struct group_split *split, const size_t *items, size_t count, struct reader *reader)
{
	struct kafka_delete_groups_response part, *all = split->response;
	enum error error = kafka_delete_groups_response_decode(&part, reader, split->request->version, &split->request->arena);
	if (error != ERROR_OK || part.results_count != (int32_t)count)
		return false;
	for (size_t i = 0; i < count; i++)
		all->results[items[i]] = part.results[i];
	return true;
}

static void delete_groups_fail(struct group_split *split, size_t item, int16_t code)
{
	const struct kafka_delete_groups_request *message = split->message;
	struct kafka_delete_groups_response *response = split->response;
	response->results[item].group_id = message->groups_names[item];
	response->results[item].error_code = code;
}

static void delete_groups_answer(struct group_split *split)
{
	const struct kafka_delete_groups_response *response = split->response;
	REQUEST_ANSWER(split->request, kafka_delete_groups_response_encode, response);
}

static const struct group_split_ops delete_groups_ops = {
	delete_groups_encode, delete_groups_take, delete_groups_fail, delete_groups_answer};

void serve_delete_groups(struct request *request)
{
	struct kafka_delete_groups_request *message = arena_alloc(&request->arena, sizeof *message);
	struct kafka_delete_groups_response *response = arena_alloc(&request->arena, sizeof *response);
	if (!REQUEST_DECODE(request, kafka_delete_groups_request_decode, message))
		return;
	kafka_delete_groups_response_init(response);
	response->results_count = message->groups_names_count;
	response->results =
		kafka_delete_groups_response_deletable_group_result_array(&request->arena, message->groups_names_count);
	struct group_split *split =
		split_new(request, &delete_groups_ops, message, response, (size_t)message->groups_names_count);
	for (size_t i = 0; i < split->count; i++)
		split->shards[i] = serve_name_shard(request, message->groups_names[i]);
	group_split_run(request, split);
}

// ListGroups: an item is a shard, each is asked the same.

static void list_groups_encode(struct group_split *split, const size_t *items, size_t count, struct kafka_writer *writer)
{
	(void)items;
	(void)count;
	kafka_list_groups_request_encode(split->message, writer, split->request->version);
}

static bool list_groups_take(struct group_split *split, const size_t *items, size_t count, struct reader *reader)
{
	(void)items;
	(void)count;
	struct arena *arena = &split->request->arena;
	struct kafka_list_groups_response part, *all = split->response;
	if (kafka_list_groups_response_decode(&part, reader, split->request->version, arena) != ERROR_OK)
		return false;
	if (part.error_code)
		all->error_code = part.error_code;
	int32_t total = all->groups_count + part.groups_count;
	struct kafka_list_groups_response_listed_group *groups = kafka_list_groups_response_listed_group_array(arena, total);
	for (int32_t i = 0; i < total; i++)
		groups[i] = i < all->groups_count ? all->groups[i] : part.groups[i - all->groups_count];
	all->groups = groups;
	all->groups_count = total;
	return true;
}

static void list_groups_fail(struct group_split *split, size_t item, int16_t code)
{
	(void)item;
	((struct kafka_list_groups_response *)split->response)->error_code = code;
}

static void list_groups_answer(struct group_split *split)
{
	const struct kafka_list_groups_response *response = split->response;
	REQUEST_ANSWER(split->request, kafka_list_groups_response_encode, response);
}

static const struct group_split_ops list_groups_ops = {
	list_groups_encode, list_groups_take, list_groups_fail, list_groups_answer};

void serve_list_groups(struct request *request)
{
	struct kafka_list_groups_request *message = arena_alloc(&request->arena, sizeof *message);
	struct kafka_list_groups_response *response = arena_alloc(&request->arena, sizeof *response);
	if (!REQUEST_DECODE(request, kafka_list_groups_request_decode, message))
		return;
	kafka_list_groups_response_init(response);
	uint32_t shards = cluster_client_view(request->frontend->cluster)->shards;
	struct group_split *split = split_new(request, &list_groups_ops, message, response, shards);
	for (uint32_t i = 0; i < shards; i++)
		split->shards[i] = i;
	group_split_run(request, split);
}
