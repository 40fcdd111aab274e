#pragma once
// Kafka's topic configs: the names a topic may set, their types, defaults and the values each takes (Kafka 4.2, "Topic-Level
// Configs"). The coordinator refuses what is not here or not valid; the frontend tells clients the defaults (DescribeConfigs).
// Configs that speak of disks and replicas are taken and kept, as tools set them, and have no effect.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

// ConfigDef's types by their numbers in DescribeConfigsResponse.
enum topic_config_type {
	TOPIC_CONFIG_BOOLEAN = 1,
	TOPIC_CONFIG_STRING = 2,
	TOPIC_CONFIG_INT = 3,
	TOPIC_CONFIG_LONG = 5,
	TOPIC_CONFIG_DOUBLE = 6,
	TOPIC_CONFIG_LIST = 7,
};

struct topic_config {
	const char *name;
	enum topic_config_type type;
	const char *fallback; // the default as text
	int64_t min, max;     // INT and LONG; DOUBLE: 0 to 1
	const char *choices;  // space-separated; STRING: one of them, LIST: each element; NULL: anything
	const char *doc;
};

// In order of their names.
size_t topic_config_count(void);
const struct topic_config *topic_config_at(size_t index);
// NULL if Kafka has no such topic config.
const struct topic_config *topic_config_find(struct bytes name);
bool topic_config_valid(const struct topic_config *config, struct bytes value);
// A valid INT or LONG value as a number.
int64_t topic_config_number(struct bytes value);
