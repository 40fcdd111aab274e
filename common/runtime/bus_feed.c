#include "common/runtime/bus_feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/hash_map.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { FEED_MESSAGES_A_TURN = 256 };

struct bus_subscription {
	struct list link;
	bus_feed_fn fn; // NULL: ended; goes at the end of the turn
	void *ctx;
	size_t len;
	uint8_t prefix[];
};

struct bus_sub {
	UT_hash_handle hh;
	struct bus_feed *feed;
	struct loop_socket subscriber; // socket NULL: closed; goes at the end of the turn
	struct list subscriptions;
	bool sweeping;
	char address[];
};

// Publishing

// What subscribers sent; nobody needs it, but unread it would pile up.
static void bus_publisher_ready(struct loop_socket *publisher, short events)
{
	zmq_msg_t msg;
	(void)events;
	zmq_msg_init(&msg);
	while (zmq_msg_recv(&msg, publisher->socket, ZMQ_DONTWAIT) >= 0)
		;
	zmq_msg_close(&msg);
}

enum error bus_feed_bind(struct bus_feed *feed, const char *address)
{
	void *socket = bus_socket_new(feed->zmq, ZMQ_XPUB, feed->limits);
	CHECK(socket);
	enum error error = bus_socket_bind(socket, address, &feed->address);
	if (error) {
		bus_socket_close(&socket, 0);
		return error;
	}
	feed->publisher = (struct loop_socket){.socket = socket, .events = ZMQ_POLLIN, .on_ready = bus_publisher_ready};
	loop_socket_add(feed->loop, &feed->publisher);
	return ERROR_OK;
}

void bus_feed_publish(struct bus_feed *feed, struct bytes prefix, const ProtobufCMessage *body)
{
	zmq_msg_t msg;
	size_t len = protobuf_c_message_get_packed_size(body);
	CHECK(feed->publisher.socket && len <= feed->limits->message_bytes_max);
	CHECK(zmq_msg_init_size(&msg, len) == 0);
	protobuf_c_message_pack(body, zmq_msg_data(&msg));
	// XPUB never blocks: it drops for the slow.
	CHECK(zmq_send(feed->publisher.socket, prefix.data, prefix.len, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0);
	CHECK(zmq_msg_send(&msg, feed->publisher.socket, ZMQ_DONTWAIT) >= 0);
	feed->published++;
}

// Subscribing

static bool bus_subscription_matches(const struct bus_subscription *subscription, struct bytes prefix)
{
	return subscription->fn && subscription->len <= prefix.len &&
	       (subscription->len == 0 || memcmp(subscription->prefix, prefix.data, subscription->len) == 0);
}

static void bus_sub_dispatch(struct bus_sub *sub, struct bytes prefix, struct bytes body)
{
	sub->feed->received++;
	LIST_EACH (&sub->subscriptions, link) {
		struct bus_subscription *subscription = container_of(link, struct bus_subscription, link);
		if (bus_subscription_matches(subscription, prefix))
			subscription->fn(subscription->ctx, prefix, body);
	}
}

// False when nothing is there.
static bool bus_sub_receive(struct bus_sub *sub)
{
	zmq_msg_t msgs[2];
	size_t count = 0;
	bool more = true;
	while (more) {
		zmq_msg_t msg;
		zmq_msg_init(&msg);
		if (zmq_msg_recv(&msg, sub->subscriber.socket, ZMQ_DONTWAIT) < 0)
			break;
		more = zmq_msg_more(&msg);
		if (count < 2)
			msgs[count] = msg; // nothing else refers to msg: a move
		else
			zmq_msg_close(&msg);
		count++;
	}
	if (count == 2)
		bus_sub_dispatch(sub, bytes_view(zmq_msg_data(&msgs[0]), zmq_msg_size(&msgs[0])),
			bytes_view(zmq_msg_data(&msgs[1]), zmq_msg_size(&msgs[1])));
	else if (count && sub->feed->refused++ == 0)
		log_event(LOG_WARN, "feed_message_refused", LOG_TEXT("address", sub->address), LOG_NUMBER("frames", count));
	for (size_t i = 0; i < count && i < 2; i++)
		zmq_msg_close(&msgs[i]);
	return count > 0;
}

static void bus_subscriber_ready(struct loop_socket *subscriber, short events)
{
	struct bus_sub *sub = container_of(subscriber, struct bus_sub, subscriber);
	(void)events;
	for (unsigned i = 0; i < FEED_MESSAGES_A_TURN && subscriber->socket; i++)
		if (!bus_sub_receive(sub))
			return;
}

static struct bus_sub *bus_sub_new(struct bus_feed *feed, const char *address)
{
	size_t len = strlen(address);
	struct bus_sub *sub = memory_zalloc(sizeof *sub + len + 1);
	sub->feed = feed;
	memcpy(sub->address, address, len);
	list_init(&sub->subscriptions);
	sub->subscriber = (struct loop_socket){.socket = bus_socket_new(feed->zmq, ZMQ_SUB, feed->limits),
		.events = ZMQ_POLLIN,
		.on_ready = bus_subscriber_ready};
	CHECK(sub->subscriber.socket);
	if (zmq_connect(sub->subscriber.socket, address) != 0)
		log_event(LOG_ERROR, "feed_address_refused", LOG_TEXT("address", address),
			LOG_TEXT("reason", zmq_strerror(errno)));
	loop_socket_add(feed->loop, &sub->subscriber);
	HASH_ADD(hh, feed->subs, address[0], len, sub);
	return sub;
}

// The end of a turn: no callback stands in the list any more.
static void bus_sub_sweep(void *ctx)
{
	struct bus_sub *sub = ctx;
	sub->sweeping = false;
	LIST_EACH (&sub->subscriptions, link) {
		struct bus_subscription *subscription = container_of(link, struct bus_subscription, link);
		if (subscription->fn && sub->subscriber.socket)
			continue;
		list_remove(link);
		free(subscription);
	}
	if (!sub->subscriber.socket)
		free(sub);
}

static void bus_sub_sweep_later(struct bus_sub *sub)
{
	if (!sub->sweeping)
		loop_defer(sub->feed->loop, bus_sub_sweep, sub);
	sub->sweeping = true;
}

static void bus_sub_close(struct bus_sub *sub)
{
	HASH_DEL(sub->feed->subs, sub);
	loop_socket_remove(sub->feed->loop, &sub->subscriber);
	bus_socket_close(&sub->subscriber.socket, 0);
	bus_sub_sweep_later(sub);
}

static struct bus_subscription *bus_sub_find(const struct bus_sub *sub, struct bytes prefix)
{
	LIST_EACH (&sub->subscriptions, link) {
		struct bus_subscription *subscription = container_of(link, struct bus_subscription, link);
		if (subscription->fn && bytes_equal(bytes_view(subscription->prefix, subscription->len), prefix))
			return subscription;
	}
	return NULL;
}

static struct bus_sub *bus_feed_find(struct bus_feed *feed, const char *address)
{
	struct bus_sub *sub;
	HASH_FIND(hh, feed->subs, address, strlen(address), sub);
	return sub;
}

void bus_feed_subscribe(struct bus_feed *feed, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx)
{
	struct bus_sub *sub = bus_feed_find(feed, address);
	CHECK(fn);
	if (!sub)
		sub = bus_sub_new(feed, address);
	struct bus_subscription *subscription = bus_sub_find(sub, prefix);
	if (!subscription) {
		subscription = memory_zalloc(sizeof *subscription + prefix.len);
		subscription->len = prefix.len;
		if (prefix.len)
			memcpy(subscription->prefix, prefix.data, prefix.len);
		list_append(&sub->subscriptions, &subscription->link);
		CHECK(zmq_setsockopt(sub->subscriber.socket, ZMQ_SUBSCRIBE, subscription->prefix, prefix.len) == 0);
	}
	subscription->fn = fn;
	subscription->ctx = ctx;
}

static bool bus_sub_listens(const struct bus_sub *sub)
{
	LIST_EACH (&sub->subscriptions, link) {
		if (container_of(link, struct bus_subscription, link)->fn)
			return true;
	}
	return false;
}

void bus_feed_unsubscribe(struct bus_feed *feed, const char *address, struct bytes prefix)
{
	struct bus_sub *sub = bus_feed_find(feed, address);
	struct bus_subscription *subscription = sub ? bus_sub_find(sub, prefix) : NULL;
	if (!subscription)
		return;
	CHECK(zmq_setsockopt(sub->subscriber.socket, ZMQ_UNSUBSCRIBE, subscription->prefix, prefix.len) == 0);
	subscription->fn = NULL;
	if (bus_sub_listens(sub))
		bus_sub_sweep_later(sub);
	else
		bus_sub_close(sub);
}

void bus_feed_init(struct bus_feed *feed, struct loop *loop, void *zmq, const struct bus_limits *limits)
{
	*feed = (struct bus_feed){.loop = loop, .zmq = zmq, .limits = limits};
}

void bus_feed_done(struct bus_feed *feed)
{
	struct bus_sub *sub, *next;
	HASH_ITER(hh, feed->subs, sub, next)
	bus_sub_close(sub);
	if (feed->publisher.socket) {
		loop_socket_remove(feed->loop, &feed->publisher);
		bus_socket_close(&feed->publisher.socket, 0);
	}
	free(feed->address);
}
