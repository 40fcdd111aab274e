#pragma once
// The pipeline around a frontend, in memory: one coordinator that owns all shards, two writers, two readers, played by script.
// Requests go in as frames, answers come out as frames, as on the wire.

#include "common/runtime/protobuf.h"
#include "frontend/frontend.h"
#include "proto/append.pb-c.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/feed.pb-c.h"
#include "proto/fetch.pb-c.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"
#include "proto/kafka/kafka_messages.h"
#include "tests/support/bus_memory.h"

enum {
	WORLD_SHARDS = 4,
	WORLD_TOPICS_MAX = 8,
	WORLD_HELD_MAX = 512,
	WORLD_WRITERS = 2,
	WORLD_READERS = 2,
	WORLD_PARTITIONS = 4
};

struct world_topic {
	struct uuid id;
	const char *name;
	int32_t partitions;
	int64_t high[WORLD_PARTITIONS];
	int64_t log_start[WORLD_PARTITIONS];
};

// A request that a script holds back.
struct world_held {
	struct bus_request *request;
	uint32_t type;
	uint32_t api_key;
	uint32_t shard;
	struct slice body; // of a KafkaCall
	size_t parts;      // of an append
	int member;        // which writer
};

struct world {
	struct env own_env;
	const struct env *env;
	struct bus_memory *network;
	struct bus *coordinator, *frontend_bus, *writers[WORLD_WRITERS], *readers[WORLD_READERS];
	struct frontend *frontend;
	struct uuid coordinator_id, ids[WORLD_WRITERS + WORLD_READERS], frontend_id;
	bool writer_gone[WORLD_WRITERS], writer_draining[WORLD_WRITERS];
	struct world_topic topics[WORLD_TOPICS_MAX];
	size_t topic_count;
	uint64_t meta_number, epoch;
	uint64_t hw_numbers[WORLD_SHARDS];
	struct client_session session;

	bool hold_appends, hold_calls, hold_fetches;
	struct world_held held[WORLD_HELD_MAX];
	size_t held_count;
	enum error append_error; // of every part
	uint64_t window_bytes;   // told by writers
	int64_t next_offset;
	size_t appends, append_frames, fetches, calls, syncs_meta, syncs_watermarks, offsets_asked;
	enum error fetch_error;
	size_t batch_bytes;         // what a reader gives for a partition that has something
	int64_t reader_high_offset; // added to the watermark a reader tells
	uint32_t last_fetch_max_bytes;
	int last_writer;
	bool offsets_fail;
};

// env: NULL for the world's own. Runs until the frontend is ready.
void world_start(struct world *world, const struct env *env);
void world_stop(struct world *world);
// Before world_start or with world_feed_topic after it.
struct world_topic *world_add_topic(struct world *world, const char *name, int32_t partitions);
void world_turn(struct world *world);
// Turns of a millisecond.
void world_run(struct world *world, uint64_t ms);
// Publishes that a topic is there (or gone), with the next number.
void world_feed_topic(struct world *world, const struct world_topic *topic, bool gone);
// Publishes a watermark; skip: numbers lost before it.
void world_feed_high(struct world *world, struct world_topic *topic, int32_t partition, int64_t high, uint64_t skip);
// Every shard repeats its numbers.
void world_beat(struct world *world);
// Answers what is held; index into held. Reply body for KafkaCalls.
void world_release(struct world *world, size_t index, struct bytes kafka_body);
void world_release_error(struct world *world, size_t index, enum error error);
// The view has changed (writer_gone, writer_draining): the feed says so.
void world_feed_view(struct world *world);

// A client's request: header and body written into a frame; handled at once. done counts its end.
struct world_call {
	struct request *request;
	int done;
};
typedef void (*world_encode_fn)(const void *message, struct kafka_writer *writer, int16_t version);
struct slice world_frame(int16_t key, int16_t version, int32_t correlation, const void *message, world_encode_fn encode);
void world_send(struct world *world, struct world_call *call, int16_t key, int16_t version, const void *message,
	world_encode_fn encode);
#define WORLD_SEND(world, call, name, key, version, message)                                                                   \
	world_send((world), (call), (key), (version), (message), world_encode_##name)
// The answer's body, behind its header; a view.
struct reader world_answer(struct world_call *call, struct arena *arena);
void world_call_done(struct world_call *call);

// A record batch of magic 2 with that many (opaque) records, a valid header; the CRC is not.
struct bytes world_batch(struct arena *arena, int32_t records, size_t size);
