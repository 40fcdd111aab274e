// GroupState: written by the owner at the end of a rebalance, read by apply (which only keeps it) and at take-over. Both
// directions side by side.

#include "coordinator/group.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "common/runtime/protobuf.h"

static void log_write_protocols(const struct group_member *member, Weir__GroupMember *message, struct arena *arena)
{
	message->n_protocols = member->protocol_count;
	message->protocols = arena_alloc(arena, member->protocol_count * sizeof *message->protocols);
	for (size_t i = 0; i < member->protocol_count; i++) {
		Weir__GroupProtocol *protocol = arena_alloc(arena, sizeof *protocol);
		weir__group_protocol__init(protocol);
		protocol->name = group_text_c(member->protocols[i].name);
		protocol->metadata = protobuf_data(member->protocols[i].metadata);
		message->protocols[i] = protocol;
	}
}

static Weir__GroupMember *log_write_member(const struct group_member *member, bool staged, struct arena *arena)
{
	Weir__GroupMember *message = arena_alloc(arena, sizeof *message);
	weir__group_member__init(message);
	message->id = group_text_c(member->id);
	message->has_instance_id = member->instance_id.data != NULL;
	message->instance_id = group_text_c(member->instance_id);
	message->client_id = group_text_c(member->client_id);
	message->client_host = group_text_c(member->client_host);
	message->session_timeout_ms = member->session_timeout_ms;
	message->rebalance_timeout_ms = member->rebalance_timeout_ms;
	message->assignment = protobuf_data(staged ? member->staged : member->assignment);
	log_write_protocols(member, message, arena);
	return message;
}

static void log_write_state(const struct group *group, bool staged, Weir__GroupState *state, struct arena *arena)
{
	weir__group_state__init(state);
	state->group = group_text_c(group->id);
	state->protocol_type = group_text_c(group->protocol_type);
	state->protocol = group_text_c(group->protocol);
	state->generation = group->generation;
	state->leader = group->leader ? group_text_c(group->leader->id) : state->leader;
	state->time_ms = group->groups->deps.env->wall_ms;
	state->members = arena_alloc(arena, group_member_total(group) * sizeof *state->members);
	for (const struct group_member *member = group->members; member; member = member->hh.next)
		state->members[state->n_members++] = log_write_member(member, staged, arena);
}

void group_propose_state(struct group *group, struct group_proposal *proposal, bool staged)
{
	struct arena arena;
	arena_init(&arena, 0);
	Weir__GroupState state;
	log_write_state(group, staged, &state, &arena);
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_GROUP_STATE;
	command.group_state = &state;
	group_propose(proposal, &command);
	arena_done(&arena);
}

void group_apply_state(struct group *group, const Weir__GroupState *state)
{
	size_t len = weir__group_state__get_packed_size(state);
	uint8_t *packed = memory_alloc(len + 1);
	weir__group_state__pack(state, packed);
	group_text_drop(&group->logged);
	group->logged = bytes_view(packed, len);
}

void group_export_state(const struct group *group, groups_export_fn fn, void *ctx)
{
	if (!group->logged.data)
		return;
	struct arena arena;
	arena_init(&arena, 0);
	Weir__Command command = WEIR__COMMAND__INIT;
	command.kind_case = WEIR__COMMAND__KIND_GROUP_STATE;
	command.group_state = protobuf_unpack(&weir__group_state__descriptor, group->logged, &arena);
	CHECK(command.group_state);
	fn(ctx, &command);
	arena_done(&arena);
}

static void log_read_protocols(struct group_member *member, const Weir__GroupMember *message, struct arena *arena)
{
	size_t count = message->n_protocols < GROUP_PROTOCOLS_MAX ? message->n_protocols : GROUP_PROTOCOLS_MAX;
	struct group_protocol *protocols = arena_alloc(arena, count * sizeof *protocols);
	for (size_t i = 0; i < count; i++) {
		protocols[i].name = bytes_of(message->protocols[i]->name);
		protocols[i].metadata = protobuf_view(message->protocols[i]->metadata);
	}
	group_set_protocols(NULL, member, protocols, count);
}

static struct group_member *log_read_member(const Weir__GroupMember *message, struct arena *arena)
{
	struct group_member *member = memory_zalloc(sizeof *member);
	member->id = group_text_copy(bytes_of(message->id));
	if (message->has_instance_id)
		member->instance_id = group_text_copy(bytes_of(message->instance_id));
	member->client_id = group_text_copy(bytes_of(message->client_id));
	member->client_host = group_text_copy(bytes_of(message->client_host));
	member->session_timeout_ms = message->session_timeout_ms;
	member->rebalance_timeout_ms = message->rebalance_timeout_ms;
	member->assignment = group_text_copy(group_text_or_empty(protobuf_view(message->assignment)));
	member->bytes = member->id.len + member->instance_id.len + member->client_id.len + member->client_host.len;
	member->deadline = DEADLINE_NEVER;
	log_read_protocols(member, message, arena);
	return member;
}

static void log_read_state(struct group *group, const Weir__GroupState *state, struct arena *arena)
{
	group->generation = state->generation;
	if (*state->protocol_type)
		group->protocol_type = group_text_copy(bytes_of(state->protocol_type));
	if (*state->protocol)
		group->protocol = group_text_copy(bytes_of(state->protocol));
	for (size_t i = 0; i < state->n_members; i++) {
		struct group_member *member = log_read_member(state->members[i], arena);
		group_add_member(group, member);
		group_session_restart(group, member);
		if (bytes_equal(member->id, bytes_of(state->leader)))
			group->leader = member;
	}
	group->state = state->n_members ? GROUP_STABLE : GROUP_EMPTY;
}

void group_restore(struct group *group)
{
	if (!group->logged.data)
		return;
	struct arena arena;
	arena_init(&arena, 0);
	const Weir__GroupState *state = protobuf_unpack(&weir__group_state__descriptor, group->logged, &arena);
	CHECK(state); // apply packed it
	group_clear_live(group);
	log_read_state(group, state, &arena);
	arena_done(&arena);
}
