#pragma once
// InitProducerId as shard 0's owner answers it.

#include "coordinator/kafka_topics.h"

void kafka_init_producer_id(const struct kafka_topics_call *call);
