// The feeds (histories 12 and 16): topics and watermarks followed, gaps, silence, a new owner.
#include "common/base/placement.h"
#include "tests/unit/frontend/frontend_suite.h"

static struct world world;
static bool mute; // the feed is lost

static enum bus_memory_fault lose_feed(void *ctx, const struct bus_memory_event *event)
{
	(void)ctx;
	return mute && event->kind == BUS_MEMORY_FEED ? BUS_MEMORY_LOSE : BUS_MEMORY_DELIVER;
}

static void setup(void)
{
	world = (struct world){0};
	mute = false;
	world_add_topic(&world, "orders", 4)->high[0] = 10;
	world_start(&world, NULL);
	bus_memory_script(world.network, lose_feed, NULL);
	world_run(&world, 300);
}

static void teardown(void)
{
	world_stop(&world);
}

static int64_t high(int32_t partition)
{
	return watermarks_get(world.frontend->watermarks, &world.topics[0].id, partition).high;
}

static bool known(const char *name)
{
	return catalog_by_name(world.frontend->catalog, bytes_of(name)) != NULL;
}

static void test_topics_come_change_and_go(void)
{
	size_t syncs = world.syncs_meta;
	struct world_topic *topic = world_add_topic(&world, "new", 1);
	world_feed_topic(&world, topic, false);
	world_run(&world, 5);
	CU_ASSERT_TRUE(known("new"));
	CU_ASSERT_PTR_NOT_NULL(catalog_by_id(world.frontend->catalog, &topic->id));
	topic->partitions = 3;
	world_feed_topic(&world, topic, false);
	world_run(&world, 5);
	CU_ASSERT_EQUAL(catalog_by_name(world.frontend->catalog, bytes_of("new"))->partitions, 3);
	world_feed_topic(&world, topic, true);
	world_run(&world, 5);
	CU_ASSERT_FALSE(known("new"));
	CU_ASSERT_EQUAL(world.syncs_meta, syncs);
}

static void test_a_lost_topic_is_found_by_the_next_beat(void)
{
	mute = true;
	world_feed_topic(&world, world_add_topic(&world, "lost", 1), false);
	world_run(&world, 5);
	mute = false;
	CU_ASSERT_FALSE(known("lost"));
	world_run(&world, 300);
	CU_ASSERT_TRUE(known("lost"));
}

// History 16: the last watermark is lost, the shard falls idle.
static void test_a_lost_watermark_is_found_by_the_next_beat(void)
{
	mute = true;
	world_feed_high(&world, &world.topics[0], 0, 11, 0);
	world_run(&world, 5);
	mute = false;
	CU_ASSERT_EQUAL(high(0), 10);
	world_run(&world, 400);
	CU_ASSERT_EQUAL(high(0), 11);
}

static void test_silence_asks_again(void)
{
	size_t meta = world.syncs_meta, watermarks = world.syncs_watermarks;
	mute = true;
	world_run(&world, 700);
	CU_ASSERT_EQUAL(world.syncs_meta, meta);
	world.topics[0].high[0] = 44;
	world_run(&world, 1700);
	CU_ASSERT_TRUE(world.syncs_meta > meta && world.syncs_watermarks >= watermarks + WORLD_SHARDS);
	CU_ASSERT_TRUE(world.syncs_watermarks <= watermarks + 3 * WORLD_SHARDS); // not in a storm
	CU_ASSERT_EQUAL(high(0), 44);
}

static void test_a_gap_takes_what_it_says_and_asks(void)
{
	size_t watermarks = world.syncs_watermarks;
	world.topics[0].high[1] = 77; // its message was lost
	world_feed_high(&world, &world.topics[0], 0, 12, 1);
	world_run(&world, 300);
	CU_ASSERT_EQUAL(high(0), 12);
	CU_ASSERT_TRUE(world.syncs_watermarks > watermarks);
	world_feed_high(&world, &world.topics[0], 0, 13, 0);
	world_run(&world, 5);
	CU_ASSERT_EQUAL(high(0), 13);
}

static void test_a_new_owner_is_asked_and_nothing_goes_back(void)
{
	size_t watermarks = world.syncs_watermarks, meta = world.syncs_meta;
	world.epoch++;
	world.topics[0].high[0] = 8; // it has not caught up, or lies
	for (int i = 0; i < WORLD_SHARDS; i++)
		world.hw_numbers[i] = 0;
	world.meta_number = 0;
	world_beat(&world);
	world_run(&world, 400);
	CU_ASSERT_TRUE(world.syncs_watermarks >= watermarks + WORLD_SHARDS && world.syncs_meta > meta);
	CU_ASSERT_EQUAL(high(0), 10);
	world_feed_high(&world, &world.topics[0], 0, 15, 0);
	world_run(&world, 5);
	CU_ASSERT_EQUAL(high(0), 15);
}

static void test_a_sync_drops_what_is_gone(void)
{
	mute = true;
	world.topic_count = 0;
	world_run(&world, 2500);
	CU_ASSERT_FALSE(known("orders"));
	CU_ASSERT_EQUAL(catalog_count(world.frontend->catalog), 0);
}

static void test_names(void)
{
	static const char *const good[] = {"a", "A.b_c-9", "..a", "__x"};
	static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a@b", "\xc3\xa4"};
	char long_name[251];
	for (size_t i = 0; i < 250; i++)
		long_name[i] = 'x';
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		CU_ASSERT_TRUE(topic_name_valid(bytes_of(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CU_ASSERT_FALSE(topic_name_valid(bytes_of(bad[i])));
	CU_ASSERT_TRUE(topic_name_valid(bytes_view(long_name, 249)));
	CU_ASSERT_FALSE(topic_name_valid(bytes_view(long_name, 250)));
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite_with_setup_and_teardown("frontend_catalog", NULL, NULL, setup, teardown);
	CU_ADD_TEST(suite, test_topics_come_change_and_go);
	CU_ADD_TEST(suite, test_a_lost_topic_is_found_by_the_next_beat);
	CU_ADD_TEST(suite, test_a_lost_watermark_is_found_by_the_next_beat);
	CU_ADD_TEST(suite, test_silence_asks_again);
	CU_ADD_TEST(suite, test_a_gap_takes_what_it_says_and_asks);
	CU_ADD_TEST(suite, test_a_new_owner_is_asked_and_nothing_goes_back);
	CU_ADD_TEST(suite, test_a_sync_drops_what_is_gone);
	CU_ADD_TEST(suite, test_names);
	return suite_run();
}
