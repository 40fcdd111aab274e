#pragma once
// What every test program of the frontend ends with, and encoders in the form world_send() takes.

#include <CUnit/Basic.h>

#include "tests/unit/frontend/frontend_world.h"

#define WORLD_ENCODER(name)                                                                                                    \
	static void world_encode_##name(const void *message, struct kafka_writer *writer, int16_t version)                     \
	{                                                                                                                      \
		kafka_##name##_encode(message, writer, version);                                                               \
	}

// Decodes an answer completely, or fails the test.
#define WORLD_ANSWER(call, arena, name, response, version)                                                                     \
	do {                                                                                                                   \
		struct reader answer_reader = world_answer((call), (arena));                                                   \
		CU_ASSERT_EQUAL_FATAL(kafka_##name##_decode((response), &answer_reader, (version), (arena)), ERROR_OK);        \
		CU_ASSERT_EQUAL_FATAL(reader_finished(&answer_reader), ERROR_OK);                                              \
	} while (0)

static inline int suite_run(void)
{
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures > 0;
}
