// The cluster client against a scripted bus: each call it makes is kept, the test answers it or lets it fail.
#include "common/cluster/cluster_client.h"

#include <CUnit/Basic.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/runtime/protobuf.h"
#include "proto/bus.pb-c.h"
#include "proto/control.pb-c.h"
#include "proto/feed.pb-c.h"

enum { CALLS_MAX = 64 };

struct bus_link {
	char address[64];
	bool gone;
};

struct fake_call {
	uint64_t id;
	struct bus_link *link;
	uint32_t type;
	uint32_t timeout_ms;
	bus_reply_fn fn; // NULL: over
	void *ctx;
};

static struct {
	struct bus bus;
	struct bus_link links[8];
	size_t link_count;
	struct fake_call calls[CALLS_MAX];
	size_t call_count;
	char subscribed[8][64];
	size_t subscribed_count;
	bus_feed_fn feed_fn;
	void *feed_ctx;
} fake;

static struct env env;
static struct cluster_client *client;
static unsigned views;

static struct bus_link *fake_link(struct bus *bus, const char *address)
{
	(void)bus;
	for (size_t i = 0; i < fake.link_count; i++) {
		if (!fake.links[i].gone && strcmp(fake.links[i].address, address) == 0)
			return &fake.links[i];
	}
	struct bus_link *link = &fake.links[fake.link_count++];
	snprintf(link->address, sizeof link->address, "%s", address);
	return link;
}

// As the bus does: calls in flight end at once.
static void fake_unlink(struct bus *bus, struct bus_link *link)
{
	(void)bus;
	link->gone = true;
	for (size_t i = 0; i < fake.call_count; i++) {
		struct fake_call call = fake.calls[i];
		if (call.link != link || !call.fn)
			continue;
		fake.calls[i].fn = NULL;
		call.fn(call.ctx, ERROR_CANCELED, NULL);
	}
}

static uint64_t fake_call(struct bus *bus, struct bus_link *link, const struct bus_send *send, bus_reply_fn fn, void *ctx)
{
	(void)bus;
	CHECK(fake.call_count < CALLS_MAX && !link->gone);
	struct fake_call *call = &fake.calls[fake.call_count++];
	*call = (struct fake_call){fake.call_count, link, send->type, send->timeout_ms, fn, ctx};
	return call->id;
}

static void fake_cancel(struct bus *bus, uint64_t id)
{
	(void)bus;
	fake.calls[id - 1].fn = NULL;
}

static void fake_subscribe(struct bus *bus, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx)
{
	(void)bus;
	snprintf(fake.subscribed[fake.subscribed_count++], 64, "%s %.*s", address, (int)prefix.len, (const char *)prefix.data);
	fake.feed_fn = fn;
	fake.feed_ctx = ctx;
}

static void fake_unsubscribe(struct bus *bus, const char *address, struct bytes prefix)
{
	(void)bus;
	(void)address;
	(void)prefix;
	fake.subscribed_count--;
}

static const struct bus_ops fake_ops = {
	.link = fake_link,
	.unlink = fake_unlink,
	.call = fake_call,
	.cancel = fake_cancel,
	.subscribe = fake_subscribe,
	.unsubscribe = fake_unsubscribe,
};

// The newest call of a type that is not over.
static struct fake_call *open_call(uint32_t type)
{
	for (size_t i = fake.call_count; i-- > 0;) {
		if (fake.calls[i].fn && fake.calls[i].type == type)
			return &fake.calls[i];
	}
	return NULL;
}

static void answer(struct fake_call *call, enum error error, const ProtobufCMessage *body)
{
	CHECK(call && call->fn);
	struct buffer packed;
	buffer_init(&packed, 1 << 20);
	if (body)
		protobuf_pack(body, &packed);
	struct bus_message message = {.type = call->type, .body = buffer_view(&packed)};
	bus_reply_fn fn = call->fn;
	call->fn = NULL;
	fn(call->ctx, error, error == ERROR_OK ? &message : NULL);
	buffer_done(&packed);
}

static void turn(uint64_t ms)
{
	env.now_us += ms * 1000;
	env.wall_ms += (int64_t)ms;
	cluster_client_step(client);
}

static struct uuid id_of(uint8_t number)
{
	struct uuid uuid = {{number, 1}};
	return uuid;
}

// A view with coordinators 1 and 2, `owner` owning shards 0 and 1 (0: nobody), and one writer.
static void with_view(uint8_t owner, void (*use)(Weir__ClusterView *view, void *ctx), void *ctx)
{
	struct uuid ids[2] = {id_of(1), id_of(2)};
	struct uuid owner_id = id_of(owner);
	struct uuid writer = id_of(9);
	Weir__CoordinatorInfo infos[2] = {WEIR__COORDINATOR_INFO__INIT, WEIR__COORDINATOR_INFO__INIT};
	Weir__CoordinatorInfo *info_list[2] = {&infos[0], &infos[1]};
	char addresses[2][8] = {"ipc://a", "ipc://b"}, feeds[2][8] = {"ipc://x", "ipc://y"};
	for (unsigned i = 0; i < 2; i++) {
		infos[i].id = protobuf_uuid(&ids[i]);
		infos[i].address = addresses[i];
		infos[i].feed_address = feeds[i];
	}
	Weir__ShardOwner owners[2] = {WEIR__SHARD_OWNER__INIT, WEIR__SHARD_OWNER__INIT};
	Weir__ShardOwner *owner_list[2] = {&owners[0], &owners[1]};
	for (unsigned i = 0; i < 2; i++) {
		owners[i].shard = i;
		if (owner)
			owners[i].coordinator = protobuf_uuid(&owner_id);
	}
	Weir__Member member = WEIR__MEMBER__INIT;
	Weir__Member *member_list[1] = {&member};
	char member_address[] = "ipc://w";
	member.instance = protobuf_uuid(&writer);
	member.role = WEIR__ROLE__WRITER;
	member.address = member_address;
	Weir__ClusterView view = WEIR__CLUSTER_VIEW__INIT;
	char cluster_id[] = "test";
	view.incarnation = 1ull << 48 | 5;
	view.cluster_id = cluster_id;
	view.shards = 2;
	view.n_coordinators = 2;
	view.coordinators = info_list;
	view.n_owners = 2;
	view.owners = owner_list;
	view.n_members = 1;
	view.members = member_list;
	use(&view, ctx);
}

struct registration {
	enum error error;
};

static void answer_register(Weir__ClusterView *view, void *ctx)
{
	const struct registration *registration = ctx;
	Weir__RegisterReply reply = WEIR__REGISTER_REPLY__INIT;
	reply.error = registration->error;
	reply.view = view;
	reply.node_id = 3;
	reply.wall_ms = env.wall_ms + 250;
	answer(open_call(WEIR__MESSAGE_TYPE__REGISTER), ERROR_OK, &reply.base);
}

static void publish_view(Weir__ClusterView *view, void *ctx)
{
	(void)ctx;
	Weir__MetaFeed feed = WEIR__META_FEED__INIT;
	feed.view = view;
	struct buffer packed;
	buffer_init(&packed, 1 << 20);
	protobuf_pack(&feed.base, &packed);
	fake.feed_fn(fake.feed_ctx, bytes_of("meta/"), buffer_view(&packed));
	buffer_done(&packed);
}

static void on_view(void *ctx)
{
	(void)ctx;
	views++;
}

static void start(void)
{
	memset(&fake, 0, sizeof fake);
	fake.bus.ops = &fake_ops;
	env = (struct env){.now_us = 1000000, .wall_ms = 1700000000000};
	prng_init(&env.prng, 1);
	views = 0;
	struct cluster_client_settings settings = {
		.coordinators = "dns+ipc://a", .instance = id_of(7), .role = WEIR__ROLE__READER};
	struct cluster_client_events events = {.on_view = on_view};
	client = cluster_client_new(&env, &fake.bus, &settings, &events);
	turn(0);
}

static void registered(uint8_t owner)
{
	start();
	struct registration ok = {ERROR_OK};
	with_view(owner, answer_register, &ok);
}

static struct {
	unsigned count;
	enum error error;
} result;

static void on_reply(void *ctx, enum error error, const struct bus_message *reply)
{
	(void)ctx;
	CU_ASSERT_EQUAL(error == ERROR_OK, reply != NULL);
	result.count++;
	result.error = error;
}

static void call_shard(uint32_t shard, bool repeat, uint32_t timeout_ms)
{
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, .body = &request.base, .timeout_ms = timeout_ms};
	result.count = 0;
	cluster_client_call(client, shard, &send, repeat, on_reply, NULL);
}

static void answer_call(enum error error)
{
	Weir__SyncWatermarksReply reply = WEIR__SYNC_WATERMARKS_REPLY__INIT;
	reply.error = error;
	answer(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS), ERROR_OK, &reply.base);
}

static void test_registers_and_learns_the_view(void)
{
	registered(1);
	const struct cluster_view *view = cluster_client_view(client);
	CU_ASSERT_TRUE(cluster_client_ready(client));
	CU_ASSERT_EQUAL(cluster_client_node_id(client), 3);
	CU_ASSERT_EQUAL(cluster_client_leader_epoch(client), 1);
	CU_ASSERT_EQUAL(cluster_client_wall_ms(client), env.wall_ms + 250);
	CU_ASSERT_EQUAL_FATAL(view->member_count, 1);
	CU_ASSERT_STRING_EQUAL(view->members[0].address, "ipc://w");
	CU_ASSERT_EQUAL(fake.subscribed_count, 2);
	CU_ASSERT_EQUAL(views, 1);
	turn(999);
	CU_ASSERT_PTR_NULL(open_call(WEIR__MESSAGE_TYPE__REGISTER));
	turn(1);
	CU_ASSERT_PTR_NOT_NULL(open_call(WEIR__MESSAGE_TYPE__REGISTER));
	cluster_client_free(&client);
}

static void test_a_wrong_coordinator_names_the_right_one(void)
{
	start();
	struct registration wrong = {ERROR_NOT_OWNER};
	with_view(2, answer_register, &wrong);
	CU_ASSERT_FALSE(cluster_client_ready(client));
	turn(60);
	CU_ASSERT_STRING_EQUAL(open_call(WEIR__MESSAGE_TYPE__REGISTER)->link->address, "ipc://b");
	cluster_client_free(&client);
}

static void test_a_dead_coordinator_is_not_asked_for_ever(void)
{
	registered(1);
	turn(1000);
	answer(open_call(WEIR__MESSAGE_TYPE__REGISTER), ERROR_DISCONNECTED, NULL);
	bool asked_other = false;
	for (unsigned i = 0; i < 4 && !asked_other; i++) {
		turn(100);
		struct fake_call *call = open_call(WEIR__MESSAGE_TYPE__REGISTER);
		CU_ASSERT_PTR_NOT_NULL_FATAL(call);
		asked_other = strcmp(call->link->address, "ipc://b") == 0;
		answer(call, ERROR_UNREACHABLE, NULL);
	}
	CU_ASSERT_TRUE(asked_other);
	turn(5000);
	CU_ASSERT_FALSE(cluster_client_ready(client));
	cluster_client_free(&client);
}

static void test_a_call_follows_a_move(void)
{
	registered(1);
	call_shard(1, false, 5000);
	CU_ASSERT_STRING_EQUAL(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS)->link->address, "ipc://a");
	answer_call(ERROR_NOT_OWNER);
	CU_ASSERT_EQUAL(result.count, 0);
	with_view(2, publish_view, NULL);
	turn(0);
	CU_ASSERT_STRING_EQUAL(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS)->link->address, "ipc://b");
	answer_call(ERROR_OK);
	CU_ASSERT_EQUAL(result.count, 1);
	CU_ASSERT_EQUAL(result.error, ERROR_OK);
	cluster_client_free(&client);
}

static void test_nobody_owns_it_until_time_is_up(void)
{
	registered(0);
	call_shard(1, false, 300);
	CU_ASSERT_PTR_NULL(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS));
	for (unsigned i = 0; i < 29; i++)
		turn(10);
	CU_ASSERT_EQUAL(result.count, 0);
	turn(10);
	CU_ASSERT_EQUAL(result.count, 1);
	CU_ASSERT_EQUAL(result.error, ERROR_UNREACHABLE);
	cluster_client_free(&client);
}

static void publish_without_the_last(Weir__ClusterView *view, void *ctx)
{
	view->n_coordinators--;
	publish_view(view, ctx);
}

static void on_reply_call_again(void *ctx, enum error error, const struct bus_message *reply)
{
	on_reply(ctx, error, reply);
	call_shard(0, true, 1000);
}

// A coordinator leaves with a call in flight, whose caller asks again at once.
static void test_a_call_made_while_its_coordinator_goes(void)
{
	Weir__SyncWatermarksRequest request = WEIR__SYNC_WATERMARKS_REQUEST__INIT;
	struct bus_send send = {.type = WEIR__MESSAGE_TYPE__SYNC_WATERMARKS, .body = &request.base, .timeout_ms = 1000};
	registered(2);
	result.count = 0;
	cluster_client_call(client, 0, &send, false, on_reply_call_again, NULL);
	with_view(1, publish_without_the_last, NULL);
	CU_ASSERT_EQUAL(result.error, ERROR_CANCELED);
	turn(1);
	struct fake_call *call = open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS);
	CU_ASSERT_FATAL(call != NULL);
	CU_ASSERT_STRING_EQUAL(call->link->address, "ipc://a");
	CU_ASSERT_FALSE(call->link->gone);
	cluster_client_free(&client);
}

static void test_unknown_outcome_is_told_unless_it_may_be_repeated(void)
{
	registered(1);
	call_shard(1, false, 5000);
	answer(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS), ERROR_TIMED_OUT, NULL);
	CU_ASSERT_EQUAL(result.count, 1);
	CU_ASSERT_EQUAL(result.error, ERROR_TIMED_OUT);
	call_shard(1, true, 5000);
	CU_ASSERT_TRUE(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS)->timeout_ms <= 2000);
	answer(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS), ERROR_DISCONNECTED, NULL);
	CU_ASSERT_EQUAL(result.count, 0);
	turn(20);
	answer_call(ERROR_OK);
	CU_ASSERT_EQUAL(result.count, 1);
	CU_ASSERT_EQUAL(result.error, ERROR_OK);
	cluster_client_free(&client);
}

static void test_errors_of_the_callee_are_the_callers(void)
{
	registered(1);
	call_shard(1, true, 5000);
	answer_call(ERROR_UNKNOWN_TOPIC_ID);
	CU_ASSERT_EQUAL(result.count, 1);
	CU_ASSERT_EQUAL(result.error, ERROR_OK); // the reply carries it
	cluster_client_free(&client);
}

static void test_freeing_answers_what_is_open(void)
{
	registered(1);
	call_shard(1, true, 5000);
	cluster_client_free(&client);
	CU_ASSERT_EQUAL(result.count, 1);
	CU_ASSERT_EQUAL(result.error, ERROR_CANCELED);
	CU_ASSERT_PTR_NULL(open_call(WEIR__MESSAGE_TYPE__SYNC_WATERMARKS));
}

static void test_reply_error_is_field_one(void)
{
	const uint8_t not_owner[] = {0x08, ERROR_NOT_OWNER};
	const uint8_t other_field[] = {0x10, 5};
	const uint8_t cut[] = {0x08};
	CU_ASSERT_EQUAL(control_reply_error(bytes_view(not_owner, 2)), ERROR_NOT_OWNER);
	CU_ASSERT_EQUAL(control_reply_error(bytes_view(other_field, 2)), ERROR_OK);
	CU_ASSERT_EQUAL(control_reply_error(BYTES_NULL), ERROR_OK);
	CU_ASSERT_EQUAL(control_reply_error(bytes_view(cut, 1)), ERROR_INTERNAL);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("cluster_client", NULL, NULL);
	CU_ADD_TEST(suite, test_registers_and_learns_the_view);
	CU_ADD_TEST(suite, test_a_wrong_coordinator_names_the_right_one);
	CU_ADD_TEST(suite, test_a_dead_coordinator_is_not_asked_for_ever);
	CU_ADD_TEST(suite, test_a_call_follows_a_move);
	CU_ADD_TEST(suite, test_nobody_owns_it_until_time_is_up);
	CU_ADD_TEST(suite, test_a_call_made_while_its_coordinator_goes);
	CU_ADD_TEST(suite, test_unknown_outcome_is_told_unless_it_may_be_repeated);
	CU_ADD_TEST(suite, test_errors_of_the_callee_are_the_callers);
	CU_ADD_TEST(suite, test_freeing_answers_what_is_open);
	CU_ADD_TEST(suite, test_reply_error_is_field_one);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures ? 1 : 0;
}
