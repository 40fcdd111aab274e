#include "reader/task.h"

void tasks_init(struct tasks *tasks, const struct env *env)
{
	*tasks = (struct tasks){.env = env, .next_us = DEADLINE_NEVER};
	list_init(&tasks->runnable);
	list_init(&tasks->all);
}

// Those whose time has come become runnable; the rest tell when to look again.
static void tasks_look_at_times(struct tasks *tasks)
{
	if (tasks->env->now_us < tasks->next_us)
		return;
	tasks->next_us = DEADLINE_NEVER;
	LIST_EACH (&tasks->all, link) {
		struct task *task = container_of(link, struct task, all_link);
		if (task->wake_us <= tasks->env->now_us)
			task_wake(task);
		else
			tasks->next_us = deadline_min(tasks->next_us, task->wake_us);
	}
}

uint64_t tasks_step(struct tasks *tasks)
{
	tasks_look_at_times(tasks);
	struct list turn; // what wakes while we run waits for the next step
	list_init(&turn);
	struct list *link;
	while ((link = list_pop(&tasks->runnable)))
		list_append(&turn, link);
	while ((link = list_pop(&turn))) {
		struct task *task = container_of(link, struct task, run_link);
		task->wake_us = DEADLINE_NEVER;
		task->run(task);
	}
	return list_empty(&tasks->runnable) ? tasks->next_us : tasks->env->now_us;
}

void tasks_cancel_all(struct tasks *tasks)
{
	while (!list_empty(&tasks->all)) {
		struct task *task = container_of(tasks->all.next, struct task, all_link);
		task->cancel(task);
	}
}

void task_start(struct tasks *tasks, struct task *task)
{
	task->tasks = tasks;
	task->wake_us = DEADLINE_NEVER;
	list_init(&task->run_link);
	list_append(&tasks->all, &task->all_link);
	tasks->count++;
	task_wake(task);
}

void task_end(struct task *task)
{
	list_remove(&task->run_link);
	list_remove(&task->all_link);
	task->tasks->count--;
}

void task_wake(struct task *task)
{
	if (list_empty(&task->run_link))
		list_append(&task->tasks->runnable, &task->run_link);
}

void task_wake_at(struct task *task, uint64_t due_us)
{
	task->wake_us = deadline_min(task->wake_us, due_us);
	task->tasks->next_us = deadline_min(task->tasks->next_us, task->wake_us);
}

void waiter_init(struct waiter *waiter, struct task *task)
{
	list_init(&waiter->link);
	waiter->task = task;
	waiter->error = ERROR_OK;
}

void waiter_leave(struct waiter *waiter)
{
	list_remove(&waiter->link);
}

void waiter_join(struct waiter *waiter, struct list *waiters)
{
	list_remove(&waiter->link);
	list_append(waiters, &waiter->link);
	waiter->error = ERROR_OK;
}

void waiters_wake(struct list *waiters, enum error error)
{
	struct list *link;
	while ((link = list_pop(waiters))) {
		struct waiter *waiter = container_of(link, struct waiter, link);
		waiter->error = error;
		task_wake(waiter->task);
	}
}
