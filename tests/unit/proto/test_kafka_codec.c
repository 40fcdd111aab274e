// Every message in every version there and back, cut short, and damaged; then the rules of the protocol one by one.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "proto/kafka/kafka_messages.h"
#include "tests/unit/proto/kafka_fill.h"

enum { ROUNDS = 20, DAMAGES = 40, MESSAGE_BYTES_MAX = 1 << 20, ARENA_BYTES_MAX = 1 << 24 };

struct fixture {
	struct arena arena;
	struct kafka_writer writer;
	struct kafka_filler filler;
};

static void fixture_init(struct fixture *fixture, enum kafka_fill_kind kind, uint64_t seed)
{
	arena_init(&fixture->arena, ARENA_BYTES_MAX);
	kafka_writer_init(&fixture->writer, MESSAGE_BYTES_MAX);
	fixture->filler = (struct kafka_filler){.kind = kind, .arena = &fixture->arena};
	prng_init(&fixture->filler.prng, seed);
}

static void fixture_done(struct fixture *fixture)
{
	kafka_writer_done(&fixture->writer);
	arena_done(&fixture->arena);
}

static struct bytes encoded(
	struct fixture *fixture, const struct kafka_test_message *type, const void *message, int16_t version)
{
	kafka_writer_clear(&fixture->writer);
	type->encode(message, &fixture->writer, version);
	CU_ASSERT_FALSE(kafka_writer_failed(&fixture->writer));
	return arena_copy(&fixture->arena, buffer_view(&fixture->writer.buffer));
}

static bool round_trip(struct fixture *fixture, const struct kafka_test_message *type, int16_t version)
{
	void *message = arena_alloc(&fixture->arena, type->size);
	void *decoded = arena_alloc(&fixture->arena, type->size);
	type->fill(message, &fixture->filler, version);
	struct bytes bytes = encoded(fixture, type, message, version);
	struct reader reader = reader_of(bytes);
	enum error error = type->decode(decoded, &reader, version, &fixture->arena);
	bool same = error == ERROR_OK && reader_finished(&reader) == ERROR_OK && type->equal(message, decoded) &&
		    bytes_equal(encoded(fixture, type, decoded, version), bytes);
	if (!same)
		fprintf(stderr, "%s version %d does not come back\n", type->name, version);
	return same;
}

// One call for each message and version.
static void each_version(void (*visit)(const struct kafka_test_message *type, int16_t version))
{
	for (int i = 0; i < kafka_test_message_count; i++) {
		const struct kafka_test_message *type = &kafka_test_messages[i];
		for (int version = type->min_version; version <= type->max_version; version++)
			visit(type, (int16_t)version);
	}
}

static void visit_round_trip(const struct kafka_test_message *type, int16_t version)
{
	for (uint64_t seed = 0; seed < ROUNDS; seed++) {
		struct fixture fixture;
		fixture_init(&fixture, KAFKA_FILL_RANDOM, seed);
		CU_ASSERT(round_trip(&fixture, type, version));
		fixture_done(&fixture);
	}
}

static void test_round_trip(void)
{
	each_version(visit_round_trip);
}

// A copy with nothing after it, so that the address sanitizer sees a read beyond.
static enum error decode_alone(
	struct fixture *fixture, const struct kafka_test_message *type, int16_t version, struct bytes bytes, void *ret_message)
{
	uint8_t *alone = memory_alloc(bytes.len + 1);
	memcpy(alone + 1, bytes.data, bytes.len);
	struct reader reader = reader_of(bytes_view(alone + 1, bytes.len));
	enum error error = type->decode(ret_message, &reader, version, &fixture->arena);
	free(alone);
	return error;
}

static void visit_truncation(const struct kafka_test_message *type, int16_t version)
{
	struct fixture fixture;
	fixture_init(&fixture, KAFKA_FILL_NAMED, 0);
	void *message = arena_alloc(&fixture.arena, type->size);
	void *defaults = arena_alloc(&fixture.arena, type->size);
	type->fill(message, &fixture.filler, version);
	type->init(defaults);
	struct bytes bytes = encoded(&fixture, type, message, version);
	for (size_t len = 0; len < bytes.len; len++) {
		enum error error = decode_alone(&fixture, type, version, bytes_view(bytes.data, len), message);
		CU_ASSERT_EQUAL(error, ERROR_MALFORMED);
		CU_ASSERT(type->equal(message, defaults));
	}
	fixture_done(&fixture);
}

static void test_truncation(void)
{
	each_version(visit_truncation);
}

// Damaged bytes are refused, or are another message, which then can be written and read again.
static void visit_damage(const struct kafka_test_message *type, int16_t version)
{
	for (uint64_t seed = 0; seed < DAMAGES; seed++) {
		struct fixture fixture;
		fixture_init(&fixture, KAFKA_FILL_RANDOM, seed);
		void *message = arena_alloc(&fixture.arena, type->size);
		void *again = arena_alloc(&fixture.arena, type->size);
		type->fill(message, &fixture.filler, version);
		struct bytes bytes = encoded(&fixture, type, message, version);
		uint8_t *data = arena_alloc(&fixture.arena, bytes.len);
		if (bytes.len)
			memcpy(data, bytes.data, bytes.len);
		for (uint64_t i = prng_below(&fixture.filler.prng, 4); bytes.len && i < 4; i++)
			data[prng_below(&fixture.filler.prng, bytes.len)] = (uint8_t)prng_next(&fixture.filler.prng);
		struct reader reader = reader_of(bytes_view(data, bytes.len));
		if (type->decode(message, &reader, version, &fixture.arena) == ERROR_OK) {
			reader = reader_of(encoded(&fixture, type, message, version));
			CU_ASSERT_EQUAL(type->decode(again, &reader, version, &fixture.arena), ERROR_OK);
			CU_ASSERT(type->equal(message, again));
		}
		fixture_done(&fixture);
	}
}

static void test_damage(void)
{
	each_version(visit_damage);
}

static void visit_unknown_versions(const struct kafka_test_message *type, int16_t version)
{
	if (version != type->min_version)
		return;
	struct fixture fixture;
	fixture_init(&fixture, KAFKA_FILL_RANDOM, 0);
	void *message = arena_alloc(&fixture.arena, type->size);
	type->init(message);
	static const uint8_t zeros[64];
	const int16_t beyond[] = {(int16_t)(type->min_version - 1), (int16_t)(type->max_version + 1), INT16_MAX, INT16_MIN};
	for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
		struct reader reader = reader_of(bytes_view(zeros, sizeof zeros));
		CU_ASSERT_EQUAL(type->decode(message, &reader, beyond[i], &fixture.arena), ERROR_MALFORMED);
		kafka_writer_clear(&fixture.writer);
		type->encode(message, &fixture.writer, beyond[i]);
		CU_ASSERT(kafka_writer_failed(&fixture.writer));
	}
	fixture_done(&fixture);
}

static void test_unknown_versions(void)
{
	each_version(visit_unknown_versions);
}

// The rules, on messages small enough to write by hand.

static enum error decode_metadata(const uint8_t *data, size_t len, int16_t version, size_t *ret_used)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_metadata_request request;
	struct reader reader = reader_of(bytes_view(data, len));
	enum error error = kafka_metadata_request_decode(&request, &reader, version, &arena);
	*ret_used = arena.used;
	arena_done(&arena);
	return error;
}

#define METADATA(version, ret_used, ...)                                                                                       \
	decode_metadata((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), version, ret_used)

static void test_counts(void)
{
	size_t used;
	CU_ASSERT_EQUAL(METADATA(1, &used, 0, 0, 0, 1, 0, 1, 'a'), ERROR_OK);
	CU_ASSERT(used > 0);
	CU_ASSERT_EQUAL(METADATA(1, &used, 0xff, 0xff, 0xff, 0xff), ERROR_OK);        // null: all topics
	CU_ASSERT_EQUAL(METADATA(0, &used, 0xff, 0xff, 0xff, 0xff), ERROR_MALFORMED); // not nullable in version 0
	CU_ASSERT_EQUAL(METADATA(1, &used, 0xff, 0xff, 0xff, 0xfe), ERROR_MALFORMED);

	// More elements than there are bytes for: refused before any memory is taken.
	CU_ASSERT_EQUAL(METADATA(1, &used, 0x7f, 0xff, 0xff, 0xff, 0, 1, 'a'), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(used, 0);
	CU_ASSERT_EQUAL(METADATA(1, &used, 0, 0, 0, 2, 0, 1, 'a'), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(used, 0);
	CU_ASSERT_EQUAL(METADATA(9, &used, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0, 0, 0, 0), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(used, 0);
	CU_ASSERT_EQUAL(METADATA(9, &used, 0xff, 0xff, 0xff, 0xff, 0x1f, 1, 0, 0, 0, 0), ERROR_MALFORMED); // beyond 32 bits
}

static void test_arena_limit(void)
{
	uint8_t data[4 + 100 * 3] = {0, 0, 0, 100};
	for (size_t i = 0; i < 100; i++)
		data[4 + 3 * i + 1] = 1;
	struct arena arena;
	arena_init(&arena, 1000);
	struct kafka_metadata_request request;
	struct reader reader = reader_of(bytes_view(data, sizeof data));
	CU_ASSERT_EQUAL(kafka_metadata_request_decode(&request, &reader, 1, &arena), ERROR_MALFORMED);
	CU_ASSERT_PTR_NULL(request.topics);
	CU_ASSERT_EQUAL(request.topics_count, 0);
	arena_done(&arena);
}

static void test_null_strings(void)
{
	size_t used;
	CU_ASSERT_EQUAL(METADATA(1, &used, 0, 0, 0, 1, 0xff, 0xff), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(METADATA(9, &used, 2, 0, 0, 1, 0, 0, 0), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(METADATA(9, &used, 2, 1, 0, 1, 0, 0, 0), ERROR_OK); // the empty string

	struct kafka_writer writer;
	kafka_writer_init(&writer, 1000);
	struct kafka_request_header header;
	kafka_request_header_init(&header);
	header.client_id = BYTES_NULL;
	kafka_request_header_encode(&header, &writer, 2);
	CU_ASSERT_FALSE(kafka_writer_failed(&writer));
	struct kafka_sync_group_request sync;
	kafka_sync_group_request_init(&sync);
	sync.group_id = BYTES_NULL;
	kafka_sync_group_request_encode(&sync, &writer, 0);
	CU_ASSERT(kafka_writer_failed(&writer));
	kafka_writer_done(&writer);
}

// ApiVersions version 3: two compact strings and the tagged section.
static enum error decode_tags(const uint8_t *tags, size_t len)
{
	uint8_t data[64] = {2, 'a', 2, 'b'};
	memcpy(data + 4, tags, len);
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_api_versions_request request;
	struct reader reader = reader_of(bytes_view(data, 4 + len));
	enum error error = kafka_api_versions_request_decode(&request, &reader, 3, &arena);
	if (error == ERROR_OK) {
		error = reader_finished(&reader);
		CU_ASSERT(bytes_equal(request.client_software_name, bytes_of("a")));
		CU_ASSERT(bytes_equal(request.client_software_version, bytes_of("b")));
	}
	arena_done(&arena);
	return error;
}

#define TAGS(...) decode_tags((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_unknown_tags(void)
{
	CU_ASSERT_EQUAL(TAGS(0), ERROR_OK);
	CU_ASSERT_EQUAL(TAGS(2, 0, 0, 9, 2, 'x', 'y'), ERROR_OK);
	CU_ASSERT_EQUAL(TAGS(1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 'x'), ERROR_OK);
	CU_ASSERT_EQUAL(TAGS(2, 5, 0, 5, 0), ERROR_MALFORMED); // twice
	CU_ASSERT_EQUAL(TAGS(2, 5, 0, 4, 0), ERROR_MALFORMED); // out of order
	CU_ASSERT_EQUAL(TAGS(1, 5, 2, 'x'), ERROR_MALFORMED);  // longer than the message
	CU_ASSERT_EQUAL(TAGS(2, 5, 1, 'x'), ERROR_MALFORMED);  // one missing
	CU_ASSERT_EQUAL(TAGS(0xff, 0xff, 0xff, 0xff, 0x0f), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(TAGS(1, 5, 1, 'x', 'y'), ERROR_MALFORMED); // left over
}

// Fetch version 12 without topics, its tag 0 the compact cluster id.
static enum error decode_cluster_id(const uint8_t *tags, size_t len, struct bytes expected)
{
	uint8_t data[64] = {0};
	memset(data, 0xff, 4); // replica_id
	size_t at = 4 + 4 + 4 + 4 + 1 + 4 + 4;
	data[at++] = 1; // topics
	data[at++] = 1; // forgotten_topics_data
	data[at++] = 1; // rack_id
	memcpy(data + at, tags, len);
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_fetch_request request;
	struct reader reader = reader_of(bytes_view(data, at + len));
	enum error error = kafka_fetch_request_decode(&request, &reader, 12, &arena);
	if (error == ERROR_OK) {
		error = reader_finished(&reader);
		CU_ASSERT(kafka_view_equal(request.cluster_id, expected));
	}
	arena_done(&arena);
	return error;
}

#define CLUSTER_ID(expected, ...)                                                                                              \
	decode_cluster_id((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), expected)

static void test_known_tags(void)
{
	CU_ASSERT_EQUAL(CLUSTER_ID(BYTES_NULL, 0), ERROR_OK);
	CU_ASSERT_EQUAL(CLUSTER_ID(bytes_of("c"), 1, 0, 2, 2, 'c'), ERROR_OK);
	CU_ASSERT_EQUAL(CLUSTER_ID(BYTES_NULL, 1, 0, 1, 0), ERROR_OK);
	// A tag that only later versions know is skipped.
	CU_ASSERT_EQUAL(CLUSTER_ID(bytes_of("c"), 2, 0, 2, 2, 'c', 1, 1, 'x'), ERROR_OK);
	CU_ASSERT_EQUAL(CLUSTER_ID(BYTES_NULL, 1, 0, 3, 2, 'c', 'x'), ERROR_MALFORMED); // longer than its content
	CU_ASSERT_EQUAL(CLUSTER_ID(BYTES_NULL, 1, 0, 1, 2, 'c'), ERROR_MALFORMED);      // shorter
	CU_ASSERT_EQUAL(CLUSTER_ID(BYTES_NULL, 1, 0, 0), ERROR_MALFORMED);
	CU_ASSERT_EQUAL(CLUSTER_ID(BYTES_NULL, 2, 0, 2, 2, 'c', 0, 2, 2, 'c'), ERROR_MALFORMED);
}

static bool fetch_request_fails(const struct kafka_fetch_request *request, int16_t version)
{
	struct kafka_writer writer;
	kafka_writer_init(&writer, 1000);
	kafka_fetch_request_encode(request, &writer, version);
	bool failed = kafka_writer_failed(&writer);
	kafka_writer_done(&writer);
	return failed;
}

static void test_absent_fields(void)
{
	struct kafka_fetch_request request;
	kafka_fetch_request_init(&request);
	CU_ASSERT_EQUAL(request.max_bytes, INT32_MAX);
	CU_ASSERT_EQUAL(request.replica_state.replica_epoch, -1);
	CU_ASSERT_FALSE(fetch_request_fails(&request, 4));

	request.rack_id = bytes_of("zone"); // from 11, ignorable
	CU_ASSERT_FALSE(fetch_request_fails(&request, 4));
	struct kafka_fetch_request_forgotten_topic forgotten;
	kafka_fetch_request_forgotten_topic_init(&forgotten);
	request.forgotten_topics_data = &forgotten;
	request.forgotten_topics_data_count = 1; // from 7, not ignorable
	CU_ASSERT(fetch_request_fails(&request, 6));
	CU_ASSERT_FALSE(fetch_request_fails(&request, 7));
	request.replica_state.replica_epoch = 1; // tagged, from 15, not ignorable
	CU_ASSERT(fetch_request_fails(&request, 14));
	CU_ASSERT_FALSE(fetch_request_fails(&request, 15));
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("kafka codec", NULL, NULL);
	CU_add_test(suite, "there and back", test_round_trip);
	CU_add_test(suite, "cut short", test_truncation);
	CU_add_test(suite, "damaged", test_damage);
	CU_add_test(suite, "unknown versions", test_unknown_versions);
	CU_add_test(suite, "counts", test_counts);
	CU_add_test(suite, "the arena's limit", test_arena_limit);
	CU_add_test(suite, "null strings", test_null_strings);
	CU_add_test(suite, "unknown tags", test_unknown_tags);
	CU_add_test(suite, "known tags", test_known_tags);
	CU_add_test(suite, "fields that a version lacks", test_absent_fields);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
