#pragma once
// Requests that are under way: each runs when something it waits for has happened or when its time has come, once a step and
// never inside the event itself. Bound: the callers' windows of requests and the memory bound at admission (reader.c).

#include <stdbool.h>
#include <stdint.h>

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/list.h"

struct task;

struct tasks {
	const struct env *env;
	struct list runnable;
	struct list all;
	uint32_t count;
	uint64_t next_us; // no task's time comes sooner
};

// Embedded by the request.
struct task {
	struct tasks *tasks;
	struct list run_link;
	struct list all_link;
	uint64_t wake_us;
	void (*run)(struct task *task);    // may end it
	void (*cancel)(struct task *task); // answers with an error and ends it
};

void tasks_init(struct tasks *tasks, const struct env *env);
// Runs what is due; when to call again.
uint64_t tasks_step(struct tasks *tasks);
void tasks_cancel_all(struct tasks *tasks);

// Runs for the first time in the next step.
void task_start(struct tasks *tasks, struct task *task);
void task_end(struct task *task);
void task_wake(struct task *task);
// At the latest then; an earlier time stays.
void task_wake_at(struct task *task, uint64_t due_us);

// A place in somebody's list of those who wait for one thing. Off the list when woken.
struct waiter {
	struct list link;
	struct task *task;
	enum error error; // why the wait was in vain
};
void waiter_init(struct waiter *waiter, struct task *task);
void waiter_leave(struct waiter *waiter);
// Moves to the end of waiters.
void waiter_join(struct waiter *waiter, struct list *waiters);
void waiters_wake(struct list *waiters, enum error error);
