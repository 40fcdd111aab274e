#pragma once
// protobuf-c with our lifetimes: messages unpack into an arena and go with it.

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/uuid.h"

// NULL if the bytes are not such a message. From a sibling that is a bug; from etcd or the store it is data.
void *protobuf_unpack(const ProtobufCMessageDescriptor *descriptor, struct bytes packed, struct arena *arena);
void protobuf_pack(const ProtobufCMessage *message, struct buffer *buffer);

struct bytes protobuf_view(ProtobufCBinaryData data);
// Borrows; protobuf-c's struct is not const, but packing only reads.
ProtobufCBinaryData protobuf_data(struct bytes bytes);
ProtobufCBinaryData protobuf_uuid(const struct uuid *uuid);
// false if it is not 16 bytes.
MUST_CHECK bool protobuf_get_uuid(ProtobufCBinaryData data, struct uuid *ret_uuid);
