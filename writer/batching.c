#include "writer/batching.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/hash_map.h"
#include "common/base/memory.h"

struct open_run_key {
	struct uuid topic_id;
	int32_t partition;
};

struct open_run {
	struct open_run_key key;
	uint32_t shard;
	uint32_t batch_count;
	struct batch *first;
	struct batch **end; // where the next one is linked in
	UT_hash_handle hh;
};

void batching_init(struct batching *batching)
{
	*batching = (struct batching){0};
}

static void batching_clear(struct batching *batching)
{
	struct open_run *run, *next;
	HASH_ITER(hh, batching->runs, run, next)
	{
		HASH_DEL(batching->runs, run);
		free(run);
	}
	batching_init(batching);
}

void batching_done(struct batching *batching)
{
	for (struct open_run *run = batching->runs; run; run = run->hh.next) {
		while (run->first) {
			struct batch *batch = run->first;
			run->first = batch->next;
			slice_done(&batch->bytes);
			free(batch);
		}
	}
	batching_clear(batching);
}

static struct open_run *batching_run(struct batching *batching, const struct uuid *topic_id, int32_t partition, uint32_t shard)
{
	struct open_run_key key = {*topic_id, partition};
	struct open_run *run;
	HASH_FIND(hh, batching->runs, &key, sizeof key, run);
	if (run)
		return run;
	run = memory_zalloc(sizeof *run);
	run->key = key;
	run->shard = shard;
	run->end = &run->first;
	HASH_ADD(hh, batching->runs, key, sizeof run->key, run);
	return run;
}

void batching_add(struct batching *batching, const struct uuid *topic_id, int32_t partition, uint32_t shard,
	struct batch **batch, uint64_t now_us)
{
	struct open_run *run = batching_run(batching, topic_id, partition, shard);
	struct batch *taken = *batch;
	*batch = NULL;
	taken->next = NULL;
	*run->end = taken;
	run->end = &taken->next;
	run->batch_count++;
	if (batching->batch_count++ == 0)
		batching->since_us = now_us;
	batching->bytes += taken->facts.size;
}

static int open_run_compare(const void *a, const void *b)
{
	const struct open_run_view *left = a, *right = b;
	int order = memcmp(left->topic_id.bytes, right->topic_id.bytes, sizeof left->topic_id.bytes);
	return order ? order : (left->partition > right->partition) - (left->partition < right->partition);
}

struct sealed_object *batching_seal(struct batching *batching, const struct mixed_object_header *header, uint32_t shards)
{
	CHECK(batching->batch_count > 0);
	size_t run_count = HASH_COUNT(batching->runs);
	struct open_run_view *views = memory_alloc(run_count * sizeof *views);
	size_t at = 0;
	for (struct open_run *run = batching->runs; run; run = run->hh.next)
		views[at++] =
			(struct open_run_view){run->key.topic_id, run->key.partition, run->shard, run->first, run->batch_count};
	qsort(views, run_count, sizeof *views, open_run_compare);
	struct sealed_object *object = sealed_object_new(header, views, run_count, shards);
	free(views);
	batching_clear(batching);
	return object;
}

void batching_each(struct batching *batching, void (*fn)(void *ctx, struct batch *batch), void *ctx)
{
	for (struct open_run *run = batching->runs; run; run = run->hh.next)
		for (struct batch *batch = run->first; batch; batch = batch->next)
			fn(ctx, batch);
}
