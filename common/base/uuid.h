#pragma once
// 128-bit ids: topic ids (Kafka's uuid), writer instances, owner fences.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/prng.h"

struct uuid {
	uint8_t bytes[16];
};

enum { UUID_HEX_SIZE = 33, UUID_BASE64_SIZE = 23 };

struct uuid uuid_random(struct prng *prng); // version 4, never zero
bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *uuid);
struct bytes uuid_view(const struct uuid *uuid);
// false if bytes are not 16 long; ret_uuid is then untouched.
MUST_CHECK bool uuid_from_bytes(struct bytes bytes, struct uuid *ret_uuid);
// Lower-case hex with NUL.
void uuid_hex(const struct uuid *uuid, char text[UUID_HEX_SIZE]);
MUST_CHECK bool uuid_from_hex(struct bytes text, struct uuid *ret_uuid);
// Unpadded URL-safe base64 with NUL, as Kafka prints its uuids.
void uuid_base64(const struct uuid *uuid, char text[UUID_BASE64_SIZE]);
