#include "coordinator/writer_chain.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "common/base/placement.h"

static void answer_done(struct writer_answer *answer)
{
	union {
		const uint8_t *constant;
		uint8_t *owned;
	} bytes = {answer->outcome.data};
	free(bytes.owned);
	*answer = (struct writer_answer){0};
}

static void chain_free(struct writer_chains *chains, struct writer_chain *chain)
{
	HASH_DEL(chains->table, chain);
	for (size_t i = 0; i < WRITER_ANSWERS; i++)
		answer_done(&chain->answers[i]);
	free(chain);
}

void writer_chains_done(struct writer_chains *chains)
{
	while (chains->table)
		chain_free(chains, chains->table);
}

static struct writer_chain *chain_find(const struct writer_chains *chains, const struct uuid *instance)
{
	struct writer_chain *chain;
	HASH_FIND(hh, chains->table, instance, sizeof *instance, chain);
	return chain;
}

uint64_t writer_chains_last(const struct writer_chains *chains, const struct uuid *instance)
{
	const struct writer_chain *chain = chain_find(chains, instance);
	return chain ? chain->last_sequence : 0;
}

const struct writer_answer *writer_chains_known(
	const struct writer_chains *chains, const struct uuid *instance, uint64_t sequence)
{
	const struct writer_chain *chain = chain_find(chains, instance);
	if (!chain || sequence == 0)
		return NULL;
	for (size_t i = 0; i < WRITER_ANSWERS; i++) {
		if (chain->answers[i].sequence == sequence)
			return &chain->answers[i];
	}
	return NULL;
}

// To the end of the table's order, which is the order of last use.
static struct writer_chain *chain_touch(struct writer_chains *chains, const struct uuid *instance)
{
	struct writer_chain *chain = chain_find(chains, instance);
	if (chain && !chain->hh.next)
		return chain;
	if (chain) {
		HASH_DEL(chains->table, chain);
	} else {
		if (HASH_COUNT(chains->table) >= WRITERS_MAX)
			chain_free(chains, chains->table);
		chain = memory_zalloc(sizeof *chain);
		chain->instance = *instance;
	}
	HASH_ADD(hh, chains->table, instance, sizeof chain->instance, chain);
	return chain;
}

const struct writer_answer *writer_chains_add(
	struct writer_chains *chains, const struct uuid *instance, const struct writer_answer *answer)
{
	struct writer_chain *chain = chain_touch(chains, instance);
	struct writer_answer *place = &chain->answers[chain->answer_count++ % WRITER_ANSWERS];
	answer_done(place);
	*place = *answer;
	chain->last_sequence = answer->sequence;
	return place;
}

uint64_t writer_chains_hash(const struct writer_chains *chains, uint64_t seed)
{
	for (const struct writer_chain *chain = chains->table; chain; chain = chain->hh.next) {
		seed = placement_mix(seed, placement_hash(uuid_view(&chain->instance)) + chain->last_sequence);
		for (size_t i = 0; i < WRITER_ANSWERS; i++) {
			const struct writer_answer *answer = &chain->answers[i];
			seed = placement_mix(seed, answer->sequence + answer->section_crc + (uint64_t)answer->error);
			seed = placement_mix(seed, placement_hash(answer->outcome));
		}
	}
	return seed;
}
