#pragma once
// The members of the etcd cluster, one channel each, one in use. Failover is ours: two failures in a row (deadline passed or
// unavailable) and the next member's turn has come. gRPC's own policies keep to a paused member for ten seconds (measured).

#include <stdbool.h>
#include <stddef.h>

#include <grpc/grpc.h>

#include "common/storage/metadata_store.h"

struct etcd_endpoint {
	char *address; // host:port
	grpc_channel *channel;
};

struct etcd_endpoints {
	struct etcd_endpoint *list;
	size_t count;
	size_t current;
	unsigned failures; // in a row, of the current one
};

enum { ETCD_ENDPOINTS_MAX = 16 };

// After grpc_init(). ERROR_MALFORMED with a reason as metadata_store_etcd_new().
MUST_CHECK enum error etcd_endpoints_init(
	struct etcd_endpoints *endpoints, const struct metadata_store_settings *settings, char reason[256]);
void etcd_endpoints_done(struct etcd_endpoints *endpoints);

grpc_channel *etcd_endpoints_channel(const struct etcd_endpoints *endpoints);
// Counts how a call to the member with that index went; true if that made the next one the current.
bool etcd_endpoints_result(struct etcd_endpoints *endpoints, size_t index, grpc_status_code status);
