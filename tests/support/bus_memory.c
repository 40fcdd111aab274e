#include "tests/support/bus_memory.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"

struct endpoint;

struct bus_memory {
	const struct env *env;
	struct list endpoints;
	struct list messages;
	uint64_t next_call;
	enum bus_memory_fault (*fault)(void *ctx, const struct bus_memory_event *event);
	void *fault_ctx;
};

struct bus_link {
	struct list link;
	char *address;
	uint32_t holds;
};

struct subscription {
	struct list link;
	char *address;
	char *prefix;
	bus_feed_fn fn;
	void *ctx;
};

struct endpoint {
	struct bus bus;
	struct bus_memory *network;
	struct list link;
	char *address, *feed_address;
	struct list links, calls, requests, subscriptions;
	bus_request_fn serve;
	void *serve_ctx;
};

struct call {
	struct list link;
	uint64_t id;
	struct bus_link *to;
	bus_reply_fn fn;
	void *ctx;
	uint64_t deadline_us;
};

struct bus_request {
	struct list link; // in the server's
	struct endpoint *server;
	uint64_t call;
	char *caller; // address; looked up at the reply
};

struct message {
	struct list link;
	enum bus_memory_kind kind;
	char *from, *to; // feed: from is the feed address
	uint64_t call;
	uint32_t type;
	char *prefix;
	struct buffer body;
	struct slice *frames;
	size_t frame_count;
	uint64_t correlation;
	enum error error; // replies that are failures
};

static struct endpoint *endpoint_of(struct bus *bus)
{
	return container_of(bus, struct endpoint, bus);
}

static struct endpoint *network_find(struct bus_memory *network, const char *address)
{
	LIST_EACH (&network->endpoints, link) {
		struct endpoint *endpoint = container_of(link, struct endpoint, link);
		if (strcmp(endpoint->address, address) == 0)
			return endpoint;
	}
	return NULL;
}

static struct call *endpoint_find_call(struct endpoint *endpoint, uint64_t id)
{
	LIST_EACH (&endpoint->calls, link) {
		struct call *call = container_of(link, struct call, link);
		if (call->id == id)
			return call;
	}
	return NULL;
}

static void call_finish(struct call *call, enum error error, const struct bus_message *reply)
{
	bus_reply_fn fn = call->fn;
	void *ctx = call->ctx;
	list_remove(&call->link);
	free(call);
	fn(ctx, error, reply);
}

// Messages.

static struct message *message_new(
	struct bus_memory *network, enum bus_memory_kind kind, const char *from, const char *to, const struct bus_send *send)
{
	struct message *message = memory_zalloc(sizeof *message);
	message->kind = kind;
	message->from = memory_strdup(from);
	message->to = memory_strdup(to);
	buffer_init(&message->body, SIZE_MAX);
	if (send) {
		message->type = send->type;
		message->correlation = send->correlation;
		protobuf_pack(send->body, &message->body);
		message->frame_count = send->frame_count;
		message->frames = memory_alloc((send->frame_count + 1) * sizeof *message->frames);
		for (size_t i = 0; i < send->frame_count; i++)
			message->frames[i] = slice_ref(send->frames[i]);
	}
	list_append(&network->messages, &message->link);
	return message;
}

static void message_free(struct message *message)
{
	list_remove(&message->link);
	buffer_done(&message->body);
	for (size_t i = 0; i < message->frame_count; i++)
		slice_done(&message->frames[i]);
	free(message->frames);
	free(message->prefix);
	free(message->from);
	free(message->to);
	free(message);
}

static void message_fail_call(struct bus_memory *network, const char *caller_address, uint64_t id, enum error error)
{
	struct endpoint *caller = network_find(network, caller_address);
	struct call *call = caller ? endpoint_find_call(caller, id) : NULL;
	if (call)
		call_finish(call, error, NULL);
}

static struct bus_message message_view(const struct message *message)
{
	static const uint8_t nothing[1];
	struct bytes body = {message->body.data ? message->body.data : nothing, message->body.len};
	return (struct bus_message){message->type, body, message->frames, message->frame_count, 0, message->correlation};
}

static void deliver_request(struct bus_memory *network, struct message *message)
{
	struct endpoint *server = network_find(network, message->to);
	struct endpoint *caller = network_find(network, message->from);
	struct call *call = caller ? endpoint_find_call(caller, message->call) : NULL;
	if (!server || !server->serve) {
		message_fail_call(network, message->from, message->call, ERROR_UNREACHABLE);
		return;
	}
	struct bus_request *request = memory_zalloc(sizeof *request);
	request->server = server;
	request->call = message->call;
	request->caller = memory_strdup(message->from);
	list_append(&server->requests, &request->link);
	struct bus_message view = message_view(message);
	uint64_t now_us = network->env->now_us;
	if (call && call->deadline_us > now_us)
		view.remaining_ms = (uint32_t)((call->deadline_us - now_us) / 1000);
	server->serve(server->serve_ctx, request, &view);
}

static void deliver_reply(struct bus_memory *network, struct message *message)
{
	struct endpoint *caller = network_find(network, message->to);
	struct call *call = caller ? endpoint_find_call(caller, message->call) : NULL;
	if (!call)
		return;
	struct bus_message view = message_view(message);
	call_finish(call, message->error, message->error == ERROR_OK ? &view : NULL);
}

static void deliver_feed(struct bus_memory *network, struct message *message)
{
	struct endpoint *subscriber = network_find(network, message->to);
	if (!subscriber)
		return;
	LIST_EACH (&subscriber->subscriptions, link) {
		struct subscription *subscription = container_of(link, struct subscription, link);
		if (strcmp(subscription->address, message->from) != 0 ||
			strncmp(message->prefix, subscription->prefix, strlen(subscription->prefix)) != 0)
			continue;
		subscription->fn(subscription->ctx, bytes_of(message->prefix), buffer_view(&message->body));
		return; // one delivery a subscriber; the callback may have changed the list
	}
}

static enum bus_memory_fault message_fault(struct bus_memory *network, const struct message *message)
{
	struct bus_memory_event event = {message->kind, message->type, message->prefix ? bytes_of(message->prefix) : BYTES_NULL,
		buffer_view(&message->body), message->from, message->to};
	return network->fault ? network->fault(network->fault_ctx, &event) : BUS_MEMORY_DELIVER;
}

static void message_deliver(struct bus_memory *network, struct message *message)
{
	static void (*const delivers[])(struct bus_memory * network, struct message * message) = {
		[BUS_MEMORY_REQUEST] = deliver_request, [BUS_MEMORY_REPLY] = deliver_reply, [BUS_MEMORY_FEED] = deliver_feed};
	enum bus_memory_fault fault = message_fault(network, message);
	if (fault == BUS_MEMORY_HOLD) {
		list_remove(&message->link);
		list_append(&network->messages, &message->link);
		return;
	}
	if (fault == BUS_MEMORY_DELIVER)
		delivers[message->kind](network, message);
	if (fault == BUS_MEMORY_DISCONNECT && message->kind != BUS_MEMORY_FEED)
		message_fail_call(network, message->kind == BUS_MEMORY_REQUEST ? message->from : message->to, message->call,
			ERROR_DISCONNECTED);
	if (fault == BUS_MEMORY_REFUSE && message->kind == BUS_MEMORY_REQUEST)
		message_fail_call(network, message->from, message->call, ERROR_UNREACHABLE);
	message_free(message);
}

// True if a call ran out of time; its callback may have changed everything.
static bool network_expire_one(struct bus_memory *network, uint64_t *next_us)
{
	LIST_EACH (&network->endpoints, endpoint_link) {
		struct endpoint *endpoint = container_of(endpoint_link, struct endpoint, link);
		LIST_EACH (&endpoint->calls, link) {
			struct call *call = container_of(link, struct call, link);
			if (call->deadline_us <= network->env->now_us) {
				call_finish(call, ERROR_TIMED_OUT, NULL);
				return true;
			}
			*next_us = deadline_min(*next_us, call->deadline_us);
		}
	}
	return false;
}

uint64_t bus_memory_step(struct bus_memory *network)
{
	struct list turn;
	struct list *link;
	list_init(&turn);
	while ((link = list_pop(&network->messages)))
		list_append(&turn, link);
	while ((link = list_pop(&turn)))
		message_deliver(network, container_of(link, struct message, link));
	uint64_t next_us;
	do {
		next_us = DEADLINE_NEVER;
	} while (network_expire_one(network, &next_us));
	return list_empty(&network->messages) ? next_us : network->env->now_us;
}

// Operations of an endpoint.

static struct bus_link *memory_link(struct bus *bus, const char *address)
{
	struct endpoint *endpoint = endpoint_of(bus);
	LIST_EACH (&endpoint->links, each) {
		struct bus_link *known = container_of(each, struct bus_link, link);
		if (strcmp(known->address, address) == 0) {
			known->holds++;
			return known;
		}
	}
	struct bus_link *link = memory_zalloc(sizeof *link);
	link->address = memory_strdup(address);
	link->holds = 1;
	list_append(&endpoint->links, &link->link);
	return link;
}

static struct call *endpoint_call_to(struct endpoint *endpoint, const struct bus_link *to)
{
	LIST_EACH (&endpoint->calls, link) {
		struct call *call = container_of(link, struct call, link);
		if (call->to == to)
			return call;
	}
	return NULL;
}

static void memory_unlink(struct bus *bus, struct bus_link *link)
{
	struct endpoint *endpoint = endpoint_of(bus);
	struct call *call;
	if (--link->holds > 0)
		return;
	while ((call = endpoint_call_to(endpoint, link)))
		call_finish(call, ERROR_CANCELED, NULL);
	list_remove(&link->link);
	free(link->address);
	free(link);
}

static uint64_t memory_call(struct bus *bus, struct bus_link *link, const struct bus_send *send, bus_reply_fn fn, void *ctx)
{
	struct endpoint *endpoint = endpoint_of(bus);
	struct call *call = memory_zalloc(sizeof *call);
	call->id = ++endpoint->network->next_call;
	call->to = link;
	call->fn = fn;
	call->ctx = ctx;
	call->deadline_us = deadline_in_ms(endpoint->network->env, send->timeout_ms);
	list_append(&endpoint->calls, &call->link);
	message_new(endpoint->network, BUS_MEMORY_REQUEST, endpoint->address, link->address, send)->call = call->id;
	return call->id;
}

static void memory_cancel(struct bus *bus, uint64_t id)
{
	struct call *call = endpoint_find_call(endpoint_of(bus), id);
	if (!call)
		return;
	list_remove(&call->link);
	free(call);
}

static void memory_serve(struct bus *bus, bus_request_fn fn, void *ctx)
{
	endpoint_of(bus)->serve = fn;
	endpoint_of(bus)->serve_ctx = ctx;
}

static void request_free(struct bus_request *request)
{
	list_remove(&request->link);
	free(request->caller);
	free(request);
}

static void memory_reply(struct bus *bus, struct bus_request *request, const struct bus_send *send)
{
	struct endpoint *endpoint = endpoint_of(bus);
	CHECK(request->server == endpoint);
	message_new(endpoint->network, BUS_MEMORY_REPLY, endpoint->address, request->caller, send)->call = request->call;
	request_free(request);
}

static void memory_publish(struct bus *bus, struct bytes prefix, const ProtobufCMessage *body)
{
	struct endpoint *endpoint = endpoint_of(bus);
	struct bus_memory *network = endpoint->network;
	CHECK(endpoint->feed_address);
	LIST_EACH (&network->endpoints, link) {
		struct endpoint *subscriber = container_of(link, struct endpoint, link);
		if (list_empty(&subscriber->subscriptions))
			continue;
		struct message *message =
			message_new(network, BUS_MEMORY_FEED, endpoint->feed_address, subscriber->address, NULL);
		message->prefix = memory_zalloc(prefix.len + 1);
		memcpy(message->prefix, prefix.data, prefix.len);
		protobuf_pack(body, &message->body);
	}
}

static void memory_subscribe(struct bus *bus, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx)
{
	struct subscription *subscription = memory_zalloc(sizeof *subscription);
	subscription->address = memory_strdup(address);
	subscription->prefix = memory_zalloc(prefix.len + 1);
	memcpy(subscription->prefix, prefix.data, prefix.len);
	subscription->fn = fn;
	subscription->ctx = ctx;
	list_append(&endpoint_of(bus)->subscriptions, &subscription->link);
}

static void subscription_free(struct subscription *subscription)
{
	list_remove(&subscription->link);
	free(subscription->address);
	free(subscription->prefix);
	free(subscription);
}

static void memory_unsubscribe(struct bus *bus, const char *address, struct bytes prefix)
{
	LIST_EACH (&endpoint_of(bus)->subscriptions, link) {
		struct subscription *subscription = container_of(link, struct subscription, link);
		if (strcmp(subscription->address, address) == 0 && bytes_equal(bytes_of(subscription->prefix), prefix))
			subscription_free(subscription);
	}
}

static const struct bus_ops memory_ops = {
	.link = memory_link,
	.unlink = memory_unlink,
	.call = memory_call,
	.cancel = memory_cancel,
	.serve = memory_serve,
	.reply = memory_reply,
	.publish = memory_publish,
	.subscribe = memory_subscribe,
	.unsubscribe = memory_unsubscribe,
};

// Life.

struct bus_memory *bus_memory_new(const struct env *env)
{
	struct bus_memory *network = memory_zalloc(sizeof *network);
	network->env = env;
	list_init(&network->endpoints);
	list_init(&network->messages);
	return network;
}

void bus_memory_free(struct bus_memory **network)
{
	struct bus_memory *freed = *network;
	*network = NULL;
	if (!freed)
		return;
	CHECK(list_empty(&freed->endpoints));
	while (!list_empty(&freed->messages))
		message_free(container_of(freed->messages.next, struct message, link));
	free(freed);
}

void bus_memory_script(
	struct bus_memory *network, enum bus_memory_fault (*fault)(void *ctx, const struct bus_memory_event *event), void *ctx)
{
	network->fault = fault;
	network->fault_ctx = ctx;
}

struct bus *bus_memory_endpoint(struct bus_memory *network, const char *address, const char *feed_address)
{
	CHECK(!network_find(network, address));
	struct endpoint *endpoint = memory_zalloc(sizeof *endpoint);
	endpoint->bus.ops = &memory_ops;
	endpoint->network = network;
	endpoint->address = memory_strdup(address);
	endpoint->feed_address = feed_address ? memory_strdup(feed_address) : NULL;
	list_init(&endpoint->links);
	list_init(&endpoint->calls);
	list_init(&endpoint->requests);
	list_init(&endpoint->subscriptions);
	list_append(&network->endpoints, &endpoint->link);
	return &endpoint->bus;
}

// Its callers notice at the next step.
static void endpoint_drop_request(struct endpoint *endpoint, struct bus_request *request)
{
	struct message *message = message_new(endpoint->network, BUS_MEMORY_REPLY, endpoint->address, request->caller, NULL);
	message->call = request->call;
	message->error = ERROR_DISCONNECTED;
	request_free(request);
}

void bus_memory_endpoint_free(struct bus **bus)
{
	struct endpoint *endpoint = endpoint_of(*bus);
	*bus = NULL;
	struct list *link;
	list_remove(&endpoint->link);
	while (!list_empty(&endpoint->requests))
		endpoint_drop_request(endpoint, container_of(endpoint->requests.next, struct bus_request, link));
	while (!list_empty(&endpoint->subscriptions))
		subscription_free(container_of(endpoint->subscriptions.next, struct subscription, link));
	while ((link = list_pop(&endpoint->calls)))
		free(container_of(link, struct call, link));
	while ((link = list_pop(&endpoint->links))) {
		free(container_of(link, struct bus_link, link)->address);
		free(container_of(link, struct bus_link, link));
	}
	free(endpoint->address);
	free(endpoint->feed_address);
	free(endpoint);
}
