// Without a transactional id a producer gets a fresh id at epoch 0, whatever id it had before, as in Kafka. Transactions are
// not supported yet: INVALID_REQUEST, which clients take as final; COORDINATOR_NOT_AVAILABLE would make them ask for ever.
#include "coordinator/kafka_producer_id.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/controller.h"
#include "proto/kafka/kafka_errors.h"
#include "proto/kafka/kafka_messages.h"

enum { ARENA_BYTES_MAX = 1 << 16, RESPONSE_BYTES_MAX = 1024 };

struct producer_id_call {
	struct coordinator *coordinator;
	struct bus_request *request;
	int16_t version;
};

static void producer_id_reply(
	struct coordinator *coordinator, struct bus_request *request, int16_t version, int16_t error, int64_t id)
{
	struct kafka_init_producer_id_response response;
	struct kafka_writer writer;
	kafka_init_producer_id_response_init(&response);
	response.error_code = error;
	response.producer_id = id;
	response.producer_epoch = error ? -1 : 0;
	kafka_writer_init(&writer, RESPONSE_BYTES_MAX);
	kafka_init_producer_id_response_encode(&response, &writer, version);
	control_reply_kafka(coordinator, request, ERROR_OK, buffer_view(&writer.buffer));
	kafka_writer_done(&writer);
}

static void producer_id_taken(void *ctx, enum error error, int64_t id)
{
	struct producer_id_call *call = ctx;
	if (error == ERROR_OK)
		producer_id_reply(call->coordinator, call->request, call->version, KAFKA_ERROR_NONE, id);
	else
		control_reply_kafka(call->coordinator, call->request, error, BYTES_NULL);
	free(call);
}

void kafka_init_producer_id(const struct kafka_topics_call *from)
{
	struct coordinator *coordinator = from->controller->coordinator;
	struct kafka_init_producer_id_request request;
	struct reader reader = reader_of(from->body);
	struct arena arena;
	arena_init(&arena, ARENA_BYTES_MAX);
	if (kafka_init_producer_id_request_decode(&request, &reader, from->version, &arena) != ERROR_OK) {
		control_reply_kafka(coordinator, from->request, ERROR_MALFORMED, BYTES_NULL);
	} else if (request.transactional_id.data) {
		log_event(LOG_INFO, "transactions_unsupported", LOG_BYTES("transactional_id", request.transactional_id));
		producer_id_reply(coordinator, from->request, from->version, KAFKA_ERROR_INVALID_REQUEST, -1);
	} else {
		struct producer_id_call *call = memory_zalloc(sizeof *call);
		*call = (struct producer_id_call){coordinator, from->request, from->version};
		producer_ids_take(from->controller->producer_ids, producer_id_taken, call);
	}
	arena_done(&arena);
}
