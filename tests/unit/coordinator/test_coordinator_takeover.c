// What a coordinator acknowledged survives it: whichever call to etcd or the bucket fails in whatever way, and whoever takes
// over.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "common/cluster/cluster_client.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "tests/unit/base/unit.h"
#include "tests/unit/coordinator/coordinator_world.h"

enum { COMMITS = 12, SWEEP_CALLS = 200, CALLS_LEAST = 10 };

struct fixture {
	struct world world;
	struct arena arena;
	struct uuid topic;
	struct world_writer writer;
	struct world_commit commits[COMMITS];
	int64_t base_offsets[COMMITS];
	size_t count;
	int64_t records;
};

static void fixture_init(struct fixture *fixture)
{
	*fixture = (struct fixture){.writer = {.instance = {{1, 2, 3}}}};
	arena_init(&fixture->arena, 0);
	world_init(&fixture->world, 7);
	fixture->world.settings.shards = 1;
}

static void fixture_done(struct fixture *fixture)
{
	for (size_t i = 0; i < fixture->count; i++)
		world_commit_done(&fixture->commits[i]);
	world_done(&fixture->world);
	arena_done(&fixture->arena);
}

// Every third commit is large enough that its section is only referred to.
static void commit_next(struct fixture *fixture)
{
	enum { LARGE = 400 };
	static struct world_batch batches[LARGE];
	size_t count = fixture->count % 3 == 2 ? LARGE : 1;
	const Weir__CommitOutcome *outcome;
	for (size_t i = 0; i < count; i++) {
		batches[i] = (struct world_batch){0, 1 + (uint32_t)prng_below(&fixture->world.env.prng, 1000), -1, 0};
		fixture->records += batches[i].records;
	}
	int64_t base_offset = fixture->records;
	for (size_t i = 0; i < count; i++)
		base_offset -= batches[i].records;
	struct world_commit *commit = &fixture->commits[fixture->count];
	world_commit_make(&fixture->world, &fixture->writer, 0, &fixture->topic, batches, count, commit);
	CU_ASSERT_EQUAL(commit->section.len > 256, count == LARGE);
	CU_ASSERT_EQUAL_FATAL(world_commit_send(&fixture->world, commit, &fixture->arena, &outcome), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(outcome->n_runs, 1);
	CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, base_offset);
	fixture->base_offsets[fixture->count++] = base_offset;
}

// A repeated commit gets its first answer.
static void check_answers(struct fixture *fixture)
{
	for (size_t i = 0; i < fixture->count; i++) {
		const Weir__CommitOutcome *outcome;
		CU_ASSERT_EQUAL_FATAL(
			world_commit_send(&fixture->world, &fixture->commits[i], &fixture->arena, &outcome), ERROR_OK);
		CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, fixture->base_offsets[i]);
	}
}

static int64_t high_watermark(struct fixture *fixture)
{
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	struct world_answer answer;
	world_call(&fixture->world, 0, WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, &request.base, BYTES_NULL, true, &answer);
	CU_ASSERT_EQUAL_FATAL(answer.error, ERROR_OK);
	const Weir__SyncWatermarksReply *reply = protobuf_unpack(&weir__sync_watermarks_reply__descriptor,
		arena_copy(&fixture->arena, buffer_view(&answer.body)), &fixture->arena);
	int64_t value = reply->n_topics ? reply->topics[0]->high_watermarks[0] : -1;
	world_answer_done(&answer);
	return value;
}

static void create_topic(struct fixture *fixture)
{
	int16_t error = -1;
	struct uuid other;
	enum error call_error = world_create_topic(&fixture->world, "orders", 1, &fixture->topic, &error);
	if (call_error == ERROR_OK && error == 0)
		return;
	// The outcome was unknown: the intent goes on by itself, the id is then found by the sync.
	Weir__SyncMetaRequest request = WEIR__SYNC_META_REQUEST__INIT;
	for (int i = 0; i < 100; i++) {
		struct world_answer answer;
		world_call(&fixture->world, 0, WEIR__MESSAGE_TYPE__SYNC_META, &request.base, BYTES_NULL, true, &answer);
		const Weir__SyncMetaReply *reply = protobuf_unpack(&weir__sync_meta_reply__descriptor,
			arena_copy(&fixture->arena, buffer_view(&answer.body)), &fixture->arena);
		bool found = reply && reply->n_topics == 1 && protobuf_get_uuid(reply->topics[0]->id, &fixture->topic);
		world_answer_done(&answer);
		if (found)
			return;
		if (i == 20)
			(void)world_create_topic(&fixture->world, "orders", 1, &other, &error);
		world_run_ms(&fixture->world, 200);
	}
	CU_FAIL_FATAL("the topic never came");
}

// Kills the owner, lets another take over from what is in etcd and the bucket.
static void take_over_and_check(struct fixture *fixture, unsigned from, unsigned to)
{
	uint64_t hash_before, hash_after, position_before, position_after;
	world_run_ms(&fixture->world, 500);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture->world, 0), (int)from);
	CU_ASSERT_FATAL(coordinator_shard_hash(fixture->world.nodes[from].coordinator, 0, &hash_before, &position_before));
	world_kill(&fixture->world, from);
	world_start(&fixture->world, to);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture->world, 0), (int)to);
	CU_ASSERT(coordinator_shard_hash(fixture->world.nodes[to].coordinator, 0, &hash_after, &position_after));
	CU_ASSERT_EQUAL(hash_before, hash_after);
	CU_ASSERT_EQUAL(position_before, position_after);
	check_answers(fixture);
	CU_ASSERT_EQUAL(high_watermark(fixture), fixture->records);
	commit_next(fixture);
}

static void test_take_over_gives_the_same_state(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	for (int i = 0; i < 8; i++)
		commit_next(&fixture);
	take_over_and_check(&fixture, 0, 1);
	take_over_and_check(&fixture, 1, 2);
	fixture_done(&fixture);
}

// The n-th call fails.

struct script {
	uint64_t call;
	enum metadata_fault metadata;
	enum object_fault object;
	bool hit;
};

static enum metadata_fault metadata_script(void *ctx, uint64_t number)
{
	struct script *script = ctx;
	if (number != script->call)
		return METADATA_FAULT_NONE;
	script->hit = true;
	return script->metadata;
}

static enum object_fault object_script(void *ctx, uint64_t number)
{
	struct script *script = ctx;
	if (number != script->call)
		return OBJECT_FAULT_NONE;
	script->hit = true;
	return script->object;
}

static void sweep_once(struct script *script, bool second_node, bool metadata)
{
	struct fixture fixture;
	fixture_init(&fixture);
	fixture.world.settings.lease_ttl_ms = 3000;
	world_start(&fixture.world, 0);
	if (!second_node && metadata)
		metadata_store_memory_script(fixture.world.nodes[0].metadata, metadata_script, script);
	if (!second_node && !metadata)
		object_store_memory_script(fixture.world.nodes[0].objects, object_script, script);
	create_topic(&fixture);
	for (int i = 0; i < 5; i++)
		commit_next(&fixture);
	if (!second_node) {
		take_over_and_check(&fixture, 0, 1);
	} else {
		world_kill(&fixture.world, 0);
		world_start(&fixture.world, 1);
		if (metadata)
			metadata_store_memory_script(fixture.world.nodes[1].metadata, metadata_script, script);
		else
			object_store_memory_script(fixture.world.nodes[1].objects, object_script, script);
		CU_ASSERT_EQUAL_FATAL(world_owner(&fixture.world, 0), 1);
		check_answers(&fixture);
		CU_ASSERT_EQUAL(high_watermark(&fixture), fixture.records);
		commit_next(&fixture);
		commit_next(&fixture);
	}
	fixture_done(&fixture);
}

static void sweep_metadata(bool second_node)
{
	const enum metadata_fault faults[] = {
		METADATA_FAULT_BEFORE, METADATA_FAULT_AFTER, METADATA_FAULT_HANG, METADATA_FAULT_LATE};
	for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
		bool hit = true;
		uint64_t call;
		for (call = 0; call < SWEEP_CALLS && hit; call++) {
			struct script script = {.call = call, .metadata = faults[f]};
			sweep_once(&script, second_node, true);
			hit = script.hit;
		}
		CU_ASSERT(call > CALLS_LEAST && !hit); // the sweep met the whole history
	}
}

static void test_every_etcd_call_of_the_owner_may_fail(void)
{
	sweep_metadata(false);
}

static void test_every_etcd_call_of_a_take_over_may_fail(void)
{
	sweep_metadata(true);
}

static void test_every_bucket_call_may_fail(void)
{
	const enum object_fault faults[] = {OBJECT_FAULT_BEFORE, OBJECT_FAULT_AFTER, OBJECT_FAULT_HANG, OBJECT_FAULT_THROTTLE};
	for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
		for (uint64_t call = 0; call < 4; call++) {
			struct script script = {.call = call, .object = faults[f]};
			sweep_once(&script, true, false);
			sweep_once(&script, false, false);
		}
	}
}

// Two owners can never both commit: one that was paused past its lease wakes up with a commit in its queue.
static void test_a_paused_owner_cannot_commit(void)
{
	struct fixture fixture;
	struct world_answer answer;
	uint64_t hash, position_before, position_after;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	commit_next(&fixture);
	struct world_node *old = &fixture.world.nodes[0];
	old->paused = true;
	world_start(&fixture.world, 1);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture.world, 0), 1);
	commit_next(&fixture);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[1].coordinator, 0, &hash, &position_before));
	// A request that reaches it before it has noticed anything: its lease has surely run out, so it has no say.
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	world_call_node(&fixture.world, 0, WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, &request.base, BYTES_NULL, 1000, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_NOT_OWNER);
	world_answer_done(&answer);
	old->paused = false;
	world_run_ms(&fixture.world, 3000);
	(void)world_owner(&fixture.world, 0);
	check_answers(&fixture);
	commit_next(&fixture);
	check_answers(&fixture);
	int owner = world_owner(&fixture.world, 0);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[owner].coordinator, 0, &hash, &position_after));
	CU_ASSERT_EQUAL(position_after, position_before + 1);
	fixture_done(&fixture);
}

static void txn_done(void *ctx, enum error error, bool succeeded, int64_t revision)
{
	(void)ctx;
	(void)revision;
	CU_ASSERT(error == ERROR_OK && succeeded);
}

// The fence itself: the lease is taken for good, the queue holds a proposal, the Txn must not pass.
static void test_the_fence_holds_in_the_middle_of_a_turn(void)
{
	struct fixture fixture;
	const Weir__CommitOutcome *outcome;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	commit_next(&fixture);
	// Somebody deletes the owner key; the next Txn is on its way before the watch tells.
	const struct metadata_delete delete = {bytes_of("/weir/shards/0000/owner"), BYTES_NULL};
	const struct metadata_txn txn = {.deletes = &delete, .delete_count = 1};
	struct world_commit commit;
	const struct world_batch batch = {0, 3, -1, 0};
	world_commit_make(&fixture.world, &fixture.writer, 0, &fixture.topic, &batch, 1, &commit);
	metadata_txn_commit(fixture.world.metadata, &txn, 1000, txn_done, NULL);
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_OK);
	CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, fixture.records);
	fixture.records += 3;
	CU_ASSERT_EQUAL(high_watermark(&fixture), fixture.records);
	world_commit_done(&commit);
	fixture_done(&fixture);
}

// Entries in etcd's log of shard 0, whoever wrote them.

static void log_counted(void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	(void)rows;
	(void)more;
	(void)revision;
	CU_ASSERT_EQUAL(error, ERROR_OK);
	*(size_t *)ctx = count;
}

static size_t log_count(struct fixture *fixture)
{
	size_t count = SIZE_MAX;
	metadata_range(fixture->world.metadata, bytes_of("/weir/shards/0000/log/"), bytes_of("/weir/shards/0000/log0"), 0, 1000,
		log_counted, &count);
	while (count == SIZE_MAX)
		metadata_store_memory_step(fixture->world.metadata);
	return count;
}

struct late_answer {
	bool answered;
	enum error error;
};

static void late_answered(void *ctx, enum error error, const struct bus_message *reply)
{
	struct late_answer *answer = ctx;
	answer->answered = true;
	answer->error = error != ERROR_OK ? error : control_reply_error(reply->body);
}

// A commit goes to node 0 only; its answer comes when it comes.
static void commit_to_node_0(struct fixture *fixture, const struct world_commit *commit, struct late_answer *answer)
{
	enum { PATIENCE_MS = 600000 };
	struct bytes section = buffer_view(&commit->section);
	struct slice frame = slice_copy(section);
	Weir__CommitSection body = WEIR__COMMIT_SECTION__INIT;
	Weir__CommitSection *bodies[] = {&body};
	Weir__CommitRequest request = WEIR__COMMIT_REQUEST__INIT;
	body.sequence = commit->sequence;
	body.previous_sequence = commit->previous;
	body.created_ms = commit->created_ms;
	body.section_position = commit->position;
	body.section_length = (uint32_t)section.len;
	body.section_crc = crc32c(0, section.data, section.len);
	request.writer = protobuf_uuid(&commit->writer);
	request.incarnation = world_incarnation(&fixture->world);
	request.sections = bodies;
	request.n_sections = 1;
	const struct bus_send send = {.type = WEIR__MESSAGE_TYPE__COMMIT,
		.body = &request.base,
		.frames = &frame,
		.frame_count = 1,
		.timeout_ms = PATIENCE_MS};
	*answer = (struct late_answer){0};
	bus_call(fixture->world.client, fixture->world.links[0], &send, late_answered, answer);
	slice_done(&frame);
}

// The commit lies in node 0's queue when node 0 stops; node 1 takes over; node 0 goes on where it stopped and has heard of
// nothing.
static void test_the_fence_stops_a_txn_that_was_queued(void)
{
	struct fixture fixture;
	struct world_commit commit;
	struct late_answer answer;
	const struct world_batch batch = {0, 3, -1, 0};
	uint64_t hash, position;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	commit_next(&fixture);
	world_commit_make(&fixture.world, &fixture.writer, 0, &fixture.topic, &batch, 1, &commit);
	commit_to_node_0(&fixture, &commit, &answer);
	fixture.world.nodes[0].paused = true;
	world_start(&fixture.world, 1);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture.world, 0), 1);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[1].coordinator, 0, &hash, &position));
	CU_ASSERT_EQUAL(log_count(&fixture), position - 1);
	coordinator_step(fixture.world.nodes[0].coordinator); // sends the Txn
	CU_ASSERT_EQUAL(log_count(&fixture), position - 1);
	fixture.world.nodes[0].paused = false;
	world_run_ms(&fixture.world, 3000);
	CU_ASSERT(answer.answered && answer.error == ERROR_NOT_OWNER);
	world_commit_done(&commit);
	fixture_done(&fixture);
}

static enum metadata_fault next_call_is_lost(void *ctx, uint64_t number)
{
	bool *armed = ctx;
	enum metadata_fault fault = *armed ? METADATA_FAULT_BEFORE : METADATA_FAULT_NONE;
	(void)number;
	*armed = false;
	return fault;
}

// A Txn of unknown outcome never got in, and at its number lies the next owner's entry: nobody may be told that it was
// committed.
static void test_another_entry_in_place_of_a_doubted_one(void)
{
	struct fixture fixture;
	struct world_commit commit;
	struct late_answer answer;
	const struct world_batch batch = {0, 3, -1, 0};
	bool armed = false;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	struct world_node *old = &fixture.world.nodes[0];
	metadata_store_memory_script(old->metadata, next_call_is_lost, &armed);
	create_topic(&fixture);
	commit_next(&fixture);
	struct world_writer other = {.instance = {{9}}};
	world_commit_make(&fixture.world, &other, 0, &fixture.topic, &batch, 1, &commit);
	commit_to_node_0(&fixture, &commit, &answer);
	old->paused = true;
	world_turn(&fixture.world); // the request arrives
	armed = true;
	coordinator_step(old->coordinator);        // the Txn is sent and lost
	metadata_store_memory_step(old->metadata); // which node 0 learns
	CU_ASSERT_FALSE(armed);
	world_start(&fixture.world, 1);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture.world, 0), 1);
	commit_next(&fixture);              // takes the number
	coordinator_step(old->coordinator); // node 0 looks
	old->paused = false;
	world_run_ms(&fixture.world, 3000);
	CU_ASSERT(answer.answered && answer.error == ERROR_NOT_OWNER);
	check_answers(&fixture);
	world_commit_done(&commit);
	fixture_done(&fixture);
}

// History 9: the cluster was rebuilt under a living owner, whose key and lease are all right.
static void test_another_incarnation_fences(void)
{
	struct fixture fixture;
	struct world_commit commit;
	struct late_answer answer;
	const Weir__CommitOutcome *outcome;
	const struct world_batch batch = {0, 3, -1, 0};
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	commit_next(&fixture);
	world_commit_make(&fixture.world, &fixture.writer, 0, &fixture.topic, &batch, 1, &commit);
	size_t entries = log_count(&fixture);
	commit_to_node_0(&fixture, &commit, &answer);
	const struct metadata_put put = {bytes_of("/weir/incarnation"), bytes_of("0002000000000001"), 0};
	const struct metadata_txn txn = {.puts = &put, .put_count = 1};
	metadata_txn_commit(fixture.world.metadata, &txn, 1000, txn_done, NULL);
	world_run_ms(&fixture.world, 10000);
	CU_ASSERT(answer.answered && answer.error == ERROR_NOT_OWNER);
	CU_ASSERT_EQUAL(log_count(&fixture), entries);
	CU_ASSERT_EQUAL(world_incarnation(&fixture.world), 0x0002000000000001);
	// The world's writers learn the new one by themselves; ours asks for it each time.
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_OK);
	world_commit_done(&commit);
	fixture_done(&fixture);
}

// Shards move to a coordinator that joins, and all of them to the one that stays, without a gap in what is acknowledged.
static void test_join_and_drain(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	fixture.world.settings.shards = 8;
	world_start(&fixture.world, 0);
	int16_t error;
	CU_ASSERT_EQUAL_FATAL(world_create_topic(&fixture.world, "orders", 1, &fixture.topic, &error), ERROR_OK);
	world_start(&fixture.world, 1);
	world_start(&fixture.world, 2);
	CU_ASSERT(world_settle(&fixture.world));
	world_run_ms(&fixture.world, 2000);
	CU_ASSERT(world_settle(&fixture.world));
	size_t total = 0;
	for (unsigned i = 0; i < WORLD_NODES; i++) {
		size_t serving = coordinator_shards_serving(fixture.world.nodes[i].coordinator);
		CU_ASSERT(serving < 8);
		total += serving;
	}
	CU_ASSERT_EQUAL(total, 8);
	for (unsigned i = 1; i < WORLD_NODES; i++) {
		uint64_t began_us = fixture.world.env.now_us;
		coordinator_drain(fixture.world.nodes[i].coordinator);
		while (!coordinator_drained(fixture.world.nodes[i].coordinator))
			world_turn(&fixture.world);
		CU_ASSERT(fixture.world.env.now_us - began_us < 1000000); // no lease had to run out
		world_kill(&fixture.world, i);
		CU_ASSERT(world_settle(&fixture.world));
		CU_ASSERT(fixture.world.env.now_us - began_us < 2000000);
	}
	CU_ASSERT_EQUAL(coordinator_shards_serving(fixture.world.nodes[0].coordinator), 8);
	fixture_done(&fixture);
}

static void log_entry_write(struct fixture *fixture, unsigned position, Weir__Command *command)
{
	struct buffer value;
	char key[64];
	Weir__LogEntry entry = WEIR__LOG_ENTRY__INIT;
	struct uuid id = {{7, (uint8_t)position}};
	entry.id = protobuf_uuid(&id);
	entry.commands = &command;
	entry.n_commands = 1;
	buffer_init(&value, SIZE_MAX);
	protobuf_pack(&entry.base, &value);
	snprintf(key, sizeof key, "/weir/shards/0000/log/%016x", position);
	const struct metadata_put put = {bytes_of(key), buffer_view(&value), 0};
	const struct metadata_txn txn = {.puts = &put, .put_count = 1};
	metadata_txn_commit(fixture->world.metadata, &txn, 1000, txn_done, NULL);
	world_run_ms(&fixture->world, 10);
	buffer_done(&value);
}

static void value_read(void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct buffer *value = ctx;
	(void)more;
	(void)revision;
	CU_ASSERT_FATAL(error == ERROR_OK && count == 1);
	buffer_bytes(value, rows[0].value);
}

// An acquisition of unknown outcome gets in when its shard was dropped long since: the key is ours, its value is not that of
// any attempt we know of, and our lease keeps it alive.
static void test_a_key_that_nobody_remembers_is_given_up(void)
{
	struct fixture fixture;
	struct buffer value;
	const struct bytes key = bytes_of("/weir/shards/0000/owner");
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	commit_next(&fixture);
	buffer_init(&value, SIZE_MAX);
	metadata_range(fixture.world.metadata, key, BYTES_NULL, 1, 1000, value_read, &value);
	while (value.len == 0)
		metadata_store_memory_step(fixture.world.metadata);
	value.data[0] = value.data[0] == '0' ? '1' : '0';
	const struct metadata_put put = {key, buffer_view(&value), 0};
	const struct metadata_txn txn = {.puts = &put, .put_count = 1};
	metadata_txn_commit(fixture.world.metadata, &txn, 1000, txn_done, NULL);
	world_run_ms(&fixture.world, 3000);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture.world, 0), 0);
	check_answers(&fixture);
	commit_next(&fixture);
	buffer_done(&value);
	fixture_done(&fixture);
}

// Whoever wrote it and however: what is in the log stays, ours comes behind it.
static void test_an_entry_in_place_is_not_overwritten(void)
{
	struct fixture fixture;
	struct world_commit commit;
	const Weir__CommitOutcome *outcome;
	const struct world_batch batch = {0, 3, -1, 0};
	const struct uuid id = {{6}};
	char name[] = "theirs";
	uint64_t hash, before, after;
	Weir__PartitionsOpen open = WEIR__PARTITIONS_OPEN__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	commit_next(&fixture);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[0].coordinator, 0, &hash, &before));
	open.topic_id = protobuf_uuid(&id);
	open.name = name;
	command.kind_case = WEIR__COMMAND__KIND_PARTITIONS_OPEN;
	command.partitions_open = &open;
	log_entry_write(&fixture, (unsigned)before, &command);
	world_commit_make(&fixture.world, &fixture.writer, 0, &fixture.topic, &batch, 1, &commit);
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_OK);
	CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, fixture.records);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[0].coordinator, 0, &hash, &after));
	CU_ASSERT_EQUAL(after, before + 2);
	world_commit_done(&commit);
	fixture_done(&fixture);
}

// A group of many members, say: large entries one behind the other.
static void large_entry_write(struct fixture *fixture, unsigned position, size_t bytes)
{
	char *name = memory_zalloc(bytes + 1);
	memset(name, 'n', bytes);
	struct uuid id = {{8, (uint8_t)position}};
	Weir__PartitionsOpen open = WEIR__PARTITIONS_OPEN__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	open.topic_id = protobuf_uuid(&id);
	open.name = name;
	command.kind_case = WEIR__COMMAND__KIND_PARTITIONS_OPEN;
	command.partitions_open = &open;
	log_entry_write(fixture, position, &command);
	free(name);
}

// More of them in a row than one answer of etcd can carry.
static void test_a_log_of_large_entries_is_read(void)
{
	enum { ENTRIES = 40 };
	struct fixture fixture;
	uint64_t hash, position;
	fixture_init(&fixture);
	for (unsigned i = 1; i <= ENTRIES; i++)
		large_entry_write(&fixture, i, 1000 << 10);
	world_start(&fixture.world, 0);
	CU_ASSERT_EQUAL_FATAL(world_owner(&fixture.world, 0), 0);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[0].coordinator, 0, &hash, &position));
	CU_ASSERT_EQUAL(position, ENTRIES + 1);
	fixture_done(&fixture);
}

static void written(void *ctx, enum error error)
{
	(void)ctx;
	CU_ASSERT_EQUAL(error, ERROR_OK);
}

// One byte changed so that it is still a section: only the CRC can tell.
static void section_falsify(struct bytes section, uint8_t *copy)
{
	for (size_t i = section.len; i-- > 0;) {
		struct arena arena;
		struct section decoded;
		memcpy(copy, section.data, section.len);
		copy[i] ^= 1;
		arena_init(&arena, 1 << 24);
		enum error error = section_decode(bytes_view(copy, section.len), &arena, &decoded);
		arena_done(&arena);
		if (error == ERROR_OK)
			return;
	}
	CU_FAIL_FATAL("every change is noticed without the CRC");
}

static void object_falsify(struct fixture *fixture, const char *key, const struct world_commit *commit)
{
	struct bytes section = buffer_view(&commit->section);
	struct block *block = block_new(commit->position + section.len);
	memset(block->data, 0, commit->position);
	section_falsify(section, block->data + commit->position);
	struct slice slice = slice_take(&block);
	object_put(fixture->world.objects, key, &slice, 1, false, 1000, written, NULL);
	slice_done(&slice);
}

// A section that cannot be read stops the shard, with one clear line, and is told as such.
static void damage_a_section(bool falsify)
{
	struct fixture fixture;
	struct world_answer answer;
	char key[MIXED_OBJECT_KEY_SIZE];
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	for (int i = 0; i < 3; i++)
		commit_next(&fixture);
	const struct world_commit *large = &fixture.commits[2];
	const struct mixed_object_id id = {large->writer, large->sequence, large->created_ms};
	mixed_object_key(&id, key);
	const char *keys[] = {key};
	if (falsify)
		object_falsify(&fixture, key, large);
	else
		object_delete_many(fixture.world.objects, keys, 1, 1000, written, NULL);
	world_kill(&fixture.world, 0);
	world_start(&fixture.world, 1);
	world_run_ms(&fixture.world, 8000);
	const char *reason = coordinator_ready(fixture.world.nodes[1].coordinator);
	CU_ASSERT(reason && strcmp(reason, "a shard is damaged") == 0);
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	world_call_node(&fixture.world, 1, WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, &request.base, BYTES_NULL, 1000, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_STORAGE);
	world_answer_done(&answer);
	fixture_done(&fixture);
}

// What lies behind a hole cannot be trusted to mean what it meant.
static void test_a_missing_entry_damages_the_shard(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	world_start(&fixture.world, 0);
	create_topic(&fixture);
	for (int i = 0; i < 3; i++)
		commit_next(&fixture);
	world_kill(&fixture.world, 0);
	const struct metadata_delete delete = {bytes_of("/weir/shards/0000/log/0000000000000003"), BYTES_NULL};
	const struct metadata_txn txn = {.deletes = &delete, .delete_count = 1};
	metadata_txn_commit(fixture.world.metadata, &txn, 1000, txn_done, NULL);
	world_start(&fixture.world, 1);
	world_run_ms(&fixture.world, 8000);
	const char *reason = coordinator_ready(fixture.world.nodes[1].coordinator);
	CU_ASSERT(reason && strcmp(reason, "a shard is damaged") == 0);
	fixture_done(&fixture);
}

// A commit in the log that no writer can have made.
static void test_an_impossible_object_damages_the_shard(void)
{
	struct fixture fixture;
	const struct uuid writer = {{5}};
	Weir__CommitSection commit = WEIR__COMMIT_SECTION__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	fixture_init(&fixture);
	commit.writer = protobuf_uuid(&writer);
	commit.sequence = 1;
	commit.created_ms = INT64_MAX;
	commit.section_length = 300;
	command.kind_case = WEIR__COMMAND__KIND_COMMIT;
	command.commit = &commit;
	log_entry_write(&fixture, 1, &command);
	world_start(&fixture.world, 0);
	world_run_ms(&fixture.world, 3000);
	const char *reason = coordinator_ready(fixture.world.nodes[0].coordinator);
	CU_ASSERT(reason && strcmp(reason, "a shard is damaged") == 0);
	fixture_done(&fixture);
}

static void test_a_missing_section_damages_the_shard(void)
{
	damage_a_section(false);
}

static void test_a_false_section_damages_the_shard(void)
{
	damage_a_section(true);
}

UNIT_MAIN("coordinator_takeover", {"take_over_gives_the_same_state", test_take_over_gives_the_same_state},
	{"every_etcd_call_of_the_owner_may_fail", test_every_etcd_call_of_the_owner_may_fail},
	{"every_etcd_call_of_a_take_over_may_fail", test_every_etcd_call_of_a_take_over_may_fail},
	{"every_bucket_call_may_fail", test_every_bucket_call_may_fail},
	{"a_paused_owner_cannot_commit", test_a_paused_owner_cannot_commit},
	{"the_fence_holds_in_the_middle_of_a_turn", test_the_fence_holds_in_the_middle_of_a_turn},
	{"the_fence_stops_a_txn_that_was_queued", test_the_fence_stops_a_txn_that_was_queued},
	{"another_entry_in_place_of_a_doubted_one", test_another_entry_in_place_of_a_doubted_one},
	{"another_incarnation_fences", test_another_incarnation_fences}, {"join_and_drain", test_join_and_drain},
	{"a_key_that_nobody_remembers_is_given_up", test_a_key_that_nobody_remembers_is_given_up},
	{"an_entry_in_place_is_not_overwritten", test_an_entry_in_place_is_not_overwritten},
	{"a_log_of_large_entries_is_read", test_a_log_of_large_entries_is_read},
	{"a_missing_entry_damages_the_shard", test_a_missing_entry_damages_the_shard},
	{"an_impossible_object_damages_the_shard", test_an_impossible_object_damages_the_shard},
	{"a_missing_section_damages_the_shard", test_a_missing_section_damages_the_shard},
	{"a_false_section_damages_the_shard", test_a_false_section_damages_the_shard})
