#pragma once
// Passing a Kafka request on: the body travels verbatim to the owner of a shard (KAFKA_CALL) and the answer's body comes back.

#include "frontend/request.h"

struct topic_ref {
	struct bytes name;
	struct uuid id;
};

struct serve_call {
	int16_t key;
	int16_t version;
	uint32_t shard;
	struct slice body; // borrowed
	const struct topic_ref *topics;
	size_t topic_count;
	bool auto_create;
	bool repeat; // may be applied twice
	uint32_t timeout_ms;
};

// fn gets the reply as it came; serve_call_answer() reads it.
void serve_call(struct request *request, const struct serve_call *call, request_reply_fn fn, void *ctx);
// The answer's body, borrowed from the reply; or what went wrong, by the pipe or the owner.
MUST_CHECK enum error serve_call_answer(enum error error, const struct bus_message *reply, struct slice *ret_body);

// The usual call: this request's own body as it came.
struct serve_call serve_call_of(struct request *request, uint32_t shard);
uint32_t serve_name_shard(const struct request *request, struct bytes name);

// What a client is told when the owner of its group did not answer.
int16_t serve_group_error(struct request *request, enum error error);
// The same for shard 0: topics and producer ids.
int16_t serve_admin_error(struct request *request, enum error error);
