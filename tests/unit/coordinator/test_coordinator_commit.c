// Commits, look-ups and the feed against one coordinator.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/placement.h"
#include "common/cluster/cluster_client.h"
#include "common/cluster/feed_cursor.h"
#include "common/runtime/protobuf.h"
#include "coordinator/feed.h"
#include "proto/bus.pb-c.h"
#include "proto/feed.pb-c.h"
#include "tests/unit/base/unit.h"
#include "tests/unit/coordinator/coordinator_world.h"

static const struct world_batch PLAIN = {0, 5, -1, 0};

struct fixture {
	struct world world;
	struct uuid topic;
	struct world_writer writer;
	struct arena arena;
	uint32_t shard; // of partition 0
	uint64_t incarnation;
};

static void fixture_init(struct fixture *fixture, int32_t partitions)
{
	int16_t error = -1;
	*fixture = (struct fixture){.writer = {.instance = {{1, 2, 3}}}};
	arena_init(&fixture->arena, 0);
	world_init(&fixture->world, 42);
	world_start(&fixture->world, 0);
	CU_ASSERT_EQUAL_FATAL(world_create_topic(&fixture->world, "orders", partitions, &fixture->topic, &error), ERROR_OK);
	CU_ASSERT_EQUAL_FATAL(error, 0);
	fixture->shard = placement_partition_shard(&fixture->topic, 0, (uint32_t)fixture->world.settings.shards);
}

static void fixture_done(struct fixture *fixture)
{
	world_done(&fixture->world);
	arena_done(&fixture->arena);
}

static enum error commit_batches(
	struct fixture *fixture, const struct world_batch *batches, size_t count, const Weir__CommitOutcome **ret_outcome)
{
	struct world_commit commit;
	world_commit_make(&fixture->world, &fixture->writer, fixture->shard, &fixture->topic, batches, count, &commit);
	enum error error = world_commit_send(&fixture->world, &commit, &fixture->arena, ret_outcome);
	world_commit_done(&commit);
	return error;
}

static const Weir__LocateReply *locate(struct fixture *fixture, int64_t offset, enum error *ret_error)
{
	Weir__LocateRequest request = WEIR__LOCATE_REQUEST__INIT;
	struct world_answer answer;
	request.topic_id = protobuf_uuid(&fixture->topic);
	request.offset = offset;
	world_call(&fixture->world, fixture->shard, WEIR__MESSAGE_TYPE__LOCATE, &request.base, BYTES_NULL, true, &answer);
	*ret_error = answer.error;
	const Weir__LocateReply *reply = protobuf_unpack(
		&weir__locate_reply__descriptor, arena_copy(&fixture->arena, buffer_view(&answer.body)), &fixture->arena);
	world_answer_done(&answer);
	CU_ASSERT_FATAL(reply != NULL);
	return reply;
}

static void test_commit_and_locate(void)
{
	struct fixture fixture;
	const Weir__CommitOutcome *outcome;
	enum error error;
	fixture_init(&fixture, 1);
	for (int64_t i = 0; i < 10; i++) {
		CU_ASSERT_EQUAL(commit_batches(&fixture, &PLAIN, 1, &outcome), ERROR_OK);
		CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, 5 * i);
	}
	const Weir__LocateReply *reply = locate(&fixture, 23, &error);
	CU_ASSERT_EQUAL(error, ERROR_OK);
	CU_ASSERT_EQUAL(reply->high_watermark, 50);
	CU_ASSERT_EQUAL_FATAL(reply->n_entries, 6);
	CU_ASSERT_EQUAL(reply->entries[0]->base_offset, 20);
	CU_ASSERT_EQUAL(reply->entries[0]->last_offset, 24);
	CU_ASSERT_EQUAL(reply->objects[reply->entries[0]->object]->sequence, 5);
	CU_ASSERT_EQUAL(reply->entries[0]->position, 64);
	CU_ASSERT_EQUAL(locate(&fixture, 50, &error)->n_entries, 0);
	CU_ASSERT_EQUAL(error, ERROR_OK);
	CU_ASSERT_EQUAL(locate(&fixture, 51, &error)->high_watermark, 50);
	CU_ASSERT_EQUAL(error, ERROR_OFFSET_OUT_OF_RANGE);
	locate(&fixture, -1, &error);
	CU_ASSERT_EQUAL(error, ERROR_OFFSET_OUT_OF_RANGE);
	fixture_done(&fixture);
}

static void test_chain_is_kept_before_logging(void)
{
	struct fixture fixture;
	struct world_commit first, second;
	const Weir__CommitOutcome *outcome;
	fixture_init(&fixture, 1);
	world_commit_make(&fixture.world, &fixture.writer, fixture.shard, &fixture.topic, &PLAIN, 1, &first);
	world_commit_make(&fixture.world, &fixture.writer, fixture.shard, &fixture.topic, &PLAIN, 1, &second);
	uint64_t hash, before, after;
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[0].coordinator, fixture.shard, &hash, &before));
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &second, &fixture.arena, &outcome), ERROR_OUT_OF_CHAIN);
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &first, &fixture.arena, &outcome), ERROR_OK);
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &second, &fixture.arena, &outcome), ERROR_OK);
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &first, &fixture.arena, &outcome), ERROR_OK);
	CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, 0);
	CU_ASSERT(coordinator_shard_hash(fixture.world.nodes[0].coordinator, fixture.shard, &hash, &after));
	CU_ASSERT_EQUAL(after - before, 2); // refused and known ones cost no entry
	// A known sequence with another section is no repetition: its records are not in the log.
	struct world_commit other;
	world_commit_make(
		&fixture.world, &fixture.writer, fixture.shard, &fixture.topic, &(struct world_batch){0, 6, -1, 0}, 1, &other);
	other.sequence = second.sequence;
	other.previous = second.previous;
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &other, &fixture.arena, &outcome), ERROR_CORRUPT);
	world_commit_done(&first);
	world_commit_done(&second);
	world_commit_done(&other);
	fixture_done(&fixture);
}

enum { ROW = 6, ROW_FIRST = 4 };

struct row_answer {
	bool answered;
	enum error errors[ROW];
	int64_t base_offsets[ROW];
};

static void row_answered(void *ctx, enum error error, const struct bus_message *message)
{
	struct row_answer *answer = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	answer->answered = true;
	CU_ASSERT_EQUAL_FATAL(error, ERROR_OK);
	const Weir__CommitReply *reply = protobuf_unpack(&weir__commit_reply__descriptor, message->body, &arena);
	CU_ASSERT_FATAL(reply && reply->error == ERROR_OK);
	for (size_t i = 0; i < reply->n_results; i++) {
		answer->errors[i] = (enum error)reply->results[i]->error;
		answer->base_offsets[i] = reply->results[i]->outcome ? reply->results[i]->outcome->runs[0]->base_offset : -1;
	}
	arena_done(&arena);
}

static void row_send(struct fixture *fixture, const struct world_commit *commits, size_t count, struct row_answer *answer)
{
	Weir__CommitSection bodies[ROW];
	Weir__CommitSection *pointers[ROW];
	struct slice frames[ROW];
	Weir__CommitRequest request = WEIR__COMMIT_REQUEST__INIT;
	for (size_t i = 0; i < count; i++) {
		frames[i] = slice_copy(buffer_view(&commits[i].section));
		weir__commit_section__init(&bodies[i]);
		bodies[i].sequence = commits[i].sequence;
		bodies[i].previous_sequence = commits[i].previous;
		bodies[i].created_ms = commits[i].created_ms;
		bodies[i].section_position = commits[i].position;
		bodies[i].section_length = (uint32_t)frames[i].len;
		bodies[i].section_crc = crc32c(0, frames[i].data, frames[i].len);
		pointers[i] = &bodies[i];
	}
	request.shard = fixture->shard;
	request.writer = protobuf_uuid(&commits[0].writer);
	request.incarnation = fixture->incarnation;
	request.sections = pointers;
	request.n_sections = count;
	const struct bus_send send = {.type = WEIR__MESSAGE_TYPE__COMMIT,
		.body = &request.base,
		.frames = frames,
		.frame_count = count,
		.timeout_ms = 2000};
	*answer = (struct row_answer){0};
	bus_call(fixture->world.client, fixture->world.links[0], &send, row_answered, answer);
	for (size_t i = 0; i < count; i++)
		slice_done(&frames[i]);
}

// Several in a request, and a second request while those of the first are on their way: the chain goes on in their order.
static void test_commits_in_a_row(void)
{
	struct fixture fixture;
	struct world_commit commits[ROW];
	struct row_answer first, second;
	fixture_init(&fixture, 1);
	fixture.incarnation = world_incarnation(&fixture.world);
	for (size_t i = 0; i < ROW; i++)
		world_commit_make(&fixture.world, &fixture.writer, fixture.shard, &fixture.topic, &PLAIN, 1, &commits[i]);
	row_send(&fixture, commits, ROW_FIRST, &first);
	world_turn(&fixture.world);
	CU_ASSERT_FALSE(first.answered);
	row_send(&fixture, commits + ROW_FIRST, ROW - ROW_FIRST, &second);
	world_run_ms(&fixture.world, 100);
	CU_ASSERT_FATAL(first.answered && second.answered);
	for (size_t i = 0; i < ROW; i++) {
		const struct row_answer *answer = i < ROW_FIRST ? &first : &second;
		size_t at = i < ROW_FIRST ? i : i - ROW_FIRST;
		CU_ASSERT_EQUAL(answer->errors[at], ERROR_OK);
		CU_ASSERT_EQUAL(answer->base_offsets[at], (int64_t)(i * PLAIN.records));
		world_commit_done(&commits[i]);
	}
	fixture_done(&fixture);
}

static void test_too_old_and_corrupt(void)
{
	struct fixture fixture;
	struct world_commit commit;
	const Weir__CommitOutcome *outcome;
	fixture_init(&fixture, 1);
	world_commit_make(&fixture.world, &fixture.writer, fixture.shard, &fixture.topic, &PLAIN, 1, &commit);
	commit.section.data[commit.section.len - 1] ^= 1; // the CRC is then taken of what is sent: not a section, or another
	commit.section.data[0] = 77;
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_CORRUPT);
	commit.created_ms -= fixture.world.settings.grace_ms / 2 + 1000;
	commit.section.data[0] = 0;
	commit.section.data[commit.section.len - 1] ^= 1;
	int64_t created_ms = commit.created_ms;
	commit.created_ms = INT64_MAX; // no object has such a name, and whoever replays would look for it
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_CORRUPT);
	commit.created_ms = created_ms;
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_TOO_OLD);
	CU_ASSERT_EQUAL(world_commit_send(&fixture.world, &commit, &fixture.arena, &outcome), ERROR_TOO_OLD);
	CU_ASSERT_EQUAL(commit_batches(&fixture, &PLAIN, 1, &outcome), ERROR_OK); // the chain goes on behind it
	CU_ASSERT_EQUAL(outcome->runs[0]->base_offset, 0);
	world_commit_done(&commit);
	fixture_done(&fixture);
}

static void test_malformed_and_wrong_owner(void)
{
	struct fixture fixture;
	struct world_answer answer;
	Weir__CommitRequest request = WEIR__COMMIT_REQUEST__INIT;
	fixture_init(&fixture, 1);
	world_call_node(&fixture.world, 0, WEIR__MESSAGE_TYPE__COMMIT, &request.base, BYTES_NULL, 1000, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_MALFORMED);
	world_answer_done(&answer);
	request.writer = protobuf_uuid(&fixture.topic);
	request.shard = 99;
	world_call_node(&fixture.world, 0, WEIR__MESSAGE_TYPE__COMMIT, &request.base, BYTES_NULL, 1000, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_NOT_OWNER);
	world_answer_done(&answer);
	request.shard = 0;
	request.incarnation = 12345;
	world_call_node(&fixture.world, 0, WEIR__MESSAGE_TYPE__COMMIT, &request.base, BYTES_NULL, 1000, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_FENCED);
	world_answer_done(&answer);
	world_call_node(&fixture.world, 0, 999, &request.base, BYTES_NULL, 1000, &answer);
	CU_ASSERT_EQUAL(answer.error, ERROR_MALFORMED);
	world_answer_done(&answer);
	fixture_done(&fixture);
}

// The feed: numbers follow, updates carry what Locate and the sync say, and the last number is repeated.

struct subscriber {
	struct fixture *fixture;
	struct feed_cursor index, watermarks;
	uint32_t gaps, messages, updates;
	size_t longest;
	int64_t high_watermark;
};

static void subscriber_index(struct subscriber *subscriber, struct bytes body, struct arena *arena)
{
	const Weir__IndexFeed *feed = protobuf_unpack(&weir__index_feed__descriptor, body, arena);
	if (feed_cursor_accept(&subscriber->index, &subscriber->fixture->world.env, feed->epoch, feed->number,
		    feed->n_updates) == FEED_GAP)
		subscriber->gaps++;
	subscriber->updates += (uint32_t)feed->n_updates;
}

static void subscriber_watermarks(struct subscriber *subscriber, struct bytes body, struct arena *arena)
{
	const Weir__WatermarkFeed *feed = protobuf_unpack(&weir__watermark_feed__descriptor, body, arena);
	if (feed_cursor_accept(&subscriber->watermarks, &subscriber->fixture->world.env, feed->epoch, feed->number,
		    feed->n_topics) == FEED_GAP)
		subscriber->gaps++;
	for (size_t i = 0; i < feed->n_topics; i++) {
		for (size_t j = 0; j < feed->topics[i]->n_partitions; j++)
			subscriber->high_watermark = feed->topics[i]->high_watermarks[j];
	}
}

static void subscriber_heard(void *ctx, struct bytes prefix, struct bytes body)
{
	struct subscriber *subscriber = ctx;
	struct arena arena;
	arena_init(&arena, 0);
	subscriber->messages++;
	subscriber->longest = body.len > subscriber->longest ? body.len : subscriber->longest;
	if (prefix.data[0] == 'i')
		subscriber_index(subscriber, body, &arena);
	else
		subscriber_watermarks(subscriber, body, &arena);
	arena_done(&arena);
}

static void subscriber_sync(struct subscriber *subscriber)
{
	struct fixture *fixture = subscriber->fixture;
	struct world_answer answer;
	enum error error;
	const Weir__LocateReply *located = locate(fixture, 0, &error);
	feed_cursor_synced(&subscriber->index, &fixture->world.env, located->epoch, located->number);
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	request.shard = fixture->shard;
	world_call(
		&fixture->world, fixture->shard, WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, &request.base, BYTES_NULL, true, &answer);
	const Weir__SyncWatermarksReply *reply = protobuf_unpack(&weir__sync_watermarks_reply__descriptor,
		arena_copy(&fixture->arena, buffer_view(&answer.body)), &fixture->arena);
	feed_cursor_synced(&subscriber->watermarks, &fixture->world.env, reply->epoch, reply->number);
	CU_ASSERT_EQUAL(reply->n_topics, 1);
	world_answer_done(&answer);
}

static void test_feed(void)
{
	struct fixture fixture;
	const Weir__CommitOutcome *outcome;
	char index_prefix[16], watermark_prefix[16];
	fixture_init(&fixture, 1);
	struct subscriber subscriber = {.fixture = &fixture};
	const char *feed_address = fixture.world.nodes[0].feed_address;
	snprintf(index_prefix, sizeof index_prefix, "index/%04x", fixture.shard);
	snprintf(watermark_prefix, sizeof watermark_prefix, "hw/%04x", fixture.shard);
	bus_subscribe(fixture.world.client, feed_address, bytes_of(index_prefix), subscriber_heard, &subscriber);
	bus_subscribe(fixture.world.client, feed_address, bytes_of(watermark_prefix), subscriber_heard, &subscriber);
	CU_ASSERT_EQUAL(commit_batches(&fixture, &PLAIN, 1, &outcome), ERROR_OK);
	subscriber_sync(&subscriber);
	subscriber.gaps = subscriber.updates = 0;
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(commit_batches(&fixture, &PLAIN, 1, &outcome), ERROR_OK);
	world_run_ms(&fixture.world, 10);
	CU_ASSERT_EQUAL(subscriber.gaps, 0);
	CU_ASSERT_EQUAL(subscriber.updates, 20);
	CU_ASSERT_EQUAL(subscriber.high_watermark, 105);
	subscriber.messages = 0;
	world_run_ms(&fixture.world, 1000);
	CU_ASSERT(subscriber.messages >= 8 && subscriber.messages <= 12); // two channels, each every 200 ms
	CU_ASSERT_EQUAL(subscriber.gaps, 0);
	bus_unsubscribe(fixture.world.client, feed_address, bytes_of(index_prefix));
	bus_unsubscribe(fixture.world.client, feed_address, bytes_of(watermark_prefix));
	fixture_done(&fixture);
}

// How all other daemons see us: cluster_client registers, gets a node id, finds owners, and is forgotten when it is silent.
// A node that is alone: nothing of etcd reaches it, neither answers nor events.
static void run_without_etcd_ms(struct fixture *fixture, uint64_t ms)
{
	struct world *world = &fixture->world;
	world->nodes[0].paused = true;
	for (uint64_t i = 0; i < ms; i++) {
		world_turn(world);
		coordinator_step(world->nodes[0].coordinator);
	}
	world->nodes[0].paused = false;
}

// Who cannot reach etcd falls silent before another may own its shards: its numbers would pass for the newest.
static void test_feed_ends_with_the_lease(void)
{
	struct fixture fixture;
	fixture_init(&fixture, 1);
	struct subscriber subscriber = {.fixture = &fixture};
	const char *feed_address = fixture.world.nodes[0].feed_address;
	bus_subscribe(fixture.world.client, feed_address, bytes_of("hw/"), subscriber_heard, &subscriber);
	world_run_ms(&fixture.world, 1000);
	CU_ASSERT(subscriber.messages > 0);
	run_without_etcd_ms(&fixture, (uint64_t)fixture.world.settings.lease_ttl_ms);
	subscriber.messages = 0;
	run_without_etcd_ms(&fixture, 5000);
	CU_ASSERT_EQUAL(subscriber.messages, 0);
	CU_ASSERT(world_settle(&fixture.world));
	world_run_ms(&fixture.world, 1000);
	CU_ASSERT(subscriber.messages > 0);
	bus_unsubscribe(fixture.world.client, feed_address, bytes_of("hw/"));
	fixture_done(&fixture);
}

// What a flight gave may be more than one message of the bus: it leaves as several, each with its number.
static void test_feed_of_much(void)
{
	enum { UPDATES = 40, SECTION_BYTES = 1 << 20, MESSAGE_BYTES_MAX = 8 << 20 };
	struct fixture fixture;
	const struct uuid writer = {{4}};
	Weir__CommitSection commit = WEIR__COMMIT_SECTION__INIT;
	fixture_init(&fixture, 1);
	struct subscriber subscriber = {.fixture = &fixture};
	struct bus *bus = bus_memory_endpoint(fixture.world.network, "much", "feed of much");
	struct shard_state *state = shard_state_new(1, 4, NULL);
	struct feed *feed = feed_new(&fixture.world.env, bus, 1, 77);
	struct block *block = block_new(SECTION_BYTES);
	memset(block->data, 0, SECTION_BYTES);
	struct slice section = slice_take(&block);
	bus_subscribe(fixture.world.client, "feed of much", bytes_of("index/0001"), subscriber_heard, &subscriber);
	feed_cursor_synced(&subscriber.index, &fixture.world.env, 77, feed_index_number(feed));
	commit.writer = protobuf_uuid(&writer);
	for (int i = 0; i < UPDATES; i++)
		feed_add_commit(feed, &commit, section, bytes_view("", 0));
	Weir__PartitionsOpen open = WEIR__PARTITIONS_OPEN__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	char name[] = "t";
	struct apply_result applied;
	open.topic_id = protobuf_uuid(&writer);
	open.name = name;
	open.partitions = 20;
	command.kind_case = WEIR__COMMAND__KIND_PARTITIONS_OPEN;
	command.partitions_open = &open;
	shard_state_apply(state, &command, &(struct apply_at){1, 1}, NULL, &applied);
	uint64_t number = feed_index_number(feed);
	uint64_t watermark_number = feed_watermark_number(feed, state);
	feed_publish(feed, state, NULL);
	CU_ASSERT_EQUAL(feed_index_number(feed), number);
	CU_ASSERT_EQUAL(feed_watermark_number(feed, state), watermark_number);
	CU_ASSERT_EQUAL(watermark_number, 1);
	world_run_ms(&fixture.world, 10);
	CU_ASSERT_EQUAL(subscriber.gaps, 0);
	CU_ASSERT_EQUAL(subscriber.updates, UPDATES);
	CU_ASSERT_EQUAL(subscriber.index.number, number);
	CU_ASSERT(subscriber.longest <= MESSAGE_BYTES_MAX);
	bus_unsubscribe(fixture.world.client, "feed of much", bytes_of("index/0001"));
	slice_done(&section);
	feed_free(&feed);
	shard_state_free(&state);
	bus_memory_endpoint_free(&bus);
	fixture_done(&fixture);
}

static void test_registration(void)
{
	struct fixture fixture;
	fixture_init(&fixture, 1);
	const struct cluster_client_settings settings = {.coordinators = fixture.world.nodes[0].address,
		.instance = {{7}},
		.role = WEIR__ROLE__FRONTEND,
		.address = "",
		.kafka_host = "broker",
		.kafka_port = 9092,
		.zone = "a"};
	struct cluster_client *client = cluster_client_new(&fixture.world.env, fixture.world.client, &settings, NULL);
	for (int i = 0; i < 1500; i++) {
		world_turn(&fixture.world);
		cluster_client_step(client);
	}
	const struct cluster_view *view = cluster_client_view(client);
	CU_ASSERT(cluster_client_ready(client));
	CU_ASSERT_EQUAL(cluster_client_node_id(client), 1);
	CU_ASSERT_EQUAL(cluster_client_leader_epoch(client), 1);
	CU_ASSERT_EQUAL(view->shards, 4);
	CU_ASSERT_EQUAL_FATAL(view->member_count, 1);
	CU_ASSERT_STRING_EQUAL(view->members[0].kafka_host, "broker");
	cluster_client_free(&client);
	world_run_ms(&fixture.world, 4000);
	struct world_answer answer;
	Weir__SyncMetaRequest request = WEIR__SYNC_META_REQUEST__INIT;
	world_call(&fixture.world, 0, WEIR__MESSAGE_TYPE__SYNC_META, &request.base, BYTES_NULL, true, &answer);
	const Weir__SyncMetaReply *reply = protobuf_unpack(
		&weir__sync_meta_reply__descriptor, arena_copy(&fixture.arena, buffer_view(&answer.body)), &fixture.arena);
	CU_ASSERT_EQUAL(reply->view->n_members, 0);
	CU_ASSERT_EQUAL(reply->n_topics, 1);
	world_answer_done(&answer);
	fixture_done(&fixture);
}

UNIT_MAIN("coordinator_commit", {"commit_and_locate", test_commit_and_locate},
	{"chain_is_kept_before_logging", test_chain_is_kept_before_logging}, {"too_old_and_corrupt", test_too_old_and_corrupt},
	{"malformed_and_wrong_owner", test_malformed_and_wrong_owner}, {"feed", test_feed}, {"feed_of_much", test_feed_of_much},
	{"feed_ends_with_the_lease", test_feed_ends_with_the_lease}, {"commits_in_a_row", test_commits_in_a_row},
	{"registration", test_registration})
