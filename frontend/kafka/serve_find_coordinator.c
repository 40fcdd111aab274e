// FindCoordinator (KIP-699). Any frontend reaches every group's owner, so the coordinator a client is told is only the frontend
// that stands for the group by rendezvous: stable, and spread over all.

#include "common/base/placement.h"
#include "frontend/kafka/serve.h"
#include "proto/kafka/kafka_errors.h"

enum { COORDINATOR_GROUP = 0, COORDINATOR_TRANSACTION = 1 };

struct coordinator_found {
	int16_t error;
	const struct frontend_broker *broker;
};

struct coordinator_brokers {
	const struct frontend_broker *rows;
	size_t count;
};

static struct coordinator_found coordinator_find(
	struct request *request, const struct coordinator_brokers *brokers, int8_t type, struct bytes key)
{
	// Share groups are not served, and no other type exists.
	if (type != COORDINATOR_GROUP && type != COORDINATOR_TRANSACTION)
		return (struct coordinator_found){frontend_error(request->frontend, KAFKA_ERROR_INVALID_REQUEST), NULL};
	return (struct coordinator_found){
		KAFKA_ERROR_NONE, frontend_broker_for(brokers->rows, brokers->count, placement_hash(key))};
}

static void coordinator_put_one(struct request *request, const struct coordinator_brokers *brokers,
	const struct kafka_find_coordinator_request *message, struct kafka_find_coordinator_response *response)
{
	struct coordinator_found found = coordinator_find(request, brokers, message->key_type, message->key);
	response->error_code = found.error;
	response->error_message = request->version < 1 ? bytes_of("") : BYTES_NULL;
	response->node_id = found.broker ? found.broker->node_id : -1;
	response->port = found.broker ? found.broker->port : -1;
	if (found.broker)
		response->host = found.broker->host;
}

static void coordinator_put_each(struct request *request, const struct coordinator_brokers *brokers,
	const struct kafka_find_coordinator_request *message, struct kafka_find_coordinator_response *response)
{
	response->coordinators_count = message->coordinator_keys_count;
	response->coordinators =
		kafka_find_coordinator_response_coordinator_array(&request->arena, response->coordinators_count);
	for (int32_t i = 0; i < response->coordinators_count; i++) {
		struct kafka_find_coordinator_response_coordinator *row = &response->coordinators[i];
		struct coordinator_found found =
			coordinator_find(request, brokers, message->key_type, message->coordinator_keys[i]);
		row->key = message->coordinator_keys[i];
		row->error_code = found.error;
		row->error_message = BYTES_NULL;
		row->node_id = found.broker ? found.broker->node_id : -1;
		row->port = found.broker ? found.broker->port : -1;
		if (found.broker)
			row->host = found.broker->host;
	}
}

void serve_find_coordinator(struct request *request)
{
	struct kafka_find_coordinator_request message;
	if (!REQUEST_DECODE(request, kafka_find_coordinator_request_decode, &message))
		return;
	struct kafka_find_coordinator_response response;
	kafka_find_coordinator_response_init(&response);
	struct coordinator_brokers brokers;
	brokers.rows = frontend_brokers(request->frontend, &request->arena, &brokers.count);
	if (request->version < 4)
		coordinator_put_one(request, &brokers, &message, &response);
	else
		coordinator_put_each(request, &brokers, &message, &response);
	REQUEST_ANSWER(request, kafka_find_coordinator_response_encode, &response);
}
