// The hot path takes nothing from the heap once a connection is warm: decoding uses the arena, encoding the writer's buffer.
// The linker sends malloc and its kin here to be counted.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "proto/kafka/kafka_messages.h"

enum { PARTITIONS = 100, LIMIT = 1 << 20 };

static int heap_calls;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *pointer, size_t size);

void *__wrap_malloc(size_t size)
{
	heap_calls++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	heap_calls++;
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *pointer, size_t size)
{
	heap_calls++;
	return __real_realloc(pointer, size);
}

static void write_produce(struct kafka_writer *writer, int16_t version)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_produce_request request;
	kafka_produce_request_init(&request);
	request.acks = -1;
	request.topic_data = kafka_produce_request_topic_produce_data_array(&arena, 1);
	request.topic_data_count = 1;
	request.topic_data[0].name = bytes_of("topic");
	request.topic_data[0].partition_data = kafka_produce_request_partition_produce_data_array(&arena, PARTITIONS);
	request.topic_data[0].partition_data_count = PARTITIONS;
	for (int32_t i = 0; i < PARTITIONS; i++) {
		request.topic_data[0].partition_data[i].index = i;
		request.topic_data[0].partition_data[i].records.bytes = bytes_of("records");
	}
	kafka_produce_request_encode(&request, writer, version);
	CU_ASSERT_FALSE(kafka_writer_failed(writer));
	arena_done(&arena);
}

static void read_produce(const struct kafka_writer *writer, int16_t version, struct arena *arena)
{
	struct kafka_produce_request request;
	struct reader reader = reader_of(buffer_view(&writer->buffer));
	CU_ASSERT_EQUAL(kafka_produce_request_decode(&request, &reader, version, arena), ERROR_OK);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
	CU_ASSERT_EQUAL(request.topic_data[0].partition_data_count, PARTITIONS);
	const struct kafka_produce_request_partition_produce_data *last = &request.topic_data[0].partition_data[PARTITIONS - 1];
	CU_ASSERT_EQUAL(last->index, PARTITIONS - 1);
	// A view into the frame, not a copy.
	CU_ASSERT(last->records.bytes.data > writer->buffer.data);
	CU_ASSERT(last->records.bytes.data < writer->buffer.data + writer->buffer.len);
}

static int heap_calls_of_decode(int16_t version)
{
	struct kafka_writer writer;
	kafka_writer_init(&writer, LIMIT);
	write_produce(&writer, version);
	struct arena arena;
	arena_init(&arena, LIMIT);
	read_produce(&writer, version, &arena);
	// In proportion to the frame: about a hundred partitions of less than 64 bytes.
	CU_ASSERT(arena.used < (PARTITIONS + 2) * 64);
	arena_reset(&arena);
	heap_calls = 0;
	read_produce(&writer, version, &arena);
	int calls = heap_calls;
	arena_done(&arena);
	kafka_writer_done(&writer);
	return calls;
}

static int heap_calls_of_encode(int16_t version)
{
	struct kafka_writer writer;
	kafka_writer_init(&writer, LIMIT);
	struct kafka_produce_response response;
	kafka_produce_response_init(&response);
	struct kafka_produce_response_topic_produce_response topic;
	kafka_produce_response_topic_produce_response_init(&topic);
	struct kafka_produce_response_partition_produce_response partition;
	kafka_produce_response_partition_produce_response_init(&partition);
	topic.partition_responses = &partition;
	topic.partition_responses_count = 1;
	response.responses = &topic;
	response.responses_count = 1;
	kafka_produce_response_encode(&response, &writer, version);
	kafka_writer_clear(&writer);
	heap_calls = 0;
	kafka_produce_response_encode(&response, &writer, version);
	int calls = heap_calls;
	CU_ASSERT_FALSE(kafka_writer_failed(&writer));
	kafka_writer_done(&writer);
	return calls;
}

static void test_heap(void)
{
	// The counting works.
	heap_calls = 0;
	struct kafka_writer writer;
	kafka_writer_init(&writer, LIMIT);
	write_produce(&writer, 3);
	CU_ASSERT(heap_calls > 0);
	kafka_writer_done(&writer);

	for (int16_t version = 3; version <= 13; version++) {
		CU_ASSERT_EQUAL(heap_calls_of_decode(version), 0);
		CU_ASSERT_EQUAL(heap_calls_of_encode(version), 0);
	}
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("kafka memory", NULL, NULL);
	CU_add_test(suite, "a warm connection takes nothing from the heap", test_heap);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
