#include "groups_script.h"

#include <CUnit/CUnit.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

// ---- options

struct options {
	char text[1024];
};

// The value of name=, NULL if the line lacks it; lives until the next call but three.
static const char *option(const struct options *options, const char *name)
{
	static char values[4][1024];
	static int turn;
	char key[32];
	snprintf(key, sizeof key, " %s=", name);
	const char *at = strstr(options->text, key);
	if (!at)
		return NULL;
	char *value = values[turn = (turn + 1) % 4];
	at += strlen(key);
	size_t len = strcspn(at, " ");
	memcpy(value, at, len);
	value[len] = 0;
	return value;
}

static int32_t option_number(const struct options *options, const char *name, int32_t otherwise)
{
	const char *value = option(options, name);
	return value ? (int32_t)strtol(value, NULL, 10) : otherwise;
}

static struct bytes option_text(struct arena *arena, const struct options *options, const char *name, const char *otherwise)
{
	const char *value = option(options, name);
	value = value ? value : otherwise;
	return value ? arena_copy(arena, bytes_of(value)) : BYTES_NULL;
}

// Cuts text at the first separator and returns what is behind; "" if there is none.
static char *cut(char *text, char separator)
{
	char *at = strchr(text, separator);
	if (!at)
		return text + strlen(text);
	*at = 0;
	return at + 1;
}

// ---- the world

static void propose(void *ctx, const Weir__Command *command, groups_proposed_fn fn, void *fn_ctx)
{
	struct script_world *world = ctx;
	CHECK(world->proposed < SCRIPT_ENTRIES);
	struct script_entry *entry = &world->entries[world->proposed++];
	entry->len = weir__command__get_packed_size(command);
	entry->packed = memory_alloc(entry->len + 1);
	weir__command__pack(command, entry->packed);
	entry->fn = fn;
	entry->fn_ctx = fn_ctx;
}

void script_open(struct script_world *world)
{
	*world = (struct script_world){.topic_count = 2};
	prng_init(&world->env.prng, 7);
	world->env.now_us = 1000000;
	world->env.wall_ms = 1700000000000;
	world->settings = (struct groups_settings){6000, 1800000, 0, 100, 64, 50};
	world->topics[0].name = bytes_of("t");
	world->topics[1].name = bytes_of("u");
	memset(world->topics[0].id.bytes, 1, 16);
	memset(world->topics[1].id.bytes, 2, 16);
	world->deps = (struct groups_deps){&world->env, &world->settings, propose, world};
	world->groups = groups_new(&world->deps);
	groups_take_over(world->groups);
}

static void apply_entry(struct groups *groups, const struct script_entry *entry)
{
	Weir__Command *command = weir__command__unpack(NULL, entry->len, entry->packed);
	CHECK(command);
	groups_apply(groups, command, 0);
	weir__command__free_unpacked(command, NULL);
}

// A refused entry is taken out of the log, so that a replay does not see it.
static void forget_entry(struct script_world *world, size_t index)
{
	free(world->entries[index].packed);
	memmove(&world->entries[index], &world->entries[index + 1], (world->proposed - index - 1) * sizeof *world->entries);
	world->proposed--;
}

void script_release(struct script_world *world, size_t count, enum error error)
{
	for (; count > 0 && world->durable < world->proposed; count--) {
		struct script_entry entry = world->entries[world->durable];
		if (error == ERROR_OK) {
			apply_entry(world->groups, &entry);
			world->durable++;
		} else {
			forget_entry(world, world->durable);
		}
		entry.fn(entry.fn_ctx, error);
	}
}

static void settle(struct script_world *world)
{
	if (world->log == SCRIPT_LOG_NEXT)
		script_release(world, SIZE_MAX, ERROR_OK);
	if (world->log == SCRIPT_LOG_FAIL)
		script_release(world, SIZE_MAX, ERROR_NOT_OWNER);
}

static void step(struct script_world *world)
{
	groups_step(world->groups);
	settle(world);
}

void script_advance(struct script_world *world, uint64_t ms)
{
	uint64_t until = world->env.now_us + ms * 1000;
	for (;;) {
		uint64_t next = groups_step(world->groups);
		CHECK(next > world->env.now_us);
		settle(world);
		if (next > until)
			break;
		world->env.now_us = next;
	}
	world->env.now_us = until;
	world->env.wall_ms += (int64_t)ms;
	step(world);
}

struct groups *script_replay(struct script_world *world)
{
	struct groups *groups = groups_new(&world->deps);
	for (size_t i = 0; i < world->durable; i++)
		apply_entry(groups, &world->entries[i]);
	return groups;
}

static void crash(struct script_world *world)
{
	groups_free(&world->groups);
	while (world->durable < world->proposed) {
		struct script_entry entry = world->entries[world->durable];
		forget_entry(world, world->durable);
		entry.fn(entry.fn_ctx, ERROR_NOT_OWNER);
	}
	world->groups = script_replay(world);
	groups_take_over(world->groups);
}

void script_close(struct script_world *world)
{
	groups_free(&world->groups);
	for (size_t i = 0; i < world->proposed; i++) {
		if (i >= world->durable)
			world->entries[i].fn(world->entries[i].fn_ctx, ERROR_NOT_OWNER);
		free(world->entries[i].packed);
	}
}

struct script_client *script_client(struct script_world *world, const char *name)
{
	for (size_t i = 0; i < world->client_count; i++)
		if (strcmp(world->clients[i].name, name) == 0)
			return &world->clients[i];
	CHECK(world->client_count < SCRIPT_CLIENTS);
	struct script_client *client = &world->clients[world->client_count++];
	snprintf(client->name, sizeof client->name, "%s", name);
	client->world = world;
	client->generation = -1;
	return client;
}

// ---- answers as text

static void say(struct script_client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct script_client *client, const char *format, ...)
{
	size_t len = strlen(client->answer);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(client->answer + len, sizeof client->answer - len, format, arguments);
	va_end(arguments);
}

static void say_bytes(struct script_client *client, const char *before, struct bytes bytes)
{
	say(client, "%s%.*s", before, (int)bytes.len, bytes.data ? (const char *)bytes.data : "");
}

static const char *code_text(int16_t code)
{
	return code ? kafka_error_name(code) : "ok";
}

static void say_member(struct script_client *client, const char *before, struct bytes id)
{
	say(client, "%s{", before);
	say_bytes(client, "", id);
	say(client, "}");
}

static const char *member_name(const struct script_world *world, const char *id, size_t len)
{
	for (size_t i = 0; len && i < world->client_count; i++)
		if (bytes_equal(bytes_of(world->clients[i].member_id), bytes_view(id, len)))
			return world->clients[i].name;
	return len ? "?" : "none";
}

// The answer with names for ids and no blanks at the end.
static void tell(const struct script_client *client, char *text, size_t size)
{
	size_t len = 0;
	for (const char *at = client->answer; *at && len + 40 < size;) {
		if (*at != '{') {
			text[len++] = *at++;
			continue;
		}
		size_t id_len = strcspn(at, "}") - 1;
		len += (size_t)snprintf(text + len, size - len, "%s", member_name(client->world, at + 1, id_len));
		at += id_len + 2;
	}
	while (len > 0 && text[len - 1] == ' ')
		len--;
	text[len] = 0;
}

// A decoder fails on what is not exactly a response of this version.
#define DECODE(name, client, body, response)                                                                                   \
	struct arena arena;                                                                                                    \
	arena_init(&arena, 0);                                                                                                 \
	struct kafka_##name##_response response;                                                                               \
	struct reader reader = reader_of(body);                                                                                \
	CHECK(kafka_##name##_response_decode(&(response), &reader, (client)->api_version, &arena) == ERROR_OK);                \
	CHECK(reader_finished(&reader) == ERROR_OK)

static void read_join(struct script_client *client, struct bytes body)
{
	DECODE(join_group, client, body, response);
	if (response.member_id.len && (response.error_code == 0 || response.error_code == KAFKA_ERROR_MEMBER_ID_REQUIRED)) {
		CHECK(response.member_id.len < sizeof client->member_id);
		memcpy(client->member_id, response.member_id.data, response.member_id.len);
		client->member_id[response.member_id.len] = 0;
	}
	if (response.error_code != 0) {
		say(client, "%s", code_text(response.error_code));
	} else {
		client->generation = response.generation_id;
		say(client, "gen %d", response.generation_id);
		say_bytes(client, " ", response.protocol_name);
		say_member(client, " leader ", response.leader);
		for (int32_t i = 0; i < response.members_count; i++) {
			say_member(client, i ? "," : " of ", response.members[i].member_id);
			say_bytes(client, "=", response.members[i].metadata);
		}
		if (response.skip_assignment)
			say(client, " skip");
	}
	arena_done(&arena);
}

static void read_sync(struct script_client *client, struct bytes body)
{
	DECODE(sync_group, client, body, response);
	if (response.error_code)
		say(client, "%s", code_text(response.error_code));
	else
		say_bytes(client, "assigned ", response.assignment);
	arena_done(&arena);
}

static void read_heartbeat(struct script_client *client, struct bytes body)
{
	DECODE(heartbeat, client, body, response);
	say(client, "%s", code_text(response.error_code));
	arena_done(&arena);
}

static void read_leave(struct script_client *client, struct bytes body)
{
	DECODE(leave_group, client, body, response);
	say(client, "%s", code_text(response.error_code));
	for (int32_t i = 0; i < response.members_count; i++)
		say(client, " %s", code_text(response.members[i].error_code));
	arena_done(&arena);
}

static void read_commit(struct script_client *client, struct bytes body)
{
	DECODE(offset_commit, client, body, response);
	for (int32_t i = 0; i < response.topics_count; i++)
		for (int32_t j = 0; j < response.topics[i].partitions_count; j++)
			say(client, "%s%s", client->answer[0] ? " " : "",
				code_text(response.topics[i].partitions[j].error_code));
	arena_done(&arena);
}

static void say_offset(struct script_client *client, struct bytes topic, const struct uuid *id, int32_t partition,
	int64_t offset, struct bytes metadata, int16_t code)
{
	if (client->answer[0])
		say(client, " ");
	if (client->api_version >= 10)
		say(client, "%d", id->bytes[0]);
	say_bytes(client, "", topic);
	say(client, "-%d@%lld", partition, (long long)offset);
	CHECK(metadata.data); // null metadata comes back as ""
	if (metadata.len)
		say_bytes(client, "/", metadata);
	if (code)
		say(client, " %s", code_text(code));
}

static void read_fetch(struct script_client *client, struct bytes body)
{
	DECODE(offset_fetch, client, body, response);
	for (int32_t i = 0; i < response.topics_count; i++)
		for (int32_t j = 0; j < response.topics[i].partitions_count; j++)
			say_offset(client, response.topics[i].name, NULL, response.topics[i].partitions[j].partition_index,
				response.topics[i].partitions[j].committed_offset, response.topics[i].partitions[j].metadata,
				response.topics[i].partitions[j].error_code);
	for (int32_t g = 0; g < response.groups_count; g++)
		for (int32_t i = 0; i < response.groups[g].topics_count; i++)
			for (int32_t j = 0; j < response.groups[g].topics[i].partitions_count; j++)
				say_offset(client, response.groups[g].topics[i].name, &response.groups[g].topics[i].topic_id,
					response.groups[g].topics[i].partitions[j].partition_index,
					response.groups[g].topics[i].partitions[j].committed_offset,
					response.groups[g].topics[i].partitions[j].metadata,
					response.groups[g].topics[i].partitions[j].error_code);
	arena_done(&arena);
}

static void read_describe(struct script_client *client, struct bytes body)
{
	DECODE(describe_groups, client, body, response);
	for (int32_t i = 0; i < response.groups_count; i++) {
		say(client, "%s%s", i ? "; " : "", code_text(response.groups[i].error_code));
		say_bytes(client, " ", response.groups[i].group_state);
		say_bytes(client, " ", response.groups[i].protocol_data);
		for (int32_t j = 0; j < response.groups[i].members_count; j++) {
			say_member(client, " ", response.groups[i].members[j].member_id);
			say_bytes(client, "=", response.groups[i].members[j].member_metadata);
			say_bytes(client, "/", response.groups[i].members[j].member_assignment);
		}
	}
	arena_done(&arena);
}

static void read_list(struct script_client *client, struct bytes body)
{
	DECODE(list_groups, client, body, response);
	say(client, "%s", code_text(response.error_code));
	for (int32_t i = 0; i < response.groups_count; i++) {
		say_bytes(client, " ", response.groups[i].group_id);
		say_bytes(client, "=", response.groups[i].group_state);
	}
	arena_done(&arena);
}

static void read_delete(struct script_client *client, struct bytes body)
{
	DECODE(delete_groups, client, body, response);
	for (int32_t i = 0; i < response.results_count; i++)
		say(client, "%s%s", i ? " " : "", code_text(response.results[i].error_code));
	arena_done(&arena);
}

static void read_offset_delete(struct script_client *client, struct bytes body)
{
	DECODE(offset_delete, client, body, response);
	say(client, "%s", code_text(response.error_code));
	for (int32_t i = 0; i < response.topics_count; i++)
		for (int32_t j = 0; j < response.topics[i].partitions_count; j++)
			say(client, " %s", code_text(response.topics[i].partitions[j].error_code));
	arena_done(&arena);
}

// ---- requests

struct request {
	struct script_client *client;
	const struct options *options;
	struct arena *arena;
	struct kafka_writer *writer;
	int16_t version;
};

static struct bytes request_member(const struct request *request, const char *name)
{
	if (!name)
		return arena_copy(request->arena, bytes_of(request->client->member_id));
	if (strcmp(name, "new") == 0)
		return bytes_of("");
	if (strcmp(name, "none") == 0)
		return bytes_of("nobody");
	return arena_copy(request->arena, bytes_of(script_client(request->client->world, name)->member_id));
}

static struct bytes request_instance(const struct request *request)
{
	if (request->version < (request->client->api_key == KAFKA_API_JOIN_GROUP ? 5 : 3))
		return BYTES_NULL;
	const char *given = option(request->options, "inst");
	if (given)
		snprintf(request->client->instance_id, sizeof request->client->instance_id, "%s", given);
	const char *instance = request->client->instance_id;
	return *instance ? arena_copy(request->arena, bytes_of(instance)) : BYTES_NULL;
}

static struct bytes request_group(const struct request *request)
{
	return option_text(request->arena, request->options, "g", "g");
}

// @t+u: the ConsumerProtocolSubscription (version 0) of a consumer of t and u; anything else is what it says.
static struct bytes read_metadata(struct arena *arena, char *text)
{
	if (*text != '@')
		return bytes_of(text);
	struct kafka_writer writer;
	kafka_writer_init(&writer, 4096);
	buffer_u16(&writer.buffer, 0);
	buffer_u32(&writer.buffer, 0);
	uint8_t count = 0;
	for (char *name = text + 1, *next; *name; name = next, count++) {
		next = cut(name, '+');
		kafka_write_string(&writer, bytes_of(name), false, false);
	}
	kafka_write_bytes(&writer, BYTES_NULL, false, true);
	writer.buffer.data[5] = count;
	struct bytes copy = arena_copy(arena, buffer_view(&writer.buffer));
	kafka_writer_done(&writer);
	return copy;
}

static void write_join(const struct request *request)
{
	struct kafka_join_group_request message;
	kafka_join_group_request_init(&message);
	message.group_id = request_group(request);
	message.session_timeout_ms = option_number(request->options, "session", 10000);
	message.rebalance_timeout_ms = option_number(request->options, "rebalance", 30000);
	message.member_id = request_member(request, option(request->options, "id"));
	message.group_instance_id = request_instance(request);
	message.protocol_type = option_text(request->arena, request->options, "type", "consumer");
	message.protocols = kafka_join_group_request_join_group_request_protocol_array(request->arena, 100);
	const char *listed = option(request->options, "p");
	char *protocols = arena_string(request->arena, bytes_of(listed ? listed : "range"));
	while (*protocols) {
		char *next = cut(protocols, ',');
		char *metadata = cut(protocols, ':');
		message.protocols[message.protocols_count].name = bytes_of(protocols);
		message.protocols[message.protocols_count++].metadata = read_metadata(request->arena, metadata);
		protocols = next;
	}
	kafka_join_group_request_encode(&message, request->writer, request->version);
}

static void write_sync(const struct request *request)
{
	struct kafka_sync_group_request message;
	kafka_sync_group_request_init(&message);
	message.group_id = request_group(request);
	message.generation_id = option_number(request->options, "gen", request->client->generation);
	message.member_id = request_member(request, option(request->options, "id"));
	message.group_instance_id = request_instance(request);
	message.protocol_type =
		option_text(request->arena, request->options, "type", request->version >= 5 ? "consumer" : NULL);
	message.protocol_name = option_text(request->arena, request->options, "p", request->version >= 5 ? "range" : NULL);
	message.assignments = kafka_sync_group_request_sync_group_request_assignment_array(request->arena, SCRIPT_CLIENTS);
	const char *listed = option(request->options, "for");
	char *assignments = arena_string(request->arena, bytes_of(listed ? listed : ""));
	while (*assignments) {
		char *next = cut(assignments, ',');
		char *content = cut(assignments, ':');
		message.assignments[message.assignments_count].member_id = request_member(request, assignments);
		message.assignments[message.assignments_count++].assignment = bytes_of(content);
		assignments = next;
	}
	kafka_sync_group_request_encode(&message, request->writer, request->version);
}

static void write_heartbeat(const struct request *request)
{
	struct kafka_heartbeat_request message;
	kafka_heartbeat_request_init(&message);
	message.group_id = request_group(request);
	message.generation_id = option_number(request->options, "gen", request->client->generation);
	message.member_id = request_member(request, option(request->options, "id"));
	message.group_instance_id = request_instance(request);
	kafka_heartbeat_request_encode(&message, request->writer, request->version);
}

static void write_leave(const struct request *request)
{
	struct kafka_leave_group_request message;
	kafka_leave_group_request_init(&message);
	message.group_id = request_group(request);
	const char *listed = option(request->options, "members");
	char *members = arena_string(request->arena, bytes_of(listed ? listed : request->client->name));
	message.members = kafka_leave_group_request_member_identity_array(request->arena, SCRIPT_CLIENTS);
	if (request->version < 3)
		message.member_id = request_member(request, members);
	while (request->version >= 3 && *members) {
		char *next = cut(members, ',');
		struct kafka_leave_group_request_member_identity *identity = &message.members[message.members_count++];
		identity->member_id = *members == '=' ? bytes_of("") : request_member(request, members);
		identity->group_instance_id = *members == '=' ? bytes_of(members + 1) : BYTES_NULL;
		members = next;
	}
	kafka_leave_group_request_encode(&message, request->writer, request->version);
}

struct offset_option {
	char topic[32];
	int32_t partition;
	int64_t offset;
	const char *metadata; // NULL: null
};

// topic-partition@offset/metadata,...
static int32_t read_offsets(const struct request *request, struct offset_option *ret_offsets)
{
	const char *listed = option(request->options, "o");
	char *text = arena_string(request->arena, bytes_of(listed ? listed : ""));
	int32_t count = 0;
	while (*text) {
		char *next = cut(text, ',');
		char *metadata = cut(text, '/');
		char *offset = cut(text, '@');
		char *partition = cut(text, '-');
		struct offset_option *given = &ret_offsets[count++];
		snprintf(given->topic, sizeof given->topic, "%s", text);
		given->partition = (int32_t)strtol(partition, NULL, 10);
		given->offset = strtoll(offset, NULL, 10);
		given->metadata = *metadata ? metadata : NULL;
		text = next;
	}
	return count;
}

static struct uuid topic_id(const struct script_world *world, const char *name)
{
	for (size_t i = 0; i < world->topic_count; i++)
		if (bytes_equal(world->topics[i].name, bytes_of(name)))
			return world->topics[i].id;
	struct uuid unknown = {{9}};
	return unknown;
}

static void write_commit(const struct request *request)
{
	static struct offset_option offsets[64];
	struct kafka_offset_commit_request message;
	kafka_offset_commit_request_init(&message);
	message.group_id = request_group(request);
	message.generation_id_or_member_epoch = option_number(request->options, "gen", request->client->generation);
	message.member_id = request_member(request, option(request->options, "id"));
	if (request->version >= 7)
		message.group_instance_id = request_instance(request);
	message.topics_count = read_offsets(request, offsets);
	message.topics = kafka_offset_commit_request_offset_commit_request_topic_array(request->arena, message.topics_count);
	for (int32_t i = 0; i < message.topics_count; i++) {
		message.topics[i].name = bytes_of(offsets[i].topic);
		message.topics[i].topic_id = topic_id(request->client->world, offsets[i].topic);
		message.topics[i].partitions_count = 1;
		message.topics[i].partitions =
			kafka_offset_commit_request_offset_commit_request_partition_array(request->arena, 1);
		message.topics[i].partitions[0].partition_index = offsets[i].partition;
		message.topics[i].partitions[0].committed_offset = offsets[i].offset;
		message.topics[i].partitions[0].committed_metadata =
			offsets[i].metadata ? bytes_of(offsets[i].metadata) : BYTES_NULL;
	}
	kafka_offset_commit_request_encode(&message, request->writer, request->version);
}

static void write_fetch_before_8(const struct request *request, const struct offset_option *offsets, int32_t count)
{
	struct kafka_offset_fetch_request message;
	kafka_offset_fetch_request_init(&message);
	message.group_id = request_group(request);
	message.topics_count = count;
	message.topics = kafka_offset_fetch_request_offset_fetch_request_topic_array(request->arena, count > 0 ? count : 0);
	for (int32_t i = 0; i < count; i++) {
		message.topics[i].name = bytes_of(offsets[i].topic);
		message.topics[i].partition_indexes_count = 1;
		message.topics[i].partition_indexes = arena_alloc(request->arena, sizeof(int32_t));
		message.topics[i].partition_indexes[0] = offsets[i].partition;
	}
	kafka_offset_fetch_request_encode(&message, request->writer, request->version);
}

static void write_fetch(const struct request *request)
{
	static struct offset_option offsets[64];
	int32_t count = option(request->options, "o") ? read_offsets(request, offsets) : -1;
	if (request->version < 8) {
		write_fetch_before_8(request, offsets, count);
		return;
	}
	struct kafka_offset_fetch_request message;
	kafka_offset_fetch_request_init(&message);
	message.groups_count = 1;
	message.groups = kafka_offset_fetch_request_offset_fetch_request_group_array(request->arena, 1);
	message.groups[0].group_id = request_group(request);
	message.groups[0].topics_count = count;
	message.groups[0].topics =
		kafka_offset_fetch_request_offset_fetch_request_topics_array(request->arena, count > 0 ? count : 0);
	for (int32_t i = 0; i < count; i++) {
		message.groups[0].topics[i].name = bytes_of(offsets[i].topic);
		message.groups[0].topics[i].topic_id = topic_id(request->client->world, offsets[i].topic);
		message.groups[0].topics[i].partition_indexes_count = 1;
		message.groups[0].topics[i].partition_indexes = arena_alloc(request->arena, sizeof(int32_t));
		message.groups[0].topics[i].partition_indexes[0] = offsets[i].partition;
	}
	kafka_offset_fetch_request_encode(&message, request->writer, request->version);
}

static struct bytes *read_names(const struct request *request, const char *name, const char *otherwise, int32_t *ret_count)
{
	const char *listed = option(request->options, name);
	char *text = arena_string(request->arena, bytes_of(listed ? listed : otherwise));
	struct bytes *names = arena_alloc(request->arena, 64 * sizeof *names);
	int32_t count = 0;
	while (*text) {
		char *next = cut(text, ',');
		names[count++] = bytes_of(text);
		text = next;
	}
	*ret_count = count;
	return names;
}

static void write_describe(const struct request *request)
{
	struct kafka_describe_groups_request message;
	kafka_describe_groups_request_init(&message);
	message.groups = read_names(request, "groups", "g", &message.groups_count);
	kafka_describe_groups_request_encode(&message, request->writer, request->version);
}

static void write_list(const struct request *request)
{
	struct kafka_list_groups_request message;
	kafka_list_groups_request_init(&message);
	message.states_filter = read_names(request, "states", "", &message.states_filter_count);
	message.types_filter = read_names(request, "types", "", &message.types_filter_count);
	kafka_list_groups_request_encode(&message, request->writer, request->version);
}

static void write_delete(const struct request *request)
{
	struct kafka_delete_groups_request message;
	kafka_delete_groups_request_init(&message);
	message.groups_names = read_names(request, "groups", "g", &message.groups_names_count);
	kafka_delete_groups_request_encode(&message, request->writer, request->version);
}

static void write_offset_delete(const struct request *request)
{
	static struct offset_option offsets[64];
	struct kafka_offset_delete_request message;
	kafka_offset_delete_request_init(&message);
	message.group_id = request_group(request);
	message.topics_count = read_offsets(request, offsets);
	message.topics = kafka_offset_delete_request_offset_delete_request_topic_array(request->arena, message.topics_count);
	for (int32_t i = 0; i < message.topics_count; i++) {
		message.topics[i].name = bytes_of(offsets[i].topic);
		message.topics[i].partitions_count = 1;
		message.topics[i].partitions =
			kafka_offset_delete_request_offset_delete_request_partition_array(request->arena, 1);
		message.topics[i].partitions[0].partition_index = offsets[i].partition;
	}
	kafka_offset_delete_request_encode(&message, request->writer, request->version);
}

struct verb {
	const char *name;
	int16_t api_key;
	int16_t version; // unless v= says
	void (*write)(const struct request *request);
	void (*read)(struct script_client *client, struct bytes body);
};

static const struct verb verbs[] = {
	{"join", KAFKA_API_JOIN_GROUP, 5, write_join, read_join},
	{"sync", KAFKA_API_SYNC_GROUP, 3, write_sync, read_sync},
	{"heartbeat", KAFKA_API_HEARTBEAT, 3, write_heartbeat, read_heartbeat},
	{"leave", KAFKA_API_LEAVE_GROUP, 3, write_leave, read_leave},
	{"commit", KAFKA_API_OFFSET_COMMIT, 7, write_commit, read_commit},
	{"fetch", KAFKA_API_OFFSET_FETCH, 7, write_fetch, read_fetch},
	{"describe", KAFKA_API_DESCRIBE_GROUPS, 4, write_describe, read_describe},
	{"list", KAFKA_API_LIST_GROUPS, 4, write_list, read_list},
	{"delete", KAFKA_API_DELETE_GROUPS, 1, write_delete, read_delete},
	{"offsets-delete", KAFKA_API_OFFSET_DELETE, 0, write_offset_delete, read_offset_delete},
	{NULL, 0, 0, NULL, NULL},
};

static void answered(void *ctx, enum error error, struct bytes body)
{
	struct script_request *request = ctx;
	struct script_client *client = request->client;
	CHECK(client); // answered once
	request->client = NULL;
	client->world->answers++;
	if (request->number != client->asked)
		return; // the client no longer waits for this one
	const struct verb *verb = verbs;
	while (verb->api_key != client->api_key)
		verb++;
	client->answered = true;
	client->answer[0] = 0;
	if (error != ERROR_OK)
		say(client, "!%s", error_text(error));
	else
		verb->read(client, body);
}

static void ask(struct script_client *client, const struct verb *verb, const struct options *options)
{
	struct arena arena;
	struct kafka_writer writer;
	arena_init(&arena, 0);
	kafka_writer_init(&writer, 64 << 20);
	client->api_key = verb->api_key;
	client->api_version = (int16_t)option_number(options, "v", verb->version);
	struct request request = {client, options, &arena, &writer, client->api_version};
	verb->write(&request);
	CHECK(!kafka_writer_failed(&writer));
	client->answered = false;
	struct group_call call = {
		.api_key = verb->api_key,
		.api_version = client->api_version,
		.client_id = bytes_of(client->name),
		.client_host = bytes_of("/10.0.0.1"),
		.body = buffer_view(&writer.buffer),
		.topics = client->world->topics,
		.topic_count = client->world->topic_count,
	};
	CHECK(client->world->request_count < SCRIPT_REQUESTS);
	struct script_request *asked = &client->world->requests[client->world->request_count++];
	*asked = (struct script_request){client, ++client->asked};
	groups_request(client->world->groups, &call, answered, asked);
	step(client->world);
	kafka_writer_done(&writer);
	arena_done(&arena);
}

// ---- lines

static void run_log(struct script_world *world, const char *what)
{
	if (strcmp(what, "hold") == 0)
		world->log = SCRIPT_LOG_HOLD;
	else if (strcmp(what, "fail") == 0)
		world->log = SCRIPT_LOG_FAIL;
	else
		world->log = SCRIPT_LOG_NEXT;
	if (strcmp(what, "release") == 0)
		world->log = SCRIPT_LOG_HOLD;
	if (strcmp(what, "release") == 0)
		script_release(world, SIZE_MAX, ERROR_OK);
	settle(world);
}

static void run_client(struct script_world *world, const char *line, const char *name, const char *what, const char *rest,
	const char *expected)
{
	struct script_client *client = script_client(world, name);
	struct options options;
	snprintf(options.text, sizeof options.text, " %s ", rest);
	if (strcmp(what, "gets") != 0) {
		const struct verb *verb = verbs;
		while (verb->name && strcmp(verb->name, what) != 0)
			verb++;
		CHECK(verb->name);
		ask(client, verb, &options);
	}
	char answer[SCRIPT_TEXT] = "-";
	if (client->answered)
		tell(client, answer, sizeof answer);
	if (strcmp(expected, "*") != 0 && strcmp(answer, expected) != 0) {
		fprintf(stderr, "\n  %s\n  got: %s\n", line, answer);
		CU_FAIL("another answer");
	}
}

static char *trim(char *text)
{
	text += strspn(text, " \t");
	size_t len = strlen(text);
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		text[--len] = 0;
	return text;
}

static void run_line(struct script_world *world, char *line)
{
	char whole[1024];
	snprintf(whole, sizeof whole, "%s", line);
	char *expected = strstr(line, " : ");
	if (expected) {
		*expected = 0;
		expected = trim(expected + 3);
	}
	line = trim(line);
	if (!*line || *line == '#')
		return;
	char *what = cut(line, ' ');
	what = trim(what);
	if (strcmp(line, "time") == 0) {
		script_advance(world, (uint64_t)strtoull(what, NULL, 10));
	} else if (strcmp(line, "log") == 0) {
		run_log(world, what);
	} else if (strcmp(line, "crash") == 0) {
		crash(world);
	} else {
		char *rest = cut(what, ' ');
		run_client(world, whole, line, what, rest, expected ? expected : "");
	}
}

void script_run(struct script_world *world, const char *lines)
{
	char line[1024];
	while (*lines) {
		size_t len = strcspn(lines, "\n");
		CHECK(len < sizeof line);
		memcpy(line, lines, len);
		line[len] = 0;
		run_line(world, line);
		lines += len + (lines[len] == '\n');
	}
}

// ---- the exported state

struct state_text {
	char *lines[256];
	size_t count;
};

static void export_one(void *ctx, const Weir__Command *command)
{
	struct state_text *state = ctx;
	size_t len = weir__command__get_packed_size(command);
	uint8_t *packed = memory_alloc(len + 1);
	weir__command__pack(command, packed);
	char *hex = memory_alloc(2 * len + 2);
	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", packed[i]);
	hex[2 * len] = 0;
	free(packed);
	CHECK(state->count < 256);
	state->lines[state->count++] = hex;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *script_state(const struct groups *groups)
{
	struct state_text state = {.count = 0};
	groups_export(groups, export_one, &state);
	qsort(state.lines, state.count, sizeof *state.lines, compare_lines);
	size_t total = 1;
	for (size_t i = 0; i < state.count; i++)
		total += strlen(state.lines[i]) + 1;
	char *text = memory_zalloc(total);
	for (size_t i = 0; i < state.count; i++) {
		strcat(text, state.lines[i]);
		strcat(text, "\n");
		free(state.lines[i]);
	}
	return text;
}
