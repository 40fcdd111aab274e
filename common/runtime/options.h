#pragma once
// One table a daemon feeds flags, environment, --help, validation and the start-up line. Flag --put-rate is
// WEIR_WRITER_PUT_RATE in the environment; a flag wins over the environment, that over the default. Unknown flags and values
// out of range refuse to start with one line that names the setting. Environment names with our prefix that no row has are
// refused too.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"

enum option_type {
	OPTION_TEXT,
	OPTION_BOOL,   // true/false/1/0, a flag alone means true
	OPTION_NUMBER, // plain integer
	OPTION_BYTES,  // integer with optional KiB MiB GiB (or K M G)
	OPTION_MS,     // integer with optional ms s m h
};

struct option_row {
	const char *name; // as the flag, without dashes: "put-rate"
	enum option_type type;
	const char *fallback; // the default as text; NULL: required
	int64_t min, max;     // numbers only
	const char *unit;     // shown in --help, "" for none
	const char *help;
	size_t offset; // into the settings struct: const char * | bool | int64_t
	bool secret;   // the start-up line shows only that it is set
};

#define OPTION_AT(settings_type, member) offsetof(settings_type, member)

struct option_table {
	const char *program;    // "weir-writer"
	const char *env_prefix; // "WEIR_WRITER_"
	const char *summary;    // first paragraph of --help
	const struct option_row *rows;
	size_t row_count;
};

// Fills settings (texts point into argv, environ or the table). On ERROR_MALFORMED one line was printed to err that names the
// setting. ret_help: --help or --version was asked and printed to out; the caller exits 0.
MUST_CHECK enum error options_parse(const struct option_table *table, int argc, char **argv, char **environment, void *settings,
	FILE *out, FILE *err, bool *ret_help);
void options_help(const struct option_table *table, FILE *out);
// Logs one line with all values in force.
void options_log(const struct option_table *table, const void *settings);
