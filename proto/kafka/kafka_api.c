#include "proto/kafka/kafka_api.h"

#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"

static const struct kafka_api kafka_apis[] = {
#define KAFKA_API_ROW(name, text, key, min_version, max_version, first_flexible_version)                                       \
	{key, text, min_version, max_version, first_flexible_version},
	KAFKA_API_TABLE(KAFKA_API_ROW)
#undef KAFKA_API_ROW
};

int kafka_api_count(void)
{
	return (int)(sizeof kafka_apis / sizeof kafka_apis[0]);
}

const struct kafka_api *kafka_api_at(int index)
{
	CHECK(index >= 0 && index < kafka_api_count());
	return &kafka_apis[index];
}

const struct kafka_api *kafka_api_find(int16_t key)
{
	for (int i = 0; i < kafka_api_count(); i++)
		if (kafka_apis[i].key == key)
			return &kafka_apis[i];
	return NULL;
}

static bool kafka_is_flexible(int16_t key, int16_t version)
{
	const struct kafka_api *api = kafka_api_find(key);
	return api && version >= api->first_flexible_version;
}

int16_t kafka_request_header_version(int16_t key, int16_t version)
{
	return kafka_is_flexible(key, version) ? 2 : 1;
}

int16_t kafka_response_header_version(int16_t key, int16_t version)
{
	return key != KAFKA_API_API_VERSIONS && kafka_is_flexible(key, version) ? 1 : 0;
}
