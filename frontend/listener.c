#include "frontend/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/memory.h"

enum { LISTENER_BACKLOG = 1024, LISTENER_ACCEPTS_A_TURN = 64, LISTENER_PAUSE_MS = 1000 };

struct listener {
	struct loop *loop;
	struct connection_set *set;
	struct loop_fd loop_fd;
	size_t connections_max;
	uint16_t port;
	uint64_t pause_until_us; // out of file descriptors
};

bool listener_split_address(const char *address, char *host, size_t host_size, uint16_t *ret_port)
{
	const char *colon = strrchr(address, ':');
	if (!colon || colon[1] == '\0')
		return false;
	char *end;
	long port = strtol(colon + 1, &end, 10);
	size_t len = (size_t)(colon - address);
	if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
		address++;
		len -= 2;
	}
	if (*end != '\0' || port < 0 || port > UINT16_MAX || len >= host_size)
		return false;
	memcpy(host, address, len);
	host[len] = '\0';
	*ret_port = (uint16_t)port;
	return true;
}

// Set before accept, so that connections inherit it: the default congestion control here paces loopback (facts/limits.md).
static void listener_tune(int fd)
{
	int on = 1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", strlen("cubic"));
}

static int listener_bind(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	listener_tune(fd);
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, LISTENER_BACKLOG) == 0)
		return fd;
	int reason = errno;
	close(fd);
	errno = reason;
	return -1;
}

static int listener_bind_any(const char *host, uint16_t port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
	char service[8];
	int fd = -1;
	snprintf(service, sizeof service, "%u", port);
	if (getaddrinfo(*host ? host : NULL, service, &hints, &found) != 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
		fd = listener_bind(info);
	freeaddrinfo(found);
	return fd;
}

static uint16_t listener_bound_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof address;
	if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return 0;
	return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
					     : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

// As Kafka shows clients: a slash and the address.
static void listener_client_host(const struct sockaddr_storage *address, char *host, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "";
	const void *raw = address->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
							 : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
	(void)inet_ntop(address->ss_family, raw, text, sizeof text);
	snprintf(host, size, "/%s", text);
}

static bool listener_accept(struct listener *listener)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof address;
	int fd = accept4(listener->loop_fd.fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_event(LOG_WARN, "accept_failed", LOG_TEXT("error", strerror(errno)));
			listener->pause_until_us = deadline_in_ms(loop_env(listener->loop), LISTENER_PAUSE_MS);
		}
		return false;
	}
	char host[INET6_ADDRSTRLEN + 2];
	int on = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	listener_client_host(&address, host, sizeof host);
	connection_open(listener->set, fd, host);
	return true;
}

static void listener_on_ready(struct loop_fd *loop_fd, uint32_t events)
{
	(void)events;
	struct listener *listener = container_of(loop_fd, struct listener, loop_fd);
	for (int i = 0; i < LISTENER_ACCEPTS_A_TURN; i++)
		if (connection_set_count(listener->set) >= listener->connections_max || !listener_accept(listener))
			return;
}

enum error listener_new(struct loop *loop, struct connection_set *set, const char *address, size_t connections_max,
	struct listener **ret_listener)
{
	char host[256];
	uint16_t port;
	if (!listener_split_address(address, host, sizeof host, &port)) {
		errno = EINVAL;
		return ERROR_UNREACHABLE;
	}
	int fd = listener_bind_any(host, port);
	if (fd < 0)
		return ERROR_UNREACHABLE;
	struct listener *listener = memory_zalloc(sizeof *listener);
	listener->loop = loop;
	listener->set = set;
	listener->connections_max = connections_max;
	listener->port = listener_bound_port(fd);
	listener->loop_fd = (struct loop_fd){fd, 0, listener_on_ready};
	loop_fd_add(loop, &listener->loop_fd);
	*ret_listener = listener;
	return ERROR_OK;
}

void listener_free(struct listener **listener)
{
	if (!*listener)
		return;
	loop_fd_remove((*listener)->loop, &(*listener)->loop_fd);
	close((*listener)->loop_fd.fd);
	free(*listener);
	*listener = NULL;
}

uint16_t listener_port(const struct listener *listener)
{
	return listener->port;
}

uint64_t listener_step(struct listener *listener, bool open)
{
	bool paused = listener->pause_until_us > loop_env(listener->loop)->now_us;
	bool room = connection_set_count(listener->set) < listener->connections_max;
	uint32_t events = open && room && !paused ? (uint32_t)EPOLLIN : 0;
	if (events != listener->loop_fd.events)
		loop_fd_modify(listener->loop, &listener->loop_fd, events);
	return paused ? listener->pause_until_us : DEADLINE_NEVER;
}
