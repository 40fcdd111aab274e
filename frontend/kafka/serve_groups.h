#pragma once
// What the requests about groups share: passing one on to its group's owner, and splitting one over several owners.

#include "frontend/frontend.h"
#include "frontend/kafka/serve_call.h"
#include "frontend/request.h"

// One group's request, passed on verbatim.
struct group_pass {
	struct bytes group;
	const void *message; // for fail
	// Answers with code, in the API's own form.
	void (*fail)(struct request *request, const void *message, int16_t code);
	const struct topic_ref *topics;
	size_t topic_count;
	uint32_t timeout_ms; // 0: as other calls
	bool repeat;
};
void group_pass(struct request *request, const struct group_pass *pass);

struct group_refs {
	struct topic_ref *rows;
	size_t count;
};
static inline struct group_refs group_refs_new(struct request *request, size_t max)
{
	return (struct group_refs){arena_alloc(&request->arena, max * sizeof(struct topic_ref)), 0};
}
// By name if it has one, else by id; a topic that is not known is left out.
void group_refs_add(struct group_refs *refs, struct request *request, struct bytes name, const struct uuid *id);

// A request about several things that live in several shards: for each shard a request of its own, and one answer of all.
struct group_split;
struct group_split_ops {
	// The request for these items only.
	void (*encode)(struct group_split *split, const size_t *items, size_t count, struct kafka_writer *writer);
	// The answer for these items, in that order. false: not an answer to that.
	bool (*take)(struct group_split *split, const size_t *items, size_t count, struct reader *reader);
	void (*fail)(struct group_split *split, size_t item, int16_t code);
	void (*answer)(struct group_split *split);
};
struct group_split {
	struct request *request;
	const struct group_split_ops *ops;
	const void *message;
	void *response;
	uint32_t *shards; // by item
	size_t count;
	size_t left; // shards that have not answered
	struct group_refs refs;
};
// shards: by item, in the request's arena.
void group_split_run(struct request *request, struct group_split *split);
