// ApiVersions (KIP-35, KIP-511): what we serve, and nothing else. Two rules come from clients: Produce is advertised from 0,
// because librdkafka turns compression off otherwise (KAFKA-18659), though no version below 3 is accepted; and an ApiVersions
// version that we do not know is answered in version 0 with error 35 and the range that we know, so that the client asks again.

#include "frontend/kafka/serve.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

static void serve_put_range(struct kafka_api_versions_response_api_version *row, int16_t key)
{
	const struct kafka_api *api = kafka_api_find(key);
	row->api_key = key;
	row->min_version = key == KAFKA_API_PRODUCE ? 0 : api->min_version;
	row->max_version = api->max_version;
}

static bool serve_is_alphanumeric(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Kafka: ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN, [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
static bool serve_software_valid(struct bytes text)
{
	if (text.len == 0 || !serve_is_alphanumeric(text.data[0]) || !serve_is_alphanumeric(text.data[text.len - 1]))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (!serve_is_alphanumeric(text.data[i]) && text.data[i] != '-' && text.data[i] != '.')
			return false;
	return true;
}

static void serve_unknown_version(struct request *request)
{
	struct kafka_api_versions_response response;
	kafka_api_versions_response_init(&response);
	response.error_code = frontend_error(request->frontend, KAFKA_ERROR_UNSUPPORTED_VERSION);
	response.api_keys = kafka_api_versions_response_api_version_array(&request->arena, 1);
	response.api_keys_count = 1;
	serve_put_range(&response.api_keys[0], KAFKA_API_API_VERSIONS);
	request->version = 0;
	REQUEST_ANSWER(request, kafka_api_versions_response_encode, &response);
}

void serve_api_versions(struct request *request)
{
	const struct kafka_api *api = kafka_api_find(KAFKA_API_API_VERSIONS);
	if (request->version < api->min_version || request->version > api->max_version) {
		serve_unknown_version(request);
		return;
	}
	struct kafka_api_versions_request message;
	if (!REQUEST_DECODE(request, kafka_api_versions_request_decode, &message))
		return;
	struct kafka_api_versions_response response;
	kafka_api_versions_response_init(&response);
	if (request->version >= 3 && (!serve_software_valid(message.client_software_name) ||
					     !serve_software_valid(message.client_software_version))) {
		response.error_code = frontend_error(request->frontend, KAFKA_ERROR_INVALID_REQUEST);
		REQUEST_ANSWER(request, kafka_api_versions_response_encode, &response);
		return;
	}
	response.api_keys_count = serve_count();
	response.api_keys = kafka_api_versions_response_api_version_array(&request->arena, response.api_keys_count);
	for (int i = 0; i < serve_count(); i++)
		serve_put_range(&response.api_keys[i], serve_at(i)->key);
	REQUEST_ANSWER(request, kafka_api_versions_response_encode, &response);
}
