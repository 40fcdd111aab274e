#include "writer/append.h"

#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/memory.h"
#include "proto/append.pb-c.h"
#include "proto/bus.pb-c.h"

struct append {
	struct appends *appends;
	struct bus_request *request;
	uint64_t correlation;
	uint64_t arrived_us;
	uint32_t count;
	uint32_t open; // partitions without a result, and one for the admission
	struct append_result results[];
};

void appends_init(struct appends *appends, const struct env *env, struct bus *bus)
{
	*appends = (struct appends){.env = env, .bus = bus};
}

struct append *append_new(struct appends *appends, struct bus_request *request, uint64_t correlation, uint32_t count)
{
	struct append *append = memory_zalloc(sizeof *append + count * sizeof append->results[0]);
	append->appends = appends;
	append->request = request;
	append->correlation = correlation;
	append->arrived_us = appends->env->now_us;
	append->count = count;
	append->open = count + 1;
	appends->open++;
	appends->requests++;
	return append;
}

static void append_fill(const struct append_result *result, Weir__AppendResult *message)
{
	static char no_text[1];
	union {
		const char *constant;
		char *mutable;
	} text = {result->message};
	weir__append_result__init(message);
	message->error = result->error;
	message->base_offset = result->base_offset;
	message->log_append_time_ms = result->log_append_time_ms;
	message->log_start = result->log_start;
	message->message = result->message ? text.mutable : no_text;
}

static void append_reply(struct append *append)
{
	struct appends *appends = append->appends;
	Weir__AppendReply reply = WEIR__APPEND_REPLY__INIT;
	Weir__AppendResult *messages = memory_alloc((append->count + 1) * sizeof *messages);
	Weir__AppendResult **pointers = memory_alloc((append->count + 1) * sizeof *pointers);
	for (uint32_t i = 0; i < append->count; i++) {
		append_fill(&append->results[i], &messages[i]);
		pointers[i] = &messages[i];
	}
	reply.n_results = append->count;
	reply.results = pointers;
	reply.window_bytes = appends->window_bytes;
	bus_reply(appends->bus, append->request,
		&(struct bus_send){
			.type = WEIR__MESSAGE_TYPE__APPEND, .body = &reply.base, .correlation = append->correlation});
	free(pointers);
	free(messages);
	metrics_observe_us(&appends->latency, appends->env->now_us - append->arrived_us);
	appends->open--;
	free(append);
}

static void append_close_one(struct append *append)
{
	CHECK(append->open > 0);
	if (--append->open == 0)
		append_reply(append);
}

void append_settle(struct append *append, uint32_t index, const struct append_result *result)
{
	CHECK(index < append->count);
	append->results[index] = *result;
	append->appends->results[result->error]++;
	append_close_one(append);
}

void append_settle_error(struct append *append, uint32_t index, enum error error, const char *message)
{
	append_settle(append, index,
		&(struct append_result){
			.error = error, .base_offset = -1, .log_append_time_ms = -1, .log_start = -1, .message = message});
}

void append_admitted(struct append *append)
{
	append_close_one(append);
}
