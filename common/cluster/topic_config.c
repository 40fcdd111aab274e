#include "common/cluster/topic_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMPRESSIONS "uncompressed zstd lz4 snappy gzip producer"
#define LONG_MAX_TEXT "9223372036854775807"

static const struct topic_config configs[] = {
	{"cleanup.policy", TOPIC_CONFIG_LIST, "delete", 0, 0, "delete compact", "What happens to old records."},
	{"compression.gzip.level", TOPIC_CONFIG_INT, "-1", -1, 9, NULL, "Level where compression.type is gzip."},
	{"compression.lz4.level", TOPIC_CONFIG_INT, "9", 1, 17, NULL, "Level where compression.type is lz4."},
	{"compression.type", TOPIC_CONFIG_STRING, "producer", 0, 0, COMPRESSIONS,
		"The final compression of the topic's records."},
	{"compression.zstd.level", TOPIC_CONFIG_INT, "3", -131072, 22, NULL, "Level where compression.type is zstd."},
	{"delete.retention.ms", TOPIC_CONFIG_LONG, "86400000", 0, INT64_MAX, NULL,
		"How long delete markers stay in compacted topics."},
	{"file.delete.delay.ms", TOPIC_CONFIG_LONG, "60000", 0, INT64_MAX, NULL, "Without effect: there are no local files."},
	{"flush.messages", TOPIC_CONFIG_LONG, LONG_MAX_TEXT, 1, INT64_MAX, NULL, "Without effect: acknowledged is durable."},
	{"flush.ms", TOPIC_CONFIG_LONG, LONG_MAX_TEXT, 0, INT64_MAX, NULL, "Without effect: acknowledged is durable."},
	{"follower.replication.throttled.replicas", TOPIC_CONFIG_LIST, "", 0, 0, NULL,
		"Without effect: there are no followers."},
	{"index.interval.bytes", TOPIC_CONFIG_INT, "4096", 0, INT32_MAX, NULL,
		"Without effect: segments have their own interval."},
	{"leader.replication.throttled.replicas", TOPIC_CONFIG_LIST, "", 0, 0, NULL, "Without effect: there are no followers."},
	{"local.retention.bytes", TOPIC_CONFIG_LONG, "-2", -2, INT64_MAX, NULL, "Without effect: there are no local segments."},
	{"local.retention.ms", TOPIC_CONFIG_LONG, "-2", -2, INT64_MAX, NULL, "Without effect: there are no local segments."},
	{"max.compaction.lag.ms", TOPIC_CONFIG_LONG, LONG_MAX_TEXT, 1, INT64_MAX, NULL,
		"The longest time a record stays uncompacted."},
	{"max.message.bytes", TOPIC_CONFIG_INT, "1048588", 0, INT32_MAX, NULL, "The largest record batch, after compression."},
	{"message.timestamp.after.max.ms", TOPIC_CONFIG_LONG, "3600000", 0, INT64_MAX, NULL,
		"How far a record's timestamp may lie ahead of the broker's clock."},
	{"message.timestamp.before.max.ms", TOPIC_CONFIG_LONG, LONG_MAX_TEXT, 0, INT64_MAX, NULL,
		"How far a record's timestamp may lie behind the broker's clock."},
	{"message.timestamp.type", TOPIC_CONFIG_STRING, "CreateTime", 0, 0, "CreateTime LogAppendTime",
		"Whose time a record carries."},
	{"min.cleanable.dirty.ratio", TOPIC_CONFIG_DOUBLE, "0.5", 0, 1, NULL, "How dirty a log is before it is compacted."},
	{"min.compaction.lag.ms", TOPIC_CONFIG_LONG, "0", 0, INT64_MAX, NULL, "The shortest time a record stays uncompacted."},
	{"min.insync.replicas", TOPIC_CONFIG_INT, "1", 1, INT32_MAX, NULL, "Without effect: the object store replicates."},
	{"preallocate", TOPIC_CONFIG_BOOLEAN, "false", 0, 0, NULL, "Without effect: there are no local files."},
	{"remote.log.copy.disable", TOPIC_CONFIG_BOOLEAN, "false", 0, 0, NULL, "Without effect: the log is remote."},
	{"remote.log.delete.on.disable", TOPIC_CONFIG_BOOLEAN, "false", 0, 0, NULL, "Without effect: the log is remote."},
	{"remote.storage.enable", TOPIC_CONFIG_BOOLEAN, "false", 0, 0, NULL, "Without effect: the log is remote."},
	{"retention.bytes", TOPIC_CONFIG_LONG, "-1", -1, INT64_MAX, NULL, "Bytes a partition may hold; -1: any."},
	{"retention.ms", TOPIC_CONFIG_LONG, "604800000", -1, INT64_MAX, NULL, "How long records are kept; -1: for ever."},
	{"segment.bytes", TOPIC_CONFIG_INT, "1073741824", 14, INT32_MAX, NULL, "Without effect: compaction sizes segments."},
	{"segment.index.bytes", TOPIC_CONFIG_INT, "10485760", 4, INT32_MAX, NULL, "Without effect: there are no local files."},
	{"segment.jitter.ms", TOPIC_CONFIG_LONG, "0", 0, INT64_MAX, NULL, "Without effect: compaction sizes segments."},
	{"segment.ms", TOPIC_CONFIG_LONG, "604800000", 1, INT64_MAX, NULL, "Without effect: compaction sizes segments."},
	{"unclean.leader.election.enable", TOPIC_CONFIG_BOOLEAN, "false", 0, 0, NULL,
		"Without effect: there are no followers."},
};

size_t topic_config_count(void)
{
	return sizeof configs / sizeof configs[0];
}

const struct topic_config *topic_config_at(size_t index)
{
	return &configs[index];
}

const struct topic_config *topic_config_find(struct bytes name)
{
	for (size_t i = 0; i < topic_config_count(); i++) {
		if (bytes_equal(bytes_of(configs[i].name), name))
			return &configs[i];
	}
	return NULL;
}

enum { NUMBER_SIZE = 32 };

// strtoll and strtod want a NUL, and take more than Java's parsers do: leading blanks, hexadecimal.
static bool number_text(struct bytes value, const char *allowed, char text[NUMBER_SIZE])
{
	if (value.len == 0 || value.len >= NUMBER_SIZE)
		return false;
	memcpy(text, value.data, value.len);
	text[value.len] = '\0';
	return strspn(text, allowed) == value.len;
}

static bool whole_valid(const struct topic_config *config, struct bytes value)
{
	char text[NUMBER_SIZE];
	char *end;
	if (!number_text(value, "+-0123456789", text))
		return false;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	return !*end && !errno && number >= config->min && number <= config->max;
}

static bool ratio_valid(struct bytes value)
{
	char text[NUMBER_SIZE];
	char *end;
	if (!number_text(value, "+-.eE0123456789", text))
		return false;
	double number = strtod(text, &end);
	return !*end && number >= 0 && number <= 1;
}

static bool choice_valid(const char *choices, struct bytes value)
{
	while (*choices) {
		size_t len = strcspn(choices, " ");
		if (bytes_equal(bytes_view(choices, len), value))
			return true;
		choices += len + (choices[len] == ' ');
	}
	return false;
}

static struct bytes trimmed(struct bytes value)
{
	while (value.len && value.data[0] == ' ') {
		value.data++;
		value.len--;
	}
	while (value.len && value.data[value.len - 1] == ' ')
		value.len--;
	return value;
}

static bool list_valid(const struct topic_config *config, struct bytes value)
{
	if (!config->choices)
		return true;
	size_t start = 0;
	for (size_t i = 0; i <= value.len; i++) {
		if (i < value.len && value.data[i] != ',')
			continue;
		if (!choice_valid(config->choices, trimmed(bytes_view(value.data + start, i - start))))
			return false;
		start = i + 1;
	}
	return true;
}

static bool boolean_valid(struct bytes value)
{
	return (value.len == 4 && strncasecmp((const char *)value.data, "true", 4) == 0) ||
	       (value.len == 5 && strncasecmp((const char *)value.data, "false", 5) == 0);
}

bool topic_config_valid(const struct topic_config *config, struct bytes value)
{
	if (!value.data)
		return false;
	switch (config->type) {
	case TOPIC_CONFIG_BOOLEAN:
		return boolean_valid(value);
	case TOPIC_CONFIG_INT:
	case TOPIC_CONFIG_LONG:
		return whole_valid(config, value);
	case TOPIC_CONFIG_DOUBLE:
		return ratio_valid(value);
	case TOPIC_CONFIG_LIST:
		return list_valid(config, value);
	case TOPIC_CONFIG_STRING:
		return !config->choices || choice_valid(config->choices, value);
	}
	return false;
}

int64_t topic_config_number(struct bytes value)
{
	char text[NUMBER_SIZE];
	return number_text(value, "+-0123456789", text) ? strtoll(text, NULL, 10) : 0;
}
