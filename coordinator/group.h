#pragma once
// One group and its state machine, shared by the group_*.c files and nobody else.
//
// A group is three things under one id:
//   logged   the GroupState entry that stands in the log, packed, as apply left it;
//   offsets  the committed offsets, changed by apply alone;
//   the rest is the live group of the shard's owner: made from `logged` at take-over, then run by requests and timers, ahead
//            of the log. What it proposes comes back through apply (logged, offsets) and the proposal's done function (live).
// A table entry in which none of the three has anything left is removed (group_tidy).
//
// Bounds: members and members to be by settings; the members' texts and metadata GROUP_STATE_BYTES_MAX; offsets
// GROUP_OFFSETS_MAX. Whoever would exceed one gets an error, the group stays as it is.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/hash_map.h"
#include "common/base/list.h"
#include "common/base/uuid.h"
#include "coordinator/groups.h"
#include "proto/kafka/kafka_errors.h"
#include "proto/kafka/kafka_writer.h"

enum {
	GROUP_STATE_BYTES_MAX = 16 << 20,
	GROUP_OFFSETS_MAX = 200000,
	GROUP_PROTOCOLS_MAX = 64,
	GROUP_INSTANCE_ID_MAX = 249,
	// A new member does not know its id yet, so it cannot send heartbeats: its JoinGroup has this long (the source of Kafka
	// calls it NewMemberJoinTimeoutMs).
	GROUP_NEW_MEMBER_TIMEOUT_MS = 5 * 60 * 1000,
	GROUP_EXPORT_OFFSETS = 1000,
};

// Kafka's states of a classic group; group_enter() checks the way from one to the next.
#define GROUP_STATE_TABLE(X)                                                                                                   \
	X(EMPTY, "Empty")                                                                                                      \
	X(PREPARING_REBALANCE, "PreparingRebalance")                                                                           \
	X(COMPLETING_REBALANCE, "CompletingRebalance")                                                                         \
	X(STABLE, "Stable")                                                                                                    \
	X(DEAD, "Dead")

enum group_state {
#define GROUP_STATE_ENUM(name, text) GROUP_##name,
	GROUP_STATE_TABLE(GROUP_STATE_ENUM)
#undef GROUP_STATE_ENUM
		GROUP_STATE_COUNT
};

// A request that waits for its answer; reply is NULL if nobody waits.
struct group_waiter {
	groups_reply_fn reply;
	void *ctx;
	int16_t api_version;
};

struct group_protocol {
	struct bytes name;
	struct bytes metadata;
};

// All texts are the member's own, NUL-terminated copies.
struct group_member {
	UT_hash_handle hh;          // of group->members, by id
	UT_hash_handle hh_instance; // of group->static_members, by instance id
	struct bytes id;
	struct bytes instance_id; // null: a dynamic member
	struct bytes client_id;
	struct bytes client_host;
	int32_t session_timeout_ms;
	int32_t rebalance_timeout_ms;
	struct group_protocol *protocols; // in the member's order of preference
	size_t protocol_count;
	size_t bytes; // of texts and metadata, counted in group->member_bytes
	struct bytes assignment;
	struct bytes staged; // what the leader assigned, while it is being logged
	struct group_waiter join;
	struct group_waiter sync;
	uint64_t deadline; // of the session
	bool is_new;       // its first JoinGroup has not been answered
	bool sync_missing; // no SyncGroup from it in this generation
};

// An id that was given out with MEMBER_ID_REQUIRED (KIP-394).
struct group_pending {
	UT_hash_handle hh;
	struct bytes id;
	uint64_t deadline;
};

struct group_offset {
	UT_hash_handle hh;
	int32_t partition;
	int32_t leader_epoch;
	int64_t offset;
	int64_t time_ms;
	struct bytes metadata;
};

struct group_offset_topic {
	UT_hash_handle hh;
	struct uuid id;
	struct bytes name;
	struct group_offset *partitions;
};

struct group {
	UT_hash_handle hh;
	struct groups *groups;
	struct bytes id;

	enum group_state state;
	int32_t generation;
	struct bytes protocol_type; // null until the first member
	struct bytes protocol;      // null but in a generation with members
	struct group_member *members;
	struct group_member *static_members;
	struct group_member *leader;
	struct group_pending *pending;
	size_t joining; // members with a join waiter
	size_t syncs_missing;
	size_t member_bytes;
	bool initial;                  // this rebalance began in an empty group: only its delay ends it
	bool new_member_added;         // since that delay began
	bool logging;                  // this generation's assignments are under way to the log
	uint32_t initial_delay_ms;     // of the running delay
	uint32_t initial_remaining_ms; // by which the delay may still be extended
	uint64_t join_deadline;
	uint64_t sync_deadline;
	uint64_t deadline; // no timer of the group is due before it
	size_t heap_index;

	struct bytes logged; // packed GroupState; null: none
	struct group_offset_topic *offset_topics;
	size_t offset_count;
	size_t proposals; // under way; they hold the entry
};

struct groups {
	struct groups_deps deps;
	struct group *table;
	bool owned; // since take-over
	size_t member_count;
	struct group **heap; // by deadline; every group is in it
	size_t heap_capacity;
	struct list proposals;
	struct arena arena; // of the request in hand
	struct kafka_writer writer;
};

// The request in hand. Its arena is groups->arena.
struct group_request {
	struct groups *groups;
	const struct group_call *call;
	struct group_waiter waiter;
	size_t topic_next; // where the next topic looked for is likely to be: bodies and call->topics have the same order
};

// ---- group_text.c: owned texts

struct bytes group_text_copy(struct bytes text); // null stays null
void group_text_set(struct bytes *text, struct bytes value);
void group_text_drop(struct bytes *text);
char *group_text_c(struct bytes text); // for protobuf-c, "" for null
struct bytes group_text_or_empty(struct bytes text);
// Whether protobuf's C strings can carry it.
bool group_text_valid(struct bytes text);

// ---- groups.c: the table

struct group *groups_find(struct groups *groups, struct bytes id);
// NULL if the shard has groups_max already.
struct group *groups_find_or_add(struct groups *groups, struct bytes id);
// Removes the entry if nothing is left in it; the caller must not use group afterwards.
void group_tidy(struct group *group);

// ---- group.c: states and members

const char *group_state_text(enum group_state state);
void group_enter(struct group *group, enum group_state state);
struct group_member *group_find_member(struct group *group, struct bytes id);
struct group_member *group_find_static(struct group *group, struct bytes instance_id);
// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID (KIP-345), else 0 and the member.
int16_t group_check_member(struct group *group, struct bytes id, struct bytes instance_id, struct group_member **ret_member);
// Takes the member over; its id and instance id are not in the group.
void group_add_member(struct group *group, struct group_member *member);
// Whoever waits for this member is told UNKNOWN_MEMBER_ID.
void group_remove_member(struct group *group, struct group_member *member);
void group_rename_member(struct group *group, struct group_member *member, struct bytes id);
void group_member_free(struct group_member *member);
void group_set_protocols(
	struct group *group, struct group_member *member, const struct group_protocol *protocols, size_t count);
struct bytes group_member_metadata(const struct group_member *member, struct bytes protocol);
size_t group_member_total(const struct group *group);
void group_set_sync_missing(struct group *group, struct group_member *member, bool missing);
void group_add_pending(struct group *group, struct bytes id, uint64_t deadline);
struct group_pending *group_find_pending(struct group *group, struct bytes id);
void group_remove_pending(struct group *group, struct group_pending *pending);
// Frees the live group without a word to anybody; the entry is as new.
void group_clear_live(struct group *group);

// ---- group_protocol.c: which protocol

// Whether all members support at least one of the protocols.
bool group_supports(const struct group *group, struct bytes type, const struct group_protocol *protocols, size_t count);
// The one with the most votes among those that all support; null if there is none.
struct bytes group_select_protocol(const struct group *group);
bool group_protocols_equal(const struct group_member *member, const struct group_protocol *protocols, size_t count);
// Whether a member consumes the topic (ConsumerProtocolSubscription, whose version 0 begins all versions).
bool group_consumes(const struct group *group, struct bytes topic);

// ---- group_timer.c: deadlines

void group_timer_add(struct group *group);
void group_timer_remove(struct group *group);
// The group's timers must be looked at by then.
void group_timer_need(struct group *group, uint64_t deadline);
void group_session_restart(struct group *group, struct group_member *member);
void group_session_set(struct group *group, struct group_member *member, uint64_t timeout_ms);
// Handles what is due.
void group_timer_step(struct group *group);

// ---- group_rebalance.c: from one generation to the next

void group_prepare_rebalance(struct group *group);
// Begins a rebalance, or goes on with the one that runs.
void group_rebalance(struct group *group);
void group_try_complete_join(struct group *group);
void group_complete_join(struct group *group);
void group_expire_join(struct group *group);
void group_expire_sync(struct group *group);
void group_expire_member(struct group *group, struct group_member *member);
void group_expire_pending(struct group *group, struct group_pending *pending);
bool group_all_joined(const struct group *group);
// Everybody who waits in SyncGroup is told the code.
void group_fail_syncs(struct group *group, enum kafka_error code);

// ---- group_reply.c: answers

// The scratch writer, empty. Encode into it, then send or keep what it holds; both empty the waiter.
struct kafka_writer *group_reply_begin(struct groups *groups);
void group_reply_end(struct groups *groups, struct group_waiter *waiter);
void group_reply_error(struct group_waiter *waiter, enum error error);

void group_reply_join(struct group *group, struct group_member *member, bool skip_assignment);
void group_reply_join_now(struct group *group, struct group_member *member, struct group_waiter *waiter, bool skip_assignment);
void group_fail_join(struct groups *groups, struct group_waiter *waiter, struct bytes member_id, enum kafka_error code);
void group_fail_member_join(struct group *group, struct group_member *member, struct bytes member_id, enum kafka_error code);
void group_reply_sync(struct group *group, struct group_member *member, struct group_waiter *waiter);
void group_fail_sync(struct groups *groups, struct group_waiter *waiter, enum kafka_error code);
// A second request of a member takes the place of the first, which is told REBALANCE_IN_PROGRESS.
void group_await_join(struct group *group, struct group_member *member, const struct group_waiter *waiter);
void group_await_sync(struct group *group, struct group_member *member, const struct group_waiter *waiter);

// ---- group_proposal.c: what is under way to the log

// An answer that leaves once all of its proposals are durable.
struct group_answer {
	struct group_waiter waiter;
	struct buffer body;
	size_t proposals;
};

struct group_proposal {
	struct list link;
	struct groups *groups; // NULL once the groups are freed
	struct group *group;
	void (*done)(struct group_proposal *proposal, enum error error); // may be NULL
	struct group_answer *answer;                                     // may be NULL
	int32_t generation;                                              // the group's when it was made
	struct bytes member_id;                                          // of a replaced static member: the new one,
	struct bytes leader_id;                                          // and who led before
};

// Keeps what the scratch writer holds as the answer, and the waiter with it.
struct group_answer *group_answer_keep(struct groups *groups, struct group_waiter *waiter);
struct group_proposal *group_proposal_new(struct group *group);
void group_proposal_answer(struct group_proposal *proposal, struct group_answer *answer);
void group_propose(struct group_proposal *proposal, const Weir__Command *command);
void group_proposals_abandon(struct groups *groups);
// The client looks for the coordinator again, whatever went wrong with the log.
enum error group_proposal_error(enum error error);

// ---- group_log.c: commands

// The group as it stands, with the staged assignments if staged.
void group_propose_state(struct group *group, struct group_proposal *proposal, bool staged);
void group_apply_state(struct group *group, const Weir__GroupState *state);
void group_export_state(const struct group *group, groups_export_fn fn, void *ctx);
// The live group from the logged one.
void group_restore(struct group *group);

// ---- group_offset.c: committed offsets

struct group_offset_topic *group_find_offset_topic(struct group *group, const struct uuid *topic_id);
struct group_offset *group_find_offset(struct group_offset_topic *topic, int32_t partition);
void group_apply_offset(struct group *group, const Weir__GroupOffset *command);
void group_drop_offset_topic(struct group *group, struct group_offset_topic *topic);
void group_drop_offsets(struct group *group);
void group_export_offsets(const struct group *group, groups_export_fn fn, void *ctx);

// ---- the requests, a file each

void group_join_request(struct group_request *request);
void group_sync_request(struct group_request *request);
void group_heartbeat_request(struct group_request *request);
void group_leave_request(struct group_request *request);
void group_commit_request(struct group_request *request);
void group_fetch_request(struct group_request *request);
void group_describe_request(struct group_request *request);
void group_list_request(struct group_request *request);
void group_delete_request(struct group_request *request);
void group_offset_delete_request(struct group_request *request);

// The id that the frontend knows for the name; NULL if none.
const struct uuid *group_request_topic_id(struct group_request *request, struct bytes name);
// The name that the frontend knows for the id; null if none.
struct bytes group_request_topic_name(struct group_request *request, const struct uuid *id);

// Decodes the body into a struct kafka_‹name›_request; a malformed one is answered, and the enclosing function returns.
#define GROUP_DECODE(request, name, message)                                                                                   \
	struct kafka_##name##_request message;                                                                                 \
	do {                                                                                                                   \
		struct reader group_reader = reader_of((request)->call->body);                                                 \
		enum error group_error = kafka_##name##_request_decode(                                                        \
			&(message), &group_reader, (request)->call->api_version, &(request)->groups->arena);                   \
		if (group_error == ERROR_OK)                                                                                   \
			group_error = reader_finished(&group_reader);                                                          \
		if (group_error != ERROR_OK) {                                                                                 \
			group_reply_error(&(request)->waiter, group_error);                                                    \
			return;                                                                                                \
		}                                                                                                              \
	} while (0)

#define GROUP_REPLY(groups, waiter, name, response)                                                                            \
	do {                                                                                                                   \
		kafka_##name##_response_encode((response), group_reply_begin(groups), (waiter)->api_version);                  \
		group_reply_end((groups), (waiter));                                                                           \
	} while (0)
