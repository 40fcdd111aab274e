#pragma once
// Scenarios of groups as lines of text. A world has clients by name, a clock, and a log that the test may hold or fail.
//
//	a join v=5            : MEMBER_ID_REQUIRED     client, request, options : what it is answered; "-": not yet; "*":
// anything 	a gets                : gen 1 range leader a   the answer that has come for the client's last request; "-": none
// time 3000                                      the clock goes on, timers run 	log hold | next | fail | release what
// becomes of proposals: kept, durable in the next step, refused 	crash                                          the owner
// is lost; a new one replays what is durable and takes over
//
// Options: g= group (g), v= version, id= member id (a client's name, `none` or `new`), inst= instance id, gen=, session=,
// rebalance=, type=, p= protocols (range:meta,rr; @t: consumes t), for= assignments (a:x,b:y), o= offsets
// (topic-partition@offset/metadata,...), members= of LeaveGroup (names or instance ids as =instance), states=, types=, groups=.
// A client remembers its member id, generation and instance id.

#include "coordinator/groups.h"
#include "proto/kafka/kafka_messages.h"

enum { SCRIPT_CLIENTS = 64, SCRIPT_ENTRIES = 4096, SCRIPT_TEXT = 4096, SCRIPT_REQUESTS = 1024 };

struct script_client {
	char name[32];
	char member_id[600];
	char instance_id[64];
	int32_t generation;
	int16_t api_key; // of the last request
	int16_t api_version;
	bool answered;
	char answer[SCRIPT_TEXT]; // member ids in braces, to be told by name when all names are known
	unsigned asked;           // requests so far
	struct script_world *world;
};

struct script_request {
	struct script_client *client;
	unsigned number;
};

struct script_entry {
	uint8_t *packed;
	size_t len;
	groups_proposed_fn fn;
	void *fn_ctx;
};

enum script_log { SCRIPT_LOG_NEXT, SCRIPT_LOG_HOLD, SCRIPT_LOG_FAIL };

struct script_world {
	struct env env;
	struct groups_settings settings;
	struct groups_deps deps;
	struct groups *groups;
	enum script_log log;
	struct script_entry entries[SCRIPT_ENTRIES];
	size_t proposed;
	size_t durable; // entries below are applied
	struct group_topic topics[4];
	size_t topic_count;
	struct script_client clients[SCRIPT_CLIENTS];
	size_t client_count;
	struct script_request requests[SCRIPT_REQUESTS];
	size_t request_count;
	size_t answers; // of all clients
};

// Kafka's settings but for the delay, which is 0; topics t and u are known.
void script_open(struct script_world *world);
void script_close(struct script_world *world);
// Fails the CUnit test at the first line whose answer is another.
void script_run(struct script_world *world, const char *lines);
struct script_client *script_client(struct script_world *world, const char *name);
void script_advance(struct script_world *world, uint64_t ms);
// What is proposed becomes durable, and its requesters are told.
void script_release(struct script_world *world, size_t count, enum error error);
// All durable entries applied to new groups.
struct groups *script_replay(struct script_world *world);
// The exported state as text, sorted, for comparison; free() it.
char *script_state(const struct groups *groups);
