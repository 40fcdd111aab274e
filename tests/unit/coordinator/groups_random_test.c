// Many clients that do anything, with a slow, failing or crashing owner. Whatever happens: each request is answered once, the
// members that the owner knows are those it serves, and replaying the log gives the state that it has.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "groups_script.h"
#include "tests/unit/base/unit.h"

enum { RANDOM_STEPS = 900, RANDOM_CLIENTS = 8 };

static struct script_world world;

// The expectation "*" takes any answer.
static void ask_anything(struct prng *prng)
{
	static const char *const asks[] = {
		"join v=3 p=range:1,sticky",
		"join v=3 id=new p=range",
		"join v=9",
		"join v=9 id=new",
		"join v=9 p=sticky",
		"join v=0 id=new p=sticky,range",
		"sync v=5 for=a:x,b:y,c:z",
		"sync v=3 for=a:1",
		"sync v=0",
		"sync gen=1",
		"heartbeat",
		"heartbeat v=0",
		"commit o=t-0@1,u-1@2/m",
		"commit gen=-1 id=new o=t-0@3",
		"fetch",
		"fetch v=10 o=t-0",
		"leave",
		"leave v=1",
		"leave members==i0,=i1",
		"describe v=6",
		"list v=5",
		"delete groups=g,h",
		"offsets-delete o=t-0,u-1",
	};
	char line[256];
	unsigned client = (unsigned)prng_below(prng, RANDOM_CLIENTS);
	const char *asked = asks[prng_below(prng, sizeof asks / sizeof *asks)];
	bool join = strncmp(asked, "join v=9", 8) == 0;
	char instance[32] = "";
	if (join && client < 3)
		snprintf(instance, sizeof instance, " inst=i%u", client);
	snprintf(line, sizeof line, "%c %s%s g=%s session=%u rebalance=%u : *", (int)('a' + client), asked, instance,
		prng_below(prng, 4) ? "g" : "h", 6000 + (unsigned)prng_below(prng, 3) * 1000,
		(unsigned)prng_below(prng, 3) * 5000);
	script_run(&world, line);
}

static void happen(struct prng *prng)
{
	static const char *const events[] = {"log next", "log next", "log hold", "log release", "log fail", "crash"};
	char line[64];
	uint64_t choice = prng_below(prng, 20);
	if (choice == 0)
		script_run(&world, events[prng_below(prng, sizeof events / sizeof *events)]);
	else if (choice == 1)
		script_release(&world, 1, ERROR_OK);
	else if (choice < 5) {
		snprintf(line, sizeof line, "time %u", 1 + (unsigned)prng_below(prng, 4000));
		script_run(&world, line);
	} else {
		ask_anything(prng);
	}
}

static void check_replay(void)
{
	struct groups *replayed = script_replay(&world);
	char *left = script_state(world.groups);
	char *right = script_state(replayed);
	CU_ASSERT_STRING_EQUAL(left, right);
	free(left);
	free(right);
	groups_free(&replayed);
}

static void run_seed(uint64_t seed)
{
	struct prng prng;
	prng_init(&prng, seed);
	script_open(&world);
	world.settings.members_max = 5;
	world.settings.initial_rebalance_delay_ms = seed % 2 ? 0 : 1000;
	for (int i = 0; i < RANDOM_STEPS; i++)
		happen(&prng);
	script_run(&world, "log next\n");
	check_replay();
	script_close(&world);
	CU_ASSERT_EQUAL(world.answers, world.request_count);
}

static void test_random(void)
{
	for (uint64_t seed = 1; seed <= 150; seed++)
		run_seed(seed);
}

// Clients that behave reach a stable group however often the owner crashes.
static void test_recovers(void)
{
	script_open(&world);
	script_run(&world, "a join v=3 : gen 1 range leader a of a=\n"
			   "a sync for=a:x : assigned x\n");
	for (int i = 2; i < 30; i += 2) {
		char lines[512];
		snprintf(lines, sizeof lines,
			"b join v=3 id=new : -\n"
			"a join : gen %d range leader a of a=,b=\n"
			"b sync : -\n"
			"a sync for=a:x,b:y : assigned x\n"
			"crash\n"
			"a heartbeat : ok\n"
			"b leave : ok ok\n"
			"a join : gen %d range leader a of a=\n"
			"crash\n"
			"a heartbeat : ILLEGAL_GENERATION\n"
			"b heartbeat gen=%d : ok\n" // that it left was not logged
			"b leave : ok ok\n"
			"a join : gen %d range leader a of a=\n"
			"a sync for=a:x : assigned x\n",
			i, i + 1, i, i + 1);
		script_run(&world, lines);
	}
	script_close(&world);
}

UNIT_MAIN("groups: anything", {"random requests, time and failures", test_random}, {"crash after crash", test_recovers})
