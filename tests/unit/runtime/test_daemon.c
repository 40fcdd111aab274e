#include "common/runtime/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/base/unit.h"

// A small daemon in a process of its own (this program, started anew); the test reads what it logs.

struct probe_settings {
	struct daemon_settings daemon;
	bool refuses;
	bool hangs;
};

struct probe {
	struct loop_timer timer;
	bool ready;
	bool draining;
	unsigned drain_turns;
	bool hangs;
};

static struct probe probe;

static void probe_due(struct loop_timer *timer)
{
	(void)timer;
	probe.ready = true;
}

static bool probe_start(struct daemon *daemon, const void *settings)
{
	const struct probe_settings *own = settings;
	if (own->refuses)
		return false;
	probe.hangs = own->hangs;
	probe.timer.on_due = probe_due;
	loop_timer_set(daemon->loop, &probe.timer, deadline_in_ms(daemon->env, 5));
	daemon->role = &probe;
	return true;
}

static const char *probe_ready(struct daemon *daemon)
{
	(void)daemon;
	return probe.ready ? NULL : "warming up";
}

static void probe_drain(struct daemon *daemon)
{
	(void)daemon;
	probe.draining = true;
}

static bool probe_drained(struct daemon *daemon)
{
	(void)daemon;
	return !probe.hangs && probe.draining && ++probe.drain_turns == 3;
}

static void probe_stop(struct daemon *daemon)
{
	loop_timer_clear(daemon->loop, &probe.timer);
}

static const struct option_row probe_rows[] = {
	{.name = "refuses",
		.type = OPTION_BOOL,
		.fallback = "false",
		.unit = "",
		.help = "Start fails.",
		.offset = OPTION_AT(struct probe_settings, refuses)},
	{.name = "hangs",
		.type = OPTION_BOOL,
		.fallback = "false",
		.unit = "",
		.help = "Never drained.",
		.offset = OPTION_AT(struct probe_settings, hangs)},
};

static const struct daemon_spec probe_spec = {
	.role = "probe",
	.summary = "is a daemon for tests.",
	.rows = probe_rows,
	.row_count = 2,
	.settings_size = sizeof(struct probe_settings),
	.serves = true,
	.publishes = true,
	.start = probe_start,
	.ready = probe_ready,
	.drain = probe_drain,
	.drained = probe_drained,
	.stop = probe_stop,
};

struct child {
	pid_t pid;
	int fd; // its stderr
	char log[65536];
	size_t len;
};

static struct child child;

static void spawn(const char *first, const char *second)
{
	int pipes[2];
	memset(&child, 0, sizeof child);
	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	child.pid = fork();
	if (child.pid == 0) {
		dup2(pipes[1], STDERR_FILENO);
		int null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		execl("/proc/self/exe", "test_runtime_daemon", "--zone=a", first, second, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	child.fd = pipes[0];
}

static bool read_more(void)
{
	ssize_t part = read(child.fd, child.log + child.len, sizeof child.log - 1 - child.len);
	if (part <= 0)
		return false;
	child.len += (size_t)part;
	child.log[child.len] = '\0';
	return true;
}

// False if the log ended without it.
static bool until_logged(const char *text)
{
	while (!strstr(child.log, text))
		if (!read_more())
			return false;
	return true;
}

static int reap(void)
{
	int status;
	while (read_more())
		;
	close(child.fd);
	CU_ASSERT_EQUAL(waitpid(child.pid, &status, 0), child.pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void life(void)
{
	spawn("--admin=127.0.0.1:0", NULL);
	CU_ASSERT_TRUE(until_logged("event=ready after_ms="));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, "role=probe"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, " zone=a"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, " drain-timeout=30000"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, "address=tcp://127.0.0.1:"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, "feed=tcp://127.0.0.1:"));
	CU_ASSERT_EQUAL(kill(child.pid, SIGTERM), 0);
	CU_ASSERT_EQUAL(reap(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, "event=drained"));
}

static void drain_has_an_end(void)
{
	spawn("--hangs", "--drain-timeout=50ms");
	CU_ASSERT_TRUE(until_logged("event=ready"));
	CU_ASSERT_EQUAL(kill(child.pid, SIGINT), 0);
	CU_ASSERT_EQUAL(reap(), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, "event=drain_timeout"));
}

static void a_second_signal_kills(void)
{
	spawn("--hangs", "--drain-timeout=1h");
	CU_ASSERT_TRUE(until_logged("event=ready"));
	CU_ASSERT_EQUAL(kill(child.pid, SIGTERM), 0);
	CU_ASSERT_TRUE(until_logged("event=drain "));
	CU_ASSERT_EQUAL(kill(child.pid, SIGTERM), 0);
	CU_ASSERT_EQUAL(reap(), 1);
}

static void what_refuses_to_start(void)
{
	static const struct {
		const char *flag, *logged;
	} rows[] = {
		{"--refuses", "event=started"},
		{"--log-level=loud", "--log-level"},
		{"--nonsense", "--nonsense"},
		{"--bind=nonsense", "event=bind_failed"},
		{"--admin=nonsense", "setting=admin"},
		{"--bind=tcp://*:*", "setting=advertise"},
		{"--advertise=tcp://host", "setting=advertise"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		spawn(rows[i].flag, NULL);
		CU_ASSERT_EQUAL(reap(), 1);
		CU_ASSERT_PTR_NOT_NULL(strstr(child.log, rows[i].logged));
	}
	spawn("--help", NULL);
	CU_ASSERT_EQUAL(reap(), 0);
}

static void advertised_addresses(void)
{
	spawn("--bind=tcp://127.0.0.1:*", "--advertise=tcp://pod-7.weir:*");
	CU_ASSERT_TRUE(until_logged("event=ready"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, " address=tcp://pod-7.weir:"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, " feed=tcp://pod-7.weir:"));
	CU_ASSERT_PTR_NULL(strstr(child.log, "address=tcp://pod-7.weir:*"));
	CU_ASSERT_EQUAL(kill(child.pid, SIGTERM), 0);
	CU_ASSERT_EQUAL(reap(), 0);
	spawn("--advertise=tcp://[fd00::7]:7100", NULL);
	CU_ASSERT_TRUE(until_logged("event=ready"));
	CU_ASSERT_PTR_NOT_NULL(strstr(child.log, " address=tcp://[fd00::7]:7100 feed=tcp://[fd00::7]:"));
	CU_ASSERT_EQUAL(kill(child.pid, SIGTERM), 0);
	CU_ASSERT_EQUAL(reap(), 0);
}

// An idle daemon's resident memory, from the parent's side (proc(5), statm).
static void an_idle_daemon_is_small(void)
{
	char path[64];
	unsigned long size = 0, resident = 0;
	spawn("--admin=127.0.0.1:0", NULL);
	CU_ASSERT_TRUE(until_logged("event=ready"));
	snprintf(path, sizeof path, "/proc/%d/statm", (int)child.pid);
	FILE *file = fopen(path, "re");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL(fscanf(file, "%lu %lu", &size, &resident), 2);
	fclose(file);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	CU_ASSERT_TRUE(resident * (unsigned long)sysconf(_SC_PAGESIZE) < 30ul << 20);
#endif
	CU_ASSERT_EQUAL(kill(child.pid, SIGTERM), 0);
	CU_ASSERT_EQUAL(reap(), 0);
}

int main(int argc, char **argv)
{
	CU_TestInfo tests[] = {{"life", life}, {"drain has an end", drain_has_an_end},
		{"a second signal kills", a_second_signal_kills}, {"what refuses to start", what_refuses_to_start},
		{"advertised addresses", advertised_addresses}, {"an idle daemon is small", an_idle_daemon_is_small},
		CU_TEST_INFO_NULL};
	if (argc > 1)
		return daemon_main(argc, argv, &probe_spec);
	return unit_run("daemon", tests);
}
