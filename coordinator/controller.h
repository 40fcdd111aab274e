#pragma once
// What only the owner of shard 0 does: keeps the members, carries out topic intents, gives producer ids and node ids, answers
// admin requests, publishes the meta feed. Lives from the moment shard 0 serves until it is lost.
//
// Owner: ownership.c. Close it before the shard goes, free it after.

#include "coordinator/admin_call.h"
#include "coordinator/core.h"
#include "coordinator/members.h"
#include "coordinator/producer_ids.h"
#include "coordinator/topic_work.h"

struct controller {
	struct coordinator *coordinator;
	struct shard *shard; // shard 0
	struct members *members;
	struct topic_works *works;
	struct producer_ids *producer_ids;
	struct list admin_calls;
	int64_t partitions_reserved; // by admin calls whose intents are not logged yet
	struct list tickets;         // listings of directories
	uint64_t gather_until_us;    // until then members are still coming back to a new owner: no view is told
	uint64_t view_told;          // version of the view last published
	int32_t node_id_proposed;
	bool closed;
};

struct controller *controller_new(struct coordinator *coordinator, struct shard *shard);
void controller_close(struct controller *controller);
void controller_free(struct controller **controller);
uint64_t controller_step(struct controller *controller);
// Each command of shard 0 that is no commit, as it is applied.
void controller_applied(struct controller *controller, const Weir__Command *command, const struct apply_result *result);
// The view with members, in the arena, if it changed since it was last taken; else NULL.
const Weir__ClusterView *controller_take_view(struct controller *controller, struct arena *arena);

void controller_register(struct controller *controller, struct bus_request *request, const Weir__RegisterRequest *message);
void controller_sync_meta(struct controller *controller, struct bus_request *request);
// Admin APIs and InitProducerId; false: not one of ours.
bool controller_kafka(struct controller *controller, struct bus_request *request, const Weir__KafkaCallRequest *call,
	struct bytes body, uint32_t remaining_ms);
