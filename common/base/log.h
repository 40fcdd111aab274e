#pragma once
// One key=value line an event to stderr, as the operator reads it. Each failure is logged once, by the daemon that decides what
// it means; what is frequent is a counter instead. common/ returns errors and does not log (but for the runtime's own life).

#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_COUNT };

struct log_field {
	const char *key;
	enum { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_BYTES } kind;
	const char *text;
	int64_t number;
	struct bytes bytes;
};

#define LOG_TEXT(k, value) ((struct log_field){.key = (k), .kind = LOG_FIELD_TEXT, .text = (value)})
#define LOG_NUMBER(k, value) ((struct log_field){.key = (k), .kind = LOG_FIELD_NUMBER, .number = (int64_t)(value)})
#define LOG_BYTES(k, value) ((struct log_field){.key = (k), .kind = LOG_FIELD_BYTES, .bytes = (value)})
#define LOG_CAUSE(value) LOG_TEXT("error", error_text(value))

// event is a fixed snake_case name; the rest are fields: log_event(LOG_WARN, "put_failed", LOG_TEXT("key", key),
// LOG_CAUSE(error));
#define log_event(level, event, ...) log_write((level), (event), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})

// fields end with one whose key is NULL.
void log_write(enum log_level level, const char *event, const struct log_field *fields);
// Lines below level are dropped. Default LOG_INFO.
void log_set_level(enum log_level level);
// Constant first fields such as role and instance; text is kept by reference.
void log_set_origin(const char *role, const char *instance);
