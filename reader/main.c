// weir-reader: settings, and the core wired to the daemon's skeleton.

#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/daemon.h"
#include "reader/reader.h"

struct reader_daemon_settings {
	struct daemon_settings daemon;
	const char *object_store;
	struct reader_settings core;
};

struct reader_daemon {
	struct object_store *store;
	struct reader_core *reader;
	struct loop *loop;
	struct loop_step step;
};

#define AT(member) OPTION_AT(struct reader_daemon_settings, member)
static const struct option_row rows[] = {
	{"store", OPTION_TEXT, NULL, 0, 0, "", "where objects live: file:///directory", AT(object_store), false},
	{"cache-bytes", OPTION_BYTES, "256MiB", 16 << 20, INT64_C(1) << 40, "bytes", "blocks of objects kept in memory",
		AT(core.cache_bytes), false},
	{"replies-bytes", OPTION_BYTES, "256MiB", 16 << 20, INT64_C(1) << 40, "bytes",
		"memory beyond the cache for replies on their way", AT(core.replies_bytes), false},
	{"gets-max", OPTION_NUMBER, "16", 1, 1024, "", "GETs at the object store at once", AT(core.gets_max), false},
	{"get-timeout", OPTION_MS, "10s", 100, 600000, "ms", "one GET", AT(core.get_timeout_ms), false},
	{"index-entries", OPTION_NUMBER, "2000000", 1000, INT64_C(1) << 32, "", "index entries in memory, about 100 bytes each",
		AT(core.index_entries), false},
	{"locate-entries", OPTION_NUMBER, "256", 1, 4096, "", "index entries asked for at once", AT(core.locate_entries),
		false},
};

static uint64_t run(void *ctx)
{
	return reader_step(ctx);
}

static bool start(struct daemon *daemon, const void *settings_pointer)
{
	const struct reader_daemon_settings *settings = settings_pointer;
	struct reader_daemon *role = memory_zalloc(sizeof *role);
	char reason[256];
	enum error error = object_store_open(settings->object_store, daemon->loop, &role->store, reason);
	if (error != ERROR_OK) {
		log_event(LOG_ERROR, "object_store_unusable", LOG_TEXT("url", settings->object_store),
			LOG_TEXT("reason", reason), LOG_CAUSE(error));
		free(role);
		return false;
	}
	struct cluster_client_settings cluster = {.coordinators = settings->daemon.coordinators,
		.instance = daemon->instance,
		.role = WEIR__ROLE__READER,
		.address = daemon->address,
		.kafka_host = "",
		.zone = settings->daemon.zone};
	role->reader = reader_new(
		&(struct reader_deps){.env = daemon->env, .bus = daemon->bus, .store = role->store, .cluster = &cluster},
		&settings->core);
	object_store_metrics(role->store, daemon->metrics);
	reader_metrics(role->reader, daemon->metrics);
	role->loop = daemon->loop;
	role->step = (struct loop_step){.run = run, .ctx = role->reader};
	loop_step_add(role->loop, &role->step);
	daemon->role = role;
	return true;
}

static const char *ready(struct daemon *daemon)
{
	return reader_ready(((struct reader_daemon *)daemon->role)->reader);
}

static void drain(struct daemon *daemon)
{
	reader_drain(((struct reader_daemon *)daemon->role)->reader);
}

static bool drained(struct daemon *daemon)
{
	return reader_drained(((struct reader_daemon *)daemon->role)->reader);
}

static void stop(struct daemon *daemon)
{
	struct reader_daemon *role = daemon->role;
	loop_step_remove(role->loop, &role->step);
	reader_free(&role->reader);
	object_store_free(&role->store);
	free(role);
}

int main(int argc, char **argv)
{
	static const struct daemon_spec spec = {
		.role = "reader",
		.summary = "Serves fetches from memory, the writers' memory or the object store.",
		.rows = rows,
		.row_count = sizeof rows / sizeof *rows,
		.settings_size = sizeof(struct reader_daemon_settings),
		.serves = true,
		.start = start,
		.ready = ready,
		.drain = drain,
		.drained = drained,
		.stop = stop,
	};
	return daemon_main(argc, argv, &spec);
}
