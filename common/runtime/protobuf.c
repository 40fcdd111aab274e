#include "common/runtime/protobuf.h"

static void *protobuf_alloc(void *arena, size_t size)
{
	return arena_try_alloc(arena, 1, size);
}

static void protobuf_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer; // goes with the arena
}

void *protobuf_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes packed, struct arena *arena)
{
	static const uint8_t empty[1];
	ProtobufCAllocator allocator = {protobuf_alloc, protobuf_free, arena};
	return protobuf_c_message_unpack(descriptor, &allocator, packed.len, packed.data ? packed.data : empty);
}

void protobuf_pack(const ProtobufCMessage *message, struct buffer *buffer)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *at = len ? buffer_extend(buffer, len) : NULL;
	if (at)
		protobuf_c_message_pack(message, at);
}

struct bytes protobuf_view(ProtobufCBinaryData data)
{
	return (struct bytes){data.data, data.len};
}

ProtobufCBinaryData protobuf_data(struct bytes bytes)
{
	union {
		const uint8_t *constant;
		uint8_t *mutable;
	} pointer = {bytes.data};
	return (ProtobufCBinaryData){bytes.len, pointer.mutable};
}

ProtobufCBinaryData protobuf_uuid(const struct uuid *uuid)
{
	return protobuf_data(uuid_view(uuid));
}

bool protobuf_get_uuid(ProtobufCBinaryData data, struct uuid *ret_uuid)
{
	return uuid_from_bytes(protobuf_view(data), ret_uuid);
}
