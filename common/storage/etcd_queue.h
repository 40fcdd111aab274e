#pragma once
// gRPC's completions, brought into the loop. grpc_completion_queue_next() blocks, so one thread does only that and hands each
// completion over through a list and an eventfd; everything else, starting calls included, happens in the loop's thread.
//
//	loop thread ── etcd_queue_batch() ──► gRPC ── completion ──► queue thread ── list, eventfd ──► loop: tag->done(tag, ok)
//
// Owner: the etcd metadata store. Bound: the operations under way; a tag carries one at a time, so handing over allocates
// nothing.

#include <stdbool.h>
#include <stddef.h>

#include <grpc/grpc.h>

#include "common/runtime/loop.h"

// Embedded in whatever waits for the completion; stays where it is until done() is called.
struct etcd_tag {
	void (*done)(struct etcd_tag *tag, bool ok);
	struct etcd_tag *next; // the queue's
	bool ok;               // the queue's
};

struct etcd_queue;

// Starts gRPC (grpc_init) and the thread. A process must not fork afterwards without exec.
struct etcd_queue *etcd_queue_new(struct loop *loop);
// Everything has completed and all channels are gone. Stops the thread and gRPC.
void etcd_queue_free(struct etcd_queue **queue);

grpc_call *etcd_queue_call(struct etcd_queue *queue, grpc_channel *channel, const char *method, gpr_timespec deadline);
// grpc_call_start_batch(); operations that gRPC refuses are our bug.
void etcd_queue_batch(struct etcd_queue *queue, grpc_call *call, const grpc_op *operations, size_t count, struct etcd_tag *tag);
// done(tag, false) in a later turn, for what is answered without a call.
void etcd_queue_post(struct etcd_queue *queue, struct etcd_tag *tag);
// Blocks until nothing is under way, running the callbacks. For shutting down, when all calls have been cancelled.
void etcd_queue_drain(struct etcd_queue *queue);
