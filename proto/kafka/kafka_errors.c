#include "proto/kafka/kafka_errors.h"

const char *kafka_error_name(int16_t code)
{
	switch (code) {
#define KAFKA_ERROR_NAME(name, code)                                                                                           \
	case code:                                                                                                             \
		return #name;
		KAFKA_ERROR_TABLE(KAFKA_ERROR_NAME)
#undef KAFKA_ERROR_NAME
	default:
		return "UNKNOWN";
	}
}
