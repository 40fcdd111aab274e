#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

int test_run(const char *suite_name, const struct test_case *cases, size_t count)
{
	CHECK(CU_initialize_registry() == CUE_SUCCESS);
	CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
	CHECK(suite != NULL);
	for (size_t i = 0; i < count; i++)
		CHECK(CU_add_test(suite, cases[i].name, cases[i].run) != NULL);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

static unsigned nibble(char digit)
{
	const char *digits = "0123456789abcdef";
	const char *at = strchr(digits, digit);
	CHECK(at != NULL && digit != '\0');
	return (unsigned)(at - digits);
}

struct bytes test_unhex(struct arena *arena, const char *text)
{
	if (strcmp(text, "-") == 0)
		return BYTES_NULL;
	size_t len = strcmp(text, ".") == 0 ? 0 : strlen(text) / 2;
	bool repeated = strncmp(text, "a*", 2) == 0;
	if (repeated)
		len = strtoul(text + 2, NULL, 10);
	uint8_t *data = arena_alloc(arena, len + 1);
	for (size_t i = 0; i < len; i++)
		data[i] = repeated ? 'a' : (uint8_t)((nibble(text[2 * i]) << 4) + nibble(text[2 * i + 1]));
	return (struct bytes){data, len};
}
