#include "coordinator/members.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash_map.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"

struct member_row {
	struct uuid instance;
	struct arena arena;
	Weir__Member *member;
	struct bytes packed; // in the arena: tells whether something changed
	uint64_t heard_us;
	UT_hash_handle hh;
};

struct members {
	const struct env *env;
	struct member_row *table;
	uint64_t version;
};

struct members *members_new(const struct env *env)
{
	struct members *members = memory_zalloc(sizeof *members);
	members->env = env;
	return members;
}

static void row_free(struct members *members, struct member_row *row)
{
	HASH_DEL(members->table, row);
	arena_done(&row->arena);
	free(row);
	members->version++;
}

void members_free(struct members **pointer)
{
	struct members *members = *pointer;
	*pointer = NULL;
	if (!members)
		return;
	while (members->table)
		row_free(members, members->table);
	free(members);
}

static void row_set(struct member_row *row, struct bytes packed)
{
	arena_reset(&row->arena);
	row->packed = arena_copy(&row->arena, packed);
	row->member = protobuf_unpack(&weir__member__descriptor, row->packed, &row->arena);
	CHECK(row->member);
}

enum error members_heard(struct members *members, const Weir__Member *member, int32_t node_id)
{
	struct uuid instance;
	struct member_row *row;
	if (!protobuf_get_uuid(member->instance, &instance))
		return ERROR_MALFORMED;
	HASH_FIND(hh, members->table, &instance, sizeof instance, row);
	if (!row && HASH_COUNT(members->table) >= MEMBERS_MAX)
		return ERROR_BUSY;
	if (!row) {
		row = memory_zalloc(sizeof *row);
		row->instance = instance;
		arena_init(&row->arena, 0);
		HASH_ADD(hh, members->table, instance, sizeof row->instance, row);
	}
	Weir__Member told = *member;
	told.node_id = node_id;
	struct buffer packed;
	buffer_init(&packed, SIZE_MAX);
	protobuf_pack(&told.base, &packed);
	if (!bytes_equal(row->packed, buffer_view(&packed))) {
		row_set(row, buffer_view(&packed));
		members->version++;
	}
	buffer_done(&packed);
	row->heard_us = members->env->now_us;
	return ERROR_OK;
}

uint64_t members_expire(struct members *members)
{
	uint64_t next_us = DEADLINE_NEVER;
	struct member_row *row;
	struct member_row *next;
	HASH_ITER(hh, members->table, row, next)
	{
		uint64_t until_us = row->heard_us + MEMBER_SILENCE_MS * 1000ull;
		if (until_us <= members->env->now_us)
			row_free(members, row);
		else
			next_us = deadline_min(next_us, until_us);
	}
	return next_us;
}

uint64_t members_version(const struct members *members)
{
	return members->version;
}

size_t members_count(const struct members *members)
{
	return HASH_COUNT(members->table);
}

void members_fill(const struct members *members, Weir__ClusterView *view, struct arena *arena)
{
	view->members = arena_alloc(arena, members_count(members) * sizeof(Weir__Member *));
	for (const struct member_row *row = members->table; row; row = row->hh.next)
		view->members[view->n_members++] = row->member;
}
