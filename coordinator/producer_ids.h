#pragma once
// Producer ids for InitProducerId, out of blocks logged in shard 0 (histories, 8: the first block of an incarnation begins at
// its number << 40, so that a rebuilt cluster never gives an id again). Ids left in a block are lost with the owner.
//
// Owner: the controller. Bound: requests waiting for the next block, by the bus.

#include <stdint.h>

#include "common/base/error.h"

struct controller;
struct producer_ids;

struct producer_ids *producer_ids_new(struct controller *controller);
void producer_ids_free(struct producer_ids **ids); // who waits is told ERROR_NOT_OWNER
// fn is called once, perhaps inside this call; id is valid only with ERROR_OK.
void producer_ids_take(struct producer_ids *ids, void (*fn)(void *ctx, enum error error, int64_t id), void *ctx);
