#include "common/runtime/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/bus_zmq.h"

enum { WATCH_MS = 20 }; // how often readiness and the drain are looked at when nothing else turns the loop

enum { OPTIONS_COMMON_MAX = 8 };

struct daemon_run {
	struct daemon daemon;
	const struct daemon_spec *spec;
	struct option_table table;
	struct option_row *rows;
	void *settings;
	char program[64];
	char env_prefix[64];
	char instance_text[UUID_HEX_SIZE];
	char *address;
	char *feed_address;
	struct loop_fd signals;
	struct loop_step watch;
	uint64_t started_us;
	uint64_t drain_deadline;
	bool started; // spec->start succeeded
	bool was_ready;
	bool draining;
	bool killed; // a second signal
};

#define DAEMON_AT(member) OPTION_AT(struct daemon_settings, member)

static const struct option_row option_bind = {.name = "bind",
	.type = OPTION_TEXT,
	.fallback = "tcp://127.0.0.1:*",
	.unit = "",
	.help = "Where siblings' requests arrive: tcp://host:port, port * for a free one, or ipc://path.",
	.offset = DAEMON_AT(bind)};
static const struct option_row option_feed_bind = {.name = "feed-bind",
	.type = OPTION_TEXT,
	.fallback = "tcp://127.0.0.1:*",
	.unit = "",
	.help = "Where the feed is published.",
	.offset = DAEMON_AT(feed_bind)};
static const struct option_row option_advertise = {.name = "advertise",
	.type = OPTION_TEXT,
	.fallback = "",
	.unit = "",
	.help = "The address that siblings connect to, port * for the bound one. Empty: as bound.",
	.offset = DAEMON_AT(advertise)};
// Not for coordinators: they find each other in etcd.
static const struct option_row option_coordinators = {.name = "coordinators",
	.type = OPTION_TEXT,
	.fallback = NULL,
	.unit = "",
	.help = "The coordinators' addresses, comma-separated, or dns+tcp://name:port.",
	.offset = DAEMON_AT(coordinators)};
static const struct option_row option_rows_common[] = {
	{.name = "admin",
		.type = OPTION_TEXT,
		.fallback = "127.0.0.1:0",
		.unit = "",
		.help = "host:port of the admin port (/metrics /healthz /readyz), port 0 for a free one.",
		.offset = DAEMON_AT(admin)},
	{.name = "zone",
		.type = OPTION_TEXT,
		.fallback = "",
		.unit = "",
		.help = "The zone this process runs in; siblings of the same zone are preferred.",
		.offset = DAEMON_AT(zone)},
	{.name = "log-level",
		.type = OPTION_TEXT,
		.fallback = "info",
		.unit = "",
		.help = "debug, info, warn or error.",
		.offset = DAEMON_AT(log_level)},
	{.name = "drain-timeout",
		.type = OPTION_MS,
		.fallback = "30s",
		.min = 0,
		.max = 3600000,
		.unit = "ms",
		.help = "How long SIGTERM lets work in flight finish.",
		.offset = DAEMON_AT(drain_timeout_ms)},
};

static void daemon_build_table(struct daemon_run *run)
{
	const struct daemon_spec *spec = run->spec;
	size_t common_count = sizeof option_rows_common / sizeof *option_rows_common, count = 0;
	run->rows = memory_zalloc((OPTIONS_COMMON_MAX + spec->row_count) * sizeof *run->rows);
	if (spec->serves) {
		run->rows[count++] = option_bind;
		run->rows[count++] = option_advertise;
	}
	if (spec->publishes)
		run->rows[count++] = option_feed_bind;
	else
		run->rows[count++] = option_coordinators;
	for (size_t i = 0; i < common_count; i++)
		run->rows[count++] = option_rows_common[i];
	for (size_t i = 0; i < spec->row_count; i++)
		run->rows[count++] = spec->rows[i];
	snprintf(run->program, sizeof run->program, "weir-%s", spec->role);
	snprintf(run->env_prefix, sizeof run->env_prefix, "WEIR_%s_", spec->role);
	for (char *at = run->env_prefix; *at; at++)
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - 'a' + 'A');
	run->table = (struct option_table){run->program, run->env_prefix, spec->summary, run->rows, count};
}

static bool daemon_set_log_level(const struct daemon_run *run, const char *name)
{
	static const char *const names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};
	for (unsigned i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(names[i], name) == 0) {
			log_set_level((enum log_level)i);
			return true;
		}
	}
	fprintf(stderr, "%s: --log-level: \"%s\" is not debug, info, warn or error\n", run->program, name);
	return false;
}

static bool daemon_check_coordinators(const struct daemon_run *run, const char *list)
{
	if (run->spec->publishes || list[strspn(list, ", ")] != '\0')
		return true;
	fprintf(stderr, "%s: --coordinators: \"%s\" names no address\n", run->program, list);
	return false;
}

// The hard limit is what the operator allows; each client connection takes one descriptor.
static void daemon_raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

// Signals

static void daemon_begin_drain(struct daemon_run *run, const char *signal)
{
	struct daemon *daemon = &run->daemon;
	run->draining = true;
	run->drain_deadline = deadline_in_ms(daemon->env, (uint64_t)daemon->settings->drain_timeout_ms);
	log_event(LOG_INFO, "drain", LOG_TEXT("signal", signal));
	if (run->spec->drain)
		run->spec->drain(daemon);
}

static void daemon_signal_ready(struct loop_fd *signals, uint32_t events)
{
	struct daemon_run *run = container_of(signals, struct daemon_run, signals);
	struct signalfd_siginfo info;
	(void)events;
	while (read(signals->fd, &info, sizeof info) == sizeof info) {
		if (!run->draining) {
			daemon_begin_drain(run, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
		} else {
			run->killed = true;
			loop_stop(run->daemon.loop);
		}
	}
}

static void daemon_take_signals(struct daemon_run *run)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0); // before the first thread, which inherits it
	signal(SIGPIPE, SIG_IGN);
	run->signals = (struct loop_fd){signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), EPOLLIN, daemon_signal_ready};
	CHECK(run->signals.fd >= 0);
}

// Readiness and drain

static const char *daemon_not_ready(void *ctx)
{
	struct daemon_run *run = ctx;
	if (run->draining)
		return "draining";
	if (!run->started)
		return "starting";
	return run->spec->ready ? run->spec->ready(&run->daemon) : NULL;
}

static void daemon_watch_ready(struct daemon_run *run)
{
	if (daemon_not_ready(run))
		return;
	run->was_ready = true;
	log_event(LOG_INFO, "ready", LOG_NUMBER("after_ms", (run->daemon.env->now_us - run->started_us) / 1000));
}

static void daemon_watch_drain(struct daemon_run *run)
{
	struct daemon *daemon = &run->daemon;
	bool drained = (!run->spec->drained || run->spec->drained(daemon)) && bus_zmq_idle(daemon->bus);
	if (!drained && daemon->env->now_us < run->drain_deadline)
		return;
	log_event(drained ? LOG_INFO : LOG_WARN, drained ? "drained" : "drain_timeout");
	loop_stop(daemon->loop);
}

static uint64_t daemon_watch(void *ctx)
{
	struct daemon_run *run = ctx;
	if (run->draining)
		daemon_watch_drain(run);
	else if (!run->was_ready)
		daemon_watch_ready(run);
	return run->draining || !run->was_ready ? deadline_in_ms(run->daemon.env, WATCH_MS) : DEADLINE_NEVER;
}

// Addresses

static bool address_is_wildcard(const char *address)
{
	return strncmp(address, "tcp://0.0.0.0:", 14) == 0 || strncmp(address, "tcp://[::]:", 11) == 0;
}

// advertise's host with bound's port, if advertise leaves the port open or is for another socket. The caller's to free.
static char *address_advertised(const char *advertise, const char *bound, bool own_port)
{
	const char *colon = strrchr(advertise, ':');
	const char *port = strrchr(bound, ':');
	bool tcp = strncmp(advertise, "tcp://", 6) == 0 && strncmp(bound, "tcp://", 6) == 0;
	if (!*advertise || (!tcp && !own_port))
		return memory_strdup(bound);
	if (!tcp || (own_port && strcmp(colon, ":*") != 0))
		return memory_strdup(advertise);
	size_t host_len = (size_t)(colon - advertise), size = host_len + strlen(port) + 1;
	char *address = memory_alloc(size);
	snprintf(address, size, "%.*s%s", (int)host_len, advertise, port);
	return address;
}

static bool daemon_name_addresses(struct daemon_run *run)
{
	struct daemon *daemon = &run->daemon;
	const char *advertise = daemon->settings->advertise ? daemon->settings->advertise : ""; // NULL: the role serves no pipe
	if (strncmp(advertise, "tcp://", 6) == 0 && !strchr(advertise + 6, ':')) {
		log_event(LOG_ERROR, "refused", LOG_TEXT("setting", "advertise"), LOG_TEXT("reason", "needs a port, or :*"));
		return false;
	}
	if (run->spec->serves)
		run->address = address_advertised(advertise, bus_zmq_address(daemon->bus), true);
	if (run->spec->publishes)
		run->feed_address = address_advertised(advertise, bus_zmq_feed_address(daemon->bus), false);
	if ((run->address && address_is_wildcard(run->address)) ||
		(run->feed_address && address_is_wildcard(run->feed_address))) {
		log_event(LOG_ERROR, "refused", LOG_TEXT("setting", "advertise"),
			LOG_TEXT("reason", "bound to all interfaces, so siblings need to be told an address"));
		return false;
	}
	daemon->address = run->address;
	daemon->feed_address = run->feed_address;
	return true;
}

// Life, in the order daemon.h tells; daemon_down() is its mirror image.

static bool daemon_up(struct daemon_run *run)
{
	struct daemon *daemon = &run->daemon;
	struct bus_zmq_settings bus_settings = {.bind = run->spec->serves ? daemon->settings->bind : NULL,
		.feed_bind = run->spec->publishes ? daemon->settings->feed_bind : NULL};
	loop_fd_add(daemon->loop, &run->signals);
	daemon->metrics = metrics_new();
	if (bus_zmq_new(daemon->loop, &bus_settings, daemon->metrics, &daemon->bus))
		return false;
	if (!daemon_name_addresses(run))
		return false;
	if (admin_http_new(daemon->loop, daemon->settings->admin, run->spec->role, daemon->metrics, daemon_not_ready, run,
		    &daemon->admin)) {
		log_event(LOG_ERROR, "bind_failed", LOG_TEXT("setting", "admin"), LOG_TEXT("address", daemon->settings->admin),
			LOG_TEXT("reason", strerror(errno)));
		return false;
	}
	options_log(&run->table, run->settings);
	log_event(LOG_INFO, "started", LOG_TEXT("version", WEIR_VERSION), LOG_NUMBER("pid", getpid()),
		LOG_TEXT("address", daemon->address), LOG_TEXT("feed", daemon->feed_address),
		LOG_TEXT("admin", admin_http_address(daemon->admin)));
	run->started = run->spec->start(daemon, run->settings);
	return run->started;
}

static void daemon_down(struct daemon_run *run)
{
	struct daemon *daemon = &run->daemon;
	admin_http_free(&daemon->admin);
	bus_zmq_free(&daemon->bus);
	metrics_free(&daemon->metrics);
	loop_fd_remove(daemon->loop, &run->signals);
	close(run->signals.fd);
	loop_free(&daemon->loop);
	log_set_origin(NULL, NULL);
	free(run->address);
	free(run->feed_address);
}

static int daemon_live(struct daemon_run *run)
{
	struct daemon *daemon = &run->daemon;
	daemon_raise_descriptors();
	daemon_take_signals(run);
	daemon->settings = run->settings;
	daemon->loop = loop_new();
	daemon->env = loop_env(daemon->loop);
	daemon->instance = uuid_random(&daemon->env->prng);
	run->started_us = daemon->env->now_us;
	uuid_hex(&daemon->instance, run->instance_text);
	run->instance_text[8] = '\0'; // enough to tell processes apart in a log
	log_set_origin(run->spec->role, run->instance_text);
	bool up = daemon_up(run);
	if (up) {
		run->watch = (struct loop_step){.run = daemon_watch, .ctx = run}; // after the role's own steps
		loop_step_add(daemon->loop, &run->watch);
		loop_run(daemon->loop);
		if (run->killed)
			_exit(1);
		loop_step_remove(daemon->loop, &run->watch);
		run->spec->stop(daemon);
	}
	daemon_down(run);
	return up ? 0 : 1;
}

int daemon_main(int argc, char **argv, const struct daemon_spec *spec)
{
	struct daemon_run run = {.spec = spec};
	bool help;
	int status = 1;
	daemon_build_table(&run);
	CHECK(spec->settings_size >= sizeof(struct daemon_settings));
	run.settings = memory_zalloc(spec->settings_size);
	if (options_parse(&run.table, argc, argv, environ, run.settings, stdout, stderr, &help))
		goto out;
	if (help) {
		status = 0;
		goto out;
	}
	const struct daemon_settings *settings = run.settings;
	if (!daemon_set_log_level(&run, settings->log_level) || !daemon_check_coordinators(&run, settings->coordinators))
		goto out;
	memory_tune();
	status = daemon_live(&run);
out:
	free(run.settings);
	free(run.rows);
	return status;
}
