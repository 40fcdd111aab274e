// Reading goes through a small buffer of the connection (many small requests a system call); a body's bytes beyond it are read
// straight into the request's block. Until its size is granted a body stays in the socket: that is the back-pressure.
//
//	READ_HEAD ──12 bytes──► READ_GRANT ──granted──► READ_BODY ──complete──► READ_HEAD

#include "frontend/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum {
	LENGTH_BYTES = 4,
	HEAD_BYTES = 12,      // length, key, version, correlation id
	FRAME_BYTES_MIN = 10, // the rest of the smallest header: a null client id
	STAGING_BYTES = 4096,
	READS_A_TURN = 8,
	IOVECS = 64,
	SWEEP_MS = 1000,
};

enum reading { READ_HEAD, READ_GRANT, READ_BODY };

// Why connections end, for the metric; the rest is normal life.
enum doom { DOOM_NONE, DOOM_CLIENT, DOOM_PROTOCOL, DOOM_REQUEST, DOOM_IDLE, DOOM_SLOW, DOOM_DRAIN, DOOM_COUNT };

struct slot {
	struct connection *connection;
	struct request *request;
	size_t frame_bytes;
	size_t answer_bytes;
	struct list link;
};

struct connection {
	struct connection_set *set;
	struct loop_fd loop_fd;
	struct client_session session;
	struct list link;
	struct list dirty_link;
	enum doom doom;

	enum reading reading;
	uint8_t staging[STAGING_BYTES];
	size_t staged_begin, staged_end;
	enum admission_class class; // of the frame being read
	size_t frame_bytes;
	struct admission_ask ask;
	struct block *body;
	size_t body_bytes; // read so far
	uint64_t read_us;

	struct list slots; // in order of arrival
	size_t slot_count;
	size_t unanswered_bytes; // frames in slots
	size_t output_bytes;     // answers in slots
	size_t sent_bytes;       // of the first slot's answer
	bool blocked;            // the socket takes no more
	uint64_t sent_us;
};

struct connection_set {
	struct loop *loop;
	const struct env *env;
	struct frontend *frontend;
	struct connection_settings settings;
	struct list all;
	struct list dirty;
	size_t count;
	uint64_t sweep_us;
	bool draining;
	bool handled; // a request since the last step
	uint64_t opened;
	uint64_t closed[DOOM_COUNT];
	uint64_t bytes_in, bytes_out;
};

static void connection_on_ready(struct loop_fd *loop_fd, uint32_t events);
static void connection_on_granted(struct admission_ask *ask);

struct connection_set *connection_set_new(struct loop *loop, const struct connection_settings *settings)
{
	struct connection_set *set = memory_zalloc(sizeof *set);
	set->loop = loop;
	set->env = loop_env(loop);
	set->settings = *settings;
	list_init(&set->all);
	list_init(&set->dirty);
	return set;
}

void connection_set_serve(struct connection_set *set, struct frontend *frontend)
{
	set->frontend = frontend;
}

// To be looked at in this turn's step.
static void connection_mark(struct connection *connection)
{
	if (list_empty(&connection->dirty_link))
		list_append(&connection->set->dirty, &connection->dirty_link);
}

static void connection_doom(struct connection *connection, enum doom doom)
{
	if (connection->doom == DOOM_NONE)
		connection->doom = doom;
	connection_mark(connection);
}

static void connection_refuse(struct connection *connection, const char *reason, int32_t length, int16_t key, int16_t version)
{
	log_event(LOG_WARN, "connection_refused", LOG_TEXT("client", connection->session.client_host),
		LOG_TEXT("reason", reason), LOG_NUMBER("length", length), LOG_NUMBER("api", key),
		LOG_NUMBER("version", version));
	connection_doom(connection, DOOM_PROTOCOL);
}

void connection_open(struct connection_set *set, int fd, const char *client_host)
{
	struct connection *connection = memory_zalloc(sizeof *connection);
	connection->set = set;
	connection->read_us = connection->sent_us = set->env->now_us;
	connection->ask.granted = connection_on_granted;
	client_session_init(&connection->session, client_host);
	list_init(&connection->slots);
	list_init(&connection->dirty_link);
	list_append(&set->all, &connection->link);
	set->count++;
	set->opened++;
	connection->loop_fd = (struct loop_fd){fd, EPOLLIN, connection_on_ready};
	loop_fd_add(set->loop, &connection->loop_fd);
	connection_mark(connection);
}

// Slots

static void slot_free(struct slot *slot)
{
	struct connection *connection = slot->connection;
	list_remove(&slot->link);
	connection->slot_count--;
	connection->unanswered_bytes -= slot->frame_bytes;
	connection->output_bytes -= slot->answer_bytes;
	request_free(&slot->request);
	free(slot);
}

static void connection_close(struct connection *connection)
{
	struct connection_set *set = connection->set;
	loop_fd_remove(set->loop, &connection->loop_fd);
	close(connection->loop_fd.fd);
	while (!list_empty(&connection->slots))
		slot_free(container_of(connection->slots.prev, struct slot, link));
	admission_withdraw(set->frontend->admission, &connection->ask);
	block_unref(&connection->body);
	set->closed[connection->doom]++;
	set->count--;
	list_remove(&connection->link);
	list_remove(&connection->dirty_link);
	free(connection);
}

void connection_set_free(struct connection_set **set)
{
	if (!*set)
		return;
	while (!list_empty(&(*set)->all))
		connection_close(container_of((*set)->all.next, struct connection, link));
	free(*set);
	*set = NULL;
}

static void connection_on_done(struct request *request)
{
	struct slot *slot = request->owner;
	struct connection *connection = slot->connection;
	connection_mark(connection);
	if (request->outcome == REQUEST_CLOSE) {
		connection_doom(connection, DOOM_REQUEST);
	} else if (request->outcome == REQUEST_ANSWERED) {
		if (connection->output_bytes == 0)
			connection->sent_us = connection->set->env->now_us;
		slot->answer_bytes = kafka_writer_len(&request->answer) + request->answer_tail.len;
		connection->output_bytes += slot->answer_bytes;
	}
}

static void connection_handle(struct connection *connection)
{
	struct slot *slot = memory_zalloc(sizeof *slot);
	struct slice frame = slice_take(&connection->body);
	slot->connection = connection;
	slot->frame_bytes = frame.len;
	slot->request = request_new(connection->set->frontend, &connection->session, frame);
	slot->request->owner = slot;
	slot->request->on_done = connection_on_done;
	list_append(&connection->slots, &slot->link);
	connection->slot_count++;
	connection->unanswered_bytes += slot->frame_bytes;
	connection->reading = READ_HEAD;
	connection->set->handled = true;
	frontend_handle(slot->request);
}

// Reading

static size_t connection_staged(const struct connection *connection)
{
	return connection->staged_end - connection->staged_begin;
}

// Whether another request may begin.
static bool connection_has_room(const struct connection *connection)
{
	const struct connection_settings *settings = &connection->set->settings;
	return !connection->set->draining && connection->slot_count < settings->requests_max &&
	       connection->output_bytes <= settings->output_bytes_max &&
	       (connection->slot_count == 0 || connection->unanswered_bytes < settings->connection_bytes_max);
}

static bool connection_may_read(const struct connection *connection)
{
	if (connection->doom != DOOM_NONE || connection->reading == READ_GRANT)
		return false;
	return connection->reading == READ_BODY || connection_has_room(connection);
}

static void connection_begin_body(struct connection *connection)
{
	connection->body = admission_block(connection->set->frontend->admission, connection->class, connection->frame_bytes);
	connection->staged_begin += LENGTH_BYTES;
	size_t staged = connection_staged(connection);
	connection->body_bytes = staged < connection->frame_bytes ? staged : connection->frame_bytes;
	memcpy(connection->body->data, connection->staging + connection->staged_begin, connection->body_bytes);
	connection->staged_begin += connection->body_bytes;
	connection->reading = READ_BODY;
	connection->read_us = connection->set->env->now_us;
}

static void connection_on_granted(struct admission_ask *ask)
{
	struct connection *connection = container_of(ask, struct connection, ask);
	connection_begin_body(connection);
	connection_mark(connection);
}

// The length is here, though perhaps no more: an impossible one ends the connection at once.
static bool connection_check_length(struct connection *connection)
{
	int32_t length = (int32_t)get_u32(connection->staging + connection->staged_begin);
	if (length >= FRAME_BYTES_MIN && (uint64_t)length <= connection->set->settings.request_bytes_max)
		return true;
	connection_refuse(connection, "wrong length of a request", length, -1, -1);
	return false;
}

// Length and header are here: what is it, and is there room for it? Kafka closes the connection on what it cannot know.
static void connection_take_head(struct connection *connection)
{
	const uint8_t *head = connection->staging + connection->staged_begin;
	int32_t length = (int32_t)get_u32(head);
	int16_t key = (int16_t)get_u16(head + 4), version = (int16_t)get_u16(head + 6);
	if (!frontend_api_served(key, version)) {
		connection_refuse(connection, "an API or version that is not served", length, key, version);
		return;
	}
	connection->frame_bytes = (size_t)length;
	connection->class = frontend_api_class(key);
	if (admission_ask(connection->set->frontend->admission, &connection->ask, connection->class, connection->frame_bytes))
		connection_begin_body(connection);
	else
		connection->reading = READ_GRANT;
}

// Goes as far as the bytes that are here, and the limits, allow.
static void connection_parse(struct connection *connection)
{
	while (connection->doom == DOOM_NONE) {
		if (connection->reading == READ_BODY && connection->body_bytes == connection->frame_bytes)
			connection_handle(connection);
		else if (connection->reading != READ_HEAD || connection_staged(connection) < LENGTH_BYTES ||
			 !connection_check_length(connection))
			return;
		else if (connection_staged(connection) >= HEAD_BYTES && connection_has_room(connection))
			connection_take_head(connection);
		else
			return;
	}
}

// A body's bytes go to its block, what comes behind it to the staging buffer, by one system call.
static ssize_t connection_receive(struct connection *connection)
{
	size_t staged = connection_staged(connection);
	memmove(connection->staging, connection->staging + connection->staged_begin, staged);
	connection->staged_begin = 0;
	connection->staged_end = staged;
	struct iovec iovecs[2];
	int count = 0;
	size_t body_left = 0;
	if (connection->reading == READ_BODY) {
		body_left = connection->frame_bytes - connection->body_bytes;
		iovecs[count++] = (struct iovec){connection->body->data + connection->body_bytes, body_left};
	}
	if (staged < STAGING_BYTES)
		iovecs[count++] = (struct iovec){connection->staging + staged, STAGING_BYTES - staged};
	ssize_t got = readv(connection->loop_fd.fd, iovecs, count);
	if (got <= 0)
		return got;
	size_t to_body = (size_t)got < body_left ? (size_t)got : body_left;
	connection->body_bytes += to_body;
	connection->staged_end += (size_t)got - to_body;
	connection->set->bytes_in += (size_t)got;
	connection->read_us = connection->set->env->now_us;
	return got;
}

static void connection_read(struct connection *connection)
{
	for (int i = 0; i < READS_A_TURN && connection_may_read(connection); i++) {
		ssize_t got = connection_receive(connection);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			connection_doom(connection, DOOM_CLIENT);
			return;
		}
		connection_parse(connection);
	}
}

// Writing

static int connection_gather(const struct connection *connection, struct iovec *iovecs)
{
	size_t skip = connection->sent_bytes;
	int count = 0;
	LIST_EACH (&connection->slots, link) {
		const struct slot *slot = container_of(link, struct slot, link);
		const struct request *request = slot->request;
		if (request->outcome == REQUEST_PENDING || count == IOVECS)
			break;
		if (request->outcome != REQUEST_ANSWERED)
			continue;
		size_t written = kafka_writer_len(&request->answer);
		if (skip < written)
			count += kafka_writer_iovec(&request->answer, skip, iovecs + count, IOVECS - count);
		size_t tail_skip = skip > written ? skip - written : 0;
		// Whether the writer's pieces all fitted shows in the room left: a full vector ends here anyway.
		if (count < IOVECS && request->answer_tail.len > tail_skip) {
			uint8_t *data = (uint8_t *)(uintptr_t)request->answer_tail.data;
			iovecs[count++] = (struct iovec){data + tail_skip, request->answer_tail.len - tail_skip};
		}
		skip = 0;
	}
	return count;
}

// Frees the slots at the front whose answer is sent, or that have none.
static void connection_consume(struct connection *connection, size_t sent)
{
	connection->sent_bytes += sent;
	while (!list_empty(&connection->slots)) {
		struct slot *slot = container_of(connection->slots.next, struct slot, link);
		enum request_outcome outcome = slot->request->outcome;
		if (outcome == REQUEST_PENDING || (outcome == REQUEST_ANSWERED && connection->sent_bytes < slot->answer_bytes))
			return;
		connection->sent_bytes -= slot->answer_bytes;
		slot_free(slot);
	}
}

static void connection_send(struct connection *connection)
{
	connection_consume(connection, 0);
	while (connection->doom == DOOM_NONE) {
		struct iovec iovecs[IOVECS];
		struct msghdr message = {.msg_iov = iovecs, .msg_iovlen = (size_t)connection_gather(connection, iovecs)};
		connection->blocked = false;
		if (message.msg_iovlen == 0)
			return;
		ssize_t sent = sendmsg(connection->loop_fd.fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			connection->blocked = true;
			return;
		}
		if (sent < 0) {
			connection_doom(connection, DOOM_CLIENT);
			return;
		}
		connection->set->bytes_out += (size_t)sent;
		connection->sent_us = connection->set->env->now_us;
		connection_consume(connection, (size_t)sent);
	}
}

static void connection_on_ready(struct loop_fd *loop_fd, uint32_t events)
{
	struct connection *connection = container_of(loop_fd, struct connection, loop_fd);
	if (events & EPOLLIN)
		connection_read(connection);
	else if (events & (EPOLLHUP | EPOLLERR))
		connection_doom(connection, DOOM_CLIENT);
	connection_mark(connection);
}

// The set

static void connection_settle(struct connection *connection)
{
	connection_send(connection);
	connection_parse(connection); // what was staged may go on now
	if (connection->set->draining && connection->doom == DOOM_NONE && connection->slot_count == 0 &&
		connection->reading != READ_BODY)
		connection_doom(connection, DOOM_DRAIN);
	if (connection->doom != DOOM_NONE) {
		connection_close(connection);
		return;
	}
	uint32_t events =
		(connection_may_read(connection) ? (uint32_t)EPOLLIN : 0) | (connection->blocked ? (uint32_t)EPOLLOUT : 0);
	if (events != connection->loop_fd.events)
		loop_fd_modify(connection->set->loop, &connection->loop_fd, events);
}

static bool connection_older(const struct connection *connection, uint64_t since_us, uint64_t limit_ms)
{
	return connection->set->env->now_us - since_us > limit_ms * 1000;
}

static void connection_check_age(struct connection *connection)
{
	const struct connection_settings *settings = &connection->set->settings;
	uint64_t active_us = connection->read_us > connection->sent_us ? connection->read_us : connection->sent_us;
	if (connection->output_bytes > 0 && connection->blocked &&
		connection_older(connection, connection->sent_us, settings->send_ms))
		connection_doom(connection, DOOM_SLOW);
	else if (connection->reading == READ_BODY && connection_older(connection, connection->read_us, settings->body_ms))
		connection_doom(connection, DOOM_SLOW);
	else if (connection->slot_count == 0 && connection->reading == READ_HEAD &&
		 connection_older(connection, active_us, settings->idle_ms))
		connection_doom(connection, DOOM_IDLE);
}

uint64_t connection_set_step(struct connection_set *set)
{
	if (set->env->now_us >= set->sweep_us) {
		set->sweep_us = deadline_in_ms(set->env, SWEEP_MS);
		LIST_EACH (&set->all, link)
			connection_check_age(container_of(link, struct connection, link));
	}
	set->handled = false;
	// Each once: what answers itself at once while it is settled comes again in the next turn.
	struct list settling;
	list_init(&settling);
	for (struct list *link; (link = list_pop(&set->dirty));)
		list_append(&settling, link);
	for (struct list *link; (link = list_pop(&settling));)
		connection_settle(container_of(link, struct connection, dirty_link));
	return set->handled || !list_empty(&set->dirty) ? 0 : set->count > 0 ? set->sweep_us : DEADLINE_NEVER;
}

size_t connection_set_count(const struct connection_set *set)
{
	return set->count;
}

void connection_set_drain(struct connection_set *set)
{
	set->draining = true;
	LIST_EACH (&set->all, link)
		connection_mark(container_of(link, struct connection, link));
}

static int64_t connection_gauge_count(void *ctx)
{
	return (int64_t)((struct connection_set *)ctx)->count;
}

void connection_set_register_metrics(struct connection_set *set, struct metrics *metrics)
{
	static const char *const labels[DOOM_COUNT] = {"reason=\"stop\"", "reason=\"client\"", "reason=\"protocol\"",
		"reason=\"request\"", "reason=\"idle\"", "reason=\"slow\"", "reason=\"drain\""};
	metrics_gauge_of(metrics, "connections", NULL, "Connections of clients", connection_gauge_count, set);
	metrics_counter(metrics, "connections_opened_total", NULL, "Connections accepted", &set->opened);
	for (int doom = 0; doom < DOOM_COUNT; doom++)
		metrics_counter(metrics, "connections_closed_total", labels[doom], "Connections closed, by who ended it",
			&set->closed[doom]);
	metrics_counter(metrics, "received_bytes_total", NULL, "Bytes read from clients", &set->bytes_in);
	metrics_counter(metrics, "sent_bytes_total", NULL, "Bytes written to clients", &set->bytes_out);
}
