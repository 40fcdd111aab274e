#include "common/storage/etcd_queue.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <grpc/support/log.h>

#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"

struct etcd_queue {
	struct loop *loop;
	struct loop_fd loop_fd; // the eventfd
	grpc_completion_queue *completions;
	pthread_t thread;
	size_t pending; // tags whose done() has not been called
	pthread_mutex_t mutex;
	struct etcd_tag *first; // handed over, under mutex
	struct etcd_tag *last;
};

static void etcd_queue_hand_over(struct etcd_queue *queue, struct etcd_tag *tag, bool ok)
{
	tag->next = NULL;
	tag->ok = ok;
	pthread_mutex_lock(&queue->mutex);
	bool was_empty = !queue->first;
	if (was_empty)
		queue->first = tag;
	else
		queue->last->next = tag;
	queue->last = tag;
	pthread_mutex_unlock(&queue->mutex);
	uint64_t one = 1;
	if (was_empty)
		CHECK(write(queue->loop_fd.fd, &one, sizeof one) == sizeof one);
}

static void *etcd_queue_run(void *ctx)
{
	struct etcd_queue *queue = ctx;
	for (;;) {
		grpc_event event = grpc_completion_queue_next(queue->completions, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_OP_COMPLETE)
			etcd_queue_hand_over(queue, event.tag, event.success);
	}
}

// What done() posts meanwhile waits for the next turn: the eventfd is set again.
static void etcd_queue_on_ready(struct loop_fd *loop_fd, uint32_t events)
{
	struct etcd_queue *queue = container_of(loop_fd, struct etcd_queue, loop_fd);
	uint64_t count;
	(void)events;
	if (read(loop_fd->fd, &count, sizeof count) != sizeof count)
		CHECK(errno == EAGAIN || errno == EINTR);
	pthread_mutex_lock(&queue->mutex);
	struct etcd_tag *tag = queue->first;
	queue->first = queue->last = NULL;
	pthread_mutex_unlock(&queue->mutex);
	while (tag) {
		struct etcd_tag *next = tag->next;
		queue->pending--;
		tag->done(tag, tag->ok);
		tag = next;
	}
}

// gRPC tells of every refused connection; the daemon logs what becomes of its calls.
static void etcd_queue_log(gpr_log_func_args *args)
{
	log_event(LOG_DEBUG, "grpc", LOG_TEXT("message", args->message));
}

struct etcd_queue *etcd_queue_new(struct loop *loop)
{
	struct etcd_queue *queue = memory_zalloc(sizeof *queue);
	gpr_set_log_function(etcd_queue_log);
	grpc_init();
	queue->loop = loop;
	queue->completions = grpc_completion_queue_create_for_next(NULL);
	CHECK(pthread_mutex_init(&queue->mutex, NULL) == 0);
	queue->loop_fd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue->loop_fd.events = POLLIN;
	queue->loop_fd.on_ready = etcd_queue_on_ready;
	CHECK(queue->loop_fd.fd >= 0);
	loop_fd_add(loop, &queue->loop_fd);
	CHECK(pthread_create(&queue->thread, NULL, etcd_queue_run, queue) == 0);
	return queue;
}

void etcd_queue_free(struct etcd_queue **held)
{
	struct etcd_queue *queue = *held;
	*held = NULL;
	if (!queue)
		return;
	CHECK(queue->pending == 0);
	grpc_completion_queue_shutdown(queue->completions);
	pthread_join(queue->thread, NULL);
	grpc_completion_queue_destroy(queue->completions);
	grpc_shutdown_blocking();
	loop_fd_remove(queue->loop, &queue->loop_fd);
	close(queue->loop_fd.fd);
	pthread_mutex_destroy(&queue->mutex);
	free(queue);
}

grpc_call *etcd_queue_call(struct etcd_queue *queue, grpc_channel *channel, const char *method, gpr_timespec deadline)
{
	return grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue->completions,
		grpc_slice_from_static_string(method), NULL, deadline, NULL);
}

void etcd_queue_batch(struct etcd_queue *queue, grpc_call *call, const grpc_op *operations, size_t count, struct etcd_tag *tag)
{
	queue->pending++;
	CHECK(grpc_call_start_batch(call, operations, count, tag, NULL) == GRPC_CALL_OK);
}

void etcd_queue_post(struct etcd_queue *queue, struct etcd_tag *tag)
{
	queue->pending++;
	etcd_queue_hand_over(queue, tag, false);
}

void etcd_queue_drain(struct etcd_queue *queue)
{
	while (queue->pending) {
		struct pollfd pollfd = {.fd = queue->loop_fd.fd, .events = POLLIN};
		CHECK(poll(&pollfd, 1, -1) >= 0 || errno == EINTR);
		etcd_queue_on_ready(&queue->loop_fd, 0);
	}
}
