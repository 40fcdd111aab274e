#include "coordinator/group.h"

static bool protocol_of_member(const struct group_member *member, struct bytes name)
{
	for (size_t i = 0; i < member->protocol_count; i++)
		if (bytes_equal(member->protocols[i].name, name))
			return true;
	return false;
}

static bool protocol_of_all(const struct group *group, struct bytes name)
{
	for (const struct group_member *member = group->members; member; member = member->hh.next)
		if (!protocol_of_member(member, name))
			return false;
	return true;
}

bool group_supports(const struct group *group, struct bytes type, const struct group_protocol *protocols, size_t count)
{
	if (group->state == GROUP_EMPTY)
		return type.len > 0 && count > 0;
	if (!bytes_equal(type, group_text_or_empty(group->protocol_type)))
		return false;
	for (size_t i = 0; i < count; i++)
		if (protocol_of_all(group, protocols[i].name))
			return true;
	return false;
}

// The index, in the first member's list, of the candidate that the member likes best; the list's length if there is none.
static size_t protocol_vote(const struct group_member *first, const bool *candidates, const struct group_member *member)
{
	size_t count = first->protocol_count;
	for (size_t i = 0; i < member->protocol_count; i++)
		for (size_t j = 0; j < count; j++)
			if (candidates[j] && bytes_equal(first->protocols[j].name, member->protocols[i].name))
				return j;
	return count;
}

// What all support is found in any member's list, so the candidates are names of the first member, a bounded number. Among
// equals the one that the first member likes better wins.
struct bytes group_select_protocol(const struct group *group)
{
	const struct group_member *first = group->members;
	bool candidates[GROUP_PROTOCOLS_MAX] = {false};
	size_t votes[GROUP_PROTOCOLS_MAX + 1] = {0};
	if (!first)
		return BYTES_NULL;
	for (size_t i = 0; i < first->protocol_count; i++)
		candidates[i] = protocol_of_all(group, first->protocols[i].name);
	for (const struct group_member *member = first; member; member = member->hh.next)
		votes[protocol_vote(first, candidates, member)]++;
	size_t best = 0;
	for (size_t i = 1; i < first->protocol_count; i++)
		if (votes[i] > votes[best])
			best = i;
	return first->protocol_count && candidates[best] ? first->protocols[best].name : BYTES_NULL;
}

bool group_protocols_equal(const struct group_member *member, const struct group_protocol *protocols, size_t count)
{
	if (member->protocol_count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!bytes_equal(member->protocols[i].name, protocols[i].name) ||
			!bytes_equal(member->protocols[i].metadata, group_text_or_empty(protocols[i].metadata)))
			return false;
	return true;
}

static bool subscription_names(struct bytes subscription, struct bytes topic)
{
	struct reader reader = reader_of(subscription);
	reader_i16(&reader); // version
	int32_t count = reader_i32(&reader);
	for (int32_t i = 0; i < count && !reader.failed; i++) {
		struct bytes name = reader_bytes(&reader, reader_u16(&reader));
		if (!reader.failed && bytes_equal(name, topic))
			return true;
	}
	return reader.failed; // unreadable: it may be any topic
}

bool group_consumes(const struct group *group, struct bytes topic)
{
	for (const struct group_member *member = group->members; member; member = member->hh.next)
		if (!group->protocol.data || subscription_names(group_member_metadata(member, group->protocol), topic))
			return true;
	return false;
}
