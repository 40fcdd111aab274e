#pragma once
// Counters and gauges of one daemon, shown on /metrics in the Prometheus text format 0.0.4. A metric is a plain uint64_t (or
// int64_t) that its owner increments; the registry only knows where it lives, so counting costs one add. Histograms have fixed
// log-scale buckets. Owner: main; the registered variables must outlive the registry.

#include <stdint.h>

#include "common/base/bytes.h"

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics **metrics);

// name without prefix, as "puts_total"; shown as weir_‹role›_‹name›. labels as `kind="put"` or NULL. Rows of one name are shown
// together; help is taken from the first.
void metrics_counter(struct metrics *metrics, const char *name, const char *labels, const char *help, const uint64_t *value);
void metrics_gauge(struct metrics *metrics, const char *name, const char *labels, const char *help, const int64_t *value);

// A gauge computed when asked.
typedef int64_t (*metrics_gauge_fn)(void *ctx);
void metrics_gauge_of(
	struct metrics *metrics, const char *name, const char *labels, const char *help, metrics_gauge_fn fn, void *ctx);

// Durations in µs: buckets 100 µs · 2^n up to about 100 s; shown in seconds.
enum { METRICS_BUCKET_COUNT = 21 };
struct metrics_histogram {
	uint64_t buckets[METRICS_BUCKET_COUNT]; // the last holds the rest
	uint64_t count;
	uint64_t sum_us;
};
void metrics_observe_us(struct metrics_histogram *histogram, uint64_t us);
void metrics_histogram(struct metrics *metrics, const char *name, const char *labels, const char *help,
	const struct metrics_histogram *histogram);

// The whole page; also process_resident_memory_bytes, process_cpu_seconds_total, process_start_time_seconds, build_info.
void metrics_render(struct metrics *metrics, const char *role, struct buffer *buffer);
