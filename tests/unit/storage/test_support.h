#pragma once
// What the storage tests share: a CUnit program in a table, and hex.

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"

struct test_case {
	const char *name;
	void (*run)(void);
};

// Runs them all; what main() returns.
int test_run(const char *suite, const struct test_case *cases, size_t count);
#define TEST_MAIN(suite, cases) test_run((suite), (cases), sizeof(cases) / sizeof *(cases))

// "-" is null, "." empty, "a*N" N times the letter a.
struct bytes test_unhex(struct arena *arena, const char *text);
