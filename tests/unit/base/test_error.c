#include "common/base/error.h"

#include <string.h>

#include "tests/unit/base/unit.h"

// Numbers travel between processes of different versions, so the order never changes: new ones come last. Kafka's codes are
// from the protocol guide's table of error codes.
static const struct {
	enum error error;
	unsigned number;
	const char *text;
	int16_t kafka_code;
	bool retryable;
} pinned[] = {
	{ERROR_OK, 0, "ok", 0, false},
	{ERROR_MALFORMED, 1, "malformed", 42, false},
	{ERROR_CORRUPT, 2, "corrupt", 2, false},
	{ERROR_TOO_LARGE, 3, "too_large", 10, false},
	{ERROR_INVALID_RECORD, 4, "invalid_record", 87, false},
	{ERROR_INVALID_TIMESTAMP, 5, "invalid_timestamp", 32, false},
	{ERROR_UNSUPPORTED_FORMAT, 6, "unsupported_format", 43, false},
	{ERROR_UNSUPPORTED_COMPRESSION, 7, "unsupported_compression", 76, false},
	{ERROR_NOT_FOUND, 8, "not_found", 56, false},
	{ERROR_ALREADY_EXISTS, 9, "already_exists", 56, false},
	{ERROR_PERMISSION, 10, "permission", 56, false},
	{ERROR_STORAGE, 11, "storage", 56, true},
	{ERROR_THROTTLED, 12, "throttled", 56, true},
	{ERROR_TIMED_OUT, 13, "timed_out", 7, true},
	{ERROR_UNREACHABLE, 14, "unreachable", 15, true},
	{ERROR_DISCONNECTED, 15, "disconnected", 7, true},
	{ERROR_NOT_OWNER, 16, "not_owner", 16, true},
	{ERROR_LOADING, 17, "loading", 14, true},
	{ERROR_FENCED, 18, "fenced", 16, false},
	{ERROR_CONFLICT, 19, "conflict", 56, false},
	{ERROR_OUT_OF_CHAIN, 20, "out_of_chain", 56, true},
	{ERROR_TOO_OLD, 21, "too_old", 56, false},
	{ERROR_UNKNOWN_TOPIC, 22, "unknown_topic", 3, false},
	{ERROR_UNKNOWN_TOPIC_ID, 23, "unknown_topic_id", 100, false},
	{ERROR_OFFSET_OUT_OF_RANGE, 24, "offset_out_of_range", 1, false},
	{ERROR_OUT_OF_ORDER_SEQUENCE, 25, "out_of_order_sequence", 45, true},
	{ERROR_DUPLICATE_SEQUENCE, 26, "duplicate_sequence", 46, false},
	{ERROR_PRODUCER_EPOCH, 27, "producer_epoch", 47, false},
	{ERROR_BUSY, 28, "busy", 7, true},
	{ERROR_CANCELED, 29, "canceled", 7, true},
	{ERROR_INTERNAL, 30, "internal", -1, false},
	{ERROR_SEQUENCE_GAP, 31, "sequence_gap", 6, true},
};

static void table_is_pinned(void)
{
	CU_ASSERT_TRUE(ERROR_COUNT >= sizeof pinned / sizeof *pinned);
	for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
		CU_ASSERT_EQUAL((unsigned)pinned[i].error, pinned[i].number);
		CU_ASSERT_STRING_EQUAL(error_text(pinned[i].error), pinned[i].text);
		CU_ASSERT_EQUAL(error_kafka_code(pinned[i].error), pinned[i].kafka_code);
		CU_ASSERT_EQUAL(error_retryable(pinned[i].error), pinned[i].retryable);
	}
}

static void texts_differ(void)
{
	for (unsigned i = 0; i < ERROR_COUNT; i++)
		for (unsigned k = 0; k < i; k++)
			CU_ASSERT_STRING_NOT_EQUAL(error_text((enum error)i), error_text((enum error)k));
}

static void the_wire_is_not_trusted(void)
{
	CU_ASSERT_EQUAL(error_from_wire(13), ERROR_TIMED_OUT);
	CU_ASSERT_EQUAL(error_from_wire(ERROR_COUNT), ERROR_INTERNAL);
	CU_ASSERT_EQUAL(error_from_wire(UINT32_MAX), ERROR_INTERNAL);
	CU_ASSERT_STRING_EQUAL(error_text((enum error)ERROR_COUNT), "unknown");
	CU_ASSERT_EQUAL(error_kafka_code((enum error)12345), -1);
	CU_ASSERT_FALSE(error_retryable((enum error)12345));
}

UNIT_MAIN("error", {"the table is pinned", table_is_pinned}, {"texts differ", texts_differ},
	{"the wire is not trusted", the_wire_is_not_trusted})
