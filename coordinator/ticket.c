#include "coordinator/ticket.h"

void ticket_open(struct ticket *ticket, struct list *owners_tickets, void *owner)
{
	ticket->owner = owner;
	list_init(&ticket->link);
	list_append(owners_tickets, &ticket->link);
}

void *ticket_take(struct ticket *ticket)
{
	list_remove(&ticket->link);
	return ticket->owner;
}

void tickets_abandon(struct list *owners_tickets)
{
	LIST_EACH (owners_tickets, link) {
		container_of(link, struct ticket, link)->owner = NULL;
		list_remove(link);
	}
}
