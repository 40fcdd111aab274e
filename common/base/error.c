#include "common/base/error.h"

struct error_row {
	const char *text;
	bool retryable;
	int16_t kafka_code;
};

static const struct error_row error_rows[ERROR_COUNT] = {
#define ERROR_ROW(name, text, retryable, kafka_code) [ERROR_##name] = {text, retryable, kafka_code},
	ERROR_TABLE(ERROR_ROW)
#undef ERROR_ROW
};

const char *error_text(enum error error)
{
	return (unsigned)error < ERROR_COUNT ? error_rows[error].text : "unknown";
}

bool error_retryable(enum error error)
{
	return (unsigned)error < ERROR_COUNT && error_rows[error].retryable;
}

int16_t error_kafka_code(enum error error)
{
	return (unsigned)error < ERROR_COUNT ? error_rows[error].kafka_code : -1;
}

enum error error_from_wire(uint32_t value)
{
	return value < ERROR_COUNT ? (enum error)value : ERROR_INTERNAL;
}
