#include "common/runtime/admin_http.h"

#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/memory.h"

// libmicrohttpd brings its own epoll fd, which stands in the loop's: when it is ready, or its timeout has come, MHD_run() does
// what there is to do without blocking. Bodies are rendered when asked.

enum {
	ADMIN_CONNECTIONS_MAX = 64,
	ADMIN_CONNECTION_SECONDS = 10,
	ADMIN_CONNECTION_BYTES = 16 << 10,
	ADMIN_BODY_BYTES_MAX = 16 << 20,
};

struct admin_page {
	struct admin_page *next;
	char *path;
	char *content_type;
	admin_page_fn fn;
	void *ctx;
};

struct admin_http {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct loop_fd fd;
	struct loop_timer timer;
	unsigned connections; // after the last run
	const char *role;
	struct metrics *metrics;
	admin_ready_fn ready;
	void *ready_ctx;
	struct admin_page *pages;
	char address[NI_MAXHOST + NI_MAXSERV + 4];
};

static int admin_metrics_page(void *ctx, const char *query, struct buffer *body)
{
	struct admin_http *admin = ctx;
	(void)query;
	metrics_render(admin->metrics, admin->role, body);
	return MHD_HTTP_OK;
}

static int admin_health_page(void *ctx, const char *query, struct buffer *body)
{
	(void)ctx;
	(void)query;
	buffer_bytes(body, bytes_of("ok\n"));
	return MHD_HTTP_OK;
}

static int admin_ready_page(void *ctx, const char *query, struct buffer *body)
{
	struct admin_http *admin = ctx;
	(void)query;
	const char *reason = admin->ready ? admin->ready(admin->ready_ctx) : NULL;
	buffer_bytes(body, bytes_of(reason ? reason : "ready"));
	buffer_u8(body, '\n');
	return reason ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
}

static const struct admin_page *admin_find(const struct admin_http *admin, const char *path)
{
	for (const struct admin_page *page = admin->pages; page; page = page->next)
		if (strcmp(page->path, path) == 0)
			return page;
	return NULL;
}

static enum MHD_Result admin_respond(
	struct MHD_Connection *connection, int status, const char *content_type, struct buffer *body)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
	MHD_destroy_response(response);
	return result;
}

static int admin_fill(const struct admin_http *admin, const char *path, const char *method, const char *query,
	struct buffer *body, const char **ret_content_type)
{
	*ret_content_type = "text/plain; charset=utf-8";
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		buffer_bytes(body, bytes_of("only GET and HEAD\n"));
		return MHD_HTTP_METHOD_NOT_ALLOWED;
	}
	const struct admin_page *page = admin_find(admin, path);
	if (!page) {
		buffer_bytes(body, bytes_of("no such page\n"));
		return MHD_HTTP_NOT_FOUND;
	}
	int status = page->fn(page->ctx, query, body);
	if (body->failed) {
		buffer_clear(body);
		buffer_bytes(body, bytes_of("the page is too large\n"));
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
	*ret_content_type = page->content_type;
	return status;
}

// The request's state is its query, kept by admin_query() before libmicrohttpd takes the address apart.
static enum MHD_Result admin_request(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
	const char *version, const char *upload, size_t *upload_len, void **state)
{
	struct buffer body;
	const char *content_type;
	(void)version;
	(void)upload;
	*upload_len = 0;
	buffer_init(&body, ADMIN_BODY_BYTES_MAX);
	int status = admin_fill(ctx, path, method, *state ? *state : "", &body, &content_type);
	enum MHD_Result result = admin_respond(connection, status, content_type, &body);
	buffer_done(&body);
	return result;
}

static void *admin_query(void *ctx, const char *uri, struct MHD_Connection *connection)
{
	(void)ctx;
	(void)connection;
	const char *mark = strchr(uri, '?');
	return mark ? memory_strdup(mark + 1) : NULL;
}

static void admin_completed(
	void *ctx, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode termination)
{
	(void)ctx;
	(void)connection;
	(void)termination;
	free(*state);
	*state = NULL;
}

static unsigned admin_connections(struct admin_http *admin)
{
	return MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

// At its limit of connections libmicrohttpd stops listening, and starts again only in the MHD_run() after the one that saw a
// connection end. Nothing else may ever wake us for that, so a falling number asks for another run at once.
static void admin_run(struct admin_http *admin)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	unsigned before = admin->connections;
	MHD_run(admin->daemon);
	admin->connections = admin_connections(admin);
	if (admin->connections < before)
		loop_timer_set(admin->loop, &admin->timer, 0);
	else if (MHD_get_timeout(admin->daemon, &timeout_ms) == MHD_YES)
		loop_timer_set(admin->loop, &admin->timer, deadline_in_ms(loop_env(admin->loop), timeout_ms));
	else
		loop_timer_clear(admin->loop, &admin->timer);
}

static void admin_fd_ready(struct loop_fd *fd, uint32_t events)
{
	(void)events;
	admin_run(container_of(fd, struct admin_http, fd));
}

static void admin_timer_due(struct loop_timer *timer)
{
	admin_run(container_of(timer, struct admin_http, timer));
}

// "host:port", "[v6]:port" or ":port". -1 if it cannot listen.
static int admin_listen(const char *address)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
	char host[NI_MAXHOST];
	const char *colon = strrchr(address, ':');
	if (!colon || (size_t)(colon - address) >= sizeof host || strtoul(colon + 1, NULL, 10) > UINT16_MAX)
		return -1;
	bool bracketed = address[0] == '[' && colon[-1] == ']';
	size_t host_len = (size_t)(colon - address) - (bracketed ? 2 : 0);
	memcpy(host, address + (bracketed ? 1 : 0), host_len);
	host[host_len] = '\0';
	bool any = host_len == 0 || strcmp(host, "*") == 0;
	if (getaddrinfo(any ? NULL : host, colon + 1, &hints, &found) != 0)
		return -1;
	int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int yes = 1;
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
			       bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, ADMIN_CONNECTIONS_MAX) != 0)) {
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

static void admin_name_address(struct admin_http *admin, int listen_fd)
{
	struct sockaddr_storage bound = {0};
	socklen_t size = sizeof bound;
	char host[NI_MAXHOST], port[NI_MAXSERV];
	CHECK(getsockname(listen_fd, (struct sockaddr *)&bound, &size) == 0);
	CHECK(getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
		      NI_NUMERICHOST | NI_NUMERICSERV) == 0);
	const char *form = bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s";
	snprintf(admin->address, sizeof admin->address, form, host, port);
}

static struct MHD_Daemon *admin_start(struct admin_http *admin, int listen_fd)
{
	return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, admin_request, admin, MHD_OPTION_LISTEN_SOCKET, listen_fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)ADMIN_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)ADMIN_CONNECTION_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)ADMIN_CONNECTION_BYTES,
		MHD_OPTION_URI_LOG_CALLBACK, admin_query, NULL, MHD_OPTION_NOTIFY_COMPLETED, admin_completed, NULL,
		MHD_OPTION_END);
}

enum error admin_http_new(struct loop *loop, const char *address, const char *role, struct metrics *metrics,
	admin_ready_fn ready, void *ready_ctx, struct admin_http **ret_admin)
{
	int listen_fd = admin_listen(address);
	if (listen_fd < 0)
		return ERROR_UNREACHABLE;
	struct admin_http *admin = memory_zalloc(sizeof *admin);
	*admin = (struct admin_http){.loop = loop,
		.role = role,
		.metrics = metrics,
		.ready = ready,
		.ready_ctx = ready_ctx,
		.timer.on_due = admin_timer_due};
	admin_name_address(admin, listen_fd);
	admin->daemon = admin_start(admin, listen_fd);
	if (!admin->daemon) {
		close(listen_fd);
		free(admin);
		return ERROR_UNREACHABLE;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	CHECK(info);
	admin->fd = (struct loop_fd){info->epoll_fd, EPOLLIN, admin_fd_ready};
	loop_fd_add(loop, &admin->fd);
	admin_http_page(admin, "/metrics", "text/plain; version=0.0.4; charset=utf-8", admin_metrics_page, admin);
	admin_http_page(admin, "/healthz", "text/plain; charset=utf-8", admin_health_page, admin);
	admin_http_page(admin, "/readyz", "text/plain; charset=utf-8", admin_ready_page, admin);
	*ret_admin = admin;
	return ERROR_OK;
}

void admin_http_free(struct admin_http **held)
{
	struct admin_http *admin = *held;
	*held = NULL;
	if (!admin)
		return;
	loop_fd_remove(admin->loop, &admin->fd);
	loop_timer_clear(admin->loop, &admin->timer);
	MHD_stop_daemon(admin->daemon); // closes the listening socket too
	for (struct admin_page *page; (page = admin->pages);) {
		admin->pages = page->next;
		free(page->path);
		free(page->content_type);
		free(page);
	}
	free(admin);
}

void admin_http_page(struct admin_http *admin, const char *path, const char *content_type, admin_page_fn fn, void *ctx)
{
	struct admin_page *page = memory_zalloc(sizeof *page);
	*page = (struct admin_page){admin->pages, memory_strdup(path), memory_strdup(content_type), fn, ctx};
	admin->pages = page; // a later page replaces an earlier one of its path
}

const char *admin_http_address(struct admin_http *admin)
{
	return admin->address;
}
