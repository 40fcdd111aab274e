#pragma once
// What every metadata store does, whichever the backend; the tests use `world`.

#include <CUnit/CUnit.h>

void metadata_contract_add(CU_pSuite suite);
