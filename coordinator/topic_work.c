#include "coordinator/topic_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/placement.h"
#include "common/runtime/protobuf.h"
#include "coordinator/core.h"
#include "coordinator/ticket.h"
#include "proto/bus.pb-c.h"

enum { PUT_TIMEOUT_MS = 10000, COMMAND_TIMEOUT_MS = 3000, RETRY_MS = 200, OBJECT_KEY_SIZE = 64, WORKS_ACTIVE_MAX = 64 };

enum work_step { WORK_OBJECT, WORK_SHARDS, WORK_DONE };
enum part_state { PART_OPEN, PART_ASKED, PART_LOGGED };

// What one shard has to log.
struct part {
	struct topic_work *work;
	uint32_t shard;
	enum part_state state;
	uint64_t retry_us;
	uint64_t call; // bus, 0: none
	struct bus_link *link;
};

struct topic_work {
	struct list link;
	struct topic_works *works;
	struct uuid id;
	enum work_step step;
	bool asked; // object or TopicDone
	uint64_t retry_us;
	struct part *parts;
	size_t part_count;
	size_t parts_missing;
	struct list waiters;
};

struct topic_works {
	struct coordinator *coordinator;
	bool closed;
	struct list works; // in order of their intents; the first WORKS_ACTIVE_MAX are worked on
	size_t count;
	struct list tickets;
};

struct waiter {
	struct list link;
	void (*fn)(void *ctx, enum error error);
	void *ctx;
};

static const struct env *works_env(const struct topic_works *works)
{
	return works->coordinator->deps.env;
}

// Shard 0, which is ours as long as the works are open.
static struct shard *works_shard(const struct topic_works *works)
{
	return works->coordinator->slots[0].shard;
}

static const struct catalogue_topic *work_topic(const struct topic_work *work)
{
	return catalogue_topic_by_id(&shard_state(works_shard(work->works))->catalogue, &work->id);
}

static struct topic_work *work_find(const struct topic_works *works, const struct uuid *id)
{
	LIST_EACH (&works->works, link) {
		struct topic_work *work = container_of(link, struct topic_work, link);
		if (uuid_equal(&work->id, id))
			return work;
	}
	return NULL;
}

static void work_tell(struct topic_work *work, enum error error)
{
	while (!list_empty(&work->waiters)) {
		struct waiter *waiter = container_of(list_pop(&work->waiters), struct waiter, link);
		waiter->fn(waiter->ctx, error);
		free(waiter);
	}
}

static void part_end_call(struct part *part)
{
	struct bus *bus = part->work->works->coordinator->deps.bus;
	if (!part->link)
		return;
	if (part->call)
		bus_cancel(bus, part->call);
	bus_unlink(bus, part->link);
	part->call = 0;
	part->link = NULL;
}

static void work_free(struct topic_work *work)
{
	work_tell(work, ERROR_NOT_OWNER);
	for (size_t i = 0; i < work->part_count; i++)
		part_end_call(&work->parts[i]);
	list_remove(&work->link);
	work->works->count--;
	free(work->parts);
	free(work);
}

static void work_retry(struct topic_work *work)
{
	work->asked = false;
	work->retry_us = deadline_in_ms(works_env(work->works), RETRY_MS);
}

// Step one: the bucket knows of it before anybody is told.

struct object_call {
	struct ticket ticket;
	struct uuid id;
};

static void object_written(void *ctx, enum error error)
{
	struct object_call *call = ctx;
	struct topic_works *works = ticket_take(&call->ticket);
	struct uuid id = call->id;
	free(call);
	if (!works || error == ERROR_CANCELED)
		return;
	struct topic_work *work = work_find(works, &id);
	if (!work || works->closed)
		return;
	if (error != ERROR_OK) {
		log_event(LOG_WARN, "topic_object_put_failed", LOG_CAUSE(error));
		work_retry(work);
		return;
	}
	work->asked = false;
	work->step = WORK_SHARDS;
}

static void work_put_object(struct topic_work *work)
{
	struct topic_works *works = work->works;
	char key[OBJECT_KEY_SIZE];
	char hex[UUID_HEX_SIZE];
	struct buffer packed;
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&work_topic(work)->target.info->base, &packed);
	struct slice slice = slice_copy(buffer_view(&packed));
	uuid_hex(&work->id, hex);
	snprintf(key, sizeof key, "meta/topics/%s", hex);
	struct object_call *call = memory_zalloc(sizeof *call);
	call->id = work->id;
	ticket_open(&call->ticket, &works->tickets, works);
	work->asked = true;
	object_put(works->coordinator->deps.objects, key, &slice, 1, false, PUT_TIMEOUT_MS, object_written, call);
	slice_done(&slice);
	buffer_done(&packed);
}

// Step two: every concerned shard logs its part.

static void part_answered(struct part *part, enum error error)
{
	struct topic_works *works = part->work->works;
	if (works->closed)
		return;
	if (error == ERROR_OK) {
		part->state = PART_LOGGED;
		part->work->parts_missing--;
		return;
	}
	part->state = PART_OPEN;
	part->retry_us = deadline_in_ms(works_env(works), RETRY_MS);
}

// A proposal to a shard of this coordinator: it outlives the works when shard 0 goes first.
struct part_proposal {
	struct ticket ticket;
	struct part *part;
};

static void part_proposed(void *ctx, enum error error, const struct apply_result *result)
{
	struct part_proposal *proposal = ctx;
	struct part *part = proposal->part;
	bool open = ticket_take(&proposal->ticket) != NULL;
	(void)result;
	free(proposal);
	if (open)
		part_answered(part, error);
}

static void part_propose(struct part *part, struct shard *shard, const Weir__Command *command)
{
	struct topic_works *works = part->work->works;
	struct part_proposal *proposal = memory_zalloc(sizeof *proposal);
	proposal->part = part;
	ticket_open(&proposal->ticket, &works->tickets, works);
	part->state = PART_ASKED;
	shard_propose(shard, command, (struct slice){0}, part_proposed, proposal);
}

static void part_replied(void *ctx, enum error error, const struct bus_message *reply)
{
	struct part *part = ctx;
	struct arena arena;
	part->call = 0;
	part_end_call(part);
	arena_init(&arena, 0);
	if (error == ERROR_OK) {
		const Weir__ShardCommandReply *body =
			protobuf_unpack(&weir__shard_command_reply__descriptor, reply->body, &arena);
		error = body ? error_from_wire(body->error) : ERROR_MALFORMED;
	}
	arena_done(&arena);
	part_answered(part, error);
}

static void part_send(struct part *part, Weir__Command *command)
{
	struct coordinator *coordinator = part->work->works->coordinator;
	struct arena arena;
	arena_init(&arena, 0);
	const char *address = ownership_address(coordinator, part->shard, &arena);
	if (address) {
		Weir__ShardCommandRequest request = WEIR__SHARD_COMMAND_REQUEST__INIT;
		request.shard = part->shard;
		request.command = command;
		const struct bus_send send = {
			.type = WEIR__MESSAGE_TYPE__SHARD_COMMAND, .body = &request.base, .timeout_ms = COMMAND_TIMEOUT_MS};
		part->state = PART_ASKED;
		part->link = bus_link(coordinator->deps.bus, address);
		part->call = bus_call(coordinator->deps.bus, part->link, &send, part_replied, part);
	} else {
		part->retry_us = deadline_in_ms(coordinator->deps.env, RETRY_MS);
	}
	arena_done(&arena);
}

static void part_start(struct part *part, Weir__Command *command)
{
	struct coordinator *coordinator = part->work->works->coordinator;
	struct shard *shard = coordinator->slots[part->shard].shard;
	if (!shard) {
		part_send(part, command);
	} else if (shard_ready(shard) == ERROR_OK) {
		part_propose(part, shard, command);
	} else {
		part->retry_us = deadline_in_ms(coordinator->deps.env, RETRY_MS);
	}
}

// Opening concerns the shards that hold partitions; a drop concerns all, since groups anywhere may have offsets of the topic.
static bool shard_concerned(const struct topic_work *work, const struct catalogue_topic *topic, uint32_t shard, uint32_t shards)
{
	if (topic->intent == WEIR__TOPIC_INTENT__KIND__CONFIGURE)
		return false;
	if (topic->intent == WEIR__TOPIC_INTENT__KIND__DELETE)
		return true;
	for (int32_t i = 0; i < topic->target.info->partitions; i++) {
		if (placement_partition_shard(&work->id, i, shards) == shard)
			return true;
	}
	return false;
}

static void work_make_parts(struct topic_work *work)
{
	uint32_t shards = work->works->coordinator->slot_count;
	const struct catalogue_topic *topic = work_topic(work);
	work->parts = memory_zalloc(shards * sizeof *work->parts);
	for (uint32_t i = 0; i < shards; i++) {
		if (shard_concerned(work, topic, i, shards))
			work->parts[work->part_count++] = (struct part){.work = work, .shard = i};
	}
	work->parts_missing = work->part_count;
}

static void work_command(
	const struct topic_work *work, Weir__Command *command, Weir__PartitionsOpen *open, Weir__TopicDrop *drop)
{
	const struct catalogue_topic *topic = work_topic(work);
	if (topic->intent == WEIR__TOPIC_INTENT__KIND__DELETE) {
		weir__topic_drop__init(drop);
		drop->topic_id = protobuf_uuid(&work->id);
		command->kind_case = WEIR__COMMAND__KIND_TOPIC_DROP;
		command->topic_drop = drop;
		return;
	}
	weir__partitions_open__init(open);
	open->topic_id = protobuf_uuid(&work->id);
	open->name = topic->target.info->name;
	open->partitions = topic->target.info->partitions;
	command->kind_case = WEIR__COMMAND__KIND_PARTITIONS_OPEN;
	command->partitions_open = open;
}

static uint64_t work_step_shards(struct topic_work *work)
{
	uint64_t next_us = DEADLINE_NEVER;
	uint64_t now_us = works_env(work->works)->now_us;
	Weir__Command command = WEIR__COMMAND__INIT;
	Weir__PartitionsOpen open;
	Weir__TopicDrop drop;
	if (!work->parts)
		work_make_parts(work);
	work_command(work, &command, &open, &drop);
	for (size_t i = 0; i < work->part_count; i++) {
		struct part *part = &work->parts[i];
		if (part->state == PART_OPEN && part->retry_us <= now_us)
			part_start(part, &command);
		if (part->state == PART_OPEN)
			next_us = deadline_min(next_us, part->retry_us);
	}
	if (work->parts_missing)
		return next_us;
	work->step = WORK_DONE;
	return 0;
}

// Step three.

static void done_proposed(void *ctx, enum error error, const struct apply_result *result)
{
	struct object_call *call = ctx;
	struct topic_works *works = ticket_take(&call->ticket);
	struct topic_work *work = works && !works->closed ? work_find(works, &call->id) : NULL;
	(void)result;
	free(call);
	if (error != ERROR_OK && work)
		work_retry(work);
}

static void work_propose_done(struct topic_work *work)
{
	Weir__TopicDone done = WEIR__TOPIC_DONE__INIT;
	done.topic_id = protobuf_uuid(&work->id);
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_TOPIC_DONE;
	command.topic_done = &done;
	struct object_call *call = memory_zalloc(sizeof *call);
	call->id = work->id;
	ticket_open(&call->ticket, &work->works->tickets, work->works);
	work->asked = true;
	shard_propose(works_shard(work->works), &command, (struct slice){0}, done_proposed, call);
}

static uint64_t work_step(struct topic_work *work)
{
	if (work->asked)
		return DEADLINE_NEVER;
	if (work->retry_us > works_env(work->works)->now_us)
		return work->retry_us;
	switch (work->step) {
	case WORK_OBJECT:
		work_put_object(work);
		return DEADLINE_NEVER;
	case WORK_SHARDS:
		return work_step_shards(work);
	case WORK_DONE:
		work_propose_done(work);
		return 0;
	}
	return DEADLINE_NEVER;
}

uint64_t topic_works_step(struct topic_works *works)
{
	uint64_t next_us = DEADLINE_NEVER;
	size_t active = 0;
	if (works->closed || shard_ready(works_shard(works)) != ERROR_OK)
		return next_us;
	LIST_EACH (&works->works, link) {
		if (active++ == WORKS_ACTIVE_MAX)
			break;
		next_us = deadline_min(next_us, work_step(container_of(link, struct topic_work, link)));
	}
	return next_us;
}

void topic_works_start(struct topic_works *works, const struct catalogue_topic *topic)
{
	if (works->closed || work_find(works, &topic->id))
		return;
	struct topic_work *work = memory_zalloc(sizeof *work);
	work->works = works;
	work->id = topic->id;
	list_init(&work->waiters);
	list_init(&work->link);
	list_append(&works->works, &work->link);
	works->count++;
}

void topic_works_done(struct topic_works *works, const struct uuid *id)
{
	struct topic_work *work = work_find(works, id);
	if (!work)
		return;
	work_tell(work, ERROR_OK);
	work_free(work);
}

void topic_works_wait(struct topic_works *works, const struct uuid *id, void (*fn)(void *ctx, enum error error), void *ctx)
{
	struct topic_work *work = work_find(works, id);
	if (!work) {
		fn(ctx, works->closed ? ERROR_NOT_OWNER : ERROR_OK);
		return;
	}
	struct waiter *waiter = memory_zalloc(sizeof *waiter);
	waiter->fn = fn;
	waiter->ctx = ctx;
	list_append(&work->waiters, &waiter->link);
}

size_t topic_works_count(const struct topic_works *works)
{
	return works->count;
}

struct topic_works *topic_works_new(struct coordinator *coordinator)
{
	struct topic_works *works = memory_zalloc(sizeof *works);
	works->coordinator = coordinator;
	list_init(&works->works);
	list_init(&works->tickets);
	const struct catalogue *catalogue = &shard_state(works_shard(works))->catalogue;
	for (const struct catalogue_topic *topic = catalogue->topics; topic; topic = topic->hh.next) {
		if (topic->target.info)
			topic_works_start(works, topic);
	}
	return works;
}

void topic_works_close(struct topic_works *works)
{
	works->closed = true;
	LIST_EACH (&works->works, link) {
		work_tell(container_of(link, struct topic_work, link), ERROR_NOT_OWNER);
	}
}

void topic_works_free(struct topic_works **pointer)
{
	struct topic_works *works = *pointer;
	*pointer = NULL;
	if (!works)
		return;
	works->closed = true;
	tickets_abandon(&works->tickets);
	while (!list_empty(&works->works))
		work_free(container_of(works->works.next, struct topic_work, link));
	free(works);
}
