#include "common/base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level log_threshold = LOG_INFO;
static const char *log_role;
static const char *log_instance;

static const char *const log_level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};

struct log_line {
	char text[2048];
	size_t len;
};

static void log_put(struct log_line *line, const char *text, size_t len)
{
	size_t room = sizeof line->text - 1 - line->len;
	if (len > room)
		len = room;
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void log_put_text(struct log_line *line, const char *text)
{
	log_put(line, text, strlen(text));
}

// Values with blanks, quotes or control bytes are quoted, so that a line always parses.
static void log_put_value(struct log_line *line, const char *text, size_t len)
{
	bool plain = len > 0;
	for (size_t i = 0; i < len && plain; i++)
		plain = (unsigned char)text[i] > ' ' && text[i] != '"' && text[i] != '=' && (unsigned char)text[i] < 0x7f;
	if (plain) {
		log_put(line, text, len);
		return;
	}
	log_put(line, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		char escaped[5];
		unsigned char byte = (unsigned char)text[i];
		if (byte == '"' || byte == '\\')
			snprintf(escaped, sizeof escaped, "\\%c", byte);
		else if (byte < ' ' || byte >= 0x7f)
			snprintf(escaped, sizeof escaped, "\\x%02x", byte);
		else
			snprintf(escaped, sizeof escaped, "%c", byte);
		log_put_text(line, escaped);
	}
	log_put(line, "\"", 1);
}

static void log_put_pair(struct log_line *line, const char *key, const char *value, size_t len)
{
	log_put(line, " ", 1);
	log_put_text(line, key);
	log_put(line, "=", 1);
	log_put_value(line, value, len);
}

static void log_put_time(struct log_line *line)
{
	struct timespec now;
	struct tm parts;
	char text[40];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	size_t len = strftime(text, sizeof text, "time=%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text + len, sizeof text - len, ".%03ldZ", now.tv_nsec / 1000000);
	log_put_text(line, text);
}

static void log_put_field(struct log_line *line, const struct log_field *field)
{
	char number[24];
	switch (field->kind) {
	case LOG_FIELD_TEXT:
		log_put_pair(line, field->key, field->text ? field->text : "", field->text ? strlen(field->text) : 0);
		return;
	case LOG_FIELD_NUMBER:
		snprintf(number, sizeof number, "%" PRId64, field->number);
		log_put_pair(line, field->key, number, strlen(number));
		return;
	case LOG_FIELD_BYTES:
		log_put_pair(line, field->key, (const char *)field->bytes.data, field->bytes.len);
		return;
	}
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	struct log_line line = {.len = 0};
	if (level < log_threshold)
		return;
	log_put_time(&line);
	log_put_pair(&line, "level", log_level_names[level], strlen(log_level_names[level]));
	if (log_role)
		log_put_pair(&line, "role", log_role, strlen(log_role));
	if (log_instance)
		log_put_pair(&line, "instance", log_instance, strlen(log_instance));
	log_put_pair(&line, "event", event, strlen(event));
	for (; fields->key; fields++)
		log_put_field(&line, fields);
	line.text[line.len++] = '\n';
	ssize_t written = write(STDERR_FILENO, line.text, line.len);
	(void)written; // nowhere to tell
}

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

void log_set_origin(const char *role, const char *instance)
{
	log_role = role;
	log_instance = instance;
}
