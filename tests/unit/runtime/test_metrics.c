#include "common/runtime/metrics.h"

#include <ctype.h>
#include <regex.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/base/unit.h"

// A checker of the Prometheus text format 0.0.4, by regular expressions: it knows nothing of how the page is made.

static char *page;

static void render(struct metrics *metrics)
{
	struct buffer buffer;
	buffer_init(&buffer, 1 << 20);
	metrics_render(metrics, "writer", &buffer);
	CU_ASSERT_FALSE_FATAL(buffer.failed);
	free(page);
	page = strndup((const char *)buffer.data, buffer.len);
	buffer_done(&buffer);
}

static bool matches(const char *line, const char *pattern)
{
	regex_t regex;
	CU_ASSERT_EQUAL_FATAL(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	bool found = regexec(&regex, line, 0, NULL, 0) == 0;
	regfree(&regex);
	return found;
}

static bool line_is_well_formed(const char *line)
{
	return matches(line, "^# HELP [a-zA-Z_:][a-zA-Z0-9_:]* ([^\\\\]|\\\\\\\\|\\\\n)*$") ||
	       matches(line, "^# TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (counter|gauge|histogram)$") ||
	       matches(line, "^[a-zA-Z_:][a-zA-Z0-9_:]*"
			     "(\\{[a-zA-Z_][a-zA-Z0-9_]*=\"[^\"]*\"(,[a-zA-Z_][a-zA-Z0-9_]*=\"[^\"]*\")*\\})? "
			     "(-?[0-9]+(\\.[0-9]+)?)$");
}

// A family's lines stand together: no TYPE comes twice.
static void check_page(void)
{
	char *copy = strdup(page), *types[256] = {0};
	size_t type_count = 0;
	CU_ASSERT_EQUAL(page[strlen(page) - 1], '\n');
	for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
		if (!line_is_well_formed(line)) {
			fprintf(stderr, "ill-formed: %s\n", line);
			CU_FAIL("ill-formed line");
		}
		if (strncmp(line, "# TYPE ", 7) != 0)
			continue;
		for (size_t i = 0; i < type_count; i++)
			CU_ASSERT_STRING_NOT_EQUAL(types[i], line);
		types[type_count++] = line;
	}
	free(copy);
}

static double value_of(const char *series)
{
	char key[256];
	snprintf(key, sizeof key, "\n%s ", series);
	const char *at = strstr(page, key);
	CU_ASSERT_PTR_NOT_NULL(at);
	return at ? strtod(at + strlen(key), NULL) : -1;
}

static int64_t computed(void *ctx)
{
	return *(int64_t *)ctx * 2;
}

static void counters_and_gauges(void)
{
	uint64_t puts = 3, gets = UINT64_MAX;
	int64_t depth = -5, half = 21;
	struct metrics *metrics = metrics_new();
	metrics_counter(metrics, "requests_total", "kind=\"put\"", "What a \\ and a\nnewline do.", &puts);
	metrics_gauge(metrics, "queue_depth", NULL, "Depth.", &depth);
	metrics_counter(metrics, "requests_total", "kind=\"get\"", "Ignored.", &gets);
	metrics_gauge_of(metrics, "answer", NULL, "Computed.", computed, &half);
	render(metrics);
	check_page();
	CU_ASSERT_EQUAL(value_of("weir_writer_requests_total{kind=\"put\"}"), 3);
	CU_ASSERT_EQUAL(value_of("weir_writer_requests_total{kind=\"get\"}"), (double)UINT64_MAX);
	CU_ASSERT_EQUAL(value_of("weir_writer_queue_depth"), -5);
	CU_ASSERT_EQUAL(value_of("weir_writer_answer"), 42);
	CU_ASSERT_PTR_NOT_NULL(strstr(page, "# HELP weir_writer_requests_total What a \\\\ and a\\nnewline do.\n"));
	CU_ASSERT_PTR_NULL(strstr(page, "Ignored"));
	CU_ASSERT_PTR_NOT_NULL(strstr(page, "{kind=\"put\"} 3\nweir_writer_requests_total{kind=\"get\"}"));
	puts = 4;
	render(metrics);
	CU_ASSERT_EQUAL(value_of("weir_writer_requests_total{kind=\"put\"}"), 4);
	metrics_free(&metrics);
	CU_ASSERT_PTR_NULL(metrics);
}

static void histograms_cumulate(void)
{
	static const uint64_t observed[] = {0, 100, 101, 200, 201, 1000, 52428800, 52428801, UINT32_MAX};
	struct metrics_histogram histogram = {0};
	struct metrics *metrics = metrics_new();
	uint64_t sum_us = 0;
	metrics_histogram(metrics, "put_seconds", "store=\"s3\"", "Time.", &histogram);
	for (size_t i = 0; i < sizeof observed / sizeof *observed; i++) {
		metrics_observe_us(&histogram, observed[i]);
		sum_us += observed[i];
	}
	render(metrics);
	check_page();
	double last_bound = 0, last_value = 0;
	unsigned buckets = 0;
	for (const char *at = page; (at = strstr(at, "weir_writer_put_seconds_bucket{store=\"s3\",le=\"")); buckets++) {
		at += strlen("weir_writer_put_seconds_bucket{store=\"s3\",le=\"");
		char *rest;
		double bound = strncmp(at, "+Inf", 4) == 0 ? 1e300 : strtod(at, NULL);
		double value = strtod(strchr(at, ' '), &rest);
		double expected = 0;
		for (size_t i = 0; i < sizeof observed / sizeof *observed; i++)
			expected += (double)observed[i] <= bound * 1e6 + 0.5;
		CU_ASSERT_EQUAL(value, expected);
		CU_ASSERT_TRUE(bound > last_bound && value >= last_value);
		last_bound = bound;
		last_value = value;
	}
	CU_ASSERT_EQUAL(buckets, METRICS_BUCKET_COUNT);
	CU_ASSERT_EQUAL(last_value, 9);
	CU_ASSERT_EQUAL(value_of("weir_writer_put_seconds_count{store=\"s3\"}"), 9);
	CU_ASSERT_DOUBLE_EQUAL(value_of("weir_writer_put_seconds_sum{store=\"s3\"}"), (double)sum_us / 1e6, 1e-5);
	metrics_free(&metrics);
}

static void the_process_is_shown(void)
{
	struct metrics *metrics = metrics_new();
	render(metrics);
	check_page();
	CU_ASSERT_TRUE(value_of("process_resident_memory_bytes") > 100000);
	CU_ASSERT_TRUE(value_of("process_cpu_seconds_total") >= 0);
	CU_ASSERT_TRUE(value_of("process_start_time_seconds") > 1.6e9);
	CU_ASSERT_PTR_NOT_NULL(strstr(page, "weir_build_info{role=\"writer\",version=\""));
	metrics_free(&metrics);
	free(page);
	page = NULL;
}

UNIT_MAIN("metrics", {"counters and gauges", counters_and_gauges}, {"histograms cumulate", histograms_cumulate},
	{"the process is shown", the_process_is_shown})
