// Happy path: register with a seed -> NOT_OWNER with a view -> register with shard 0's owner -> the view with all members, a
// node id -> again every second. The meta feed brings changes of the view sooner.
//
// What fails: a coordinator that is gone (the call ends, the next known address is tried), an owner that moved (NOT_OWNER: the
// view is refreshed at once and the call waits for it), nobody owns a shard (the call waits until its time is up).

#include "common/cluster/cluster_client.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/feed.pb-c.h"

enum {
	REGISTER_EVERY_MS = 1000,
	REGISTER_TIMEOUT_MS = 1000,
	REFRESH_AFTER_MS = 50, // when an owner was wrong or absent
	READY_WITHIN_MS = 5000,
	RETRY_FIRST_MS = 20,
	RETRY_LAST_MS = 250,
	ATTEMPT_MAX_MS = 2000, // of calls that may be repeated: an owner that hangs must not hold them to their end
	PREFIXES_MAX = 4,
};

struct coordinator_row {
	struct uuid id;
	char *address;
	char *feed_address;
	struct bus_link *link;
	bool seed; // from the settings: stays when the view does not name it
	bool subscribed;
};

struct cluster_call {
	struct list link;
	struct cluster_client *client;
	uint64_t id;
	uint32_t shard;
	bool repeat;
	bus_reply_fn fn;
	void *ctx;
	uint64_t deadline_us;
	uint64_t retry_us; // when to try (again); DEADLINE_NEVER while an attempt is under way
	uint32_t backoff_ms;
	uint64_t attempt; // bus call, 0: none
	enum error last_error;
	// What is sent, kept for repetition.
	uint32_t type;
	const ProtobufCMessageDescriptor *descriptor;
	struct buffer body;
	struct slice *frames;
	size_t frame_count;
	uint64_t correlation;
};

struct cluster_client {
	const struct env *env;
	struct bus *bus;
	struct cluster_client_settings settings; // texts are ours
	struct cluster_client_events events;

	struct coordinator_row *coordinators;
	size_t coordinator_count;
	struct uuid *owners; // a shard; zero: nobody
	struct cluster_view view;
	struct arena view_arenas[2]; // the view's texts; a new view is built in the other one
	unsigned view_arena;

	uint64_t register_call;
	uint64_t register_us;
	size_t register_next; // rotates through the coordinators while shard 0's owner is unknown
	bool registered;
	uint64_t heard_us;
	int32_t node_id;
	int64_t skew_ms; // coordinator's clock minus ours
	bool draining;

	struct list calls;
	uint64_t next_call;
	char *prefixes[PREFIXES_MAX];
	size_t prefix_count;
};

enum error control_reply_error(struct bytes body)
{
	struct reader reader = reader_of(body);
	if (body.len == 0 || reader_u8(&reader) != 0x08)
		return ERROR_OK;
	uint32_t value = reader_uvarint32(&reader);
	return reader.failed ? ERROR_INTERNAL : error_from_wire(value);
}

// Coordinators.

static struct coordinator_row *coordinator_by_address(struct cluster_client *client, const char *address)
{
	for (size_t i = 0; i < client->coordinator_count; i++) {
		if (strcmp(client->coordinators[i].address, address) == 0)
			return &client->coordinators[i];
	}
	return NULL;
}

static struct coordinator_row *coordinator_by_id(struct cluster_client *client, const struct uuid *id)
{
	for (size_t i = 0; i < client->coordinator_count; i++) {
		if (uuid_equal(&client->coordinators[i].id, id))
			return &client->coordinators[i];
	}
	return NULL;
}

static struct coordinator_row *coordinator_add(struct cluster_client *client, const char *address, bool seed)
{
	client->coordinators =
		memory_realloc(client->coordinators, (client->coordinator_count + 1) * sizeof *client->coordinators);
	struct coordinator_row *row = &client->coordinators[client->coordinator_count++];
	*row = (struct coordinator_row){.address = memory_strdup(address), .seed = seed};
	row->link = bus_link(client->bus, row->address);
	return row;
}

static void coordinator_feed_on(void *ctx, struct bytes prefix, struct bytes body);

static void coordinator_subscribe(struct cluster_client *client, struct coordinator_row *row)
{
	if (row->subscribed || !row->feed_address || !*row->feed_address)
		return;
	for (size_t i = 0; i < client->prefix_count; i++)
		bus_subscribe(client->bus, row->feed_address, bytes_of(client->prefixes[i]), coordinator_feed_on, client);
	row->subscribed = true;
}

static void coordinator_unsubscribe(struct cluster_client *client, struct coordinator_row *row)
{
	if (!row->subscribed)
		return;
	for (size_t i = 0; i < client->prefix_count; i++)
		bus_unsubscribe(client->bus, row->feed_address, bytes_of(client->prefixes[i]));
	row->subscribed = false;
}

// The row leaves the table first: its calls end inside bus_unlink(), and whoever calls again then must not find it.
static void coordinator_remove(struct cluster_client *client, size_t index)
{
	struct coordinator_row row = client->coordinators[index];
	client->coordinators[index] = client->coordinators[--client->coordinator_count];
	coordinator_unsubscribe(client, &row);
	bus_unlink(client->bus, row.link);
	free(row.address);
	free(row.feed_address);
}

static bool view_names(const Weir__ClusterView *view, const char *address)
{
	for (size_t i = 0; i < view->n_coordinators; i++) {
		if (strcmp(view->coordinators[i]->address, address) == 0)
			return true;
	}
	return false;
}

static void coordinator_set_feed(struct cluster_client *client, struct coordinator_row *row, const char *feed_address)
{
	if (row->feed_address && strcmp(row->feed_address, feed_address) == 0)
		return;
	coordinator_unsubscribe(client, row);
	free(row->feed_address);
	row->feed_address = memory_strdup(feed_address);
	coordinator_subscribe(client, row);
}

static void coordinators_adopt(struct cluster_client *client, const Weir__ClusterView *view)
{
	if (view->n_coordinators == 0)
		return;
	for (size_t i = 0; i < view->n_coordinators; i++) {
		const Weir__CoordinatorInfo *info = view->coordinators[i];
		struct coordinator_row *row = coordinator_by_address(client, info->address);
		if (!row)
			row = coordinator_add(client, info->address, false);
		if (!protobuf_get_uuid(info->id, &row->id))
			row->id = (struct uuid){{0}};
		coordinator_set_feed(client, row, info->feed_address);
	}
	for (size_t i = client->coordinator_count; i-- > 0;) {
		const struct coordinator_row *row = &client->coordinators[i];
		if (!row->seed && !view_names(view, row->address))
			coordinator_remove(client, i);
	}
}

// The view.

static void owners_adopt(struct cluster_client *client, const Weir__ClusterView *view)
{
	if (view->shards && view->shards != client->view.shards) {
		client->owners = memory_realloc(client->owners, view->shards * sizeof *client->owners);
		memset(client->owners, 0, view->shards * sizeof *client->owners);
		client->view.shards = view->shards;
	}
	for (size_t i = 0; i < view->n_owners; i++) {
		const Weir__ShardOwner *owner = view->owners[i];
		if (owner->shard >= client->view.shards)
			continue;
		if (!protobuf_get_uuid(owner->coordinator, &client->owners[owner->shard]))
			client->owners[owner->shard] = (struct uuid){{0}};
	}
}

static const char *arena_text(struct arena *arena, const char *text)
{
	return arena_string(arena, bytes_of(text ? text : ""));
}

static int member_compare(const void *a, const void *b)
{
	const struct cluster_member *left = a;
	const struct cluster_member *right = b;
	return memcmp(left->instance.bytes, right->instance.bytes, sizeof left->instance.bytes);
}

static void members_adopt(struct cluster_client *client, const Weir__ClusterView *view)
{
	struct arena *arena = &client->view_arenas[client->view_arena ^= 1];
	arena_reset(arena);
	struct cluster_member *members = arena_alloc(arena, view->n_members * sizeof *members);
	size_t count = 0;
	for (size_t i = 0; i < view->n_members; i++) {
		const Weir__Member *from = view->members[i];
		struct cluster_member *member = &members[count];
		if (!protobuf_get_uuid(from->instance, &member->instance))
			continue;
		member->role = from->role;
		member->address = arena_text(arena, from->address);
		member->kafka_host = arena_text(arena, from->kafka_host);
		member->kafka_port = from->kafka_port;
		member->zone = arena_text(arena, from->zone);
		member->node_id = from->node_id;
		member->draining = from->draining;
		member->hash = placement_hash(uuid_view(&member->instance));
		count++;
	}
	qsort(members, count, sizeof *members, member_compare);
	client->view.members = members;
	client->view.member_count = count;
	client->view.cluster_id = arena_text(arena, view->cluster_id);
}

static void view_adopt(struct cluster_client *client, const Weir__ClusterView *view, bool with_members)
{
	coordinators_adopt(client, view);
	owners_adopt(client, view);
	if (with_members) {
		if (client->view.incarnation && client->view.incarnation != view->incarnation)
			log_event(LOG_WARN, "incarnation_changed", LOG_NUMBER("from", client->view.incarnation >> 48),
				LOG_NUMBER("to", view->incarnation >> 48));
		client->view.incarnation = view->incarnation;
		members_adopt(client, view);
	}
	// Calls that wait for an owner look again.
	LIST_EACH (&client->calls, link) {
		struct cluster_call *call = container_of(link, struct cluster_call, link);
		if (!call->attempt)
			call->retry_us = client->env->now_us;
	}
	if (client->events.on_view)
		client->events.on_view(client->events.ctx);
}

static void coordinator_feed_on(void *ctx, struct bytes prefix, struct bytes body)
{
	struct cluster_client *client = ctx;
	if (prefix.len >= 5 && memcmp(prefix.data, "meta/", 5) == 0) {
		struct arena arena;
		arena_init(&arena, 0);
		const Weir__MetaFeed *feed = protobuf_unpack(&weir__meta_feed__descriptor, body, &arena);
		if (feed && feed->view)
			view_adopt(client, feed->view, true);
		arena_done(&arena);
	}
	if (client->events.on_feed)
		client->events.on_feed(client->events.ctx, prefix, body);
}

// Registration.

static struct coordinator_row *register_target(struct cluster_client *client)
{
	if (client->view.shards && !uuid_is_zero(&client->owners[0])) {
		struct coordinator_row *owner = coordinator_by_id(client, &client->owners[0]);
		if (owner)
			return owner;
	}
	return &client->coordinators[client->register_next++ % client->coordinator_count];
}

static void register_again_in(struct cluster_client *client, uint64_t ms)
{
	client->register_us = deadline_in_ms(client->env, ms);
}

static void register_refresh(struct cluster_client *client)
{
	client->register_us = deadline_min(client->register_us, deadline_in_ms(client->env, REFRESH_AFTER_MS));
}

static void register_accepted(struct cluster_client *client, const Weir__RegisterReply *reply)
{
	if (!client->registered)
		log_event(LOG_INFO, "registered", LOG_TEXT("cluster", reply->view->cluster_id),
			LOG_NUMBER("members", reply->view->n_members));
	client->registered = true;
	client->heard_us = client->env->now_us;
	client->node_id = reply->node_id;
	client->skew_ms = reply->wall_ms - client->env->wall_ms;
}

static void register_replied(void *ctx, enum error error, const struct bus_message *message)
{
	struct cluster_client *client = ctx;
	struct arena arena;
	client->register_call = 0;
	if (error != ERROR_OK) {
		// Whoever was asked does not answer: the owner may be somebody else by now, ask around.
		if (client->view.shards)
			client->owners[0] = (struct uuid){{0}};
		register_again_in(client, REFRESH_AFTER_MS);
		return;
	}
	arena_init(&arena, 0);
	const Weir__RegisterReply *reply = protobuf_unpack(&weir__register_reply__descriptor, message->body, &arena);
	bool accepted = reply && reply->error == ERROR_OK && reply->view;
	if (accepted)
		register_accepted(client, reply);
	if (reply && reply->view)
		view_adopt(client, reply->view, accepted || reply->error == ERROR_FENCED);
	register_again_in(client, accepted ? REGISTER_EVERY_MS : REFRESH_AFTER_MS);
	arena_done(&arena);
}

static void register_send(struct cluster_client *client)
{
	const struct cluster_client_settings *settings = &client->settings;
	union {
		const char *constant;
		char *text; // protobuf-c's strings are not const; packing only reads
	} address = {settings->address}, host = {settings->kafka_host}, zone = {settings->zone};
	Weir__Member member = WEIR__MEMBER__INIT;
	member.instance = protobuf_uuid(&settings->instance);
	member.role = settings->role;
	member.address = address.text;
	member.kafka_host = host.text;
	member.kafka_port = settings->kafka_port;
	member.zone = zone.text;
	member.node_id = client->node_id;
	member.draining = client->draining;
	Weir__RegisterRequest request = WEIR__REGISTER_REQUEST__INIT;
	request.member = &member;
	request.wall_ms = client->env->wall_ms;
	request.incarnation = client->view.incarnation;
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__REGISTER, .body = &request.base, .timeout_ms = REGISTER_TIMEOUT_MS};
	client->register_call = bus_call(client->bus, register_target(client)->link, &send, register_replied, client);
	client->register_us = DEADLINE_NEVER;
}

// Calls to shard owners.

static void call_free(struct cluster_call *call)
{
	list_remove(&call->link);
	buffer_done(&call->body);
	for (size_t i = 0; i < call->frame_count; i++)
		slice_done(&call->frames[i]);
	free(call->frames);
	free(call);
}

static void call_finish(struct cluster_call *call, enum error error, const struct bus_message *reply)
{
	bus_reply_fn fn = call->fn;
	void *ctx = call->ctx;
	call_free(call);
	fn(ctx, error, reply);
}

static void call_wait(struct cluster_call *call, enum error error)
{
	call->last_error = error;
	call->retry_us = deadline_in_ms(call->client->env, call->backoff_ms);
	call->backoff_ms = call->backoff_ms * 2 < RETRY_LAST_MS ? call->backoff_ms * 2 : RETRY_LAST_MS;
}

static bool surely_not_acted(enum error error)
{
	return error == ERROR_NOT_OWNER || error == ERROR_LOADING || error == ERROR_UNREACHABLE || error == ERROR_BUSY;
}

static bool outcome_unknown(enum error error)
{
	return error == ERROR_TIMED_OUT || error == ERROR_DISCONNECTED || error == ERROR_CANCELED;
}

static void call_replied(void *ctx, enum error error, const struct bus_message *reply)
{
	struct cluster_call *call = ctx;
	struct cluster_client *client = call->client;
	call->attempt = 0;
	enum error outcome = error != ERROR_OK ? error : control_reply_error(reply->body);
	bool again = surely_not_acted(outcome) || (call->repeat && outcome_unknown(outcome));
	if (again)
		register_refresh(client);
	if (again && client->env->now_us < call->deadline_us) {
		call_wait(call, outcome);
		return;
	}
	call_finish(call, error != ERROR_OK ? error : again ? outcome : ERROR_OK, error == ERROR_OK && !again ? reply : NULL);
}

static void call_attempt(struct cluster_call *call)
{
	struct cluster_client *client = call->client;
	struct coordinator_row *owner = NULL;
	if (call->shard < client->view.shards && !uuid_is_zero(&client->owners[call->shard]))
		owner = coordinator_by_id(client, &client->owners[call->shard]);
	if (!owner) {
		register_refresh(client);
		call_wait(call, ERROR_UNREACHABLE);
		return;
	}
	uint64_t left_ms = (call->deadline_us - client->env->now_us) / 1000 + 1;
	if (call->repeat && left_ms > ATTEMPT_MAX_MS)
		left_ms = ATTEMPT_MAX_MS;
	struct arena arena;
	arena_init(&arena, 0);
	struct bus_send send = {
		.type = call->type,
		.body = protobuf_unpack(call->descriptor, buffer_view(&call->body), &arena),
		.frames = call->frames,
		.frame_count = call->frame_count,
		.timeout_ms = (uint32_t)left_ms,
		.correlation = call->correlation,
	};
	CHECK(send.body);
	call->retry_us = DEADLINE_NEVER;
	call->attempt = bus_call(client->bus, owner->link, &send, call_replied, call);
	arena_done(&arena);
}

uint64_t cluster_client_call(
	struct cluster_client *client, uint32_t shard, const struct bus_send *send, bool repeat, bus_reply_fn fn, void *ctx)
{
	struct cluster_call *call = memory_zalloc(sizeof *call);
	call->client = client;
	call->id = ++client->next_call;
	call->shard = shard;
	call->repeat = repeat;
	call->fn = fn;
	call->ctx = ctx;
	call->deadline_us = deadline_in_ms(client->env, send->timeout_ms);
	call->backoff_ms = RETRY_FIRST_MS;
	call->last_error = ERROR_UNREACHABLE;
	call->type = send->type;
	call->descriptor = send->body->descriptor;
	call->correlation = send->correlation;
	buffer_init(&call->body, SIZE_MAX);
	protobuf_pack(send->body, &call->body);
	call->frame_count = send->frame_count;
	call->frames = memory_alloc(send->frame_count * sizeof *call->frames);
	for (size_t i = 0; i < send->frame_count; i++)
		call->frames[i] = slice_ref(send->frames[i]);
	list_append(&client->calls, &call->link);
	uint64_t id = call->id;
	call_attempt(call);
	return id;
}

void cluster_client_cancel(struct cluster_client *client, uint64_t id)
{
	LIST_EACH (&client->calls, link) {
		struct cluster_call *call = container_of(link, struct cluster_call, link);
		if (call->id != id)
			continue;
		if (call->attempt)
			bus_cancel(client->bus, call->attempt);
		call_free(call);
		return;
	}
}

// Calls that are due, one at a time from the head each round: a callback may add or cancel others.
static struct cluster_call *call_due(struct cluster_client *client, uint64_t *ret_next_us)
{
	uint64_t now_us = client->env->now_us;
	uint64_t next_us = DEADLINE_NEVER;
	LIST_EACH (&client->calls, link) {
		struct cluster_call *call = container_of(link, struct cluster_call, link);
		if (call->attempt)
			continue; // the bus keeps its time
		uint64_t due_us = deadline_min(call->retry_us, call->deadline_us);
		if (due_us <= now_us)
			return call;
		next_us = deadline_min(next_us, due_us);
	}
	*ret_next_us = next_us;
	return NULL;
}

// The client.

static void seeds_parse(struct cluster_client *client, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, ",");
		char *address = memory_alloc(len + 1);
		memcpy(address, text, len);
		address[len] = '\0';
		// "dns+" marks a name that stands for many: any of them tells the others.
		const char *plain = strncmp(address, "dns+", 4) == 0 ? address + 4 : address;
		if (*plain && !coordinator_by_address(client, plain))
			coordinator_add(client, plain, true);
		free(address);
		text += len + (text[len] == ',');
	}
}

struct cluster_client *cluster_client_new(const struct env *env, struct bus *bus,
	const struct cluster_client_settings *settings, const struct cluster_client_events *events)
{
	struct cluster_client *client = memory_zalloc(sizeof *client);
	client->env = env;
	client->bus = bus;
	client->settings = *settings;
	client->settings.address = memory_strdup(settings->address ? settings->address : "");
	client->settings.kafka_host = memory_strdup(settings->kafka_host ? settings->kafka_host : "");
	client->settings.zone = memory_strdup(settings->zone ? settings->zone : "");
	client->settings.coordinators = NULL;
	if (events)
		client->events = *events;
	list_init(&client->calls);
	arena_init(&client->view_arenas[0], 0);
	arena_init(&client->view_arenas[1], 0);
	client->view.cluster_id = "";
	cluster_client_subscribe(client, "meta/");
	seeds_parse(client, settings->coordinators);
	CHECK(client->coordinator_count > 0);
	return client;
}

void cluster_client_free(struct cluster_client **pointer)
{
	struct cluster_client *client = *pointer;
	*pointer = NULL;
	if (!client)
		return;
	client->events = (struct cluster_client_events){0};
	if (client->register_call)
		bus_cancel(client->bus, client->register_call);
	while (!list_empty(&client->calls)) {
		struct cluster_call *call = container_of(client->calls.next, struct cluster_call, link);
		if (call->attempt)
			bus_cancel(client->bus, call->attempt);
		call_finish(call, ERROR_CANCELED, NULL);
	}
	while (client->coordinator_count)
		coordinator_remove(client, client->coordinator_count - 1);
	for (size_t i = 0; i < client->prefix_count; i++)
		free(client->prefixes[i]);
	union {
		const char *constant;
		char *text;
	} address = {client->settings.address}, host = {client->settings.kafka_host}, zone = {client->settings.zone};
	free(address.text);
	free(host.text);
	free(zone.text);
	free(client->coordinators);
	free(client->owners);
	arena_done(&client->view_arenas[0]);
	arena_done(&client->view_arenas[1]);
	free(client);
}

uint64_t cluster_client_step(struct cluster_client *client)
{
	uint64_t next_us = DEADLINE_NEVER;
	struct cluster_call *call;
	if (!client->register_call && client->env->now_us >= client->register_us)
		register_send(client);
	while ((call = call_due(client, &next_us))) {
		if (client->env->now_us >= call->deadline_us)
			call_finish(call, call->last_error, NULL);
		else
			call_attempt(call);
	}
	return client->register_call ? next_us : deadline_min(next_us, client->register_us);
}

void cluster_client_subscribe(struct cluster_client *client, const char *prefix)
{
	CHECK(client->prefix_count < PREFIXES_MAX);
	client->prefixes[client->prefix_count++] = memory_strdup(prefix);
	for (size_t i = 0; i < client->coordinator_count; i++) {
		struct coordinator_row *row = &client->coordinators[i];
		if (row->subscribed)
			bus_subscribe(client->bus, row->feed_address, bytes_of(prefix), coordinator_feed_on, client);
	}
}

const struct cluster_view *cluster_client_view(const struct cluster_client *client)
{
	return &client->view;
}

int32_t cluster_client_node_id(const struct cluster_client *client)
{
	return client->node_id;
}

bool cluster_client_ready(const struct cluster_client *client)
{
	return client->registered && client->env->now_us - client->heard_us < READY_WITHIN_MS * 1000ull;
}

int32_t cluster_client_leader_epoch(const struct cluster_client *client)
{
	return (int32_t)(client->view.incarnation >> 48);
}

int64_t cluster_client_wall_ms(const struct cluster_client *client)
{
	return client->env->wall_ms + client->skew_ms;
}

int64_t cluster_client_skew_ms(const struct cluster_client *client)
{
	return client->skew_ms;
}

void cluster_client_drain(struct cluster_client *client)
{
	client->draining = true;
	client->register_us = client->env->now_us;
}
