// Any bytes as any message in any version: refused, or a message that can be written and read again as itself.
//
// Input: two bytes of API key, its highest bit set for a response; two bytes of version; the message. Keys from 0x7f00 on are
// the messages without a key, by their place in messages.table. Corpus: kafka_decode_corpus/, which holds what clients sent
// (tests/unit/proto/capture) and what Kafka's Java client writes (tests/unit/proto/vectors).

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "tests/unit/proto/kafka_fill.h"

enum { KEYLESS = 0x7f00, RESPONSE = 0x8000, MESSAGE_BYTES_MAX = 1 << 24, ARENA_BYTES_MAX = 1 << 26 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct kafka_test_message *message_of(uint16_t key)
{
	if (key >= KEYLESS && key < KEYLESS + kafka_test_message_count)
		return &kafka_test_messages[key - KEYLESS];
	for (int i = 0; i < kafka_test_message_count; i++) {
		const struct kafka_test_message *type = &kafka_test_messages[i];
		if (type->key == (key & 0x7fff) && type->is_request == !(key & RESPONSE))
			return type;
	}
	return NULL;
}

static void read_again(const struct kafka_test_message *type, const void *message, int16_t version, struct arena *arena)
{
	struct kafka_writer writer;
	kafka_writer_init(&writer, MESSAGE_BYTES_MAX);
	type->encode(message, &writer, version);
	CHECK(!kafka_writer_failed(&writer));
	void *again = arena_alloc(arena, type->size);
	struct reader reader = reader_of(buffer_view(&writer.buffer));
	CHECK(type->decode(again, &reader, version, arena) == ERROR_OK);
	CHECK(reader_finished(&reader) == ERROR_OK);
	CHECK(type->equal(message, again));
	kafka_writer_done(&writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader reader = reader_of(bytes_view(data, len));
	const struct kafka_test_message *type = message_of(reader_u16(&reader));
	int16_t version = reader_i16(&reader);
	if (reader.failed || !type)
		return 0;
	struct arena arena;
	arena_init(&arena, ARENA_BYTES_MAX);
	void *message = arena_alloc(&arena, type->size);
	if (type->decode(message, &reader, version, &arena) == ERROR_OK)
		read_again(type, message, version, &arena);
	arena_done(&arena);
	return 0;
}
