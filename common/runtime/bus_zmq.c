#include "common/runtime/bus_zmq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/hash_map.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/bus_feed.h"
#include "common/runtime/bus_parcel.h"
#include "common/runtime/bus_socket.h"

// A call's life: bus_call() packs it into its link's outs -> the turn's flush sends all outs of a link in one parcel -> the
// reply, found by id, ends it. The callee's side: a parcel's messages become requests, a peer's replies of a turn leave in
// one parcel.
//
// When it goes otherwise:
// * no connection: the call waits in outs, at most CONNECT_WAIT_MS, then UNREACHABLE. A DEALER with ZMQ_IMMEDIATE has no pipe
//   without a connection, so nothing lingers inside libzmq.
// * the connection breaks: the monitor tells; replies already here are delivered, all other calls that were sent fail with
//   DISCONNECTED, and the socket is replaced. So one socket serves one connection: no reply of an older one can come, no
//   call can slip into a dying pipe and wait for its deadline.
// * the peer is slow: at the high-water mark outs stay here until POLLOUT; calls_max bounds them.
// * a caller is gone: the ROUTER does not know its connection any more, the replies are dropped. Callers set no routing id, so
//   the ROUTER makes a fresh one for each connection, and a reply never reaches a later connection by mistake.

enum {
	BUS_HWM = 1000,
	BUS_CALLS_MAX = 65536,
	BUS_MESSAGE_BYTES_MAX = 64 << 20,
	BUS_SOCKETS_MAX = 8192,
	CONNECT_WAIT_MS = 1000,
	REOPEN_MS = 20,              // after a connection that had lasted
	REOPEN_REFUSED_MS = 500,     // after one that had not, or was refused
	PARCELS_A_TURN = 64,         // a socket; the rest comes in the next turn
	REQUESTS_MAX = 1 << 18,      // owed replies; at the limit we stop reading requests
	REPLY_BYTES_MAX = 256 << 20, // queued here because their peers are slow; likewise
	PEER_RETRY_MS = 1,
	CLOSE_LINGER_MS = 500,
};

struct bus_call {
	UT_hash_handle hh;
	struct loop_timer timer;
	struct list link; // of bus_link.calls
	struct bus_link *bus_link;
	struct parcel_out *out; // NULL once it has left
	uint64_t id;
	uint64_t deadline_us;
	enum error error; // refused without being sent; told by the timer
	bus_reply_fn fn;
	void *ctx;
};

struct bus_link {
	UT_hash_handle hh;
	struct bus_zmq *bus;
	uint32_t holds;            // 0: unlinked, freed at the end of the turn
	struct loop_socket dealer; // socket NULL: closed until reopen
	struct bus_monitor monitor;
	bool connected;
	bool address_refused; // logged
	uint64_t connected_us;
	struct loop_timer reopen;
	struct list calls;
	uint32_t call_count;
	struct list outs;
	struct list dirty; // of bus_zmq.dirty_links
	char address[];
};

// A caller of ours while it waits for replies.
struct bus_peer {
	UT_hash_handle hh;
	struct bus_zmq *bus;
	uint32_t owed;
	struct list outs;
	struct list dirty; // of bus_zmq.dirty_peers
	uint8_t id_len;
	uint8_t id[PARCEL_ROUTING_ID_MAX];
};

struct bus_request {
	struct list link; // of bus_zmq.requests
	struct bus_peer *peer;
	uint64_t id;
	uint64_t correlation;
};

struct bus_counters {
	uint64_t calls;
	uint64_t calls_failed;
	uint64_t replies_late;
	uint64_t requests;
	uint64_t replies_dropped;
	uint64_t parcels_sent;
	uint64_t parcels_received;
	uint64_t parcels_refused;
	uint64_t payload_bytes_sent;
	uint64_t payload_bytes_received;
	uint64_t disconnects;
	int64_t calls_in_flight;
	int64_t replies_owed;
};

struct bus_zmq {
	struct bus bus;
	struct loop *loop;
	struct env *env;
	void *zmq;
	struct bus_limits limits;
	struct bus_counters counters;
	struct loop_step flush;
	struct parcel parcel; // the one being received
	struct buffer scratch;
	uint64_t last_id;

	struct bus_call *calls; // by id
	struct bus_link *links; // by address
	struct list dirty_links;

	struct loop_socket router; // socket NULL: serves nothing
	bool router_added;
	char *address;
	bus_request_fn serve_fn;
	void *serve_ctx;
	struct bus_peer *peers; // by routing id
	struct list dirty_peers;
	struct list requests;
	uint64_t reply_bytes;

	struct bus_feed feed;
};

static struct bus_zmq *bus_zmq_of(struct bus *bus)
{
	return container_of(bus, struct bus_zmq, bus);
}

static void mark_dirty(struct list *all, struct list *link)
{
	if (list_empty(link))
		list_append(all, link);
}

// A stranger's bytes or a sibling of another version: told once, then counted.
static void parcel_refused(struct bus_zmq *bus, const char *from)
{
	if (bus->counters.parcels_refused++ == 0)
		log_event(LOG_WARN, "parcel_refused", LOG_TEXT("from", from), LOG_NUMBER("our_version", PARCEL_VERSION));
}

static void count_received(struct bus_zmq *bus)
{
	bus->counters.parcels_received++;
	for (size_t i = 0; i < bus->parcel.frame_count; i++)
		bus->counters.payload_bytes_received += bus->parcel.frames[i].len;
}

// Calls

static void call_end(struct bus_call *call, enum error error, const struct bus_message *reply)
{
	struct bus_zmq *bus = call->bus_link->bus;
	bus_reply_fn fn = call->fn;
	void *ctx = call->ctx;
	HASH_DEL(bus->calls, call);
	loop_timer_clear(bus->loop, &call->timer);
	list_remove(&call->link);
	call->bus_link->call_count--;
	bus->counters.calls_in_flight--;
	bus->counters.calls_failed += error != ERROR_OK;
	parcel_out_free(&call->out);
	free(call);
	if (fn)
		fn(ctx, error, reply);
}

// All calls in the list, which callbacks may shorten.
static void calls_end(struct list *calls, enum error error)
{
	while (!list_empty(calls))
		call_end(container_of(calls->next, struct bus_call, link), error, NULL);
}

static void call_due(struct loop_timer *timer)
{
	struct bus_call *call = container_of(timer, struct bus_call, timer);
	enum error error = ERROR_TIMED_OUT;
	if (call->error)
		error = call->error;
	else if (call->out)
		error = call->bus_link->connected ? ERROR_BUSY : ERROR_UNREACHABLE;
	call_end(call, error, NULL);
}

// An unsent call's patience with an absent peer.
static uint64_t call_connect_deadline(const struct bus_call *call)
{
	return deadline_min(call->deadline_us, deadline_in_ms(call->bus_link->bus->env, CONNECT_WAIT_MS));
}

static uint64_t bus_zmq_call(struct bus *base, struct bus_link *link, const struct bus_send *send, bus_reply_fn fn, void *ctx)
{
	struct bus_zmq *bus = bus_zmq_of(base);
	struct bus_call *call = memory_zalloc(sizeof *call);
	CHECK(link->holds > 0);
	call->id = ++bus->last_id;
	call->bus_link = link;
	call->fn = fn;
	call->ctx = ctx;
	call->deadline_us = deadline_in_ms(bus->env, send->timeout_ms);
	call->timer.on_due = call_due;
	HASH_ADD(hh, bus->calls, id, sizeof call->id, call);
	bus->counters.calls++;
	bus->counters.calls_in_flight++;
	if (link->call_count++ >= bus->limits.calls_max)
		call->error = ERROR_BUSY;
	else if (!parcel_send_fits(send, bus->limits.message_bytes_max))
		call->error = ERROR_TOO_LARGE;
	list_append(&link->calls, &call->link);
	if (call->error) {
		loop_timer_set(bus->loop, &call->timer, 0);
		return call->id;
	}
	call->out = parcel_out_new(send);
	call->out->id = call->id;
	call->out->deadline_us = call->deadline_us;
	call->out->owner = call;
	list_append(&link->outs, &call->out->link);
	mark_dirty(&bus->dirty_links, &link->dirty);
	loop_timer_set(bus->loop, &call->timer, link->connected ? call->deadline_us : call_connect_deadline(call));
	return call->id;
}

static struct bus_call *call_find(struct bus_zmq *bus, uint64_t id)
{
	struct bus_call *call;
	HASH_FIND(hh, bus->calls, &id, sizeof id, call);
	return call;
}

static void bus_zmq_cancel(struct bus *base, uint64_t id)
{
	struct bus_call *call = call_find(bus_zmq_of(base), id);
	if (!call)
		return;
	call->fn = NULL;
	call_end(call, ERROR_CANCELED, NULL);
}

// Links

static void link_open(struct bus_link *link);

static void link_dispatch(struct bus_link *link)
{
	struct bus_zmq *bus = link->bus;
	count_received(bus);
	for (size_t i = 0; i < bus->parcel.message_count; i++) {
		const struct parcel_message *message = &bus->parcel.messages[i];
		struct bus_call *call = call_find(bus, message->reply_to);
		if (call && call->bus_link == link && !call->out && !call->error)
			call_end(call, ERROR_OK, &message->message);
		else
			bus->counters.replies_late++;
	}
	parcel_clear(&bus->parcel);
}

// False if the peer does not speak our protocol. Callbacks may close the link meanwhile.
static bool link_receive(struct bus_link *link, unsigned parcels_max)
{
	struct bus_zmq *bus = link->bus;
	for (unsigned i = 0; i < parcels_max && link->dealer.socket; i++) {
		enum parcel_result result = parcel_receive(&bus->parcel, link->dealer.socket, false);
		if (result == PARCEL_BLOCKED)
			return true;
		if (result == PARCEL_REFUSED) {
			parcel_refused(bus, link->address);
			return false;
		}
		link_dispatch(link);
	}
	return true;
}

static void link_close(struct bus_link *link, int linger_ms)
{
	if (!link->dealer.socket)
		return;
	bus_monitor_stop(&link->monitor);
	loop_socket_remove(link->bus->loop, &link->dealer);
	bus_socket_close(&link->dealer.socket, linger_ms);
	link->connected = false;
}

// Sent calls go to lost; the others get a while to see the peer come back.
static void link_part_calls(struct bus_link *link, struct list *lost)
{
	list_init(lost);
	LIST_EACH (&link->calls, position) {
		struct bus_call *call = container_of(position, struct bus_call, link);
		if (call->error)
			continue;
		if (call->out) {
			loop_timer_set(link->bus->loop, &call->timer, call_connect_deadline(call));
			continue;
		}
		list_remove(position);
		list_append(lost, position);
	}
}

static void link_lost(struct bus_link *link)
{
	struct bus_zmq *bus = link->bus;
	struct list lost;
	bool lasted = link->connected && bus->env->now_us - link->connected_us > 1000000;
	bus->counters.disconnects += link->connected;
	link_close(link, 0);
	link_part_calls(link, &lost);
	loop_timer_set(bus->loop, &link->reopen, deadline_in_ms(bus->env, lasted ? REOPEN_MS : REOPEN_REFUSED_MS));
	calls_end(&lost, ERROR_DISCONNECTED);
}

// What waited for the connection may now wait for its turn, until its own deadline.
static void link_found(struct bus_link *link)
{
	struct bus_zmq *bus = link->bus;
	link->connected = true;
	link->connected_us = bus->env->now_us;
	LIST_EACH (&link->calls, position) {
		struct bus_call *call = container_of(position, struct bus_call, link);
		if (call->out)
			loop_timer_set(bus->loop, &call->timer, call->deadline_us);
	}
	mark_dirty(&bus->dirty_links, &link->dirty);
}

static void link_event(struct bus_monitor *monitor, enum bus_monitor_event event)
{
	struct bus_link *link = container_of(monitor, struct bus_link, monitor);
	if (event == BUS_CONNECTED) {
		link_found(link);
		return;
	}
	link_receive(link, UINT32_MAX); // what had arrived before
	if (link->dealer.socket)
		link_lost(link);
}

static void link_ready(struct loop_socket *dealer, short events)
{
	struct bus_link *link = container_of(dealer, struct bus_link, dealer);
	if (events & ZMQ_POLLOUT) {
		dealer->events = ZMQ_POLLIN;
		mark_dirty(&link->bus->dirty_links, &link->dirty);
	}
	if ((events & ZMQ_POLLIN) && !link_receive(link, PARCELS_A_TURN) && link->dealer.socket)
		link_lost(link);
}

static void link_reopen_due(struct loop_timer *timer)
{
	link_open(container_of(timer, struct bus_link, reopen));
}

static void link_open(struct bus_link *link)
{
	struct bus_zmq *bus = link->bus;
	void *socket = bus_socket_new(bus->zmq, ZMQ_DEALER, &bus->limits);
	if (!socket) {
		log_event(LOG_ERROR, "too_many_links", LOG_TEXT("address", link->address));
		loop_timer_set(bus->loop, &link->reopen, deadline_in_ms(bus->env, REOPEN_REFUSED_MS));
		return;
	}
	link->dealer = (struct loop_socket){.socket = socket, .events = ZMQ_POLLIN, .on_ready = link_ready};
	loop_socket_add(bus->loop, &link->dealer);
	link->monitor.on_event = link_event;
	bus_monitor_start(&link->monitor, bus->loop, bus->zmq, socket, ++bus->last_id);
	// An address that comes from a member list may be nonsense: its calls fail, we live.
	if (zmq_connect(socket, link->address) != 0 && !link->address_refused) {
		link->address_refused = true;
		log_event(LOG_ERROR, "link_address_refused", LOG_TEXT("address", link->address),
			LOG_TEXT("reason", zmq_strerror(errno)));
	}
}

static struct bus_link *bus_zmq_link(struct bus *base, const char *address)
{
	struct bus_zmq *bus = bus_zmq_of(base);
	size_t len = strlen(address);
	struct bus_link *link;
	HASH_FIND(hh, bus->links, address, len, link);
	if (link) {
		link->holds++;
		return link;
	}
	link = memory_zalloc(sizeof *link + len + 1);
	link->bus = bus;
	link->holds = 1;
	link->reopen.on_due = link_reopen_due;
	list_init(&link->calls);
	list_init(&link->outs);
	list_init(&link->dirty);
	memcpy(link->address, address, len);
	HASH_ADD(hh, bus->links, address[0], len, link);
	link_open(link);
	return link;
}

static void link_free(void *link)
{
	free(link);
}

static void link_unlink(struct bus_link *link, int linger_ms)
{
	struct bus_zmq *bus = link->bus;
	link->holds = 0;
	HASH_DEL(bus->links, link);
	link_close(link, linger_ms);
	loop_timer_clear(bus->loop, &link->reopen);
	list_remove(&link->dirty);
	calls_end(&link->calls, ERROR_CANCELED);
	loop_defer(bus->loop, link_free, link);
}

static void bus_zmq_unlink(struct bus *base, struct bus_link *link)
{
	CHECK(link->bus == bus_zmq_of(base) && link->holds > 0);
	if (link->holds > 1)
		link->holds--;
	else
		link_unlink(link, 0);
}

static void link_sent(struct bus_link *link, struct list *sent)
{
	struct bus_zmq *bus = link->bus;
	bus->counters.parcels_sent++;
	for (struct list *position; (position = list_pop(sent));) {
		struct parcel_out *out = container_of(position, struct parcel_out, link);
		struct bus_call *call = out->owner;
		bus->counters.payload_bytes_sent += out->payload_bytes;
		call->out = NULL;
		if (call->timer.due_us != call->deadline_us)
			loop_timer_set(bus->loop, &call->timer, call->deadline_us);
		parcel_out_free(&out);
	}
}

static void link_flush(struct bus_link *link)
{
	struct bus_zmq *bus = link->bus;
	struct list sent;
	list_init(&sent);
	while (link->connected && !list_empty(&link->outs) && !(link->dealer.events & ZMQ_POLLOUT)) {
		enum parcel_result result =
			parcel_send(link->dealer.socket, BYTES_NULL, &link->outs, &sent, bus->env->now_us, &bus->scratch);
		link_sent(link, &sent);
		if (result == PARCEL_BLOCKED)
			link->dealer.events = ZMQ_POLLIN | ZMQ_POLLOUT;
		else if (result != PARCEL_DONE)
			link_lost(link);
	}
}

// The serving side

static void peer_release(struct bus_peer *peer)
{
	if (peer->owed || !list_empty(&peer->outs))
		return;
	HASH_DEL(peer->bus->peers, peer);
	list_remove(&peer->dirty);
	free(peer);
}

static struct bus_peer *peer_get(struct bus_zmq *bus)
{
	struct bus_peer *peer;
	HASH_FIND(hh, bus->peers, bus->parcel.from, bus->parcel.from_len, peer);
	if (peer)
		return peer;
	peer = memory_zalloc(sizeof *peer);
	peer->bus = bus;
	list_init(&peer->outs);
	list_init(&peer->dirty);
	peer->id_len = (uint8_t)bus->parcel.from_len;
	memcpy(peer->id, bus->parcel.from, peer->id_len);
	HASH_ADD(hh, bus->peers, id[0], peer->id_len, peer);
	return peer;
}

static void router_dispatch(struct bus_zmq *bus)
{
	struct bus_peer *peer = peer_get(bus);
	count_received(bus);
	peer->owed++; // keeps the peer while its first reply may come inside the callback
	for (size_t i = 0; i < bus->parcel.message_count; i++) {
		const struct parcel_message *message = &bus->parcel.messages[i];
		struct bus_request *request = memory_alloc(sizeof *request);
		*request = (struct bus_request){.peer = peer, .id = message->id, .correlation = message->message.correlation};
		list_append(&bus->requests, &request->link);
		peer->owed++;
		bus->counters.requests++;
		bus->counters.replies_owed++;
		bus->serve_fn(bus->serve_ctx, request, &message->message);
	}
	peer->owed--;
	peer_release(peer);
	parcel_clear(&bus->parcel);
}

static bool router_requests_only(const struct parcel *parcel)
{
	for (size_t i = 0; i < parcel->message_count; i++)
		if (parcel->messages[i].reply_to)
			return false;
	return true;
}

static bool router_full(const struct bus_zmq *bus)
{
	return bus->reply_bytes > REPLY_BYTES_MAX || bus->counters.replies_owed >= REQUESTS_MAX;
}

static void router_ready(struct loop_socket *router, short events)
{
	struct bus_zmq *bus = container_of(router, struct bus_zmq, router);
	(void)events;
	for (unsigned i = 0; i < PARCELS_A_TURN && !router_full(bus); i++) {
		enum parcel_result result = parcel_receive(&bus->parcel, router->socket, true);
		if (result == PARCEL_BLOCKED)
			return;
		if (result == PARCEL_DONE && router_requests_only(&bus->parcel))
			router_dispatch(bus);
		else
			parcel_refused(bus, "caller");
	}
}

static void bus_zmq_serve(struct bus *base, bus_request_fn fn, void *ctx)
{
	struct bus_zmq *bus = bus_zmq_of(base);
	CHECK(bus->router.socket);
	bus->serve_fn = fn;
	bus->serve_ctx = ctx;
	if (!bus->router_added)
		loop_socket_add(bus->loop, &bus->router);
	bus->router_added = true;
}

static void bus_zmq_reply(struct bus *base, struct bus_request *request, const struct bus_send *send)
{
	struct bus_zmq *bus = bus_zmq_of(base);
	struct bus_peer *peer = request->peer;
	CHECK(parcel_send_fits(send, bus->limits.message_bytes_max));
	struct parcel_out *out = parcel_out_new(send);
	out->reply_to = request->id;
	out->correlation = request->correlation;
	bus->reply_bytes += out->payload_bytes + out->body.len;
	list_append(&peer->outs, &out->link);
	mark_dirty(&bus->dirty_peers, &peer->dirty);
	peer->owed--;
	bus->counters.replies_owed--;
	list_remove(&request->link);
	free(request);
}

static void peer_outs_end(struct bus_peer *peer, struct list *outs, bool sent)
{
	struct bus_counters *counters = &peer->bus->counters;
	counters->parcels_sent += sent;
	for (struct list *position; (position = list_pop(outs));) {
		struct parcel_out *out = container_of(position, struct parcel_out, link);
		peer->bus->reply_bytes -= out->payload_bytes + out->body.len;
		if (sent)
			counters->payload_bytes_sent += out->payload_bytes;
		else
			counters->replies_dropped++;
		parcel_out_free(&out);
	}
}

// False if the peer's pipe is full.
static bool peer_flush(struct bus_peer *peer)
{
	struct bus_zmq *bus = peer->bus;
	struct list sent;
	list_init(&sent);
	while (!list_empty(&peer->outs)) {
		enum parcel_result result = parcel_send(bus->router.socket, bytes_view(peer->id, peer->id_len), &peer->outs,
			&sent, bus->env->now_us, &bus->scratch);
		if (result == PARCEL_BLOCKED)
			return false;
		peer_outs_end(peer, &sent, result == PARCEL_DONE);
		if (result != PARCEL_DONE)
			peer_outs_end(peer, &peer->outs, false);
	}
	return true;
}

// A ROUTER says POLLOUT as soon as any of its peers has room, so waiting for it would spin while one is slow and others are
// not. Blocked peers are tried in every turn, and after PEER_RETRY_MS at the latest: they have a whole high-water mark of
// parcels to chew on, so no pipe runs dry within that time.
static uint64_t peers_flush(struct bus_zmq *bus)
{
	struct list blocked;
	list_init(&blocked);
	for (struct list *position; (position = list_pop(&bus->dirty_peers));) {
		struct bus_peer *peer = container_of(position, struct bus_peer, dirty);
		if (peer_flush(peer))
			peer_release(peer);
		else
			list_append(&blocked, position);
	}
	if (list_empty(&blocked))
		return DEADLINE_NEVER;
	for (struct list *position; (position = list_pop(&blocked));)
		list_append(&bus->dirty_peers, position);
	return deadline_in_ms(bus->env, PEER_RETRY_MS);
}

static uint64_t bus_flush(void *ctx)
{
	struct bus_zmq *bus = ctx;
	for (struct list *position; (position = list_pop(&bus->dirty_links));)
		link_flush(container_of(position, struct bus_link, dirty));
	uint64_t deadline = peers_flush(bus);
	if (bus->router.socket)
		bus->router.events = router_full(bus) ? 0 : ZMQ_POLLIN;
	return deadline;
}

// The feed

static void bus_zmq_publish(struct bus *base, struct bytes prefix, const ProtobufCMessage *body)
{
	bus_feed_publish(&bus_zmq_of(base)->feed, prefix, body);
}

static void bus_zmq_subscribe(struct bus *base, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx)
{
	bus_feed_subscribe(&bus_zmq_of(base)->feed, address, prefix, fn, ctx);
}

static void bus_zmq_unsubscribe(struct bus *base, const char *address, struct bytes prefix)
{
	bus_feed_unsubscribe(&bus_zmq_of(base)->feed, address, prefix);
}

// Life

static const struct bus_ops bus_zmq_ops = {
	.link = bus_zmq_link,
	.unlink = bus_zmq_unlink,
	.call = bus_zmq_call,
	.cancel = bus_zmq_cancel,
	.serve = bus_zmq_serve,
	.reply = bus_zmq_reply,
	.publish = bus_zmq_publish,
	.subscribe = bus_zmq_subscribe,
	.unsubscribe = bus_zmq_unsubscribe,
};

static void bus_register_metrics(struct bus_zmq *bus, struct metrics *metrics)
{
	const struct bus_counters *counters = &bus->counters;
	const struct {
		const char *name, *help;
		const uint64_t *value;
	} rows[] = {
		{"bus_calls_total", "Calls to siblings.", &counters->calls},
		{"bus_calls_failed_total", "Calls that ended without a reply.", &counters->calls_failed},
		{"bus_replies_late_total", "Replies to calls that were over.", &counters->replies_late},
		{"bus_requests_total", "Calls received.", &counters->requests},
		{"bus_replies_dropped_total", "Replies to callers that were gone.", &counters->replies_dropped},
		{"bus_parcels_sent_total", "Multiparts sent.", &counters->parcels_sent},
		{"bus_parcels_received_total", "Multiparts received.", &counters->parcels_received},
		{"bus_parcels_refused_total", "Multiparts that were not of our protocol.", &counters->parcels_refused},
		{"bus_payload_sent_bytes_total", "Payload bytes sent.", &counters->payload_bytes_sent},
		{"bus_payload_received_bytes_total", "Payload bytes received.", &counters->payload_bytes_received},
		{"bus_disconnects_total", "Connections to siblings that broke.", &counters->disconnects},
		{"bus_feed_published_total", "Feed messages published.", &bus->feed.published},
		{"bus_feed_received_total", "Feed messages received.", &bus->feed.received},
	};
	if (!metrics)
		return;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		metrics_counter(metrics, rows[i].name, NULL, rows[i].help, rows[i].value);
	metrics_gauge(metrics, "bus_calls_in_flight", NULL, "Calls that wait for their reply.", &counters->calls_in_flight);
	metrics_gauge(metrics, "bus_replies_owed", NULL, "Calls received and not yet answered.", &counters->replies_owed);
}

static enum error bus_bind(struct bus_zmq *bus, const char *address)
{
	bus->router = (struct loop_socket){
		.socket = bus_socket_new(bus->zmq, ZMQ_ROUTER, &bus->limits), .events = ZMQ_POLLIN, .on_ready = router_ready};
	CHECK(bus->router.socket);
	return bus_socket_bind(bus->router.socket, address, &bus->address);
}

enum error bus_zmq_new(
	struct loop *loop, const struct bus_zmq_settings *settings, struct metrics *metrics, struct bus **ret_bus)
{
	struct bus_zmq *bus = memory_zalloc(sizeof *bus);
	bus->bus.ops = &bus_zmq_ops;
	bus->loop = loop;
	bus->env = loop_env(loop);
	bus->limits = (struct bus_limits){
		.hwm = settings->hwm ? settings->hwm : BUS_HWM,
		.calls_max = settings->calls_max ? settings->calls_max : BUS_CALLS_MAX,
		.message_bytes_max = settings->message_bytes_max ? settings->message_bytes_max : BUS_MESSAGE_BYTES_MAX,
	};
	CHECK(bus->limits.message_bytes_max < UINT32_MAX - PARCEL_SLACK_BYTES);
	bus->zmq = zmq_ctx_new();
	CHECK(bus->zmq && zmq_ctx_set(bus->zmq, ZMQ_IO_THREADS, 1) == 0);
	CHECK(zmq_ctx_set(bus->zmq, ZMQ_MAX_SOCKETS, BUS_SOCKETS_MAX) == 0);
	list_init(&bus->dirty_links);
	list_init(&bus->dirty_peers);
	list_init(&bus->requests);
	parcel_init(&bus->parcel);
	buffer_init(&bus->scratch, bus->limits.message_bytes_max + PARCEL_SLACK_BYTES);
	bus_feed_init(&bus->feed, loop, bus->zmq, &bus->limits);
	bus->flush = (struct loop_step){.run = bus_flush, .ctx = bus};
	loop_flush_add(loop, &bus->flush);

	enum error error = settings->bind ? bus_bind(bus, settings->bind) : ERROR_OK;
	if (!error && settings->feed_bind)
		error = bus_feed_bind(&bus->feed, settings->feed_bind);
	struct bus *base = &bus->bus;
	if (error) {
		bus_zmq_free(&base);
		return error;
	}
	bus_register_metrics(bus, metrics);
	*ret_bus = base;
	return ERROR_OK;
}

static void bus_forget_callers(struct bus_zmq *bus)
{
	struct bus_peer *peer, *next;
	for (struct list *position; (position = list_pop(&bus->requests));)
		free(container_of(position, struct bus_request, link));
	HASH_ITER(hh, bus->peers, peer, next)
	{
		peer->owed = 0;
		peer_outs_end(peer, &peer->outs, false);
		peer_release(peer);
	}
}

void bus_zmq_free(struct bus **held)
{
	struct bus_zmq *bus = *held ? bus_zmq_of(*held) : NULL;
	struct bus_link *link, *next;
	*held = NULL;
	if (!bus)
		return;
	bus_flush(bus); // what the last turn still said
	for (struct bus_call *call = bus->calls; call; call = call->hh.next)
		call->fn = NULL; // who would hear it is gone
	HASH_ITER(hh, bus->links, link, next)
	link_unlink(link, CLOSE_LINGER_MS);
	bus_forget_callers(bus);
	bus_feed_done(&bus->feed);
	if (bus->router_added)
		loop_socket_remove(bus->loop, &bus->router);
	bus_socket_close(&bus->router.socket, CLOSE_LINGER_MS);
	loop_step_remove(bus->loop, &bus->flush);
	while (zmq_ctx_term(bus->zmq) != 0)
		CHECK(errno == EINTR);
	parcel_done(&bus->parcel);
	buffer_done(&bus->scratch);
	free(bus->address);
	free(bus);
}

const char *bus_zmq_address(struct bus *bus)
{
	return bus_zmq_of(bus)->address;
}

const char *bus_zmq_feed_address(struct bus *bus)
{
	return bus_zmq_of(bus)->feed.address;
}

bool bus_zmq_idle(struct bus *base)
{
	struct bus_zmq *bus = bus_zmq_of(base);
	struct bus_link *link, *next;
	HASH_ITER(hh, bus->links, link, next)
	if (!list_empty(&link->outs))
		return false;
	return bus->reply_bytes == 0 && list_empty(&bus->dirty_peers);
}
