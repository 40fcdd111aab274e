#pragma once
// The frame of a CUnit program: one suite, the exit code tells.

#include <CUnit/Basic.h>

static inline int unit_run(const char *name, CU_TestInfo *tests)
{
	char suite_name[64];
	snprintf(suite_name, sizeof suite_name, "%s", name);
	CU_SuiteInfo suites[] = {{suite_name, NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
	if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
		return 2;
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}

#define UNIT_MAIN(name, ...)                                                                                                   \
	int main(void)                                                                                                         \
	{                                                                                                                      \
		CU_TestInfo unit_tests[] = {__VA_ARGS__, CU_TEST_INFO_NULL};                                                   \
		return unit_run(name, unit_tests);                                                                             \
	}
