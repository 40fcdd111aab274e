#include "common/runtime/admin_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/base/unit.h"

static struct loop *loop;
static struct metrics *metrics;
static struct admin_http *admin;
static const char *not_ready;
static uint64_t count = 7;
static char answer[1 << 20];

static const char *ready(void *ctx)
{
	(void)ctx;
	return not_ready;
}

static int console_page(void *ctx, const char *query, struct buffer *body)
{
	buffer_bytes(body, bytes_of(ctx));
	buffer_bytes(body, bytes_of(query));
	return 200;
}

static int large_page(void *ctx, const char *query, struct buffer *body)
{
	(void)ctx;
	(void)query;
	buffer_extend(body, 17 << 20);
	return 200;
}

static void setup(void)
{
	static char text[] = "console:";
	loop = loop_new();
	metrics = metrics_new();
	metrics_counter(metrics, "turns_total", NULL, "Turns.", &count);
	CU_ASSERT_EQUAL_FATAL(admin_http_new(loop, "127.0.0.1:0", "reader", metrics, ready, NULL, &admin), ERROR_OK);
	admin_http_page(admin, "/api/topics", "application/json", console_page, text);
	admin_http_page(admin, "/large", "text/plain", large_page, NULL);
	not_ready = NULL;
}

static void teardown(void)
{
	admin_http_free(&admin);
	metrics_free(&metrics);
	loop_free(&loop);
}

static int connect_admin(void)
{
	const char *address = admin_http_address(admin);
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CU_ASSERT_EQUAL_FATAL(strncmp(address, "127.0.0.1:", 10), 0);
	peer.sin_port = htons((uint16_t)atoi(address + 10));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&peer, sizeof peer), 0);
	return fd;
}

// Sends a request that asks to close and reads until the end; the loop turns meanwhile.
static void ask(const char *request)
{
	size_t len = 0;
	int fd = connect_admin();
	CU_ASSERT_EQUAL(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	for (;;) {
		ssize_t part = recv(fd, answer + len, sizeof answer - 1 - len, MSG_DONTWAIT);
		if (part == 0 || (part < 0 && errno != EAGAIN))
			break;
		if (part > 0)
			len += (size_t)part;
		else
			loop_turn(loop, 1);
	}
	answer[len] = '\0';
	close(fd);
}

static void get(const char *path)
{
	char request[256];
	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	ask(request);
}

static bool answered(const char *start, const char *end)
{
	size_t len = strlen(answer), end_len = strlen(end);
	return strncmp(answer, start, strlen(start)) == 0 && len >= end_len && strcmp(answer + len - end_len, end) == 0;
}

static void own_pages(void)
{
	setup();
	get("/healthz");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "\r\n\r\nok\n"));
	get("/readyz");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "\r\n\r\nready\n"));
	not_ready = "no coordinator";
	get("/readyz");
	CU_ASSERT_TRUE(answered("HTTP/1.1 503 ", "\r\n\r\nno coordinator\n"));
	get("/metrics");
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, "\nweir_reader_turns_total 7\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, "text/plain; version=0.0.4"));
	teardown();
}

static void pages_of_a_role(void)
{
	setup();
	get("/api/topics?prefix=a%20b&n=1");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "\r\n\r\nconsole:prefix=a%20b&n=1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, "Content-Type: application/json\r\n"));
	get("/api/topics");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "\r\n\r\nconsole:"));
	get("/api/topics/");
	CU_ASSERT_TRUE(answered("HTTP/1.1 404 ", "\r\n\r\nno such page\n"));
	get("/large");
	CU_ASSERT_TRUE(answered("HTTP/1.1 500 ", "too large\n"));
	teardown();
}

static void only_get_and_head(void)
{
	setup();
	ask("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "\r\n\r\n"));
	ask("POST /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
	CU_ASSERT_TRUE(answered("HTTP/1.1 405 ", "only GET and HEAD\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(answer, "Allow: GET, HEAD\r\n"));
	ask("DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	CU_ASSERT_TRUE(answered("HTTP/1.1 405 ", ""));
	ask("nonsense\r\n\r\n");
	get("/healthz");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "ok\n"));
	teardown();
}

// More connections than allowed wait or are refused, and the port lives on; a client that goes away mid-request too.
static void connections_are_bounded(void)
{
	int fds[100];
	setup();
	for (unsigned i = 0; i < 100; i++) {
		fds[i] = connect_admin();
		CU_ASSERT_EQUAL(send(fds[i], "GET /me", 7, MSG_NOSIGNAL), 7);
		loop_turn(loop, 0);
	}
	for (unsigned i = 0; i < 100; i++)
		close(fds[i]);
	get("/healthz");
	CU_ASSERT_TRUE(answered("HTTP/1.1 200 ", "ok\n"));
	teardown();
}

static void addresses(void)
{
	struct admin_http *other = NULL;
	static const char *const refused[] = {"", "127.0.0.1", "256.0.0.1:0", "127.0.0.1:99999", ":http:x"};
	setup();
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		CU_ASSERT_EQUAL(admin_http_new(loop, refused[i], "x", metrics, NULL, NULL, &other), ERROR_UNREACHABLE);
	CU_ASSERT_EQUAL(admin_http_new(loop, admin_http_address(admin), "x", metrics, NULL, NULL, &other), ERROR_UNREACHABLE);
	CU_ASSERT_EQUAL_FATAL(admin_http_new(loop, ":0", "x", metrics, NULL, NULL, &other), ERROR_OK);
	admin_http_free(&other);
	CU_ASSERT_PTR_NULL(other);
	admin_http_free(&other);
	teardown();
}

UNIT_MAIN("admin_http", {"own pages", own_pages}, {"pages of a role", pages_of_a_role},
	{"only GET and HEAD", only_get_and_head}, {"connections are bounded", connections_are_bounded},
	{"addresses", addresses})
