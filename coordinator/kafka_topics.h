#pragma once
// CreateTopics, CreatePartitions and DeleteTopics, as shard 0's owner answers them (Kafka 4.2: ReplicationControlManager).

#include "common/base/bytes.h"

struct bus_request;
struct controller;

struct kafka_topics_call {
	struct controller *controller;
	struct bus_request *request;
	int16_t version;
	struct bytes body;
	uint32_t remaining_ms;
};

void kafka_create_topics(const struct kafka_topics_call *call);
void kafka_create_partitions(const struct kafka_topics_call *call);
void kafka_delete_topics(const struct kafka_topics_call *call);
