#pragma once
// What the backends of the metadata store share: the limits of a Txn and of a lease, so that memory refuses what etcd refuses.

#include "common/storage/metadata_store.h"

enum {
	METADATA_TXN_OPERATIONS_MAX = 128,   // etcd's --max-txn-ops, for the compares and for the operations
	METADATA_TXN_BYTES_MAX = 1 << 20,    // etcd's --max-request-bytes is 1.5 MiB
	METADATA_RANGE_BYTES_MAX = 16 << 20, // of one answer; a larger one is ERROR_TOO_LARGE
	METADATA_LEASE_TTL_MIN_S = 2,        // etcd grants at least 1.5 times its election timeout, rounded up
};

// ERROR_MALFORMED: too many operations, an empty key, a key put twice or put and deleted (etcd: "duplicate key given in txn
// request"). ERROR_TOO_LARGE: more than METADATA_TXN_BYTES_MAX.
MUST_CHECK enum error metadata_txn_check(const struct metadata_txn *txn);

// etcd's intervals: an empty range_end means just the key, the one byte 0 means all keys from key on.
bool metadata_in_range(struct bytes candidate, struct bytes key, struct bytes range_end);

// etcd counts in whole seconds: rounded up, and not below the minimum.
int64_t metadata_lease_ttl_s(uint32_t ttl_ms);
