#pragma once
// An intrusive, circular, doubly linked list. The link lives in the element; the list owns nothing.

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

// The element of type that embeds link as member.
#define container_of(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_append(struct list *list, struct list *link)
{
	link->prev = list->prev;
	link->next = list;
	list->prev->next = link;
	list->prev = link;
}

static inline void list_prepend(struct list *list, struct list *link)
{
	list_append(list->next, link);
}

// Also fits a link that is alone; it may be removed again.
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

// Takes the first link out, NULL if the list is empty.
static inline struct list *list_pop(struct list *list)
{
	if (list_empty(list))
		return NULL;
	struct list *link = list->next;
	list_remove(link);
	return link;
}

// The body may remove link itself, no other.
#define LIST_EACH(head, link)                                                                                                  \
	for (struct list *link = (head)->next, *link##_next = link->next; link != (head);                                      \
		link = link##_next, link##_next = link->next)
