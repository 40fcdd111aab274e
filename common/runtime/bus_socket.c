#include "common/runtime/bus_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/bus_parcel.h"

enum {
	// A hung or vanished host is noticed within the timeout; a killed process at once, by its closed connection.
	BUS_HEARTBEAT_MS = 500,
	BUS_HEARTBEAT_TIMEOUT_MS = 1500,
	BUS_HANDSHAKE_MS = 2000,
	BUS_CONNECT_TIMEOUT_MS = 2000,
	BUS_RECONNECT_MS = 50,
	BUS_RECONNECT_MAX_MS = 500,
};

static void set_int(void *socket, int option, int value)
{
	CHECK(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

void *bus_socket_new(void *zmq, int type, const struct bus_limits *limits)
{
	void *socket = zmq_socket(zmq, type);
	if (!socket)
		return NULL;
	int64_t frame_bytes_max = (int64_t)limits->message_bytes_max + PARCEL_SLACK_BYTES;
	CHECK(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof frame_bytes_max) == 0);
	set_int(socket, ZMQ_SNDHWM, (int)limits->hwm);
	set_int(socket, ZMQ_RCVHWM, (int)limits->hwm);
	set_int(socket, ZMQ_LINGER, 0);
	set_int(socket, ZMQ_IPV6, 1);
	set_int(socket, ZMQ_HEARTBEAT_IVL, BUS_HEARTBEAT_MS);
	set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, BUS_HEARTBEAT_TIMEOUT_MS);
	set_int(socket, ZMQ_HEARTBEAT_TTL, BUS_HEARTBEAT_TIMEOUT_MS);
	set_int(socket, ZMQ_HANDSHAKE_IVL, BUS_HANDSHAKE_MS);
	set_int(socket, ZMQ_CONNECT_TIMEOUT, BUS_CONNECT_TIMEOUT_MS);
	set_int(socket, ZMQ_RECONNECT_IVL, BUS_RECONNECT_MS);
	set_int(socket, ZMQ_RECONNECT_IVL_MAX, BUS_RECONNECT_MAX_MS);
	if (type == ZMQ_ROUTER)
		set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
	if (type == ZMQ_DEALER)
		set_int(socket, ZMQ_IMMEDIATE, 1);
	return socket;
}

void bus_socket_close(void **socket, int linger_ms)
{
	if (!*socket)
		return;
	set_int(*socket, ZMQ_LINGER, linger_ms);
	CHECK(zmq_close(*socket) == 0);
	*socket = NULL;
}

// With ZMQ_IPV6 libzmq names an IPv4 address "[::ffff:127.0.0.1]"; people and other tools want the plain form.
static void unmap_ipv4(char *address)
{
	static const char mapped[] = "tcp://[::ffff:";
	size_t mapped_len = sizeof mapped - 1, scheme_len = strlen("tcp://");
	char *close = strchr(address, ']');
	if (strncmp(address, mapped, mapped_len) != 0 || !close || !memchr(address, '.', (size_t)(close - address)))
		return;
	size_t host_len = (size_t)(close - address) - mapped_len;
	memmove(address + scheme_len, address + mapped_len, host_len);
	memmove(address + scheme_len + host_len, close + 1, strlen(close + 1) + 1);
}

enum error bus_socket_bind(void *socket, const char *address, char **ret_bound)
{
	char bound[1024];
	size_t size = sizeof bound;
	if (zmq_bind(socket, address) != 0 || zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &size) != 0) {
		log_event(LOG_ERROR, "bind_failed", LOG_TEXT("address", address), LOG_TEXT("reason", zmq_strerror(errno)));
		return ERROR_UNREACHABLE;
	}
	unmap_ipv4(bound);
	*ret_bound = memory_strdup(bound);
	return ERROR_OK;
}

// An event is two frames: u16 event and u32 value in host order, then the address (zmq_socket_monitor(3)).
static bool bus_monitor_receive(struct bus_monitor *monitor, uint16_t *ret_event)
{
	bool more = true;
	uint16_t event = 0;
	for (bool first = true; more; first = false) {
		zmq_msg_t msg;
		zmq_msg_init(&msg);
		if (zmq_msg_recv(&msg, monitor->pair, ZMQ_DONTWAIT) < 0)
			return false;
		if (first && zmq_msg_size(&msg) >= sizeof event)
			memcpy(&event, zmq_msg_data(&msg), sizeof event);
		more = zmq_msg_more(&msg);
		zmq_msg_close(&msg);
	}
	*ret_event = event;
	return true;
}

static void bus_monitor_drain(struct bus_monitor *monitor)
{
	uint16_t event;
	while (monitor->pair && bus_monitor_receive(monitor, &event)) {
		if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
			monitor->on_event(monitor, BUS_CONNECTED);
		else if (event == ZMQ_EVENT_DISCONNECTED)
			monitor->on_event(monitor, BUS_DISCONNECTED);
		else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
			monitor->on_event(monitor, BUS_HANDSHAKE_REFUSED);
	}
}

static void bus_monitor_ready(struct loop_fd *fd, uint32_t events)
{
	(void)events;
	bus_monitor_drain(container_of(fd, struct bus_monitor, fd));
}

// The monitor's ZMQ_FD goes into epoll, which keeps the poll set at one socket a link. That is sound only because nothing but
// receiving happens on this socket and each wake-up receives until EAGAIN: then libzmq has consumed all its signals.
void bus_monitor_start(struct bus_monitor *monitor, struct loop *loop, void *zmq, void *socket, uint64_t number)
{
	char endpoint[64];
	int fd;
	size_t size = sizeof fd;
	snprintf(endpoint, sizeof endpoint, "inproc://monitor-%" PRIu64, number);
	CHECK(zmq_socket_monitor(socket, endpoint,
		      ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
			      ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0);
	monitor->loop = loop;
	monitor->watched = socket;
	monitor->pair = zmq_socket(zmq, ZMQ_PAIR);
	CHECK(monitor->pair && zmq_connect(monitor->pair, endpoint) == 0);
	CHECK(zmq_getsockopt(monitor->pair, ZMQ_FD, &fd, &size) == 0);
	monitor->fd = (struct loop_fd){fd, EPOLLIN, bus_monitor_ready};
	loop_fd_add(loop, &monitor->fd);
	bus_monitor_drain(monitor);
}

void bus_monitor_stop(struct bus_monitor *monitor)
{
	if (!monitor->pair)
		return;
	loop_fd_remove(monitor->loop, &monitor->fd);
	zmq_socket_monitor(monitor->watched, NULL, 0);
	bus_socket_close(&monitor->pair, 0);
}
