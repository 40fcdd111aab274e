// weir-writer: settings, and the core wired to the daemon's skeleton.

#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/daemon.h"
#include "writer/writer.h"

struct writer_daemon_settings {
	struct daemon_settings daemon;
	const char *object_store;
	struct writer_settings core;
};

struct writer_daemon {
	struct object_store *store;
	struct writer *writer;
	struct loop *loop;
	struct loop_step step;
};

#define AT(member) OPTION_AT(struct writer_daemon_settings, member)
static const struct option_row rows[] = {
	{"store", OPTION_TEXT, NULL, 0, 0, "", "where objects live: file:///directory", AT(object_store), false},
	{"object-bytes", OPTION_BYTES, "8MiB", 64 << 10, 256 << 20, "bytes", "an object this big is flushed at once",
		AT(core.object_bytes), false},
	{"put-rate", OPTION_NUMBER, "5", 1, 1000, "per second", "flushes that need not be full: the ceiling of the PUT bill",
		AT(core.put_rate), false},
	{"put-burst", OPTION_NUMBER, "2", 1, 100, "", "of these at once after idle time", AT(core.put_burst), false},
	{"linger-max", OPTION_MS, "250", 1, 60000, "ms", "a batch waits no longer for the PUT budget", AT(core.linger_max_ms),
		false},
	{"uploads-max", OPTION_NUMBER, "8", 1, 256, "", "uploads at once", AT(core.uploads_max), false},
	{"upload-timeout", OPTION_MS, "15s", 100, 600000, "ms", "one attempt to upload", AT(core.upload_timeout_ms), false},
	{"memory-bytes", OPTION_BYTES, "256MiB", 1 << 20, INT64_C(1) << 40, "bytes", "batches that wait for an answer",
		AT(core.memory_bytes), false},
	{"ring-bytes", OPTION_BYTES, "64MiB", 0, INT64_C(1) << 40, "bytes", "flushed objects kept for consumers that keep up",
		AT(core.ring_bytes), false},
};

static void on_fatal(void *ctx, const char *reason)
{
	(void)ctx;
	log_event(LOG_ERROR, "writer_ended", LOG_TEXT("reason", reason));
	_Exit(EXIT_FAILURE); // the supervisor starts a new instance with a chain of its own
}

static uint64_t run(void *ctx)
{
	return writer_step(ctx);
}

static bool start(struct daemon *daemon, const void *settings_pointer)
{
	const struct writer_daemon_settings *settings = settings_pointer;
	struct writer_daemon *role = memory_zalloc(sizeof *role);
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
		.role = WEIR__ROLE__WRITER,
		.address = daemon->address,
		.kafka_host = "",
		.zone = settings->daemon.zone};
	role->writer = writer_new(
		&(struct writer_deps){
			.env = daemon->env, .bus = daemon->bus, .store = role->store, .cluster = &cluster, .fatal = on_fatal},
		&settings->core);
	object_store_metrics(role->store, daemon->metrics);
	writer_metrics(role->writer, daemon->metrics);
	role->loop = daemon->loop;
	role->step = (struct loop_step){.run = run, .ctx = role->writer};
	loop_step_add(role->loop, &role->step);
	daemon->role = role;
	return true;
}

static const char *ready(struct daemon *daemon)
{
	return writer_ready(((struct writer_daemon *)daemon->role)->writer);
}

static void drain(struct daemon *daemon)
{
	writer_drain(((struct writer_daemon *)daemon->role)->writer);
}

static bool drained(struct daemon *daemon)
{
	return writer_drained(((struct writer_daemon *)daemon->role)->writer);
}

static void stop(struct daemon *daemon)
{
	struct writer_daemon *role = daemon->role;
	loop_step_remove(role->loop, &role->step);
	writer_free(&role->writer);
	object_store_free(&role->store);
	free(role);
}

int main(int argc, char **argv)
{
	static const struct daemon_spec spec = {
		.role = "writer",
		.summary = "Gathers record batches of all partitions into objects, uploads them and commits them with the "
			   "coordinators.",
		.rows = rows,
		.row_count = sizeof rows / sizeof *rows,
		.settings_size = sizeof(struct writer_daemon_settings),
		.serves = true,
		.start = start,
		.ready = ready,
		.drain = drain,
		.drained = drained,
		.stop = stop,
	};
	return daemon_main(argc, argv, &spec);
}
