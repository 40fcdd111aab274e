#pragma once
// The frame of a CUnit program: one suite, the exit code tells.

#include <CUnit/Basic.h>

#define UNIT_MAIN(suite_name, ...)                                                                                             \
	int main(void)                                                                                                         \
	{                                                                                                                      \
		CU_TestInfo unit_tests[] = {__VA_ARGS__, CU_TEST_INFO_NULL};                                                   \
		CU_SuiteInfo unit_suites[] = {{suite_name, NULL, NULL, NULL, NULL, unit_tests}, CU_SUITE_INFO_NULL};           \
		if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(unit_suites) != CUE_SUCCESS)                 \
			return 2;                                                                                              \
		CU_basic_set_mode(CU_BRM_NORMAL);                                                                              \
		CU_basic_run_tests();                                                                                          \
		unsigned unit_failures = CU_get_number_of_failures();                                                          \
		CU_cleanup_registry();                                                                                         \
		return unit_failures ? 1 : 0;                                                                                  \
	}
