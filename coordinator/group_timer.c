// Deadlines of many groups with many members, cheap to move: a heap of the groups by the earliest time at which one of their
// timers may be due. A heartbeat only moves its member's deadline further away and does not touch the heap; when the group's
// turn comes, its members are looked at and the next time is found anew. So a group is walked about once a session timeout.

#include <stdlib.h>

#include "common/base/memory.h"
#include "coordinator/group.h"

static void timer_place(struct groups *groups, size_t index, struct group *group)
{
	groups->heap[index] = group;
	group->heap_index = index;
}

static void timer_rise(struct groups *groups, size_t index)
{
	struct group *group = groups->heap[index];
	while (index > 0 && groups->heap[(index - 1) / 2]->deadline > group->deadline) {
		timer_place(groups, index, groups->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	timer_place(groups, index, group);
}

static void timer_sink(struct groups *groups, size_t index, size_t count)
{
	struct group *group = groups->heap[index];
	for (;;) {
		size_t child = 2 * index + 1;
		if (child >= count)
			break;
		if (child + 1 < count && groups->heap[child + 1]->deadline < groups->heap[child]->deadline)
			child++;
		if (groups->heap[child]->deadline >= group->deadline)
			break;
		timer_place(groups, index, groups->heap[child]);
		index = child;
	}
	timer_place(groups, index, group);
}

// The group is in the table already, so the heap has an element fewer than it.
void group_timer_add(struct group *group)
{
	struct groups *groups = group->groups;
	size_t count = HASH_COUNT(groups->table);
	if (count > groups->heap_capacity) {
		groups->heap_capacity = count * 2;
		groups->heap = memory_realloc(groups->heap, groups->heap_capacity * sizeof(struct group *));
	}
	group->deadline = DEADLINE_NEVER;
	timer_place(groups, count - 1, group);
	timer_rise(groups, count - 1);
}

// The group is still in the table.
void group_timer_remove(struct group *group)
{
	struct groups *groups = group->groups;
	size_t last = HASH_COUNT(groups->table) - 1;
	size_t index = group->heap_index;
	if (index == last)
		return;
	timer_place(groups, index, groups->heap[last]);
	timer_sink(groups, index, last);
	timer_rise(groups, index);
}

void group_timer_need(struct group *group, uint64_t deadline)
{
	if (deadline >= group->deadline)
		return;
	group->deadline = deadline;
	timer_rise(group->groups, group->heap_index);
}

void group_session_set(struct group *group, struct group_member *member, uint64_t timeout_ms)
{
	member->deadline = deadline_in_ms(group->groups->deps.env, timeout_ms);
	group_timer_need(group, member->deadline);
}

void group_session_restart(struct group *group, struct group_member *member)
{
	group_session_set(group, member, (uint64_t)member->session_timeout_ms);
}

// A member that waits in JoinGroup or SyncGroup keeps its session, unless it is new: whoever answers it restarts the timer.
static bool timer_excused(const struct group_member *member)
{
	return !member->is_new && (member->join.reply || member->sync.reply);
}

static struct group_member *timer_expired_member(struct group *group, uint64_t now_us)
{
	for (struct group_member *member = group->members; member; member = member->hh.next) {
		if (member->deadline > now_us)
			continue;
		if (!timer_excused(member))
			return member;
		member->deadline = DEADLINE_NEVER;
	}
	return NULL;
}

static struct group_pending *timer_expired_pending(struct group *group, uint64_t now_us)
{
	for (struct group_pending *pending = group->pending; pending; pending = pending->hh.next)
		if (pending->deadline <= now_us)
			return pending;
	return NULL;
}

static uint64_t timer_next(const struct group *group)
{
	uint64_t next = deadline_min(group->join_deadline, group->sync_deadline);
	for (const struct group_member *member = group->members; member; member = member->hh.next)
		next = deadline_min(next, member->deadline);
	for (const struct group_pending *pending = group->pending; pending; pending = pending->hh.next)
		next = deadline_min(next, pending->deadline);
	return next;
}

// Expiring one member may remove others, so each is looked for from the start.
void group_timer_step(struct group *group)
{
	uint64_t now_us = group->groups->deps.env->now_us;
	struct group_pending *pending;
	while ((pending = timer_expired_pending(group, now_us)))
		group_expire_pending(group, pending);
	struct group_member *member;
	while ((member = timer_expired_member(group, now_us)))
		group_expire_member(group, member);
	if (group->join_deadline <= now_us)
		group_expire_join(group);
	if (group->sync_deadline <= now_us)
		group_expire_sync(group);
	group->deadline = timer_next(group);
	timer_sink(group->groups, group->heap_index, HASH_COUNT(group->groups->table));
	timer_rise(group->groups, group->heap_index);
}
