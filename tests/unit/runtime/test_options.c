#include "common/runtime/options.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/base/unit.h"

struct settings {
	const char *name;
	const char *key;
	bool fast;
	int64_t count;
	int64_t size;
	int64_t wait_ms;
};

static const struct option_row rows[] = {
	{.name = "name",
		.type = OPTION_TEXT,
		.fallback = "nobody",
		.unit = "",
		.help = "A name.",
		.offset = OPTION_AT(struct settings, name)},
	{.name = "api-key",
		.type = OPTION_TEXT,
		.fallback = "",
		.unit = "",
		.help = "A secret.",
		.offset = OPTION_AT(struct settings, key),
		.secret = true},
	{.name = "fast",
		.type = OPTION_BOOL,
		.fallback = "false",
		.unit = "",
		.help = "Haste.",
		.offset = OPTION_AT(struct settings, fast)},
	{.name = "put-rate",
		.type = OPTION_NUMBER,
		.fallback = "5",
		.min = 1,
		.max = 100,
		.unit = "1/s",
		.help = "A rate.",
		.offset = OPTION_AT(struct settings, count)},
	{.name = "object-bytes",
		.type = OPTION_BYTES,
		.fallback = "8MiB",
		.min = 1024,
		.max = 1 << 30,
		.unit = "bytes",
		.help = "A size.",
		.offset = OPTION_AT(struct settings, size)},
	{.name = "linger-max",
		.type = OPTION_MS,
		.fallback = "250ms",
		.unit = "ms",
		.help = "A time.",
		.offset = OPTION_AT(struct settings, wait_ms)},
};
static const struct option_table table = {"weir-test", "WEIR_TEST_", "tests options.", rows, sizeof rows / sizeof *rows};

struct outcome {
	enum error error;
	bool help;
	struct settings settings;
	char out[8192];
	char err[1024];
};

static struct outcome outcome;

// args and environment: blank-separated, "" for none.
static void parse_table(const struct option_table *parsed, const char *args, const char *environment)
{
	char words[2][512], *argv[32] = {words[0]}, *environ_list[32] = {0};
	int argc = 1, env_count = 0;
	FILE *out, *err;
	memset(&outcome, 0, sizeof outcome);
	snprintf(words[0], sizeof words[0], "%s", args);
	snprintf(words[1], sizeof words[1], "%s", environment);
	for (char *word = strtok(words[0], " "); word; word = strtok(NULL, " "))
		argv[argc++] = strdup(word);
	for (char *word = strtok(words[1], " "); word; word = strtok(NULL, " "))
		environ_list[env_count++] = strdup(word);
	out = fmemopen(outcome.out, sizeof outcome.out, "w");
	err = fmemopen(outcome.err, sizeof outcome.err, "w");
	outcome.error = options_parse(parsed, argc, argv, environ_list, &outcome.settings, out, err, &outcome.help);
	fclose(out);
	fclose(err);
	static char name[64], key[64]; // texts point into argv and the environment
	if (outcome.settings.name)
		outcome.settings.name = strncpy(name, outcome.settings.name, sizeof name - 1);
	if (outcome.settings.key)
		outcome.settings.key = strncpy(key, outcome.settings.key, sizeof key - 1);
	while (argc > 1)
		free(argv[--argc]);
	while (env_count > 0)
		free(environ_list[--env_count]);
}

static void parse(const char *args, const char *environment)
{
	parse_table(&table, args, environment);
}

static void defaults_hold(void)
{
	parse("", "PATH=/bin WEIR_OTHER_X=1");
	CU_ASSERT_EQUAL(outcome.error, ERROR_OK);
	CU_ASSERT_STRING_EQUAL(outcome.settings.name, "nobody");
	CU_ASSERT_FALSE(outcome.settings.fast);
	CU_ASSERT_EQUAL(outcome.settings.count, 5);
	CU_ASSERT_EQUAL(outcome.settings.size, 8 << 20);
	CU_ASSERT_EQUAL(outcome.settings.wait_ms, 250);
	CU_ASSERT_STRING_EQUAL(outcome.err, "");
}

static void a_flag_wins_over_the_environment(void)
{
	parse("--put-rate 7 --name=", "WEIR_TEST_PUT_RATE=9 WEIR_TEST_OBJECT_BYTES=2M WEIR_TEST_NAME=env");
	CU_ASSERT_EQUAL(outcome.error, ERROR_OK);
	CU_ASSERT_EQUAL(outcome.settings.count, 7);
	CU_ASSERT_EQUAL(outcome.settings.size, 2 << 20);
	CU_ASSERT_STRING_EQUAL(outcome.settings.name, "");
}

static void values_are_read(void)
{
	static const struct {
		const char *text;
		int64_t value;
	} sizes[] = {{"1024", 1024}, {"4KiB", 4096}, {"4K", 4096}, {"3MiB", 3 << 20}, {"1GiB", 1 << 30}, {"1G", 1 << 30},
		{"2048B", 2048}},
	  times[] = {{"0", 0}, {"17", 17}, {"17ms", 17}, {"3s", 3000}, {"2m", 120000}, {"1h", 3600000}};
	char args[64];
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		snprintf(args, sizeof args, "--object-bytes %s", sizes[i].text);
		parse(args, "");
		CU_ASSERT_EQUAL(outcome.error, ERROR_OK);
		CU_ASSERT_EQUAL(outcome.settings.size, sizes[i].value);
	}
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		snprintf(args, sizeof args, "--linger-max=%s", times[i].text);
		parse(args, "");
		CU_ASSERT_EQUAL(outcome.settings.wait_ms, times[i].value);
	}
	parse("--fast", "");
	CU_ASSERT_TRUE(outcome.settings.fast);
	parse("--fast=false", "WEIR_TEST_FAST=1");
	CU_ASSERT_FALSE(outcome.settings.fast);
	parse("", "WEIR_TEST_FAST=true");
	CU_ASSERT_TRUE(outcome.settings.fast);
}

// Each refusal is one line that names the setting.
static void refusals_name_the_setting(void)
{
	static const struct {
		const char *args, *environment, *named;
	} refused[] = {
		{"--put-rate x", "", "--put-rate"},
		{"--put-rate 0", "", "--put-rate"},
		{"--put-rate 101", "", "--put-rate"},
		{"--put-rate -1", "", "--put-rate"},
		{"--put-rate 5s", "", "--put-rate"},
		{"--put-rate 99999999999999999999", "", "--put-rate"},
		{"--put-rate=", "", "--put-rate"},
		{"--put-rate", "", "--put-rate"},
		{"--put", "", "--put"}, // no abbreviations
		{"--put-rates 5", "", "--put-rates"},
		{"--object-bytes 8MB", "", "--object-bytes"},
		{"--object-bytes 9223372036854775807G", "", "--object-bytes"},
		{"--object-bytes 9000000000000G", "", "--object-bytes"},
		{"--object-bytes 1K5", "", "--object-bytes"},
		{"--linger-max 1d", "", "--linger-max"},
		{"--fast=maybe", "", "--fast"},
		{"stray", "", "stray"},
		{"-n 5", "", "-n"},
		{"--", "", "--"},
		{"--=5", "", "--"},
		{"", "WEIR_TEST_PUT_RATE=x", "WEIR_TEST_PUT_RATE"},
		{"", "WEIR_TEST_PUT_RATE=", "WEIR_TEST_PUT_RATE"},
		{"", "WEIR_TEST_PUT_RAT=1", "WEIR_TEST_PUT_RAT"},
		{"", "WEIR_TEST_=1", "WEIR_TEST_"},
		{"", "WEIR_TEST_put_rate=1", "WEIR_TEST_put_rate"},
	};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		parse(refused[i].args, refused[i].environment);
		CU_ASSERT_EQUAL(outcome.error, ERROR_MALFORMED);
		CU_ASSERT_PTR_NOT_NULL(strstr(outcome.err, refused[i].named));
		CU_ASSERT_PTR_EQUAL(strchr(outcome.err, '\n'), outcome.err + strlen(outcome.err) - 1);
	}
}

static void secrets_are_not_repeated(void)
{
	static const struct option_row secret[] = {
		{.name = "pin", .type = OPTION_NUMBER, .fallback = "0", .unit = "", .help = "", .secret = true}};
	static const struct option_table secrets = {"weir-test", "WEIR_TEST_", "", secret, 1};
	parse_table(&secrets, "--pin hunter2", "");
	CU_ASSERT_EQUAL(outcome.error, ERROR_MALFORMED);
	CU_ASSERT_PTR_NULL(strstr(outcome.err, "hunter2"));
}

static void required_means_required(void)
{
	static const struct option_row required[] = {{.name = "bucket", .type = OPTION_TEXT, .unit = "", .help = ""}};
	static const struct option_table requires = {"weir-test", "WEIR_TEST_", "", required, 1};
	parse_table(&requires, "", "");
	CU_ASSERT_EQUAL(outcome.error, ERROR_MALFORMED);
	CU_ASSERT_PTR_NOT_NULL(strstr(outcome.err, "--bucket (WEIR_TEST_BUCKET)"));
	parse_table(&requires, "--bucket b", "");
	CU_ASSERT_EQUAL(outcome.error, ERROR_OK);
}

static void kubernetes_service_links_are_no_settings(void)
{
	parse("", "WEIR_TEST_SERVICE_HOST=10.0.0.1 WEIR_TEST_SERVICE_PORT=9 WEIR_TEST_SERVICE_PORT_ADMIN=9 "
		  "WEIR_TEST_PORT=tcp://10.0.0.1:9 "
		  "WEIR_TEST_PORT_9_TCP_ADDR=10.0.0.1");
	CU_ASSERT_EQUAL(outcome.error, ERROR_OK);
}

static void help_shows_all(void)
{
	static const char *const shown[] = {"tests options.", "--put-rate", "WEIR_TEST_PUT_RATE", "default: 5", "from 1 to 100",
		"1/s", "A rate.", "--object-bytes", "8MiB", "--api-key", "--version"};
	parse("--nonsense --help", "WEIR_TEST_NONSENSE=1");
	CU_ASSERT_EQUAL(outcome.error, ERROR_OK);
	CU_ASSERT_TRUE(outcome.help);
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(outcome.out, shown[i]));
	parse("--version", "");
	CU_ASSERT_TRUE(outcome.help);
	CU_ASSERT_EQUAL(strncmp(outcome.out, "weir-test ", 10), 0);
}

UNIT_MAIN("options", {"defaults hold", defaults_hold}, {"a flag wins over the environment", a_flag_wins_over_the_environment},
	{"values are read", values_are_read}, {"refusals name the setting", refusals_name_the_setting},
	{"secrets are not repeated", secrets_are_not_repeated}, {"required means required", required_means_required},
	{"Kubernetes' service links are no settings", kubernetes_service_links_are_no_settings},
	{"help shows all", help_shows_all})
