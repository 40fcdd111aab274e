#include "frontend/frontend_daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/cluster/topic_config.h"
#include "frontend/connection.h"
#include "frontend/frontend.h"
#include "frontend/listener.h"

enum { HOST_SIZE = 256, REQUESTS_MAX = 128, AUTO_CREATE_WAIT_MS = 5000 };

struct frontend_daemon_settings {
	struct daemon_settings daemon;
	const char *kafka;
	const char *advertised;
	bool auto_create_topics;
	int64_t partitions;
	int64_t memory_bytes;
	int64_t request_bytes_max;
	int64_t connection_bytes;
	int64_t output_bytes;
	int64_t fetch_bytes_max;
	int64_t window_bytes;
	int64_t connections_max;
	int64_t idle_ms;
	int64_t body_ms;
	int64_t send_ms;
	int64_t call_ms;
};

#define ROW(member) OPTION_AT(struct frontend_daemon_settings, member)
static const struct option_row frontend_rows[] = {
	{"kafka", OPTION_TEXT, "127.0.0.1:9092", 0, 0, "", "where Kafka clients connect, host:port", ROW(kafka), false},
	{"advertised", OPTION_TEXT, "", 0, 0, "", "host:port told to Kafka clients; empty: as bound", ROW(advertised), false},
	{"auto-create-topics", OPTION_BOOL, "true", 0, 0, "", "create topics that Metadata asks for", ROW(auto_create_topics),
		false},
	{"num-partitions", OPTION_NUMBER, "1", 1, 100000, "", "told as num.partitions; the coordinator decides",
		ROW(partitions), false},
	{"memory-bytes", OPTION_BYTES, "256MiB", 16 << 20, INT64_MAX, "bytes", "for requests and answers", ROW(memory_bytes),
		false},
	{"request-bytes-max", OPTION_BYTES, "104857600", 1024, INT32_MAX, "bytes", "largest request", ROW(request_bytes_max),
		false},
	{"connection-bytes", OPTION_BYTES, "128MiB", 1024, INT64_MAX, "bytes", "unanswered requests a connection",
		ROW(connection_bytes), false},
	{"output-bytes", OPTION_BYTES, "32MiB", 1024, INT64_MAX, "bytes",
		"answers a client has not taken, above which it is not read", ROW(output_bytes), false},
	{"fetch-bytes-max", OPTION_BYTES, "16MiB", 1024, INT32_MAX, "bytes", "largest fetch answer", ROW(fetch_bytes_max),
		false},
	{"window-bytes", OPTION_BYTES, "16MiB", 1024, INT64_MAX, "bytes", "unanswered appends a writer, before it says itself",
		ROW(window_bytes), false},
	{"connections-max", OPTION_NUMBER, "10000", 1, 1000000, "", "connections of clients", ROW(connections_max), false},
	{"idle-timeout", OPTION_MS, "10m", 1000, INT64_MAX / 1000, "ms", "an idle connection is closed", ROW(idle_ms), false},
	{"body-timeout", OPTION_MS, "30s", 1000, INT64_MAX / 1000, "ms", "between two parts of a request", ROW(body_ms), false},
	{"send-timeout", OPTION_MS, "60s", 1000, INT64_MAX / 1000, "ms", "a client that takes no answer is closed",
		ROW(send_ms), false},
	{"call-timeout", OPTION_MS, "15s", 100, 600000, "ms", "calls to coordinators and readers", ROW(call_ms), false},
};
#undef ROW

struct frontend_daemon {
	struct daemon *daemon;
	struct frontend *frontend;
	struct connection_set *connections;
	struct listener *listener;
	struct loop_step step;
	bool draining;
	char host[HOST_SIZE];
	uint16_t port;
};

static uint64_t frontend_daemon_step(void *ctx)
{
	struct frontend_daemon *self = ctx;
	uint64_t next_us = frontend_step(self->frontend);
	next_us = deadline_min(next_us, connection_set_step(self->connections));
	return deadline_min(next_us, listener_step(self->listener, frontend_synced(self->frontend) && !self->draining));
}

// What clients are told: as set, else as bound; a wildcard is no address, so then the host's name.
static bool frontend_daemon_advertise(struct frontend_daemon *self, const struct frontend_daemon_settings *settings)
{
	bool set = *settings->advertised != '\0';
	if (!listener_split_address(set ? settings->advertised : settings->kafka, self->host, HOST_SIZE, &self->port))
		return false;
	if (!set && (strcmp(self->host, "0.0.0.0") == 0 || strcmp(self->host, "::") == 0 || !*self->host) &&
		gethostname(self->host, HOST_SIZE) != 0)
		return false;
	if (self->port == 0)
		self->port = listener_port(self->listener);
	return true;
}

static struct frontend *frontend_daemon_core(struct frontend_daemon *self, const struct frontend_daemon_settings *settings)
{
	struct frontend_settings core = {.coordinators = settings->daemon.coordinators,
		.instance = self->daemon->instance,
		.zone = settings->daemon.zone,
		.kafka_host = self->host,
		.kafka_port = self->port,
		.auto_create_topics = settings->auto_create_topics,
		.partitions_default = (int32_t)settings->partitions,
		.memory_bytes = (uint64_t)settings->memory_bytes,
		.request_bytes_max = (uint64_t)settings->request_bytes_max,
		.fetch_bytes_max = (uint64_t)settings->fetch_bytes_max,
		.message_bytes_max =
			(uint32_t)topic_config_number(bytes_of(topic_config_find(bytes_of("max.message.bytes"))->fallback)),
		.window_bytes = (uint64_t)settings->window_bytes,
		.call_timeout_ms = (uint32_t)settings->call_ms,
		.auto_create_wait_ms = AUTO_CREATE_WAIT_MS};
	return frontend_new(self->daemon->env, self->daemon->bus, &core);
}

static bool frontend_daemon_start(struct daemon *daemon, const void *settings_pointer)
{
	const struct frontend_daemon_settings *settings = settings_pointer;
	struct frontend_daemon *self = memory_zalloc(sizeof *self);
	struct connection_settings connections = {.request_bytes_max = (uint64_t)settings->request_bytes_max,
		.connection_bytes_max = (uint64_t)settings->connection_bytes,
		.output_bytes_max = (uint64_t)settings->output_bytes,
		.requests_max = REQUESTS_MAX,
		.idle_ms = (uint64_t)settings->idle_ms,
		.body_ms = (uint64_t)settings->body_ms,
		.send_ms = (uint64_t)settings->send_ms};
	self->daemon = daemon;
	daemon->role = self;
	self->connections = connection_set_new(daemon->loop, &connections);
	if (listener_new(daemon->loop, self->connections, settings->kafka, (size_t)settings->connections_max,
		    &self->listener) != ERROR_OK ||
		!frontend_daemon_advertise(self, settings)) {
		log_event(LOG_ERROR, "fatal", LOG_TEXT("setting", "kafka"), LOG_TEXT("value", settings->kafka),
			LOG_TEXT("error", strerror(errno)));
		listener_free(&self->listener);
		connection_set_free(&self->connections);
		free(self);
		return false;
	}
	self->frontend = frontend_daemon_core(self, settings);
	connection_set_serve(self->connections, self->frontend);
	frontend_register_metrics(self->frontend, daemon->metrics);
	connection_set_register_metrics(self->connections, daemon->metrics);
	self->step = (struct loop_step){.run = frontend_daemon_step, .ctx = self};
	loop_step_add(daemon->loop, &self->step);
	log_event(LOG_INFO, "kafka_listening", LOG_TEXT("address", settings->kafka),
		LOG_NUMBER("port", listener_port(self->listener)), LOG_TEXT("advertised_host", self->host),
		LOG_NUMBER("advertised_port", self->port));
	return true;
}

static const char *frontend_daemon_ready(struct daemon *daemon)
{
	struct frontend_daemon *self = daemon->role;
	return self->draining ? "draining" : frontend_ready(self->frontend);
}

static void frontend_daemon_drain(struct daemon *daemon)
{
	struct frontend_daemon *self = daemon->role;
	self->draining = true;
	frontend_drain(self->frontend);
	connection_set_drain(self->connections);
}

static bool frontend_daemon_drained(struct daemon *daemon)
{
	struct frontend_daemon *self = daemon->role;
	return connection_set_count(self->connections) == 0 && router_in_flight_bytes(self->frontend->router) == 0 &&
	       router_waiting(self->frontend->router) == 0;
}

static void frontend_daemon_stop(struct daemon *daemon)
{
	struct frontend_daemon *self = daemon->role;
	loop_step_remove(daemon->loop, &self->step);
	listener_free(&self->listener);
	connection_set_free(&self->connections);
	frontend_free(&self->frontend);
	free(self);
	daemon->role = NULL;
}

const struct daemon_spec frontend_daemon_spec = {
	.role = "frontend",
	.summary = "Speaks Kafka's protocol to clients and passes their requests to writers, readers and coordinators.",
	.rows = frontend_rows,
	.row_count = sizeof frontend_rows / sizeof frontend_rows[0],
	.settings_size = sizeof(struct frontend_daemon_settings),
	.serves = false,
	.publishes = false,
	.start = frontend_daemon_start,
	.ready = frontend_daemon_ready,
	.drain = frontend_daemon_drain,
	.drained = frontend_daemon_drained,
	.stop = frontend_daemon_stop,
};
