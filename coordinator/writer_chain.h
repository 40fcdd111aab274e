#pragma once
// The commits of one writer instance to this shard, as a chain: only the successor of the last one applied is taken, a known
// one gets its first answer again (histories, 6). Part of the shard's state: changes only by apply.
//
// Owner: the shard's state. Bound: the last WRITER_ANSWERS answers an instance, WRITERS_MAX instances, the one idle longest
// goes first. An instance that is forgotten while it still repeats a commit is refused (its chain does not follow), unless it
// was its very first; that takes WRITERS_MAX new instances within half the garbage grace.

#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/hash_map.h"
#include "common/base/uuid.h"

enum { WRITER_ANSWERS = 64, WRITERS_MAX = 1024 };

struct writer_answer {
	uint64_t sequence;
	uint32_t section_crc;
	enum error error;     // ERROR_OK or ERROR_TOO_OLD
	struct bytes outcome; // packed CommitOutcome, ours
};

struct writer_chain {
	struct uuid instance;
	uint64_t last_sequence;
	uint32_t answer_count;
	struct writer_answer answers[WRITER_ANSWERS]; // a ring: the n-th answer at n % WRITER_ANSWERS
	UT_hash_handle hh;
};

struct writer_chains {
	struct writer_chain *table; // the one idle longest first
};

void writer_chains_done(struct writer_chains *chains);
// The last sequence applied, 0 if none.
uint64_t writer_chains_last(const struct writer_chains *chains, const struct uuid *instance);
// The answer to a commit given before; NULL if there is none.
const struct writer_answer *writer_chains_known(
	const struct writer_chains *chains, const struct uuid *instance, uint64_t sequence);
// Takes the answer's outcome (heap).
const struct writer_answer *writer_chains_add(
	struct writer_chains *chains, const struct uuid *instance, const struct writer_answer *answer);
uint64_t writer_chains_hash(const struct writer_chains *chains, uint64_t seed);
