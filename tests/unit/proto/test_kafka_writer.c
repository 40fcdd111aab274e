// Records are spliced, not copied; what goes out is the same.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "proto/kafka/kafka_messages.h"

enum { LIMIT = 4096 };

static const struct slice first[] = {
	{NULL, (const uint8_t *)"one", 3}, {NULL, (const uint8_t *)"", 0}, {NULL, (const uint8_t *)"two", 3}};
static const struct slice second[] = {{NULL, (const uint8_t *)"three", 5}};

// A Fetch answer of one topic and four partitions: two slices, none, one slice, and empty records.
static void fetch_response(struct arena *arena, struct kafka_fetch_response *ret_response)
{
	kafka_fetch_response_init(ret_response);
	ret_response->responses = kafka_fetch_response_fetchable_topic_response_array(arena, 1);
	ret_response->responses_count = 1;
	struct kafka_fetch_response_fetchable_topic_response *topic = &ret_response->responses[0];
	topic->topic = bytes_of("topic");
	topic->partitions = kafka_fetch_response_partition_data_array(arena, 4);
	topic->partitions_count = 4;
	topic->partitions[0].records = (struct kafka_records){.slices = first, .slice_count = 3};
	topic->partitions[2].records = (struct kafka_records){.slices = second, .slice_count = 1};
	topic->partitions[3].records = KAFKA_RECORDS_EMPTY;
}

static void write_spliced(struct arena *arena, struct kafka_writer *writer, int16_t version)
{
	struct kafka_fetch_response response;
	fetch_response(arena, &response);
	kafka_writer_frame_begin(writer);
	kafka_fetch_response_encode(&response, writer, version);
	kafka_writer_frame_end(writer);
	CU_ASSERT_FALSE(kafka_writer_failed(writer));
}

static void write_copied(struct arena *arena, struct kafka_writer *writer, int16_t version)
{
	struct kafka_fetch_response response;
	fetch_response(arena, &response);
	response.responses[0].partitions[0].records = (struct kafka_records){.bytes = bytes_of("onetwo")};
	response.responses[0].partitions[2].records = (struct kafka_records){.bytes = bytes_of("three")};
	kafka_writer_frame_begin(writer);
	kafka_fetch_response_encode(&response, writer, version);
	kafka_writer_frame_end(writer);
	CU_ASSERT_FALSE(kafka_writer_failed(writer));
	CU_ASSERT_EQUAL(writer->splice_count, 0);
}

static void test_splices(void)
{
	for (int16_t version = 4; version <= 12; version++) {
		struct arena arena;
		arena_init(&arena, 0);
		struct kafka_writer spliced;
		struct kafka_writer copied;
		struct buffer flat;
		kafka_writer_init(&spliced, LIMIT);
		kafka_writer_init(&copied, LIMIT);
		buffer_init(&flat, LIMIT);
		write_spliced(&arena, &spliced, version);
		write_copied(&arena, &copied, version);

		CU_ASSERT_EQUAL(spliced.splice_count, 2);
		CU_ASSERT_EQUAL(kafka_writer_len(&spliced), kafka_writer_len(&copied));
		CU_ASSERT_EQUAL(spliced.buffer.len + strlen("onetwothree"), copied.buffer.len);
		CU_ASSERT_EQUAL(get_u32(spliced.buffer.data), copied.buffer.len - 4);
		kafka_writer_copy(&spliced, &flat);
		CU_ASSERT(bytes_equal(buffer_view(&flat), buffer_view(&copied.buffer)));

		buffer_done(&flat);
		kafka_writer_done(&copied);
		kafka_writer_done(&spliced);
		arena_done(&arena);
	}
}

static void test_pieces(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_writer writer;
	kafka_writer_init(&writer, LIMIT);
	write_spliced(&arena, &writer, 4);
	const struct slice *expected[] = {NULL, &first[0], &first[2], NULL, &second[0], NULL};
	struct kafka_piece_cursor cursor = {0};
	struct kafka_piece piece;
	size_t count = 0;
	while (kafka_writer_next(&writer, &cursor, &piece)) {
		CU_ASSERT_FATAL(count < 6);
		CU_ASSERT_PTR_EQUAL(piece.slice, expected[count]);
		CU_ASSERT(piece.bytes.len > 0);
		count++;
	}
	CU_ASSERT_EQUAL(count, 6);
	CU_ASSERT_FALSE(kafka_writer_next(&writer, &cursor, &piece));
	kafka_writer_done(&writer);
	arena_done(&arena);
}

// Whatever was sent already, and however few pieces go at once, the rest is the rest.
static void test_iovec(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_writer writer;
	struct buffer flat;
	kafka_writer_init(&writer, LIMIT);
	buffer_init(&flat, LIMIT);
	write_spliced(&arena, &writer, 11);
	kafka_writer_copy(&writer, &flat);
	for (int count_max = 1; count_max <= 7; count_max++) {
		for (size_t skip = 0; skip <= flat.len; skip++) {
			struct iovec iovec[7];
			int count = kafka_writer_iovec(&writer, skip, iovec, count_max);
			CU_ASSERT(count <= count_max);
			CU_ASSERT_EQUAL(count == 0, skip == flat.len);
			size_t at = skip;
			for (int i = 0; i < count; i++) {
				CU_ASSERT_FATAL(iovec[i].iov_len > 0 && iovec[i].iov_len <= flat.len - at);
				CU_ASSERT_EQUAL(memcmp(iovec[i].iov_base, flat.data + at, iovec[i].iov_len), 0);
				at += iovec[i].iov_len;
			}
			CU_ASSERT(count == count_max || at == flat.len);
		}
	}
	buffer_done(&flat);
	kafka_writer_done(&writer);
	arena_done(&arena);
}

static void test_limit(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_fetch_response response;
	fetch_response(&arena, &response);
	struct kafka_writer writer;
	for (int16_t version = 11; version <= 12; version++) {
		kafka_writer_init(&writer, LIMIT);
		kafka_fetch_response_encode(&response, &writer, version);
		size_t len = writer.buffer.len;
		kafka_writer_done(&writer);
		for (size_t limit = 1; limit <= len; limit++) {
			kafka_writer_init(&writer, limit);
			kafka_fetch_response_encode(&response, &writer, version);
			CU_ASSERT_EQUAL(kafka_writer_failed(&writer), limit < len);
			kafka_writer_done(&writer);
		}
	}
	arena_done(&arena);
}

static void test_clear(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_writer writer;
	kafka_writer_init(&writer, LIMIT);
	write_spliced(&arena, &writer, 12);
	size_t len = kafka_writer_len(&writer);
	kafka_writer_fail(&writer);
	kafka_writer_clear(&writer);
	CU_ASSERT_EQUAL(kafka_writer_len(&writer), 0);
	struct kafka_piece_cursor cursor = {0};
	struct kafka_piece piece;
	CU_ASSERT_FALSE(kafka_writer_next(&writer, &cursor, &piece));
	write_spliced(&arena, &writer, 12);
	CU_ASSERT_EQUAL(kafka_writer_len(&writer), len);
	kafka_writer_done(&writer);
	arena_done(&arena);
}

// A tagged field whose length needs more than one byte.
static void test_long_tags(void)
{
	char name[20000];
	memset(name, 'x', sizeof name);
	struct arena arena;
	arena_init(&arena, 0);
	const size_t lens[] = {1, 120, 125, 126, 127, 128, 129, 16379, 16380, 16381, 16382, 16383, 16384, 20000};
	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		struct kafka_fetch_request request;
		struct kafka_fetch_request decoded;
		kafka_fetch_request_init(&request);
		request.cluster_id = bytes_view(name, lens[i]);
		struct kafka_writer writer;
		kafka_writer_init(&writer, 1 << 16);
		kafka_fetch_request_encode(&request, &writer, 12);
		CU_ASSERT_FALSE(kafka_writer_failed(&writer));
		struct reader reader = reader_of(buffer_view(&writer.buffer));
		CU_ASSERT_EQUAL(kafka_fetch_request_decode(&decoded, &reader, 12, &arena), ERROR_OK);
		CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
		CU_ASSERT(bytes_equal(decoded.cluster_id, request.cluster_id));
		kafka_writer_done(&writer);
	}
	arena_done(&arena);
}

static void test_long_strings(void)
{
	static char name[INT16_MAX + 1];
	memset(name, 'x', sizeof name);
	struct kafka_request_header header;
	kafka_request_header_init(&header);
	struct kafka_writer writer;
	kafka_writer_init(&writer, 1 << 17);
	header.client_id = bytes_view(name, INT16_MAX);
	kafka_request_header_encode(&header, &writer, 1);
	CU_ASSERT_FALSE(kafka_writer_failed(&writer));
	header.client_id = bytes_view(name, INT16_MAX + 1);
	kafka_request_header_encode(&header, &writer, 1);
	CU_ASSERT(kafka_writer_failed(&writer));
	kafka_writer_done(&writer);
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("kafka writer", NULL, NULL);
	CU_add_test(suite, "spliced or copied is the same on the wire", test_splices);
	CU_add_test(suite, "pieces", test_pieces);
	CU_add_test(suite, "iovec", test_iovec);
	CU_add_test(suite, "limit", test_limit);
	CU_add_test(suite, "clear", test_clear);
	CU_add_test(suite, "long tagged fields", test_long_tags);
	CU_add_test(suite, "long strings", test_long_strings);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
