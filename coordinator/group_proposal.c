// A proposal lives from propose until the log has called back, which may be after the groups are gone: then nothing but its own
// memory is left to it. It holds its group's entry in the table, so that done() finds the group it knew.

#include "coordinator/group.h"

#include <stdlib.h>

#include "common/base/memory.h"

enum error group_proposal_error(enum error error)
{
	return error == ERROR_NOT_OWNER ? ERROR_NOT_OWNER : ERROR_UNREACHABLE;
}

struct group_answer *group_answer_keep(struct groups *groups, struct group_waiter *waiter)
{
	struct group_answer *answer = memory_zalloc(sizeof *answer);
	answer->waiter = *waiter;
	waiter->reply = NULL;
	buffer_init(&answer->body, kafka_writer_len(&groups->writer) + 1);
	kafka_writer_copy(&groups->writer, &answer->body);
	return answer;
}

static void proposal_answer_done(struct group_answer *answer, enum error error)
{
	if (error != ERROR_OK)
		group_reply_error(&answer->waiter, group_proposal_error(error));
	if (--answer->proposals > 0)
		return;
	if (answer->waiter.reply)
		answer->waiter.reply(answer->waiter.ctx, ERROR_OK, buffer_view(&answer->body));
	buffer_done(&answer->body);
	free(answer);
}

struct group_proposal *group_proposal_new(struct group *group)
{
	struct group_proposal *proposal = memory_zalloc(sizeof *proposal);
	proposal->groups = group->groups;
	proposal->group = group;
	proposal->generation = group->generation;
	group->proposals++;
	list_append(&group->groups->proposals, &proposal->link);
	return proposal;
}

void group_proposal_answer(struct group_proposal *proposal, struct group_answer *answer)
{
	proposal->answer = answer;
	answer->proposals++;
}

static void proposal_finish(struct group_proposal *proposal, enum error error)
{
	struct group *group = proposal->group;
	list_remove(&proposal->link);
	if (proposal->done)
		proposal->done(proposal, error);
	group->proposals--;
	group_tidy(group);
}

static void proposal_called_back(void *ctx, enum error error)
{
	struct group_proposal *proposal = ctx;
	if (proposal->groups)
		proposal_finish(proposal, error);
	if (proposal->answer)
		proposal_answer_done(proposal->answer, error);
	group_text_drop(&proposal->member_id);
	group_text_drop(&proposal->leader_id);
	free(proposal);
}

void group_propose(struct group_proposal *proposal, const Weir__Command *command)
{
	const struct groups_deps *deps = &proposal->groups->deps;
	deps->propose(deps->ctx, command, proposal_called_back, proposal);
}

void group_proposals_abandon(struct groups *groups)
{
	struct list *link;
	while ((link = list_pop(&groups->proposals))) {
		struct group_proposal *proposal = container_of(link, struct group_proposal, link);
		if (proposal->answer)
			group_reply_error(&proposal->answer->waiter, ERROR_NOT_OWNER);
		proposal->groups = NULL;
		proposal->group = NULL;
	}
}
