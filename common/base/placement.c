#include "common/base/placement.h"

#include "common/base/check.h"

uint64_t placement_mix(uint64_t a, uint64_t b)
{
	uint64_t mixed = a * 0x9e3779b97f4a7c15u ^ b;
	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
	return mixed ^ (mixed >> 31);
}

// FNV-1a, then mixed: keys are short and few a request.
uint64_t placement_hash(struct bytes bytes)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < bytes.len; i++)
		hash = (hash ^ bytes.data[i]) * 0x100000001b3u;
	return placement_mix(hash, bytes.len);
}

uint64_t placement_partition_key(const struct uuid *topic_id, int32_t partition)
{
	return placement_mix(placement_hash(uuid_view(topic_id)), (uint64_t)(uint32_t)partition);
}

uint32_t placement_partition_shard(const struct uuid *topic_id, int32_t partition, uint32_t shards)
{
	return (uint32_t)(placement_partition_key(topic_id, partition) % shards);
}

uint32_t placement_name_shard(struct bytes name, uint32_t shards)
{
	return (uint32_t)(placement_hash(name) % shards);
}

size_t placement_choose(uint64_t key, const uint64_t *member_hashes, size_t count)
{
	CHECK(count > 0);
	size_t best = 0;
	uint64_t best_weight = placement_mix(member_hashes[0], key);
	for (size_t i = 1; i < count; i++) {
		uint64_t weight = placement_mix(member_hashes[i], key);
		if (weight > best_weight || (weight == best_weight && member_hashes[i] > member_hashes[best])) {
			best = i;
			best_weight = weight;
		}
	}
	return best;
}
