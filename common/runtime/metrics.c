#include "common/runtime/metrics.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/memory.h"

enum { METRICS_BUCKET_FIRST_US = 100 };

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_GAUGE_FN, METRIC_HISTOGRAM };

struct metric {
	char *name;
	char *labels; // "" for none
	char *help;
	enum metric_kind kind;
	union {
		const uint64_t *counter;
		const int64_t *gauge;
		const struct metrics_histogram *histogram;
		struct {
			metrics_gauge_fn fn;
			void *ctx;
		};
	};
};

struct metrics {
	struct metric *rows; // rows of one name stand together
	size_t count;
	size_t capacity;
	double started;
};

struct metrics *metrics_new(void)
{
	struct timespec now;
	struct metrics *metrics = memory_zalloc(sizeof *metrics);
	clock_gettime(CLOCK_REALTIME, &now);
	metrics->started = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
	return metrics;
}

void metrics_free(struct metrics **held)
{
	struct metrics *metrics = *held;
	*held = NULL;
	if (!metrics)
		return;
	for (size_t i = 0; i < metrics->count; i++) {
		free(metrics->rows[i].name);
		free(metrics->rows[i].labels);
		free(metrics->rows[i].help);
	}
	free(metrics->rows);
	free(metrics);
}

static bool metric_name_valid(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	return true;
}

static size_t metrics_position(const struct metrics *metrics, const struct metric *row)
{
	size_t position = metrics->count;
	for (size_t i = 0; i < metrics->count; i++) {
		if (strcmp(metrics->rows[i].name, row->name) != 0)
			continue;
		CHECK(strcmp(metrics->rows[i].labels, row->labels) != 0); // registered twice
		position = i + 1;
	}
	return position;
}

static void metrics_add(
	struct metrics *metrics, const char *name, const char *labels, const char *help, const struct metric *value)
{
	struct metric row = *value;
	CHECK(metric_name_valid(name));
	row.name = memory_strdup(name);
	row.labels = memory_strdup(labels ? labels : "");
	row.help = memory_strdup(help);
	if (metrics->count == metrics->capacity) {
		metrics->capacity = metrics->capacity ? metrics->capacity * 2 : 64;
		metrics->rows = memory_realloc(metrics->rows, metrics->capacity * sizeof *metrics->rows);
	}
	size_t position = metrics_position(metrics, &row);
	memmove(&metrics->rows[position + 1], &metrics->rows[position], (metrics->count - position) * sizeof row);
	metrics->rows[position] = row;
	metrics->count++;
}

void metrics_counter(struct metrics *metrics, const char *name, const char *labels, const char *help, const uint64_t *value)
{
	metrics_add(metrics, name, labels, help, &(struct metric){.kind = METRIC_COUNTER, .counter = value});
}

void metrics_gauge(struct metrics *metrics, const char *name, const char *labels, const char *help, const int64_t *value)
{
	metrics_add(metrics, name, labels, help, &(struct metric){.kind = METRIC_GAUGE, .gauge = value});
}

void metrics_gauge_of(
	struct metrics *metrics, const char *name, const char *labels, const char *help, metrics_gauge_fn fn, void *ctx)
{
	metrics_add(metrics, name, labels, help, &(struct metric){.kind = METRIC_GAUGE_FN, .fn = fn, .ctx = ctx});
}

void metrics_histogram(struct metrics *metrics, const char *name, const char *labels, const char *help,
	const struct metrics_histogram *histogram)
{
	metrics_add(metrics, name, labels, help, &(struct metric){.kind = METRIC_HISTOGRAM, .histogram = histogram});
}

// Bucket n holds what is at most 100 µs · 2^n, the last one the rest.
void metrics_observe_us(struct metrics_histogram *histogram, uint64_t us)
{
	unsigned bucket = 0;
	while (bucket < METRICS_BUCKET_COUNT - 1 && us > (uint64_t)METRICS_BUCKET_FIRST_US << bucket)
		bucket++;
	histogram->buckets[bucket]++;
	histogram->count++;
	histogram->sum_us += us;
}

// Rendering: Prometheus text format 0.0.4

__attribute__((format(printf, 2, 3))) static void put(struct buffer *buffer, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	int len = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	CHECK(len >= 0 && (size_t)len < sizeof text);
	buffer_append(buffer, text, (size_t)len);
}

static void put_text(struct buffer *buffer, const char *text)
{
	buffer_bytes(buffer, bytes_of(text));
}

static void put_help(struct buffer *buffer, const char *help)
{
	for (; *help; help++) {
		if (*help == '\\')
			put_text(buffer, "\\\\");
		else if (*help == '\n')
			put_text(buffer, "\\n");
		else
			buffer_append(buffer, help, 1);
	}
}

static void put_name(struct buffer *buffer, const char *role, const struct metric *row, const char *suffix)
{
	put_text(buffer, "weir_");
	put_text(buffer, role);
	put_text(buffer, "_");
	put_text(buffer, row->name);
	put_text(buffer, suffix);
}

static void put_heading(struct buffer *buffer, const char *role, const struct metric *row)
{
	static const char *const types[] = {"counter", "gauge", "gauge", "histogram"};
	put_text(buffer, "# HELP ");
	put_name(buffer, role, row, " ");
	put_help(buffer, row->help);
	put_text(buffer, "\n# TYPE ");
	put_name(buffer, role, row, " ");
	put_text(buffer, types[row->kind]);
	put_text(buffer, "\n");
}

static void put_series(struct buffer *buffer, const char *role, const struct metric *row, const char *suffix, const char *bound)
{
	put_name(buffer, role, row, suffix);
	if (*row->labels || bound) {
		put_text(buffer, "{");
		put_text(buffer, row->labels);
		if (bound)
			put(buffer, "%sle=\"%s\"", *row->labels ? "," : "", bound);
		put_text(buffer, "}");
	}
	put_text(buffer, " ");
}

static void put_histogram(struct buffer *buffer, const char *role, const struct metric *row)
{
	const struct metrics_histogram *histogram = row->histogram;
	uint64_t below = 0;
	for (unsigned i = 0; i < METRICS_BUCKET_COUNT; i++) {
		char bound[32] = "+Inf";
		if (i < METRICS_BUCKET_COUNT - 1)
			snprintf(bound, sizeof bound, "%.4f", (double)((uint64_t)METRICS_BUCKET_FIRST_US << i) / 1e6);
		below += histogram->buckets[i];
		put_series(buffer, role, row, "_bucket", bound);
		put(buffer, "%" PRIu64 "\n", below);
	}
	put_series(buffer, role, row, "_sum", NULL);
	put(buffer, "%.6f\n", (double)histogram->sum_us / 1e6);
	put_series(buffer, role, row, "_count", NULL);
	put(buffer, "%" PRIu64 "\n", histogram->count);
}

static void put_row(struct buffer *buffer, const char *role, const struct metric *row)
{
	if (row->kind == METRIC_HISTOGRAM) {
		put_histogram(buffer, role, row);
		return;
	}
	put_series(buffer, role, row, "", NULL);
	if (row->kind == METRIC_COUNTER)
		put(buffer, "%" PRIu64 "\n", *row->counter);
	else
		put(buffer, "%" PRId64 "\n", row->kind == METRIC_GAUGE ? *row->gauge : row->fn(row->ctx));
}

// The second number of /proc/self/statm, in pages (proc(5)).
static uint64_t resident_bytes(void)
{
	unsigned long long size = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu %llu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void put_process(const struct metrics *metrics, const char *role, struct buffer *buffer)
{
	put(buffer,
		"# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
		"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %" PRIu64 "\n",
		resident_bytes());
	put(buffer,
		"# HELP process_cpu_seconds_total User and system CPU time spent in seconds.\n"
		"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n",
		cpu_seconds());
	put(buffer,
		"# HELP process_start_time_seconds Start of the process in Unix seconds.\n"
		"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
		metrics->started);
	put(buffer,
		"# HELP weir_build_info The version that runs.\n# TYPE weir_build_info gauge\n"
		"weir_build_info{role=\"%s\",version=\"%s\"} 1\n",
		role, WEIR_VERSION);
}

void metrics_render(struct metrics *metrics, const char *role, struct buffer *buffer)
{
	for (size_t i = 0; i < metrics->count; i++) {
		const struct metric *row = &metrics->rows[i];
		if (i == 0 || strcmp(row->name, metrics->rows[i - 1].name) != 0)
			put_heading(buffer, role, row);
		put_row(buffer, role, row);
	}
	put_process(metrics, role, buffer);
}
