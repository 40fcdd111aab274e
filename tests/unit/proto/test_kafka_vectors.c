// The oracle: what Kafka's own Java client writes for every message, version and kind of content (vectors/README.md). We make
// the same message by the same rule, and must write these bytes and read this message back.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/unit/proto/kafka_fill.h"

enum { LINE_BYTES = 16 * 1024 };

struct vector {
	char name[64];
	int version;
	char kind[16];
	char hex[LINE_BYTES];
};

static struct bytes vector_bytes(const struct vector *vector, uint8_t *data)
{
	size_t len = strcmp(vector->hex, "-") == 0 ? 0 : strlen(vector->hex) / 2;
	for (size_t i = 0; i < len; i++) {
		unsigned byte;
		CHECK(sscanf(vector->hex + 2 * i, "%2x", &byte) == 1);
		data[i] = (uint8_t)byte;
	}
	return bytes_view(data, len);
}

static void vector_message(
	const struct vector *vector, const struct kafka_test_message *type, void *message, struct arena *arena)
{
	struct kafka_filler filler = {.kind = KAFKA_FILL_NAMED, .arena = arena};
	if (strcmp(vector->kind, "nulls") == 0)
		filler.kind = KAFKA_FILL_NAMED_NULLS;
	if (strcmp(vector->kind, "defaults") == 0)
		type->init(message);
	else
		type->fill(message, &filler, (int16_t)vector->version);
}

static bool vector_holds(const struct vector *vector)
{
	const struct kafka_test_message *type = kafka_test_message_find(vector->name);
	CHECK(type);
	struct arena arena;
	arena_init(&arena, 0);
	struct kafka_writer writer;
	kafka_writer_init(&writer, LINE_BYTES);
	int16_t version = (int16_t)vector->version;
	struct bytes expected = vector_bytes(vector, arena_alloc(&arena, LINE_BYTES));
	void *message = arena_alloc(&arena, type->size);
	void *decoded = arena_alloc(&arena, type->size);

	vector_message(vector, type, message, &arena);
	type->encode(message, &writer, version);
	bool same = !kafka_writer_failed(&writer) && bytes_equal(buffer_view(&writer.buffer), expected);

	struct reader reader = reader_of(expected);
	enum error error = type->decode(decoded, &reader, version, &arena);
	bool read = error == ERROR_OK && reader_finished(&reader) == ERROR_OK && type->equal(message, decoded);
	if (!same || !read)
		fprintf(stderr, "%s version %d %s: written %s, read %s\n", vector->name, vector->version, vector->kind,
			same ? "well" : "WRONG", read ? "well" : "WRONG");
	kafka_writer_done(&writer);
	arena_done(&arena);
	return same && read;
}

static void test_vectors(void)
{
	FILE *file = fopen(KAFKA_VECTORS, "r");
	CHECK(file);
	static struct vector vector;
	static char line[LINE_BYTES];
	static char hex[LINE_BYTES];
	int count = 0;
	while (fgets(line, sizeof line, file)) {
		CHECK(sscanf(line, "%63s %d %15s %16383s", vector.name, &vector.version, vector.kind, hex) == 4);
		if (strcmp(hex, "=") != 0)
			strcpy(vector.hex, hex);
		CU_ASSERT(vector_holds(&vector));
		count++;
	}
	(void)fclose(file);

	// Nothing left out: each message in each version in three kinds.
	int expected = 0;
	for (int i = 0; i < kafka_test_message_count; i++)
		expected += 3 * (kafka_test_messages[i].max_version - kafka_test_messages[i].min_version + 1);
	CU_ASSERT_EQUAL(count, expected);
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("kafka vectors", NULL, NULL);
	CU_add_test(suite, "Kafka's own client writes the same bytes", test_vectors);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
