// Histories 12 and 16: what a feed subscriber may take, must skip, and must not believe.
#include "common/cluster/feed_cursor.h"

#include <CUnit/Basic.h>

static struct env env = {.now_us = 1000};

static void test_before_the_first_sync_everything_is_a_gap(void)
{
	struct feed_cursor cursor = {0};
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 1, true), FEED_GAP);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 2, true), FEED_GAP);
}

static void test_follows_in_order(void)
{
	struct feed_cursor cursor = {0};
	feed_cursor_synced(&cursor, &env, 7, 5);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 4, true), FEED_SKIP);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 5, true), FEED_SKIP);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 6, true), FEED_APPLY);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 6, false), FEED_SKIP);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 7, true), FEED_APPLY);
}

static void test_a_missed_message_is_a_gap_until_synced(void)
{
	struct feed_cursor cursor = {0};
	feed_cursor_synced(&cursor, &env, 7, 5);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 7, true), FEED_GAP);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 6, true), FEED_GAP);
	feed_cursor_synced(&cursor, &env, 7, 7);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 8, true), FEED_APPLY);
}

// History 16: the last message before silence is lost; only the repetition of its number tells.
static void test_a_beat_reveals_the_lost_last_message(void)
{
	struct feed_cursor cursor = {0};
	feed_cursor_synced(&cursor, &env, 7, 5);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 6, false), FEED_GAP);
}

static void test_a_new_owner_is_a_gap_and_the_old_one_is_skipped(void)
{
	struct feed_cursor cursor = {0};
	feed_cursor_synced(&cursor, &env, 7, 5);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 9, 1, true), FEED_GAP);
	feed_cursor_synced(&cursor, &env, 9, 1);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 6, true), FEED_SKIP);
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 9, 2, true), FEED_APPLY);
	feed_cursor_synced(&cursor, &env, 7, 9); // a late answer of the former owner
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 9, 3, true), FEED_APPLY);
}

static void test_silence(void)
{
	struct feed_cursor cursor = {0};
	env.now_us = 5000000;
	feed_cursor_synced(&cursor, &env, 7, 5);
	env.now_us += FEED_SILENCE_MS * 1000;
	CU_ASSERT_FALSE(feed_cursor_silent(&cursor, &env));
	env.now_us += 1;
	CU_ASSERT_TRUE(feed_cursor_silent(&cursor, &env));
	CU_ASSERT_EQUAL(feed_cursor_accept(&cursor, &env, 7, 5, false), FEED_SKIP);
	CU_ASSERT_FALSE(feed_cursor_silent(&cursor, &env));
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("feed_cursor", NULL, NULL);
	CU_ADD_TEST(suite, test_before_the_first_sync_everything_is_a_gap);
	CU_ADD_TEST(suite, test_follows_in_order);
	CU_ADD_TEST(suite, test_a_missed_message_is_a_gap_until_synced);
	CU_ADD_TEST(suite, test_a_beat_reveals_the_lost_last_message);
	CU_ADD_TEST(suite, test_a_new_owner_is_a_gap_and_the_old_one_is_skipped);
	CU_ADD_TEST(suite, test_silence);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
