// Apply, without any world: entries are made by hand, the outcomes compared with what the histories demand.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "coordinator/shard_state.h"
#include "tests/unit/base/unit.h"

enum { RUN_BATCHES_MAX = 8 };

static const struct uuid TOPIC = {{0xaa, 1}};
static const struct uuid WRITER = {{0xbb, 2}};

struct fixture {
	struct shard_state *state;
	uint64_t position;
	struct arena arena; // of the last outcome
	struct apply_result result;
	const Weir__CommitOutcome *outcome;
};

static void fixture_init(struct fixture *fixture)
{
	*fixture = (struct fixture){.state = shard_state_new(0, 1, NULL)};
	arena_init(&fixture->arena, 0);
}

static void fixture_done(struct fixture *fixture)
{
	shard_state_free(&fixture->state);
	arena_done(&fixture->arena);
}

static void apply(struct fixture *fixture, const Weir__Command *command, const struct section *section)
{
	const struct apply_at at = {++fixture->position, (int64_t)fixture->position * 10};
	shard_state_apply(fixture->state, command, &at, section, &fixture->result);
	fixture->outcome = NULL;
	arena_reset(&fixture->arena);
	if (fixture->result.outcome.data)
		fixture->outcome = protobuf_unpack(&weir__commit_outcome__descriptor, fixture->result.outcome, &fixture->arena);
}

static void open_topic(struct fixture *fixture, const struct uuid *id, int32_t partitions)
{
	Weir__PartitionsOpen open = WEIR__PARTITIONS_OPEN__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	char name[] = "t";
	open.topic_id = protobuf_uuid(id);
	open.name = name;
	open.partitions = partitions;
	command.kind_case = WEIR__COMMAND__KIND_PARTITIONS_OPEN;
	command.partitions_open = &open;
	apply(fixture, &command, NULL);
}

static void drop_topic(struct fixture *fixture, const struct uuid *id)
{
	Weir__TopicDrop drop = WEIR__TOPIC_DROP__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	drop.topic_id = protobuf_uuid(id);
	command.kind_case = WEIR__COMMAND__KIND_TOPIC_DROP;
	command.topic_drop = &drop;
	apply(fixture, &command, NULL);
}

static struct section_batch batch_of(int64_t producer_id, int16_t epoch, int32_t sequence, uint32_t records)
{
	return (struct section_batch){.size = 100 + records,
		.record_count = records,
		.max_timestamp = sequence,
		.producer_id = producer_id,
		.producer_epoch = epoch,
		.base_sequence = producer_id < 0 ? -1 : sequence};
}

struct commit_plan {
	struct uuid writer;
	uint64_t sequence, previous;
	uint32_t crc; // 0: the sequence
	bool too_old;
	int32_t partition;
	struct section_batch batches[RUN_BATCHES_MAX];
	uint32_t count;
};

static void commit(struct fixture *fixture, struct commit_plan plan)
{
	Weir__CommitSection body = WEIR__COMMIT_SECTION__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	struct section_run run = {TOPIC, plan.partition, 64, plan.count, plan.batches};
	const struct section section = {1, &run};
	body.writer = protobuf_uuid(&plan.writer);
	body.sequence = plan.sequence;
	body.previous_sequence = plan.previous;
	body.section_crc = plan.crc ? plan.crc : (uint32_t)plan.sequence;
	body.created_ms = 7;
	body.refused_too_old = plan.too_old;
	command.kind_case = WEIR__COMMAND__KIND_COMMIT;
	command.commit = &body;
	apply(fixture, &command, plan.too_old ? NULL : &section);
}

// One batch of one record.
static void commit_one(struct fixture *fixture, uint64_t sequence, uint64_t previous, struct section_batch batch)
{
	commit(fixture, (struct commit_plan){
				.writer = WRITER, .sequence = sequence, .previous = previous, .batches = {batch}, .count = 1});
}

static const Weir__RunOutcome *run(const struct fixture *fixture)
{
	CU_ASSERT_FATAL(fixture->outcome && fixture->outcome->n_runs == 1);
	return fixture->outcome->runs[0];
}

static int64_t high_watermark(const struct fixture *fixture, int32_t partition)
{
	const struct shard_partition *found = shard_state_partition(fixture->state, &TOPIC, partition);
	return found ? found->high_watermark : -1;
}

// The error of the only batch of the last commit.
static enum error only_error(const struct fixture *fixture)
{
	const Weir__RunOutcome *outcome = run(fixture);
	if (outcome->error)
		return (enum error)outcome->error;
	return outcome->n_exceptions ? (enum error)outcome->exceptions[0]->error : ERROR_OK;
}

// History 1: what a shard knows of topics comes from its own log only, and a replay gives the same state.
static void script_history(struct fixture *fixture)
{
	commit_one(fixture, 1, 0, batch_of(-1, -1, -1, 3)); // before the topic is open: refused for ever
	open_topic(fixture, &TOPIC, 2);
	commit_one(fixture, 2, 1, batch_of(-1, -1, -1, 4));
	commit_one(fixture, 3, 2, batch_of(9, 0, 0, 2));
	commit_one(fixture, 3, 2, batch_of(9, 0, 0, 2));
	commit_one(fixture, 5, 4, batch_of(9, 0, 2, 1));
	commit(fixture, (struct commit_plan){.writer = WRITER, .sequence = 4, .previous = 3, .too_old = true});
	commit_one(fixture, 5, 4, batch_of(9, 0, 2, 1));
}

static void test_replay_is_deterministic(void)
{
	struct fixture first, second;
	fixture_init(&first);
	fixture_init(&second);
	script_history(&first);
	script_history(&second);
	CU_ASSERT_EQUAL(shard_state_hash(first.state), shard_state_hash(second.state));
	CU_ASSERT_EQUAL(high_watermark(&first, 0), 7);
	commit_one(&second, 6, 5, batch_of(-1, -1, -1, 1));
	CU_ASSERT_NOT_EQUAL(shard_state_hash(first.state), shard_state_hash(second.state));
	fixture_done(&first);
	fixture_done(&second);
}

static void test_unknown_topic_is_refused_by_the_log_alone(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	commit_one(&fixture, 1, 0, batch_of(-1, -1, -1, 3));
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_OK);
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_UNKNOWN_TOPIC_ID);
	open_topic(&fixture, &TOPIC, 1);
	commit_one(&fixture, 1, 0, batch_of(-1, -1, -1, 3)); // the same commit again: the same answer
	CU_ASSERT(fixture.result.repeated);
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_UNKNOWN_TOPIC_ID);
	CU_ASSERT_EQUAL(high_watermark(&fixture, 0), 0);
	drop_topic(&fixture, &TOPIC);
	commit_one(&fixture, 2, 1, batch_of(-1, -1, -1, 3));
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_UNKNOWN_TOPIC_ID);
	open_topic(&fixture, &TOPIC, 1); // a late one does not raise the dead
	CU_ASSERT_EQUAL(high_watermark(&fixture, 0), -1);
	fixture_done(&fixture);
}

// History 3: b1, its retry b1' and another producer's b7 in one run: two holes.
static void test_holes(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	commit(&fixture, (struct commit_plan){.writer = WRITER,
				 .sequence = 1,
				 .batches = {batch_of(5, 0, 0, 2), batch_of(5, 0, 0, 2), batch_of(6, 0, 7, 4),
					 batch_of(5, 0, 2, 3), batch_of(5, 0, 5, 1)},
				 .count = 5});
	const Weir__RunOutcome *outcome = run(&fixture);
	CU_ASSERT_EQUAL(outcome->base_offset, 0);
	CU_ASSERT_EQUAL_FATAL(outcome->n_exceptions, 2);
	CU_ASSERT_EQUAL(outcome->exceptions[0]->batch, 1);
	CU_ASSERT_EQUAL(outcome->exceptions[0]->error, ERROR_DUPLICATE_SEQUENCE);
	CU_ASSERT_EQUAL(outcome->exceptions[0]->base_offset, 0);
	CU_ASSERT_EQUAL(outcome->exceptions[1]->batch, 2);
	CU_ASSERT_EQUAL(outcome->exceptions[1]->error, ERROR_OUT_OF_ORDER_SEQUENCE);
	CU_ASSERT_EQUAL(high_watermark(&fixture, 0), 6);
	const struct partition_index *index = &shard_state_partition(fixture.state, &TOPIC, 0)->index;
	CU_ASSERT_EQUAL_FATAL(index->count, 2);
	CU_ASSERT_EQUAL(index->entries[0].position, 64);
	CU_ASSERT_EQUAL(index->entries[0].length, 102);
	CU_ASSERT_EQUAL(index->entries[1].position, 64 + 102 + 102 + 104);
	CU_ASSERT_EQUAL(index->entries[1].length, 103 + 101);
	CU_ASSERT_EQUAL(index->entries[1].base_offset, 2);
	CU_ASSERT_EQUAL(index->entries[1].batch_count, 2);
	fixture_done(&fixture);
}

// A run whose first batch is a duplicate: the base offset is that of the first accepted one.
static void test_base_offset_after_a_duplicate(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	commit_one(&fixture, 1, 0, batch_of(5, 0, 0, 2));
	commit(&fixture, (struct commit_plan){.writer = WRITER,
				 .sequence = 2,
				 .previous = 1,
				 .batches = {batch_of(5, 0, 0, 2), batch_of(5, 0, 2, 2)},
				 .count = 2});
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, 2);
	CU_ASSERT_EQUAL(run(&fixture)->n_exceptions, 1);
	fixture_done(&fixture);
}

// History 5: without state the first sequence must be 0.
static void test_first_sequence_is_zero(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	commit_one(&fixture, 1, 0, batch_of(5, 0, 1, 1)); // b2 through another path comes first
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_OUT_OF_ORDER_SEQUENCE);
	commit_one(&fixture, 2, 1, batch_of(5, 0, 0, 1));
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_OK);
	commit_one(&fixture, 3, 2, batch_of(5, 0, 1, 1)); // retried: now in order
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_OK);
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, 1);
	fixture_done(&fixture);
}

static void test_producer_epochs_and_window(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	uint64_t sequence = 0;
	for (int32_t i = 0; i < 7; i++) {
		commit_one(&fixture, sequence + 1, sequence, batch_of(5, 1, i, 1));
		CU_ASSERT_EQUAL(only_error(&fixture), ERROR_OK);
		sequence++;
	}
	for (int32_t i = 2; i < 7; i++) { // the last five
		commit_one(&fixture, sequence + 1, sequence, batch_of(5, 1, i, 1));
		CU_ASSERT_EQUAL(only_error(&fixture), ERROR_DUPLICATE_SEQUENCE);
		CU_ASSERT_EQUAL(run(&fixture)->exceptions[0]->base_offset, i);
		sequence++;
	}
	const struct {
		struct section_batch batch;
		enum error error;
	} steps[] = {
		{batch_of(5, 1, 1, 1), ERROR_OUT_OF_ORDER_SEQUENCE}, // behind the window
		{batch_of(5, 1, 6, 2), ERROR_OUT_OF_ORDER_SEQUENCE}, // begins like a known one, ends elsewhere
		{batch_of(5, 1, 8, 1), ERROR_SEQUENCE_GAP},          // the one before may be on its way
		{batch_of(5, 0, 7, 1), ERROR_PRODUCER_EPOCH},
		{batch_of(5, 2, 7, 1), ERROR_SEQUENCE_GAP}, // a new epoch begins at 0
		{batch_of(5, 2, 0, 1), ERROR_OK},
		{batch_of(5, 1, 7, 1), ERROR_PRODUCER_EPOCH},
		{batch_of(5, 2, 1, 1), ERROR_OK},
	};
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		commit_one(&fixture, sequence + 1, sequence, steps[i].batch);
		CU_ASSERT_EQUAL(only_error(&fixture), steps[i].error);
		sequence++;
	}
	CU_ASSERT_EQUAL(high_watermark(&fixture, 0), 9);
	fixture_done(&fixture);
}

static void test_sequence_wraps(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	commit_one(&fixture, 1, 0, batch_of(5, 0, 0, INT32_MAX)); // 0 to 2^31 - 2
	commit_one(&fixture, 2, 1, batch_of(5, 0, INT32_MAX, 3)); // 2^31 - 1, 0, 1
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_OK);
	commit_one(&fixture, 3, 2, batch_of(5, 0, 2, 1));
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_OK);
	commit_one(&fixture, 4, 3, batch_of(5, 0, INT32_MAX, 3));
	CU_ASSERT_EQUAL(only_error(&fixture), ERROR_DUPLICATE_SEQUENCE);
	fixture_done(&fixture);
}

// History 6 (a): only the successor is applied. (d): a known one gets its first answer.
static void test_chain(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	commit_one(&fixture, 16, 0, batch_of(-1, -1, -1, 1));
	commit_one(&fixture, 18, 17, batch_of(-1, -1, -1, 1));
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_OUT_OF_CHAIN);
	CU_ASSERT_EQUAL(high_watermark(&fixture, 0), 1);
	commit_one(&fixture, 17, 16, batch_of(-1, -1, -1, 1));
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_OK);
	commit_one(&fixture, 18, 17, batch_of(-1, -1, -1, 1));
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, 2);
	commit_one(&fixture, 17, 16, batch_of(-1, -1, -1, 1));
	CU_ASSERT(fixture.result.repeated);
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, 1);
	CU_ASSERT_EQUAL(high_watermark(&fixture, 0), 3);
	commit(&fixture, (struct commit_plan){.writer = WRITER,
				 .sequence = 17,
				 .previous = 16,
				 .crc = 99,
				 .batches = {batch_of(-1, -1, -1, 1)},
				 .count = 1});
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_CORRUPT);
	fixture_done(&fixture);
}

// History 6 (b): behind the answers that are kept a repetition is refused, not applied. (c): instances are apart.
static void test_chain_forgets_and_instances_are_apart(void)
{
	struct fixture fixture;
	const struct uuid other = {{0xcc, 3}};
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	for (uint64_t i = 1; i <= WRITER_ANSWERS + 1; i++)
		commit_one(&fixture, i, i - 1, batch_of(-1, -1, -1, 1));
	commit_one(&fixture, 1, 0, batch_of(-1, -1, -1, 1));
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_OUT_OF_CHAIN);
	commit_one(&fixture, 2, 1, batch_of(-1, -1, -1, 1));
	CU_ASSERT(fixture.result.repeated);
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, 1);
	commit(&fixture,
		(struct commit_plan){.writer = other, .sequence = 1, .batches = {batch_of(-1, -1, -1, 1)}, .count = 1});
	CU_ASSERT_FALSE(fixture.result.repeated);
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, WRITER_ANSWERS + 1);
	fixture_done(&fixture);
}

// Age is decided outside and stands in the entry; the chain goes on behind a refused object.
static void test_too_old(void)
{
	struct fixture fixture;
	fixture_init(&fixture);
	open_topic(&fixture, &TOPIC, 1);
	commit(&fixture, (struct commit_plan){.writer = WRITER, .sequence = 1, .too_old = true});
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_TOO_OLD);
	commit(&fixture, (struct commit_plan){.writer = WRITER, .sequence = 1, .too_old = true});
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_TOO_OLD);
	CU_ASSERT(fixture.result.repeated);
	commit_one(&fixture, 2, 1, batch_of(-1, -1, -1, 1));
	CU_ASSERT_EQUAL(run(&fixture)->base_offset, 0);
	fixture_done(&fixture);
}

// Only partitions that placement gives to the shard are open in it, and together the shards have each once.
static void test_partitions_of_shards(void)
{
	enum { SHARDS = 4, PARTITIONS = 100 };
	struct fixture fixture;
	int found[PARTITIONS] = {0};
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		fixture = (struct fixture){.state = shard_state_new(shard, SHARDS, NULL)};
		arena_init(&fixture.arena, 0);
		open_topic(&fixture, &TOPIC, 10);
		open_topic(&fixture, &TOPIC, PARTITIONS);
		open_topic(&fixture, &TOPIC, 20); // never fewer
		for (int32_t i = 0; i < PARTITIONS; i++) {
			bool here = shard_state_partition(fixture.state, &TOPIC, i) != NULL;
			CU_ASSERT_EQUAL(here, placement_partition_shard(&TOPIC, i, SHARDS) == shard);
			found[i] += here;
		}
		fixture_done(&fixture);
	}
	for (int32_t i = 0; i < PARTITIONS; i++)
		CU_ASSERT_EQUAL(found[i], 1);
}

// The catalogue of shard 0.

static void intent(
	struct fixture *fixture, Weir__TopicIntent__Kind kind, const struct uuid *id, const char *name, int32_t partitions)
{
	char text[32];
	Weir__TopicInfo info = WEIR__TOPIC_INFO__INIT;
	Weir__TopicIntent body = WEIR__TOPIC_INTENT__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	snprintf(text, sizeof text, "%s", name);
	info.id = protobuf_uuid(id);
	info.name = text;
	info.directory = text;
	info.partitions = partitions;
	body.kind = kind;
	body.topic = &info;
	command.kind_case = WEIR__COMMAND__KIND_TOPIC_INTENT;
	command.topic_intent = &body;
	apply(fixture, &command, NULL);
}

static void done(struct fixture *fixture, const struct uuid *id)
{
	Weir__TopicDone body = WEIR__TOPIC_DONE__INIT;
	Weir__Command command = WEIR__COMMAND__INIT;
	body.topic_id = protobuf_uuid(id);
	command.kind_case = WEIR__COMMAND__KIND_TOPIC_DONE;
	command.topic_done = &body;
	apply(fixture, &command, NULL);
}

static void test_intents(void)
{
	const struct uuid other = {{0xdd}};
	const struct catalogue_topic *topic;
	struct fixture fixture;
	fixture_init(&fixture);
	const struct catalogue *catalogue = &fixture.state->catalogue;
	intent(&fixture, WEIR__TOPIC_INTENT__KIND__CREATE, &TOPIC, "orders", 3);
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_OK);
	topic = catalogue_topic_by_name(catalogue, bytes_of("orders"));
	CU_ASSERT_FATAL(topic != NULL);
	CU_ASSERT_FALSE(catalogue_topic_live(topic));
	intent(&fixture, WEIR__TOPIC_INTENT__KIND__CREATE, &other, "orders", 1);
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_ALREADY_EXISTS);
	intent(&fixture, WEIR__TOPIC_INTENT__KIND__GROW, &TOPIC, "orders", 5);
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_BUSY);
	done(&fixture, &TOPIC);
	CU_ASSERT_PTR_EQUAL(fixture.result.topic, topic);
	CU_ASSERT_EQUAL(topic->now.info->version, fixture.position);
	intent(&fixture, WEIR__TOPIC_INTENT__KIND__GROW, &TOPIC, "orders", 5);
	CU_ASSERT_EQUAL(topic->now.info->partitions, 3);
	done(&fixture, &TOPIC);
	CU_ASSERT_EQUAL(topic->now.info->partitions, 5);
	CU_ASSERT_EQUAL(catalogue->partitions, 5);
	intent(&fixture, WEIR__TOPIC_INTENT__KIND__DELETE, &TOPIC, "orders", 5);
	CU_ASSERT(catalogue_topic_live(topic));
	done(&fixture, &TOPIC);
	CU_ASSERT(fixture.result.topic_deleted);
	CU_ASSERT_PTR_NULL(catalogue_topic_by_name(catalogue, bytes_of("orders")));
	CU_ASSERT_PTR_NOT_NULL(catalogue_tombstone(catalogue, bytes_of("orders")));
	CU_ASSERT_EQUAL(catalogue->partitions, 0);
	done(&fixture, &TOPIC);
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_UNKNOWN_TOPIC_ID);
	intent(&fixture, WEIR__TOPIC_INTENT__KIND__DELETE, &TOPIC, "orders", 5);
	CU_ASSERT_EQUAL(fixture.result.error, ERROR_UNKNOWN_TOPIC_ID);
	fixture_done(&fixture);
}

UNIT_MAIN("shard_state", {"replay_is_deterministic", test_replay_is_deterministic},
	{"unknown_topic_is_refused_by_the_log_alone", test_unknown_topic_is_refused_by_the_log_alone}, {"holes", test_holes},
	{"base_offset_after_a_duplicate", test_base_offset_after_a_duplicate},
	{"first_sequence_is_zero", test_first_sequence_is_zero},
	{"producer_epochs_and_window", test_producer_epochs_and_window}, {"sequence_wraps", test_sequence_wraps},
	{"chain", test_chain}, {"chain_forgets_and_instances_are_apart", test_chain_forgets_and_instances_are_apart},
	{"too_old", test_too_old}, {"partitions_of_shards", test_partitions_of_shards}, {"intents", test_intents})
