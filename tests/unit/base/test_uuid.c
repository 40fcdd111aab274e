#include "common/base/uuid.h"

#include "tests/unit/base/unit.h"

static struct uuid counting(void)
{
	struct uuid uuid;
	for (unsigned i = 0; i < 16; i++)
		uuid.bytes[i] = (uint8_t)i;
	return uuid;
}

static void hex(void)
{
	struct uuid uuid = counting(), back = {0};
	char text[UUID_HEX_SIZE];
	uuid_hex(&uuid, text);
	CU_ASSERT_STRING_EQUAL(text, "000102030405060708090a0b0c0d0e0f");
	CU_ASSERT_TRUE(uuid_from_hex(bytes_of(text), &back));
	CU_ASSERT_TRUE(uuid_equal(&uuid, &back));
	CU_ASSERT_FALSE(uuid_from_hex(bytes_of("000102030405060708090a0b0c0d0e0"), &back));
	CU_ASSERT_FALSE(uuid_from_hex(bytes_of("000102030405060708090a0b0c0d0e0g"), &back));
	CU_ASSERT_FALSE(uuid_from_hex(bytes_of("000102030405060708090A0B0C0D0E0F"), &back));
	CU_ASSERT_TRUE(uuid_equal(&uuid, &back));
}

// Kafka's Uuid.toString(): base64.urlsafe_b64encode without padding; the values are Python's.
static void base64(void)
{
	struct uuid uuid = counting();
	char text[UUID_BASE64_SIZE];
	uuid_base64(&uuid, text);
	CU_ASSERT_STRING_EQUAL(text, "AAECAwQFBgcICQoLDA0ODw");
	for (unsigned i = 0; i < 16; i++)
		uuid.bytes[i] = 0xff;
	uuid_base64(&uuid, text);
	CU_ASSERT_STRING_EQUAL(text, "_____________________w");
}

static void random_is_version_4(void)
{
	struct prng prng;
	prng_init(&prng, 3);
	struct uuid last = {0};
	CU_ASSERT_TRUE(uuid_is_zero(&last));
	for (unsigned i = 0; i < 1000; i++) {
		struct uuid uuid = uuid_random(&prng);
		CU_ASSERT_EQUAL(uuid.bytes[6] >> 4, 4);
		CU_ASSERT_EQUAL(uuid.bytes[8] >> 6, 2);
		CU_ASSERT_FALSE(uuid_is_zero(&uuid));
		CU_ASSERT_FALSE(uuid_equal(&uuid, &last));
		last = uuid;
	}
}

static void from_bytes_wants_sixteen(void)
{
	struct uuid uuid = counting(), back = {0};
	CU_ASSERT_FALSE(uuid_from_bytes(bytes_view(uuid.bytes, 15), &back));
	CU_ASSERT_FALSE(uuid_from_bytes(BYTES_NULL, &back));
	CU_ASSERT_TRUE(uuid_is_zero(&back));
	CU_ASSERT_TRUE(uuid_from_bytes(uuid_view(&uuid), &back));
	CU_ASSERT_TRUE(uuid_equal(&uuid, &back));
}

UNIT_MAIN("uuid", {"hex", hex}, {"base64", base64}, {"random is version 4", random_is_version_4},
	{"from bytes wants sixteen", from_bytes_wants_sixteen})
