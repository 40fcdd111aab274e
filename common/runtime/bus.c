#include "common/runtime/bus.h"

struct bus_link *bus_link(struct bus *bus, const char *address)
{
	return bus->ops->link(bus, address);
}

void bus_unlink(struct bus *bus, struct bus_link *link)
{
	bus->ops->unlink(bus, link);
}

uint64_t bus_call(struct bus *bus, struct bus_link *link, const struct bus_send *send, bus_reply_fn fn, void *ctx)
{
	return bus->ops->call(bus, link, send, fn, ctx);
}

void bus_cancel(struct bus *bus, uint64_t call)
{
	bus->ops->cancel(bus, call);
}

void bus_serve(struct bus *bus, bus_request_fn fn, void *ctx)
{
	bus->ops->serve(bus, fn, ctx);
}

void bus_reply(struct bus *bus, struct bus_request *request, const struct bus_send *send)
{
	bus->ops->reply(bus, request, send);
}

void bus_publish(struct bus *bus, struct bytes prefix, const ProtobufCMessage *body)
{
	bus->ops->publish(bus, prefix, body);
}

void bus_subscribe(struct bus *bus, const char *address, struct bytes prefix, bus_feed_fn fn, void *ctx)
{
	bus->ops->subscribe(bus, address, prefix, fn, ctx);
}

void bus_unsubscribe(struct bus *bus, const char *address, struct bytes prefix)
{
	bus->ops->unsubscribe(bus, address, prefix);
}
