#pragma once
// A small world for unit tests of writer and reader: virtual time, a bus and a bucket in memory, the fake coordinator, and a
// client endpoint that plays frontend. The test adds the daemons it looks at. Seeded; the seed is printed.

#include "reader/reader.h"
#include "tests/support/batch_builder.h"
#include "tests/support/bus_memory.h"
#include "tests/support/fake_coordinator.h"
#include "writer/writer.h"

enum { WORLD_SHARDS = 8, WORLD_EPOCH = 7, WORLD_TURN_US = 1000 };

struct world {
	struct env env;
	struct bus_memory *network;
	struct object_store *store; // the test's own handle
	struct bus *coordinator_bus, *client_bus;
	struct fake_coordinator *coordinator;
	struct bus *writer_bus;
	struct object_store *writer_store;
	struct uuid writer_id;
	struct writer *writer; // NULL until world_add_writer()
	const char *fatal;     // what the writer ended with
	struct bus *reader_bus;
	struct object_store *reader_store;
	struct reader_core *reader;
	struct bus_link *writer_link, *reader_link;
	struct uuid topic;
};

void world_init(struct world *world, const char *test);
void world_done(struct world *world);
struct writer_settings world_writer_settings(void);
struct reader_settings world_reader_settings(void);
void world_add_writer(struct world *world, const struct writer_settings *settings);
// As by SIGKILL: the coordinator forgets it too.
void world_kill_writer(struct world *world);
void world_add_reader(struct world *world, const struct reader_settings *settings);
// Turns of WORLD_TURN_US each until the time has passed.
void world_run_ms(struct world *world, uint64_t ms);
void world_turn(struct world *world);

// One append of one or more batches and its answer.
struct world_append {
	bool answered;
	enum error call_error;
	size_t count;
	struct {
		enum error error;
		int64_t base_offset, log_append_time_ms, log_start;
	} results[64];
	uint64_t window_bytes;
};
struct world_batch {
	int32_t partition;
	struct slice bytes; // borrowed
	uint32_t message_bytes_max;
	bool log_append_time;
};
// append must live until it is answered.
void world_append(struct world *world, const struct world_batch *batches, size_t count, struct world_append *append);

// One partition's fetch and its answer.
struct world_fetch {
	bool answered;
	enum error call_error, error;
	int64_t high_watermark, log_start;
	struct slice bytes; // all frames together, a copy
	uint32_t frame_count;
};
struct world_fetch_part {
	int32_t partition;
	int64_t offset;
	uint32_t max_bytes;
	bool at_least_one;
	int64_t known_high_watermark, known_log_start;
};
// fetches: one a part.
void world_fetch_start(struct world *world, const struct world_fetch_part *parts, size_t count, uint32_t max_bytes,
	struct world_fetch *fetches);
void world_fetch_done(struct world_fetch *fetch);
// Runs until it is answered, at most 20 s.
void world_fetch(struct world *world, const struct world_fetch_part *part, struct world_fetch *fetch);

struct world_time {
	bool answered;
	enum error error;
	int64_t offset, timestamp;
};
void world_time_lookup(struct world *world, int32_t partition, int64_t timestamp, struct world_time *lookup);
