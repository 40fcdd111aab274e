#include "common/runtime/options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { OPTION_NAME_MAX = 128 };

struct option_unit {
	const char *suffix;
	int64_t factor;
};

static const struct option_unit byte_units[] = {{"", 1}, {"B", 1}, {"K", 1 << 10}, {"KiB", 1 << 10}, {"M", 1 << 20},
	{"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {NULL, 0}};
static const struct option_unit time_units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct option_unit plain_units[] = {{"", 1}, {NULL, 0}};

static const struct option_unit *option_units(enum option_type type)
{
	return type == OPTION_BYTES ? byte_units : type == OPTION_MS ? time_units : plain_units;
}

static bool option_is_number(const struct option_row *row)
{
	return row->type == OPTION_NUMBER || row->type == OPTION_BYTES || row->type == OPTION_MS;
}

// A row that names no range takes any number.
static bool option_has_range(const struct option_row *row)
{
	return option_is_number(row) && (row->min || row->max);
}

static void option_env_name(const struct option_table *table, const struct option_row *row, char name[OPTION_NAME_MAX])
{
	size_t prefix_len = strlen(table->env_prefix);
	snprintf(name, OPTION_NAME_MAX, "%s%s", table->env_prefix, row->name);
	for (char *at = name + prefix_len; *at; at++)
		*at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}

static bool option_parse_number(const char *text, const struct option_unit *units, int64_t *ret_value)
{
	char *end;
	int64_t number = 0;
	if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1])))
		return false;
	number = strtoll(text, &end, 10);
	if (number == INT64_MAX || number == INT64_MIN)
		return false;
	for (; units->suffix; units++)
		if (strcmp(end, units->suffix) == 0)
			return !__builtin_mul_overflow(number, units->factor, ret_value);
	return false;
}

static bool option_parse_bool(const char *text, bool *ret_value)
{
	bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
		return false;
	*ret_value = yes;
	return true;
}

static const char *option_form(enum option_type type)
{
	switch (type) {
	case OPTION_TEXT:
		return "text";
	case OPTION_BOOL:
		return "true or false";
	case OPTION_NUMBER:
		return "a whole number";
	case OPTION_BYTES:
		return "a number of bytes such as 64KiB or 8MiB";
	case OPTION_MS:
		return "a time such as 250ms, 5s or 1m";
	}
	return "";
}

struct option_parser {
	const struct option_table *table;
	void *settings;
	FILE *err;
	bool *given; // one a row
};

static void *option_target(void *settings, const struct option_row *row)
{
	return (char *)settings + row->offset;
}

static void option_refuse(const struct option_parser *parser, const struct option_row *row, const char *value, const char *why)
{
	char env_name[OPTION_NAME_MAX];
	option_env_name(parser->table, row, env_name);
	fprintf(parser->err, "%s: --%s (%s): ", parser->table->program, row->name, env_name);
	if (value && !row->secret)
		fprintf(parser->err, "\"%s\" ", value);
	fprintf(parser->err, "%s\n", why);
}

static enum error option_set(struct option_parser *parser, const struct option_row *row, const char *value)
{
	void *target = option_target(parser->settings, row);
	char why[128];
	int64_t number;
	if (row->type == OPTION_TEXT) {
		*(const char **)target = value;
		return ERROR_OK;
	}
	snprintf(why, sizeof why, "is not %s", option_form(row->type));
	if (row->type == OPTION_BOOL) {
		if (option_parse_bool(value, target))
			return ERROR_OK;
	} else if (option_parse_number(value, option_units(row->type), &number)) {
		if (!option_has_range(row) || (number >= row->min && number <= row->max)) {
			*(int64_t *)target = number;
			return ERROR_OK;
		}
		snprintf(why, sizeof why, "is outside %" PRId64 " to %" PRId64 "%s%s", row->min, row->max,
			*row->unit ? " " : "", row->unit);
	}
	option_refuse(parser, row, value, why);
	return ERROR_MALFORMED;
}

static enum error option_give(struct option_parser *parser, const struct option_row *row, const char *value)
{
	parser->given[row - parser->table->rows] = true;
	return option_set(parser, row, value);
}

// Flags are matched whole: getopt_long would also take abbreviations, which change their meaning when a row is added.
static const struct option_row *option_find_flag(const struct option_table *table, const char *flag, size_t len)
{
	for (size_t i = 0; i < table->row_count; i++)
		if (strlen(table->rows[i].name) == len && strncmp(table->rows[i].name, flag, len) == 0)
			return &table->rows[i];
	return NULL;
}

// position: on argv's entry; moved on if the value is the next one.
static enum error option_parse_flag(struct option_parser *parser, char **argv, int *position)
{
	const char *flag = argv[*position];
	const char *equals = strchr(flag, '=');
	size_t len = equals ? (size_t)(equals - flag) : strlen(flag);
	const struct option_row *row = NULL;
	if (len > 2 && strncmp(flag, "--", 2) == 0)
		row = option_find_flag(parser->table, flag + 2, len - 2);
	if (!row) {
		fprintf(parser->err, "%s: %.*s: unknown setting (see --help)\n", parser->table->program, (int)len, flag);
		return ERROR_MALFORMED;
	}
	if (equals)
		return option_give(parser, row, equals + 1);
	if (row->type == OPTION_BOOL)
		return option_give(parser, row, "true");
	if (!argv[*position + 1]) {
		option_refuse(parser, row, NULL, "needs a value");
		return ERROR_MALFORMED;
	}
	return option_give(parser, row, argv[++*position]);
}

// Kubernetes sets ‹SERVICE›_SERVICE_HOST, ‹SERVICE›_PORT and so on in every pod; a Service named weir-writer must not stop us.
static bool option_env_is_service_link(const char *rest)
{
	static const char *const starts[] = {"SERVICE_HOST=", "SERVICE_PORT=", "SERVICE_PORT_", "PORT=", "PORT_"};
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		if (strncmp(rest, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static const struct option_row *option_find_env(const struct option_table *table, const char *entry, size_t len)
{
	char name[OPTION_NAME_MAX];
	for (size_t i = 0; i < table->row_count; i++) {
		option_env_name(table, &table->rows[i], name);
		if (strlen(name) == len && strncmp(name, entry, len) == 0)
			return &table->rows[i];
	}
	return NULL;
}

static enum error option_parse_environment(struct option_parser *parser, char **environment)
{
	const struct option_table *table = parser->table;
	size_t prefix_len = strlen(table->env_prefix);
	for (; environment && *environment; environment++) {
		const char *entry = *environment;
		const char *equals = strchr(entry, '=');
		if (!equals || strncmp(entry, table->env_prefix, prefix_len) != 0)
			continue;
		const struct option_row *row = option_find_env(table, entry, (size_t)(equals - entry));
		if (!row && option_env_is_service_link(entry + prefix_len))
			continue;
		if (!row) {
			fprintf(parser->err, "%s: %.*s: unknown setting in the environment (see --help)\n", table->program,
				(int)(equals - entry), entry);
			return ERROR_MALFORMED;
		}
		if (option_give(parser, row, equals + 1))
			return ERROR_MALFORMED;
	}
	return ERROR_OK;
}

static enum error option_fill_defaults(struct option_parser *parser)
{
	for (size_t i = 0; i < parser->table->row_count; i++) {
		const struct option_row *row = &parser->table->rows[i];
		if (parser->given[i])
			continue;
		if (!row->fallback) {
			option_refuse(parser, row, NULL, "is required");
			return ERROR_MALFORMED;
		}
		if (option_set(parser, row, row->fallback))
			return ERROR_MALFORMED;
	}
	return ERROR_OK;
}

static bool option_asks_help(const struct option_table *table, int argc, char **argv, FILE *out)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			options_help(table, out);
			return true;
		}
		if (strcmp(argv[i], "--version") == 0) {
			fprintf(out, "%s %s\n", table->program, WEIR_VERSION);
			return true;
		}
	}
	return false;
}

enum error options_parse(const struct option_table *table, int argc, char **argv, char **environment, void *settings, FILE *out,
	FILE *err, bool *ret_help)
{
	*ret_help = option_asks_help(table, argc, argv, out);
	if (*ret_help)
		return ERROR_OK;
	struct option_parser parser = {table, settings, err, memory_zalloc(table->row_count * sizeof(bool))};
	enum error error = option_parse_environment(&parser, environment);
	for (int i = 1; i < argc && !error; i++)
		error = option_parse_flag(&parser, argv, &i);
	if (!error)
		error = option_fill_defaults(&parser);
	free(parser.given);
	return error;
}

static void option_help_row(const struct option_table *table, const struct option_row *row, FILE *out)
{
	static const char *const placeholders[] = {[OPTION_TEXT] = " TEXT",
		[OPTION_BOOL] = "",
		[OPTION_NUMBER] = " N",
		[OPTION_BYTES] = " BYTES",
		[OPTION_MS] = " TIME"};
	char env_name[OPTION_NAME_MAX];
	option_env_name(table, row, env_name);
	fprintf(out, "  --%s%s  (%s)\n      %s\n      ", row->name, placeholders[row->type], env_name, row->help);
	if (!row->fallback)
		fputs("required", out);
	else if (!*row->fallback)
		fputs("default: empty", out);
	else
		fprintf(out, "default: %s", row->fallback);
	if (option_has_range(row))
		fprintf(out, "; from %" PRId64 " to %" PRId64, row->min, row->max);
	if (*row->unit)
		fprintf(out, "; unit: %s", row->unit);
	fputs("\n", out);
}

void options_help(const struct option_table *table, FILE *out)
{
	fprintf(out, "%s: %s\n\nUsage: %s [--SETTING VALUE | --SETTING=VALUE ...]\n\n", table->program, table->summary,
		table->program);
	fputs("Each setting may also come from the environment; a flag wins.\n\n", out);
	for (size_t i = 0; i < table->row_count; i++)
		option_help_row(table, &table->rows[i], out);
	fputs("  --help\n      Shows this.\n  --version\n      Shows the version.\n", out);
}

static struct log_field option_log_field(const struct option_row *row, const void *settings)
{
	const void *value = (const char *)settings + row->offset;
	const char *text;
	switch (row->type) {
	case OPTION_TEXT:
		text = *(const char *const *)value;
		return LOG_TEXT(row->name, row->secret && text && *text ? "(set)" : text);
	case OPTION_BOOL:
		return LOG_TEXT(row->name, *(const bool *)value ? "true" : "false");
	case OPTION_NUMBER:
	case OPTION_BYTES:
	case OPTION_MS:
		break;
	}
	return LOG_NUMBER(row->name, *(const int64_t *)value);
}

void options_log(const struct option_table *table, const void *settings)
{
	struct log_field *fields = memory_zalloc((table->row_count + 1) * sizeof *fields);
	for (size_t i = 0; i < table->row_count; i++)
		fields[i] = option_log_field(&table->rows[i], settings);
	log_write(LOG_INFO, "settings", fields);
	free(fields);
}
