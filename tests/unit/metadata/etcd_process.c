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

void etcd_process_path(const struct etcd_process *process, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", process->directory, name);
}

static bool run(const struct etcd_process *process, const char *const *arguments)
{
	char log[128];
	int status;
	etcd_process_path(process, "log", log);
	pid_t pid = spawn(log, arguments);
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void etcd_process_start(struct etcd_process *process)
{
	char data[128];
	char log[128];
	char client[64];
	char peer[64];
	char cluster[80];
	CHECK(!process->pid);
	etcd_process_path(process, "data", data);
	etcd_process_path(process, "log", log);
	snprintf(client, sizeof client, "%s://127.0.0.1:%u", process->tls ? "https" : "http", process->client_port);
	snprintf(peer, sizeof peer, "http://127.0.0.1:%u", process->peer_port);
	snprintf(cluster, sizeof cluster, "test=%s", peer);
	char ca[128];
	char certificate[128];
	char key[128];
	etcd_process_path(process, "ca.pem", ca);
	etcd_process_path(process, "server.pem", certificate);
	etcd_process_path(process, "server.key", key);
	const char *arguments[] = {"etcd", "--name", "test", "--data-dir", data, "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500", "--snapshot-count",
		"5000", process->tls ? "--client-cert-auth" : NULL, "--trusted-ca-file", ca, "--cert-file", certificate,
		"--key-file", key, NULL};
	process->pid = spawn(log, arguments);
}

static void prepare(struct etcd_process *process)
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
}

void etcd_process_init(struct etcd_process *process)
{
	prepare(process);
	etcd_process_start(process);
}

// ‹name›.pem and ‹name›.key, signed by the authority unless it is the authority.
static void make_certificate(const struct etcd_process *process, const char *name, bool signed_by_ca)
{
	char file[32];
	char certificate[128];
	char key[128];
	char ca[128];
	char ca_key[128];
	char subject[64];
	snprintf(file, sizeof file, "%s.pem", name);
	etcd_process_path(process, file, certificate);
	snprintf(file, sizeof file, "%s.key", name);
	etcd_process_path(process, file, key);
	etcd_process_path(process, "ca.pem", ca);
	etcd_process_path(process, "ca.key", ca_key);
	snprintf(subject, sizeof subject, "/CN=weir test %s", name);
	const char *arguments[] = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-days", "2", "-subj", subject, "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key,
		signed_by_ca ? "-CA" : NULL, ca, "-CAkey", ca_key, NULL};
	CHECK(run(process, arguments));
}

void etcd_process_init_tls(struct etcd_process *process)
{
	prepare(process);
	process->tls = true;
	make_certificate(process, "ca", false);
	make_certificate(process, "server", true);
	make_certificate(process, "client", true);
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
	const char *all[16] = {"etcdctl", "--endpoints", process->endpoint};
	size_t count = 3;
	while (*arguments && count < 15)
		all[count++] = *arguments++;
	return run(process, all);
}
