#pragma once
// The APIs of the Kafka protocol and the versions we have tables for. What a frontend advertises is its own business (Produce,
// for one, is advertised from 0 for old librdkafka, though no version below 3 can be parsed).

#include <stdint.h>

#include "proto/kafka/kafka_api_table.h"

enum kafka_api_key {
#define KAFKA_API_ENUM(name, text, key, min_version, max_version, first_flexible_version) KAFKA_API_##name = key,
	KAFKA_API_TABLE(KAFKA_API_ENUM)
#undef KAFKA_API_ENUM
};

struct kafka_api {
	int16_t key;
	const char *name;
	int16_t min_version;
	int16_t max_version;            // the last that Kafka has released; one more may decode
	int16_t first_flexible_version; // INT16_MAX if none
};

// NULL for a key we know nothing of.
const struct kafka_api *kafka_api_find(int16_t key);

// All of them, in the order of their keys: index from 0 to below kafka_api_count().
int kafka_api_count(void);
const struct kafka_api *kafka_api_at(int index);

// Versions of RequestHeader and ResponseHeader (KIP-482; an ApiVersions answer always has header 0, KIP-511). They also answer
// for versions beyond ours, so that an unsupported ApiVersions can be told so. An unknown key counts as inflexible.
int16_t kafka_request_header_version(int16_t key, int16_t version);
int16_t kafka_response_header_version(int16_t key, int16_t version);
