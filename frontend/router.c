// An append's life: router_append() splits a request's parts by writer -> each share waits in its writer's queue -> the window
// lets it go -> AppendReply -> the parts are done.
//
// A writer that may take no more (gone from the view, draining, or not reached a moment ago) sends nothing new. Partitions with
// appends in flight there keep queueing behind them; when the last one in flight is answered, its queue is split anew. A share
// that finds no writer at all waits with `nowhere` until a view brings one, or its time is over.
//
// A share that comes back unsent takes its old place in the queue. It goes on only when all that were sent after it came back
// too: if one of those got through, the order is lost and the client is told that the share was surely not appended.

#include "frontend/router.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/hash_map.h"
#include "common/base/list.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "proto/append.pb-c.h"
#include "proto/bus.pb-c.h"

enum {
	ROUTER_AVOID_MS = 1000,
	ROUTER_BUSY_PAUSE_MS = 10,
	// Batches this near to each other in the frame travel as one payload frame: a frame costs more than these bytes.
	ROUTER_GAP_BYTES = 4096,
	// A share is split beyond this, well below what the bus carries in one message.
	ROUTER_SHARE_BYTES = 16 << 20,
};

struct router_member {
	struct router *router;
	struct uuid instance;
	char *address;
	struct bus_link *link; // NULL: nowhere
	uint64_t hash;
	bool local; // our zone
	bool live;  // in the view and not draining
	bool seen;  // while a view is taken over
	uint64_t avoid_until_us;
	// Writers:
	uint64_t window;
	uint64_t in_flight_bytes;
	struct list queue;     // append_share, in order
	struct list in_flight; // append_share
	struct list member_link;
};

// A partition that has appends under way, and where.
struct router_route_key {
	struct uuid topic_id;
	int32_t partition;
};
struct router_route {
	struct router_route_key key;
	struct router_member *writer;
	size_t shares;
	UT_hash_handle hh;
};

struct append_ticket {
	struct router *router;
	struct slice frame;
	struct append_part *parts;
	size_t left; // parts not done
	uint64_t deadline_us;
	uint64_t correlation;
	append_done_fn done; // NULL: abandoned
	void *ctx;
	struct timeout timeout; // for shares that still wait
	struct list shares;
};

// A ticket's parts on one writer.
struct append_share {
	struct append_ticket *ticket;
	struct router_member *writer;
	size_t *parts; // indices into the ticket's
	size_t count;
	uint64_t bytes;
	uint64_t order;          // of all shares, oldest first; queues and in_flight are sorted by it
	bool waiting;            // in the writer's queue, else in flight
	bool returned;           // waits after it was sent in vain
	struct list link;        // writer's queue or in_flight
	struct list ticket_link; // ticket's shares
};

struct router {
	const struct env *env;
	struct bus *bus;
	struct timeouts *timeouts;
	struct router_settings settings;
	struct list writers; // member_link
	struct list readers;
	struct router_member nowhere;
	struct router_route *routes;
	struct router_counters counters;
	uint64_t in_flight_bytes;
	uint64_t last_order;
	size_t waiting;
};

static void router_init_member(struct router *router, struct router_member *member)
{
	member->router = router;
	member->window = router->settings.window_bytes;
	list_init(&member->queue);
	list_init(&member->in_flight);
	list_init(&member->member_link);
}

struct router *router_new(
	const struct env *env, struct bus *bus, struct timeouts *timeouts, const struct router_settings *settings)
{
	struct router *router = memory_zalloc(sizeof *router);
	router->env = env;
	router->bus = bus;
	router->timeouts = timeouts;
	router->settings = *settings;
	list_init(&router->writers);
	list_init(&router->readers);
	router_init_member(router, &router->nowhere);
	return router;
}

// Members

static struct router_member *router_add_member(struct router *router, struct list *role, const struct cluster_member *row)
{
	struct router_member *member = memory_zalloc(sizeof *member);
	router_init_member(router, member);
	member->instance = row->instance;
	member->hash = row->hash;
	member->address = memory_strdup(row->address);
	member->link = bus_link(router->bus, row->address);
	list_append(role, &member->member_link);
	return member;
}

static struct router_member *router_find_member(struct list *role, const struct cluster_member *row)
{
	LIST_EACH (role, link) {
		struct router_member *member = container_of(link, struct router_member, member_link);
		if (uuid_equal(&member->instance, &row->instance) && strcmp(member->address, row->address) == 0)
			return member;
	}
	return NULL;
}

static void router_take_members(struct router *router, struct list *role, Weir__Role wanted, const struct cluster_view *view)
{
	LIST_EACH (role, link)
		container_of(link, struct router_member, member_link)->seen = false;
	for (size_t i = 0; i < view->member_count; i++) {
		const struct cluster_member *row = &view->members[i];
		if (row->role != wanted)
			continue;
		struct router_member *member = router_find_member(role, row);
		if (!member)
			member = router_add_member(router, role, row);
		member->seen = true;
		member->live = !row->draining;
		member->local = strcmp(row->zone, router->settings.zone) == 0;
	}
	LIST_EACH (role, link) {
		struct router_member *member = container_of(link, struct router_member, member_link);
		if (!member->seen)
			member->live = false;
	}
}

static void router_drop_member(struct router *router, struct router_member *member)
{
	struct bus_link *link = member->link;
	list_remove(&member->member_link);
	member->link = NULL;
	free(member->address);
	free(member);
	bus_unlink(router->bus, link);
}

// Members that are gone stay until nothing of ours is with them.
static void router_drop_gone(struct router *router, struct list *role)
{
	LIST_EACH (role, link) {
		struct router_member *member = container_of(link, struct router_member, member_link);
		if (!member->seen && list_empty(&member->queue) && list_empty(&member->in_flight))
			router_drop_member(router, member);
	}
}

void router_view(struct router *router, const struct cluster_view *view)
{
	router_take_members(router, &router->writers, WEIR__ROLE__WRITER, view);
	router_take_members(router, &router->readers, WEIR__ROLE__READER, view);
	router_drop_gone(router, &router->readers);
}

static size_t router_count(const struct list *role)
{
	size_t count = 0;
	LIST_EACH (role, link)
		count += container_of(link, struct router_member, member_link)->live;
	return count;
}

size_t router_writer_count(const struct router *router)
{
	return router_count(&router->writers);
}

size_t router_reader_count(const struct router *router)
{
	return router_count(&router->readers);
}

// Better first: reached lately, then our zone, then the rendezvous weight (as placement_choose, without an array a call).
static struct router_member *router_choose(const struct router *router, const struct list *role, uint64_t key)
{
	struct router_member *best = NULL;
	uint64_t best_rank = 0, best_weight = 0;
	LIST_EACH (role, link) {
		struct router_member *member = container_of(link, struct router_member, member_link);
		if (!member->live)
			continue;
		uint64_t rank = (member->avoid_until_us <= router->env->now_us ? 2u : 0u) + (member->local ? 1u : 0u);
		uint64_t weight = placement_mix(member->hash, key);
		if (!best || rank > best_rank || (rank == best_rank && weight > best_weight)) {
			best = member;
			best_rank = rank;
			best_weight = weight;
		}
	}
	return best;
}

struct bus_link *router_reader(struct router *router, const struct uuid *topic_id, int32_t partition)
{
	struct router_member *reader = router_choose(router, &router->readers, placement_partition_key(topic_id, partition));
	return reader ? reader->link : NULL;
}

void router_avoid_reader(struct router *router, const struct bus_link *reader)
{
	LIST_EACH (&router->readers, link) {
		struct router_member *member = container_of(link, struct router_member, member_link);
		if (member->link == reader)
			member->avoid_until_us = deadline_in_ms(router->env, ROUTER_AVOID_MS);
	}
}

static bool router_usable(const struct router_member *writer)
{
	return writer->live && writer->avoid_until_us <= writer->router->env->now_us;
}

// Routes: where a partition's appends are

static struct router_route *router_find_route(struct router *router, const struct append_part *part)
{
	struct router_route_key key = {part->topic_id, part->partition};
	struct router_route *route;
	HASH_FIND(hh, router->routes, &key, sizeof key, route);
	return route;
}

static struct router_member *router_writer_of(struct router *router, const struct append_part *part)
{
	struct router_route *route = router_find_route(router, part);
	if (route)
		return route->writer;
	uint64_t key = placement_partition_key(&part->topic_id, part->partition);
	struct router_member *writer = router_choose(router, &router->writers, key);
	return writer ? writer : &router->nowhere;
}

static void router_hold_route(struct router *router, const struct append_part *part, struct router_member *writer)
{
	struct router_route *route = router_find_route(router, part);
	if (!route) {
		route = memory_zalloc(sizeof *route);
		route->key = (struct router_route_key){part->topic_id, part->partition};
		route->writer = writer;
		HASH_ADD(hh, router->routes, key, sizeof route->key, route);
	}
	CHECK(route->writer == writer);
	route->shares++;
}

static void router_release_route(struct router *router, const struct append_part *part)
{
	struct router_route *route = router_find_route(router, part);
	CHECK(route && route->shares > 0);
	if (--route->shares > 0)
		return;
	HASH_DEL(router->routes, route);
	free(route);
}

// Shares

static struct append_share *router_new_share(struct append_ticket *ticket, struct router_member *writer, size_t parts_max)
{
	struct append_share *share = memory_zalloc(sizeof *share);
	share->ticket = ticket;
	share->writer = writer;
	share->parts = memory_alloc(parts_max * sizeof *share->parts);
	share->order = ++ticket->router->last_order;
	list_append(&ticket->shares, &share->ticket_link);
	list_append(&writer->queue, &share->link);
	share->waiting = true;
	ticket->router->waiting++;
	return share;
}

static void router_free_share(struct append_share *share)
{
	struct router *router = share->ticket->router;
	for (size_t i = 0; i < share->count; i++)
		router_release_route(router, &share->ticket->parts[share->parts[i]]);
	router->waiting -= share->waiting;
	list_remove(&share->link);
	list_remove(&share->ticket_link);
	free(share->parts);
	free(share);
}

// The share of this split that goes to writer and has room; shares of a split are the ticket's last ones.
static struct append_share *router_open_share(
	struct append_ticket *ticket, struct list *before, struct router_member *writer, uint64_t bytes, size_t parts_max)
{
	for (struct list *link = ticket->shares.prev; link != before; link = link->prev) {
		struct append_share *share = container_of(link, struct append_share, ticket_link);
		if (share->writer == writer && share->bytes + bytes <= ROUTER_SHARE_BYTES)
			return share;
		if (share->writer == writer)
			break;
	}
	return router_new_share(ticket, writer, parts_max);
}

static void router_split(struct append_ticket *ticket, const size_t *indices, size_t count)
{
	struct router *router = ticket->router;
	struct list *before = ticket->shares.prev;
	for (size_t i = 0; i < count; i++) {
		const struct append_part *part = &ticket->parts[indices[i]];
		struct router_member *writer = router_writer_of(router, part);
		struct append_share *share = router_open_share(ticket, before, writer, part->records.len, count);
		router_hold_route(router, part, writer);
		share->parts[share->count++] = indices[i];
		share->bytes += part->records.len;
	}
}

static void router_free_ticket(struct append_ticket *ticket)
{
	CHECK(list_empty(&ticket->shares));
	timeouts_clear(ticket->router->timeouts, &ticket->timeout);
	slice_done(&ticket->frame);
	free(ticket->parts);
	free(ticket);
}

// Ends a share: outcomes has one for each of its parts, or one for all if every is false.
static void router_finish_share(struct append_share *share, const struct append_outcome *outcomes, bool every)
{
	struct append_ticket *ticket = share->ticket;
	for (size_t i = 0; i < share->count; i++) {
		ticket->left--;
		if (ticket->done)
			ticket->done(ticket->ctx, share->parts[i], &outcomes[every ? i : 0]);
	}
	router_free_share(share);
	if (ticket->left == 0)
		router_free_ticket(ticket);
}

static void router_fail_share(struct append_share *share, enum error error, bool sent)
{
	struct append_outcome outcome = {error, sent, -1, -1, -1, ""};
	router_finish_share(share, &outcome, false);
}

static struct append_share *router_waiting_share(struct append_ticket *ticket)
{
	LIST_EACH (&ticket->shares, link) {
		struct append_share *share = container_of(link, struct append_share, ticket_link);
		if (share->waiting)
			return share;
	}
	return NULL;
}

// The time of a ticket is over: what still waits was surely not sent. What is in flight has its own timeout in the bus.
static void router_on_ticket_due(struct timeout *timeout)
{
	struct append_ticket *ticket = container_of(timeout, struct append_ticket, timeout);
	struct append_share *share;
	bool over = false;
	while (!over && (share = router_waiting_share(ticket))) {
		over = share->count == ticket->left; // the ticket goes with its last share
		router_fail_share(share, ERROR_TIMED_OUT, false);
	}
}

struct append_ticket *router_append(struct router *router, struct slice frame, const struct append_part *parts, size_t count,
	uint32_t timeout_ms, uint64_t correlation, append_done_fn done, void *ctx)
{
	CHECK(count > 0);
	struct append_ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket->router = router;
	ticket->frame = slice_ref(frame);
	ticket->parts = memory_alloc(count * sizeof *parts);
	memcpy(ticket->parts, parts, count * sizeof *parts);
	ticket->left = count;
	ticket->deadline_us = deadline_in_ms(router->env, timeout_ms);
	ticket->correlation = correlation;
	ticket->done = done;
	ticket->ctx = ctx;
	ticket->timeout.on_due = router_on_ticket_due;
	list_init(&ticket->shares);
	timeouts_set(router->timeouts, &ticket->timeout, ticket->deadline_us);
	size_t *indices = memory_alloc(count * sizeof *indices);
	for (size_t i = 0; i < count; i++)
		indices[i] = i;
	router_split(ticket, indices, count);
	free(indices);
	return ticket;
}

void router_abandon(struct append_ticket *ticket)
{
	ticket->done = NULL;
}

// Sending

struct append_message {
	Weir__AppendPartition *rows;
	struct slice *frames;
	size_t frame_count;
};

// The payload frames: runs of the request's frame that hold the share's batches, and where each batch is in them.
static void router_place(const struct append_share *share, struct append_message *message)
{
	const struct append_ticket *ticket = share->ticket;
	for (size_t i = 0; i < share->count; i++) {
		const struct append_part *part = &ticket->parts[share->parts[i]];
		const uint8_t *data = part->records.data;
		struct slice *last = message->frame_count ? &message->frames[message->frame_count - 1] : NULL;
		if (last && data >= last->data + last->len && data - (last->data + last->len) <= ROUTER_GAP_BYTES)
			last->len = (size_t)(data - last->data) + part->records.len;
		else
			message->frames[message->frame_count++] = (struct slice){ticket->frame.block, data, part->records.len};
		last = &message->frames[message->frame_count - 1];
		Weir__AppendPartition *row = &message->rows[i];
		weir__append_partition__init(row);
		row->topic_id = protobuf_uuid(&part->topic_id);
		row->partition = part->partition;
		row->frame = (uint32_t)(message->frame_count - 1);
		row->position = (uint32_t)(data - last->data);
		row->length = (uint32_t)part->records.len;
		row->message_bytes_max = part->message_bytes_max;
		row->log_append_time = part->log_append_time;
	}
}

static void router_on_reply(void *ctx, enum error error, const struct bus_message *reply);

static void router_send(struct append_share *share)
{
	struct router_member *writer = share->writer;
	struct router *router = writer->router;
	struct arena arena;
	arena_init(&arena, 0);
	struct append_message message = {
		.rows = arena_alloc(&arena, share->count * sizeof *message.rows),
		.frames = arena_alloc(&arena, share->count * sizeof *message.frames),
	};
	router_place(share, &message);
	Weir__AppendRequest request = WEIR__APPEND_REQUEST__INIT;
	request.n_partitions = share->count;
	request.partitions = arena_alloc(&arena, share->count * sizeof *request.partitions);
	for (size_t i = 0; i < share->count; i++)
		request.partitions[i] = &message.rows[i];
	request.frontend = protobuf_uuid(&router->settings.instance);
	uint64_t left_us =
		share->ticket->deadline_us > router->env->now_us ? share->ticket->deadline_us - router->env->now_us : 0;
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__APPEND,
		.body = &request.base,
		.frames = message.frames,
		.frame_count = message.frame_count,
		.timeout_ms = (uint32_t)(left_us / 1000 + 1),
		.correlation = share->ticket->correlation};
	list_remove(&share->link);
	list_append(&writer->in_flight, &share->link);
	share->waiting = false;
	share->returned = false;
	router->waiting--;
	router->counters.appends++;
	router->counters.append_bytes += share->bytes;
	router->in_flight_bytes += share->bytes;
	writer->in_flight_bytes += share->bytes;
	bus_call(router->bus, writer->link, &send, router_on_reply, share);
	arena_done(&arena);
}

static bool router_window_open(const struct router_member *writer, uint64_t bytes)
{
	return writer->in_flight_bytes == 0 || writer->in_flight_bytes + bytes <= writer->window;
}

// Splits anew, in order, what waited for a writer that takes no more.
static void router_move(struct router_member *writer)
{
	struct router *router = writer->router;
	struct list moving;
	list_init(&moving);
	for (struct list *link; (link = list_pop(&writer->queue));)
		list_append(&moving, link);
	// Holds go first, all of them: each route must be free before its partition's first share chooses anew.
	LIST_EACH (&moving, link) {
		struct append_share *share = container_of(link, struct append_share, link);
		for (size_t i = 0; i < share->count; i++)
			router_release_route(router, &share->ticket->parts[share->parts[i]]);
	}
	for (struct list *link; (link = list_pop(&moving));) {
		struct append_share *share = container_of(link, struct append_share, link);
		router->waiting--;
		list_remove(&share->ticket_link);
		router_split(share->ticket, share->parts, share->count);
		free(share->parts);
		free(share);
	}
}

// Whether something sent after it is still under way.
static bool router_is_overtaken(const struct append_share *share)
{
	const struct list *in_flight = &share->writer->in_flight;
	return share->returned && !list_empty(in_flight) &&
	       container_of(in_flight->prev, struct append_share, link)->order > share->order;
}

static void router_pump(struct router_member *writer)
{
	if (!router_usable(writer)) {
		struct router_member *other = router_choose(writer->router, &writer->router->writers, 0);
		if (other && other != writer && list_empty(&writer->in_flight) && !list_empty(&writer->queue))
			router_move(writer);
		return;
	}
	while (!list_empty(&writer->queue)) {
		struct append_share *share = container_of(writer->queue.next, struct append_share, link);
		if (router_is_overtaken(share) || !router_window_open(writer, share->bytes))
			return;
		router_send(share);
	}
}

// Surely not sent: back to its place, before all that came after it.
static void router_requeue(struct append_share *share)
{
	struct list *place = share->writer->queue.next;
	while (place != &share->writer->queue && container_of(place, struct append_share, link)->order < share->order)
		place = place->next;
	list_remove(&share->link);
	list_append(place, &share->link); // before place
	share->waiting = share->returned = true;
	share->writer->router->waiting++;
}

// A share of this order got through, or may have: what came back and is older cannot keep its place.
static void router_fail_overtaken(struct router_member *writer, uint64_t order)
{
	while (!list_empty(&writer->queue)) {
		struct append_share *share = container_of(writer->queue.next, struct append_share, link);
		if (!share->returned || share->order > order)
			return;
		router_fail_share(share, ERROR_BUSY, false);
	}
}

static void router_apply_reply(struct append_share *share, const Weir__AppendReply *reply)
{
	if (reply->n_results != share->count) {
		router_fail_share(share, ERROR_INTERNAL, true);
		return;
	}
	struct append_outcome *outcomes = memory_alloc(share->count * sizeof *outcomes);
	for (size_t i = 0; i < share->count; i++) {
		const Weir__AppendResult *result = reply->results[i];
		outcomes[i] = (struct append_outcome){error_from_wire(result->error), true, result->base_offset,
			result->log_append_time_ms, result->log_start, result->message};
	}
	router_finish_share(share, outcomes, true);
	free(outcomes);
}

static void router_take_reply(struct append_share *share, const struct bus_message *message)
{
	struct router_member *writer = share->writer;
	struct arena arena;
	arena_init(&arena, 0);
	Weir__AppendReply *reply = protobuf_unpack(&weir__append_reply__descriptor, message->body, &arena);
	CHECK(reply); // a malformed message from a sibling is a bug
	if (reply->window_bytes)
		writer->window = reply->window_bytes;
	router_apply_reply(share, reply);
	arena_done(&arena);
}

static void router_on_reply(void *ctx, enum error error, const struct bus_message *reply)
{
	struct append_share *share = ctx;
	struct router_member *writer = share->writer;
	struct router *router = writer->router;
	bool unsent = error == ERROR_UNREACHABLE || error == ERROR_BUSY;
	writer->in_flight_bytes -= share->bytes;
	router->in_flight_bytes -= share->bytes;
	if (!unsent)
		router_fail_overtaken(writer, share->order);
	if (error == ERROR_OK) {
		router_take_reply(share, reply);
	} else if (unsent && share->ticket->deadline_us > router->env->now_us) {
		uint64_t pause_ms = error == ERROR_BUSY ? ROUTER_BUSY_PAUSE_MS : ROUTER_AVOID_MS;
		writer->avoid_until_us = deadline_in_ms(router->env, pause_ms);
		router->counters.reroutes++;
		router_requeue(share);
	} else {
		router_fail_share(share, error, !unsent);
	}
}

uint64_t router_step(struct router *router)
{
	uint64_t next_us = DEADLINE_NEVER;
	router_pump(&router->nowhere);
	LIST_EACH (&router->writers, link) {
		struct router_member *writer = container_of(link, struct router_member, member_link);
		router_pump(writer);
	}
	LIST_EACH (&router->writers, link) {
		struct router_member *writer = container_of(link, struct router_member, member_link);
		if (!list_empty(&writer->queue) && writer->avoid_until_us > router->env->now_us)
			next_us = deadline_min(next_us, writer->avoid_until_us);
		else if (!list_empty(&writer->queue) && router_usable(writer) && list_empty(&writer->in_flight))
			next_us = 0; // what was moved to a writer that was already looked at
	}
	router_drop_gone(router, &router->writers);
	return next_us;
}

uint64_t router_in_flight_bytes(const struct router *router)
{
	return router->in_flight_bytes;
}

size_t router_waiting(const struct router *router)
{
	return router->waiting;
}

const struct router_counters *router_counters(const struct router *router)
{
	return &router->counters;
}

static void router_free_shares(struct list *shares)
{
	while (!list_empty(shares)) {
		struct append_share *share = container_of(shares->next, struct append_share, link);
		CHECK(!share->ticket->done);
		router_fail_share(share, ERROR_CANCELED, true);
	}
}

static void router_free_role(struct router *router, struct list *role)
{
	LIST_EACH (role, link) {
		struct router_member *member = container_of(link, struct router_member, member_link);
		router_free_shares(&member->queue);
		// Unlinking cancels the calls, whose replies end the shares in flight.
		bus_unlink(router->bus, member->link);
		CHECK(list_empty(&member->in_flight));
		list_remove(&member->member_link);
		free(member->address);
		free(member);
	}
}

void router_free(struct router **router)
{
	if (!*router)
		return;
	router_free_shares(&(*router)->nowhere.queue);
	router_free_role(*router, &(*router)->readers);
	router_free_role(*router, &(*router)->writers);
	CHECK(!(*router)->routes);
	free(*router);
	*router = NULL;
}
