#include "tests/unit/metadata/etcd_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"

uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	close(fd);
	return ntohs(address.sin_port);
}

// exec only: the program may have threads by now.
static pid_t spawn(const char *log_file, const char *const *arguments)
{
	union {
		const char *const *constant;
		char *const *mutable;
	} list = {arguments};
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	int fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	execvp(arguments[0], list.mutable);
	_exit(127);
}

static bool in_path(const char *name)
{
	const char *path = getenv("PATH");
	char candidate[512];
	while (path && *path) {
		size_t len = strcspn(path, ":");
		snprintf(candidate, sizeof candidate, "%.*s/%s", (int)len, path, name);
		if (access(candidate, X_OK) == 0)
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

static void log_path(const struct etcd_process *process, char path[128])
{
	snprintf(path, 128, "%s/log", process->directory);
}

void etcd_process_start(struct etcd_process *process)
{
	char data[128];
	char log[128];
	char client[64];
	char peer[64];
	char cluster[80];
	CHECK(!process->pid);
	snprintf(data, sizeof data, "%s/data", process->directory);
	log_path(process, log);
	snprintf(client, sizeof client, "http://127.0.0.1:%u", process->client_port);
	snprintf(peer, sizeof peer, "http://127.0.0.1:%u", process->peer_port);
	snprintf(cluster, sizeof cluster, "test=%s", peer);
	const char *arguments[] = {"etcd", "--name", "test", "--data-dir", data, "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500", "--snapshot-count",
		"5000", NULL};
	process->pid = spawn(log, arguments);
}

void etcd_process_init(struct etcd_process *process)
{
	const char *temporary = getenv("TMPDIR");
	*process = (struct etcd_process){.client_port = free_port()};
	do
		process->peer_port = free_port();
	while (process->peer_port == process->client_port);
	snprintf(process->directory, sizeof process->directory, "%.40s/weir-etcd-XXXXXX", temporary ? temporary : "/tmp");
	snprintf(process->endpoint, sizeof process->endpoint, "127.0.0.1:%u", process->client_port);
	CHECK(in_path("etcd"));
	CHECK(mkdtemp(process->directory) != NULL);
	etcd_process_start(process);
}

void etcd_process_kill(struct etcd_process *process)
{
	CHECK(process->pid > 0);
	kill(process->pid, SIGKILL);
	CHECK(waitpid(process->pid, NULL, 0) == process->pid);
	process->pid = 0;
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
	(void)stat;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void etcd_process_done(struct etcd_process *process)
{
	if (process->pid)
		etcd_process_kill(process);
	CHECK(nftw(process->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void etcd_process_pause(struct etcd_process *process)
{
	int status;
	CHECK(kill(process->pid, SIGSTOP) == 0);
	CHECK(waitpid(process->pid, &status, WUNTRACED) == process->pid && WIFSTOPPED(status));
}

void etcd_process_resume(struct etcd_process *process)
{
	CHECK(kill(process->pid, SIGCONT) == 0);
}

bool etcd_process_control(const struct etcd_process *process, const char *const *arguments)
{
	char log[128];
	const char *all[16] = {"etcdctl", "--endpoints", process->endpoint};
	size_t count = 3;
	while (*arguments && count < 15)
		all[count++] = *arguments++;
	log_path(process, log);
	int status;
	pid_t pid = spawn(log, all);
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
