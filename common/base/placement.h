#pragma once
// Where keys live. Two questions with one answer each in the whole cluster, so the functions are part of the formats and must
// never change: which shard holds a partition, group or transactional id; and, by rendezvous hashing (Thaler and
// Ravishankar), which member of a set is the first choice for a key, so that a joining or leaving member moves only its share.

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/uuid.h"

uint64_t placement_hash(struct bytes bytes);
uint64_t placement_mix(uint64_t a, uint64_t b);

uint64_t placement_partition_key(const struct uuid *topic_id, int32_t partition);
uint32_t placement_partition_shard(const struct uuid *topic_id, int32_t partition, uint32_t shards);
// For group ids and transactional ids.
uint32_t placement_name_shard(struct bytes name, uint32_t shards);

// The index of the first choice among count members, each given by a hash of its id; count > 0.
size_t placement_choose(uint64_t key, const uint64_t *member_hashes, size_t count);
