// From one generation to the next. Kafka's rules (GroupMetadataManager): a rebalance waits until every member has joined again
// or the longest rebalance timeout of the members is over, then goes on without the dynamic members that have not; one that
// begins in an empty group waits a delay instead, so that a starting fleet meets in one generation.

#include <stdlib.h>

#include "coordinator/group.h"

// The longest that any member asks for.
static uint32_t rebalance_timeout_ms(const struct group *group)
{
	int32_t timeout_ms = 0;
	for (const struct group_member *member = group->members; member; member = member->hh.next)
		if (member->rebalance_timeout_ms > timeout_ms)
			timeout_ms = member->rebalance_timeout_ms;
	return (uint32_t)timeout_ms;
}

// At least a millisecond, so that a member with timeout 0 cannot keep the timers running in one turn.
static void rebalance_schedule_join(struct group *group)
{
	uint32_t timeout_ms = rebalance_timeout_ms(group);
	group->join_deadline = deadline_in_ms(group->groups->deps.env, timeout_ms ? timeout_ms : 1);
	group_timer_need(group, group->join_deadline);
}

static void rebalance_delay(struct group *group, uint32_t delay_ms, uint32_t remaining_ms)
{
	group->initial_delay_ms = delay_ms;
	group->initial_remaining_ms = remaining_ms;
	group->new_member_added = false;
	group->join_deadline = deadline_in_ms(group->groups->deps.env, delay_ms);
	group_timer_need(group, group->join_deadline);
}

bool group_all_joined(const struct group *group)
{
	return group->joining == group_member_total(group) && !group->pending;
}

void group_fail_syncs(struct group *group, enum kafka_error code)
{
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		if (!member->sync.reply)
			continue;
		group_fail_sync(group->groups, &member->sync, code);
		group_session_restart(group, member);
	}
}

static void rebalance_forget_assignments(struct group *group)
{
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		group_text_drop(&member->assignment);
		group_text_drop(&member->staged);
	}
}

static void rebalance_stop_syncs(struct group *group)
{
	group->sync_deadline = DEADLINE_NEVER;
	for (struct group_member *member = group->members; member; member = member->hh.next)
		group_set_sync_missing(group, member, false);
}

static void rebalance_begin_initial(struct group *group)
{
	uint32_t delay_ms = group->groups->deps.settings->initial_rebalance_delay_ms;
	uint32_t timeout_ms = rebalance_timeout_ms(group);
	group_enter(group, GROUP_PREPARING_REBALANCE);
	rebalance_delay(group, delay_ms, timeout_ms > delay_ms ? timeout_ms - delay_ms : 0);
}

void group_prepare_rebalance(struct group *group)
{
	rebalance_stop_syncs(group);
	if (group->state == GROUP_EMPTY) {
		rebalance_begin_initial(group);
		return;
	}
	if (group->state == GROUP_COMPLETING_REBALANCE) {
		rebalance_forget_assignments(group);
		group_fail_syncs(group, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
	}
	group_enter(group, GROUP_PREPARING_REBALANCE);
	if (group_all_joined(group))
		group_complete_join(group);
	else
		rebalance_schedule_join(group);
}

void group_rebalance(struct group *group)
{
	if (group->state == GROUP_PREPARING_REBALANCE)
		group_try_complete_join(group);
	else
		group_prepare_rebalance(group);
}

void group_try_complete_join(struct group *group)
{
	if (group->state == GROUP_PREPARING_REBALANCE && !group->initial && group_all_joined(group))
		group_complete_join(group);
}

static void rebalance_remove_absent(struct group *group)
{
	struct group_member *next;
	for (struct group_member *member = group->members; member; member = next) {
		next = member->hh.next;
		if (!member->join.reply && !member->instance_id.data)
			group_remove_member(group, member);
	}
}

// Whether there is a leader that takes part; one that does not is replaced by the first member that does.
static bool rebalance_elect_leader(struct group *group)
{
	if (group->leader && group->leader->join.reply)
		return true;
	for (struct group_member *member = group->members; member; member = member->hh.next)
		if (member->join.reply) {
			group->leader = member;
			return true;
		}
	return false;
}

static void rebalance_become_empty(struct group *group)
{
	group_text_drop(&group->protocol);
	group_enter(group, GROUP_EMPTY);
	group_propose_state(group, group_proposal_new(group), false);
}

static void rebalance_answer_joins(struct group *group)
{
	group_text_set(&group->protocol, group_text_or_empty(group_select_protocol(group)));
	group_enter(group, GROUP_COMPLETING_REBALANCE);
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		group_reply_join(group, member, false);
		member->is_new = false;
		group_session_restart(group, member);
		group_set_sync_missing(group, member, true);
	}
	uint32_t timeout_ms = rebalance_timeout_ms(group);
	group->sync_deadline = deadline_in_ms(group->groups->deps.env, timeout_ms ? timeout_ms : 1);
	group_timer_need(group, group->sync_deadline);
}

void group_complete_join(struct group *group)
{
	group->join_deadline = DEADLINE_NEVER;
	rebalance_remove_absent(group);
	if (group->members && !rebalance_elect_leader(group)) {
		// Only static members are left and none came: wait until one does or their sessions end.
		rebalance_schedule_join(group);
		return;
	}
	group->generation = group->generation == INT32_MAX ? 0 : group->generation + 1;
	if (group->members)
		rebalance_answer_joins(group);
	else
		rebalance_become_empty(group);
}

void group_expire_join(struct group *group)
{
	group->join_deadline = DEADLINE_NEVER;
	if (group->state != GROUP_PREPARING_REBALANCE)
		return;
	uint32_t remaining_ms = group->initial_remaining_ms;
	if (!group->initial || !group->new_member_added || remaining_ms == 0) {
		group_complete_join(group);
		return;
	}
	uint32_t delay_ms = group->groups->deps.settings->initial_rebalance_delay_ms;
	uint32_t next_ms = delay_ms < remaining_ms ? delay_ms : remaining_ms;
	rebalance_delay(group, next_ms, remaining_ms > group->initial_delay_ms ? remaining_ms - group->initial_delay_ms : 0);
}

// KAFKA-13636: a member that got its JoinGroup answer but never sends SyncGroup must not hold the others.
void group_expire_sync(struct group *group)
{
	group->sync_deadline = DEADLINE_NEVER;
	if (group->syncs_missing == 0)
		return;
	CHECK(group->state == GROUP_COMPLETING_REBALANCE || group->state == GROUP_STABLE);
	struct group_member *next;
	for (struct group_member *member = group->members; member; member = next) {
		next = member->hh.next;
		if (member->sync_missing)
			group_remove_member(group, member);
	}
	group_prepare_rebalance(group);
}

void group_expire_member(struct group *group, struct group_member *member)
{
	group_remove_member(group, member);
	if (group->state == GROUP_PREPARING_REBALANCE && group_all_joined(group))
		group_complete_join(group);
	else if (group->state != GROUP_PREPARING_REBALANCE)
		group_prepare_rebalance(group);
}

void group_expire_pending(struct group *group, struct group_pending *pending)
{
	group_remove_pending(group, pending);
	if (group->state == GROUP_PREPARING_REBALANCE && group_all_joined(group))
		group_complete_join(group);
}
