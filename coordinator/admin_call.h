#pragma once
// An admin request of several topics: each topic finds its own way (refused at once, or by an intent until it is done), the
// answer leaves when all have their result or the client's time is up; what is under way then goes on without it.
//
// Owner: the controller's list. An admin call ends when it was answered and nothing refers to it any more.

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/env.h"
#include "common/base/list.h"
#include "common/base/uuid.h"
#include "common/runtime/bus.h"
#include "proto/kafka/kafka_errors.h"
#include "proto/kafka/kafka_writer.h"
#include "proto/log.pb-c.h"

struct controller;
struct admin_call;

struct admin_topic {
	struct admin_call *call;
	struct bytes name; // in the arena; null: the client named an id that is unknown
	struct uuid id;
	int16_t error;         // Kafka's; as long as pending: REQUEST_TIMED_OUT
	const char *message;   // static or in the arena, NULL: none
	int32_t partitions;    // CreateTopics
	Weir__TopicInfo *info; // as intended; NULL: refused
	Weir__TopicIntent__Kind kind;
	int64_t reserved; // of the cluster's partitions, until the intent is in the catalogue or has failed
};

struct admin_call {
	struct list link;
	struct controller *controller;
	struct bus_request *request; // NULL: answered
	int16_t version;
	struct arena arena;
	uint64_t deadline_us;
	struct admin_topic *topics;
	size_t topic_count;
	size_t pending;
	bool sealed; // all topics were begun
	// The response's body from the topics' results.
	void (*encode)(const struct admin_call *call, struct kafka_writer *writer);
};

// timeout_ms: the client's own; the bus's limit holds too. Topics are zeroed.
struct admin_call *admin_call_new(struct controller *controller, struct bus_request *request, int16_t version);
void admin_call_set(struct admin_call *call, size_t topic_count, int32_t timeout_ms, uint32_t remaining_ms);
// A topic's final result.
void admin_topic_refuse(struct admin_topic *topic, int16_t error, const char *message);
// Whether the cluster's limit has room for so many partitions more; if so they are reserved, what is on its way counts.
bool admin_topic_reserve(struct admin_topic *topic, int64_t partitions);
void admin_topic_unreserve(struct admin_topic *topic);
// Logs topic->info as an intent, waits for its end.
void admin_topic_propose(struct admin_topic *topic);
// For other asynchronous steps of a topic: pending counts what still refers to the call.
void admin_call_hold(struct admin_call *call);
// Answers and ends the call if it may.
void admin_call_release(struct admin_call *call);
// All topics were begun.
void admin_call_seal(struct admin_call *call);

uint64_t admin_calls_step(struct list *calls, const struct env *env);
// Shard 0 is gone: whoever waits is told that the outcome is unknown.
void admin_calls_free(struct list *calls);
