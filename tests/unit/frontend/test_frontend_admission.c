// History 18: half-read requests must not wait for each other, and heartbeats pass when produce is full.
#include "frontend/admission.h"

#include <CUnit/Basic.h>

static struct env env = {.now_us = 1000};
static const uint64_t budgets[ADMISSION_CLASS_COUNT] = {1000, 500, 100};
static size_t granted;

static void count_grant(struct admission_ask *ask)
{
	(void)ask;
	granted++;
}

static void test_thousand_half_read_produces_and_a_heartbeat(void)
{
	enum { CLIENTS = 1000, BODY = 80 };
	static struct admission_ask asks[CLIENTS];
	struct admission_ask heartbeat = {.granted = count_grant};
	struct admission *admission = admission_new(budgets);
	size_t at_once = 0;
	granted = 0;
	for (int i = 0; i < CLIENTS; i++) {
		asks[i] = (struct admission_ask){.granted = count_grant};
		at_once += admission_ask(admission, &asks[i], ADMISSION_PRODUCE, BODY);
	}
	CU_ASSERT_EQUAL(at_once, 12); // each has its whole body: none waits for another's memory
	CU_ASSERT_TRUE(admission_ask(admission, &heartbeat, ADMISSION_OTHER, 50));
	CU_ASSERT_EQUAL(admission_waiting(admission, ADMISSION_PRODUCE), CLIENTS - 12);
	// Whoever ends makes room for whoever waits longest, until all went through.
	size_t through = at_once;
	while (through < CLIENTS) {
		size_t before = granted;
		admission_return(admission, ADMISSION_PRODUCE, BODY);
		admission_step(admission, &env);
		CU_ASSERT_EQUAL(granted, before + 1);
		CU_ASSERT_FALSE(asks[through].waiting);
		if (granted == before)
			break;
		through++;
	}
	CU_ASSERT_EQUAL(through, CLIENTS);
	admission_free(&admission);
}

static void test_first_come_first_served_though_a_small_one_would_fit(void)
{
	struct admission *admission = admission_new(budgets);
	struct admission_ask a = {.granted = count_grant}, b = a, c = a;
	CU_ASSERT_TRUE(admission_ask(admission, &a, ADMISSION_FETCH, 400));
	CU_ASSERT_FALSE(admission_ask(admission, &b, ADMISSION_FETCH, 300));
	CU_ASSERT_FALSE(admission_ask(admission, &c, ADMISSION_FETCH, 50));
	admission_withdraw(admission, &b);
	granted = 0;
	admission_step(admission, &env);
	CU_ASSERT_EQUAL(granted, 1);
	CU_ASSERT_EQUAL(admission_used(admission, ADMISSION_FETCH), 450);
	admission_free(&admission);
}

static void test_more_than_the_budget_is_granted_to_one_alone(void)
{
	struct admission *admission = admission_new(budgets);
	struct admission_ask big = {.granted = count_grant}, next = big;
	CU_ASSERT_TRUE(admission_ask(admission, &big, ADMISSION_OTHER, 5000));
	CU_ASSERT_FALSE(admission_ask(admission, &next, ADMISSION_OTHER, 1));
	admission_return(admission, ADMISSION_OTHER, 5000);
	granted = 0;
	CU_ASSERT_EQUAL(admission_step(admission, &env), DEADLINE_NEVER);
	CU_ASSERT_EQUAL(granted, 1);
	admission_free(&admission);
}

static void test_a_block_gives_back_when_its_last_hold_goes(void)
{
	struct admission *admission = admission_new(budgets);
	struct admission_ask ask = {.granted = count_grant};
	CU_ASSERT_TRUE(admission_ask(admission, &ask, ADMISSION_PRODUCE, 600));
	struct block *block = admission_block(admission, ADMISSION_PRODUCE, 600);
	struct block *other = block_ref(block);
	block_unref(&block);
	admission_step(admission, &env);
	CU_ASSERT_EQUAL(admission_used(admission, ADMISSION_PRODUCE), 600);
	block_unref(&other);
	admission_step(admission, &env);
	CU_ASSERT_EQUAL(admission_used(admission, ADMISSION_PRODUCE), 0);
	// A block may outlive the admission.
	CU_ASSERT_TRUE(admission_ask(admission, &ask, ADMISSION_PRODUCE, 10));
	block = admission_block(admission, ADMISSION_PRODUCE, 10);
	admission_free(&admission);
	block_unref(&block);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("frontend_admission", NULL, NULL);
	CU_ADD_TEST(suite, test_thousand_half_read_produces_and_a_heartbeat);
	CU_ADD_TEST(suite, test_first_come_first_served_though_a_small_one_would_fit);
	CU_ADD_TEST(suite, test_more_than_the_budget_is_granted_to_one_alone);
	CU_ADD_TEST(suite, test_a_block_gives_back_when_its_last_hold_goes);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures > 0;
}
