#pragma once
// A call to a store on behalf of somebody who may be gone when it answers: shards are dropped while their calls are in flight,
// and the stores cannot cancel. The ticket is what the store's callback gets; ticket_take() then says whether the owner is
// still there.
//
// Embedded first in a heap struct that carries what the callback needs besides.

#include "common/base/list.h"

struct ticket {
	struct list link; // in the owner's list
	void *owner;      // NULL: gone
};

void ticket_open(struct ticket *ticket, struct list *owners_tickets, void *owner);
// In the callback: unlinks, returns the owner or NULL. The caller frees the struct around it.
void *ticket_take(struct ticket *ticket);
// The owner goes.
void tickets_abandon(struct list *owners_tickets);
