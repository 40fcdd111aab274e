#pragma once
// The APIs we serve: one file an API or family, one function each, and the table that ApiVersions advertises. A function gets
// a request whose header is decoded, and ends it with request_answer_…(), request_silent() or request_close(), now or later.

#include "frontend/frontend.h"
#include "frontend/request.h"

struct serve_api {
	int16_t key;
	enum admission_class class;
	void (*serve)(struct request *request);
};

// NULL if we do not serve it.
const struct serve_api *serve_find(int16_t key);
int serve_count(void);
const struct serve_api *serve_at(int index);

void serve_api_versions(struct request *request);
void serve_metadata(struct request *request);
void serve_describe_cluster(struct request *request);
void serve_describe_configs(struct request *request);
void serve_produce(struct request *request);
void serve_fetch(struct request *request);
void serve_list_offsets(struct request *request);
void serve_offset_for_leader_epoch(struct request *request);
void serve_find_coordinator(struct request *request);

// Passed on to the group's owner, requests of one group in order.
void serve_join_group(struct request *request);
void serve_sync_group(struct request *request);
void serve_heartbeat(struct request *request);
void serve_leave_group(struct request *request);
void serve_offset_commit(struct request *request);
void serve_offset_delete(struct request *request);
// Split by owner, answers merged.
void serve_offset_fetch(struct request *request);
void serve_describe_groups(struct request *request);
void serve_delete_groups(struct request *request);
void serve_list_groups(struct request *request);

// Passed on to shard 0's owner.
void serve_create_topics(struct request *request);
void serve_delete_topics(struct request *request);
void serve_create_partitions(struct request *request);
void serve_init_producer_id(struct request *request);
