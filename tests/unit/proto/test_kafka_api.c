// The API table, the header versions and the error codes. Expected values are from Kafka's documentation, not from our table.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/error.h"
#include "proto/kafka/kafka_api.h"
#include "proto/kafka/kafka_errors.h"

static void test_apis(void)
{
	const struct kafka_api *produce = kafka_api_find(KAFKA_API_PRODUCE);
	CU_ASSERT_PTR_NOT_NULL_FATAL(produce);
	CU_ASSERT_STRING_EQUAL(produce->name, "Produce");
	CU_ASSERT_EQUAL(produce->min_version, 3);
	CU_ASSERT_EQUAL(produce->max_version, 13);
	CU_ASSERT_EQUAL(produce->first_flexible_version, 9);
	CU_ASSERT_EQUAL(kafka_api_find(KAFKA_API_SASL_HANDSHAKE)->first_flexible_version, INT16_MAX);
	// Version 6 is not released.
	CU_ASSERT_EQUAL(kafka_api_find(KAFKA_API_INIT_PRODUCER_ID)->max_version, 5);
	CU_ASSERT_PTR_NULL(kafka_api_find(4)); // LeaderAndIsr is gone
	CU_ASSERT_PTR_NULL(kafka_api_find(-1));
	CU_ASSERT_EQUAL(KAFKA_API_FETCH, 1);
	CU_ASSERT_EQUAL(KAFKA_API_API_VERSIONS, 18);
	CU_ASSERT_EQUAL(KAFKA_API_CONSUMER_GROUP_HEARTBEAT, 68);
}

static void test_order(void)
{
	CU_ASSERT_EQUAL(kafka_api_count(), 68);
	for (int i = 0; i < kafka_api_count(); i++) {
		const struct kafka_api *api = kafka_api_at(i);
		CU_ASSERT_PTR_EQUAL(kafka_api_find(api->key), api);
		CU_ASSERT(i == 0 || kafka_api_at(i - 1)->key < api->key);
		CU_ASSERT(api->min_version <= api->max_version);
	}
}

static void test_headers(void)
{
	CU_ASSERT_EQUAL(kafka_request_header_version(KAFKA_API_PRODUCE, 8), 1);
	CU_ASSERT_EQUAL(kafka_request_header_version(KAFKA_API_PRODUCE, 9), 2);
	CU_ASSERT_EQUAL(kafka_response_header_version(KAFKA_API_PRODUCE, 8), 0);
	CU_ASSERT_EQUAL(kafka_response_header_version(KAFKA_API_PRODUCE, 9), 1);
	CU_ASSERT_EQUAL(kafka_request_header_version(KAFKA_API_API_VERSIONS, 2), 1);
	CU_ASSERT_EQUAL(kafka_request_header_version(KAFKA_API_API_VERSIONS, 3), 2);
	CU_ASSERT_EQUAL(kafka_request_header_version(KAFKA_API_API_VERSIONS, 99), 2);
	CU_ASSERT_EQUAL(kafka_response_header_version(KAFKA_API_API_VERSIONS, 3), 0);
	CU_ASSERT_EQUAL(kafka_request_header_version(KAFKA_API_SASL_HANDSHAKE, 1), 1);
	CU_ASSERT_EQUAL(kafka_response_header_version(KAFKA_API_SASL_HANDSHAKE, 1), 0);
	CU_ASSERT_EQUAL(kafka_request_header_version(1000, 3), 1);
}

static void test_errors(void)
{
	CU_ASSERT_STRING_EQUAL(kafka_error_name(0), "NONE");
	CU_ASSERT_STRING_EQUAL(kafka_error_name(-1), "UNKNOWN_SERVER_ERROR");
	CU_ASSERT_STRING_EQUAL(kafka_error_name(133), "SHARE_SESSION_LIMIT_REACHED");
	CU_ASSERT_STRING_EQUAL(kafka_error_name(134), "UNKNOWN");
	for (int16_t code = -1; code <= 133; code++)
		CU_ASSERT(strcmp(kafka_error_name(code), "UNKNOWN") != 0);
	// Our own errors tell clients codes that exist, and the ones meant.
	CU_ASSERT_EQUAL(error_kafka_code(ERROR_MALFORMED), KAFKA_ERROR_INVALID_REQUEST);
	CU_ASSERT_EQUAL(error_kafka_code(ERROR_UNKNOWN_TOPIC), KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(error_kafka_code(ERROR_UNKNOWN_TOPIC_ID), KAFKA_ERROR_UNKNOWN_TOPIC_ID);
	CU_ASSERT_EQUAL(error_kafka_code(ERROR_INVALID_RECORD), KAFKA_ERROR_INVALID_RECORD);
	CU_ASSERT_EQUAL(error_kafka_code(ERROR_PRODUCER_EPOCH), KAFKA_ERROR_INVALID_PRODUCER_EPOCH);
	CU_ASSERT_EQUAL(error_kafka_code(ERROR_INTERNAL), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
}

int main(void)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite("kafka apis", NULL, NULL);
	CU_add_test(suite, "APIs", test_apis);
	CU_add_test(suite, "order", test_order);
	CU_add_test(suite, "header versions", test_headers);
	CU_add_test(suite, "error codes", test_errors);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
