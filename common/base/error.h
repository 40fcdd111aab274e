#pragma once
// What can go wrong in the world (not in our code: that is CHECK). One table gives each error its name in logs, whether a
// repeat may succeed, and the Kafka error code that a client is told (Kafka protocol, "Error Codes").

#include <stdbool.h>
#include <stdint.h>

// X(name, text, retryable, Kafka error code)
#define ERROR_TABLE(X)                                                                                                         \
	X(OK, "ok", false, 0)                                                                                                  \
	X(MALFORMED, "malformed", false, 42)                   /* INVALID_REQUEST */                                           \
	X(CORRUPT, "corrupt", false, 2)                        /* CORRUPT_MESSAGE */                                           \
	X(TOO_LARGE, "too_large", false, 10)                   /* MESSAGE_TOO_LARGE */                                         \
	X(INVALID_RECORD, "invalid_record", false, 87)         /* INVALID_RECORD */                                            \
	X(INVALID_TIMESTAMP, "invalid_timestamp", false, 32)   /* INVALID_TIMESTAMP */                                         \
	X(UNSUPPORTED_FORMAT, "unsupported_format", false, 43) /* UNSUPPORTED_FOR_MESSAGE_FORMAT */                            \
	X(UNSUPPORTED_COMPRESSION, "unsupported_compression", false, 76)                                                       \
	X(NOT_FOUND, "not_found", false, 56)           /* KAFKA_STORAGE_ERROR: an object that must exist does not */           \
	X(ALREADY_EXISTS, "already_exists", false, 56) /* a conditional put found the key taken */                             \
	X(PERMISSION, "permission", false, 56)                                                                                 \
	X(STORAGE, "storage", true, 56)                     /* the object store failed; a repeat may succeed */                \
	X(THROTTLED, "throttled", true, 56)                 /* the object store asks to slow down */                           \
	X(TIMED_OUT, "timed_out", true, 7)                  /* REQUEST_TIMED_OUT: outcome unknown */                           \
	X(UNREACHABLE, "unreachable", true, 15)             /* COORDINATOR_NOT_AVAILABLE: was never sent */                    \
	X(DISCONNECTED, "disconnected", true, 7)            /* the peer went away: outcome unknown */                          \
	X(NOT_OWNER, "not_owner", true, 16)                 /* NOT_COORDINATOR: ask the shard's owner */                       \
	X(LOADING, "loading", true, 14)                     /* COORDINATOR_LOAD_IN_PROGRESS */                                 \
	X(FENCED, "fenced", false, 16)                      /* another incarnation or owner has taken over */                  \
	X(CONFLICT, "conflict", false, 56)                  /* an etcd Txn's compare failed */                                 \
	X(OUT_OF_CHAIN, "out_of_chain", true, 56)           /* a commit whose predecessor the owner has not seen */            \
	X(TOO_OLD, "too_old", false, 56)                    /* a commit of an object past half the garbage grace */            \
	X(UNKNOWN_TOPIC, "unknown_topic", false, 3)         /* UNKNOWN_TOPIC_OR_PARTITION */                                   \
	X(UNKNOWN_TOPIC_ID, "unknown_topic_id", false, 100) /* UNKNOWN_TOPIC_ID */                                             \
	X(OFFSET_OUT_OF_RANGE, "offset_out_of_range", false, 1)                                                                \
	X(OUT_OF_ORDER_SEQUENCE, "out_of_order_sequence", true, 45)                                                            \
	X(DUPLICATE_SEQUENCE, "duplicate_sequence", false, 46)                                                                 \
	X(PRODUCER_EPOCH, "producer_epoch", false, 47) /* INVALID_PRODUCER_EPOCH */                                            \
	X(BUSY, "busy", true, 7)                       /* a limit is reached; nothing was done */                              \
	X(CANCELED, "canceled", true, 7)                                                                                       \
	X(INTERNAL, "internal", false, -1)       /* UNKNOWN_SERVER_ERROR */                                                    \
	X(SEQUENCE_GAP, "sequence_gap", true, 6) /* NOT_LEADER_OR_FOLLOWER: the producer's batch before is not here yet */

enum error {
#define ERROR_ENUM(name, text, retryable, kafka_code) ERROR_##name,
	ERROR_TABLE(ERROR_ENUM)
#undef ERROR_ENUM
		ERROR_COUNT
};

// The error's stable name for logs, metrics and the wire between our own processes. Unknown values give "unknown".
const char *error_text(enum error error);

// Whether repeating the same call later may succeed.
bool error_retryable(enum error error);

// The code a Kafka client is told.
int16_t error_kafka_code(enum error error);

// A value received from a sibling process; anything outside the table becomes ERROR_INTERNAL.
enum error error_from_wire(uint32_t value);

#define MUST_CHECK __attribute__((warn_unused_result))
