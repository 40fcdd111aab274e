#include "common/base/uuid.h"

#include <string.h>

struct uuid uuid_random(struct prng *prng)
{
	struct uuid uuid;
	prng_fill(prng, uuid.bytes, sizeof uuid.bytes);
	uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
	uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
	return uuid;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool uuid_is_zero(const struct uuid *uuid)
{
	static const struct uuid zero;
	return uuid_equal(uuid, &zero);
}

struct bytes uuid_view(const struct uuid *uuid)
{
	return bytes_view(uuid->bytes, sizeof uuid->bytes);
}

bool uuid_from_bytes(struct bytes bytes, struct uuid *ret_uuid)
{
	if (bytes.len != sizeof ret_uuid->bytes)
		return false;
	memcpy(ret_uuid->bytes, bytes.data, sizeof ret_uuid->bytes);
	return true;
}

void uuid_hex(const struct uuid *uuid, char text[UUID_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0; i < 16; i++) {
		text[2 * i] = digits[uuid->bytes[i] >> 4];
		text[2 * i + 1] = digits[uuid->bytes[i] & 15];
	}
	text[32] = '\0';
}

static int hex_digit(uint8_t digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

bool uuid_from_hex(struct bytes text, struct uuid *ret_uuid)
{
	struct uuid uuid;
	if (text.len != 32)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		int high = hex_digit(text.data[2 * i]);
		int low = hex_digit(text.data[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		uuid.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret_uuid = uuid;
	return true;
}

void uuid_base64(const struct uuid *uuid, char text[UUID_BASE64_SIZE])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned bits = 0;
	uint32_t pending = 0;
	char *at = text;
	for (unsigned i = 0; i < 16; i++) {
		pending = pending << 8 | uuid->bytes[i];
		for (bits += 8; bits >= 6; bits -= 6)
			*at++ = digits[(pending >> (bits - 6)) & 63];
	}
	*at++ = digits[(pending << (6 - bits)) & 63];
	*at = '\0';
}
