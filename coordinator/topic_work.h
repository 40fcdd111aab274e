#pragma once
// Carries topic intents out, so that they survive their coordinator: TopicIntent is in shard 0's log -> meta/topics/‹id› is in
// the bucket
// -> every concerned shard has logged its part -> TopicDone is in shard 0's log, which publishes. Each step is idempotent and
// repeated for ever; a new owner of shard 0 begins with step one for every intent that is not done.
//
// Owner: the controller. Bound: one work a topic.

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/uuid.h"
#include "coordinator/catalogue.h"

struct coordinator;
struct topic_works;

struct topic_works *topic_works_new(struct coordinator *coordinator);
// Nothing is begun any more; whoever waits is told ERROR_NOT_OWNER.
void topic_works_close(struct topic_works *works);
// After close, and after the shard has told all proposals.
void topic_works_free(struct topic_works **works);
uint64_t topic_works_step(struct topic_works *works);

// An intent that is in the catalogue.
void topic_works_start(struct topic_works *works, const struct catalogue_topic *topic);
// Its TopicDone was applied.
void topic_works_done(struct topic_works *works, const struct uuid *id);
// fn is called once, when the work on the topic is done or given up; never inside this call unless there is no work on it
// (ERROR_OK).
void topic_works_wait(struct topic_works *works, const struct uuid *id, void (*fn)(void *ctx, enum error error), void *ctx);
size_t topic_works_count(const struct topic_works *works);
