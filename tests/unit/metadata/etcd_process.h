#pragma once
// A real etcd for one test program: free loopback ports, a temporary data directory, gone at the end (and with the program,
// should it die).

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct etcd_process {
	pid_t pid; // 0: not running
	uint16_t client_port;
	uint16_t peer_port;
	char directory[64];
	char endpoint[32]; // 127.0.0.1:port
	bool tls;          // mutual; the directory holds ca.pem, client.pem, client.key
};

// Starts it; it may not serve yet. CHECKs that there is an etcd in PATH.
void etcd_process_init(struct etcd_process *process);
// The same with TLS: a certificate authority of its own (by the openssl program), and clients must have its certificates.
void etcd_process_init_tls(struct etcd_process *process);
void etcd_process_done(struct etcd_process *process);
// SIGKILL, and gone when it returns.
void etcd_process_kill(struct etcd_process *process);
// Again, on the same ports and data.
void etcd_process_start(struct etcd_process *process);
void etcd_process_pause(struct etcd_process *process);
void etcd_process_resume(struct etcd_process *process);
// etcdctl with the arguments up to NULL; whether it exited with 0.
bool etcd_process_control(const struct etcd_process *process, const char *const *arguments);
// A file in its directory.
void etcd_process_path(const struct etcd_process *process, const char *name, char path[128]);
// A loopback port on which nobody listens.
uint16_t free_port(void);
