// The mixed object's header, trailer and key, pinned as bytes: objects of today must be readable for ever.
#include "common/storage/mixed_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "test_support.h"

static struct mixed_object_header some_header(void)
{
	struct mixed_object_header header = {
		.level = 1, .incarnation = 0x0102030405060708, .id = {.sequence = 0x1122, .created_ms = 1700000000123}};
	for (size_t i = 0; i < 16; i++)
		header.id.writer.bytes[i] = (uint8_t)(0xf0 + i);
	return header;
}

static void test_header(void)
{
	struct arena arena;
	struct buffer out;
	arena_init(&arena, 0);
	buffer_init(&out, 4096);
	struct mixed_object_header header = some_header();
	buffer_append(&out, "before", 6);
	mixed_object_header_encode(&header, &out);
	// The last four bytes: CRC32C by kafka-python's crc32c over the 60 before.
	struct bytes expected = test_unhex(&arena, "574549524d495831"
						   "0001"
						   "0001"
						   "00000040"
						   "0102030405060708"
						   "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
						   "0000000000001122"
						   "0000018bcfe5687b"
						   "00000000"
						   "2b161fa0");
	CU_ASSERT_EQUAL(out.len, 6 + MIXED_OBJECT_HEADER_BYTES);
	struct bytes bytes = {out.data + 6, MIXED_OBJECT_HEADER_BYTES};
	CU_ASSERT(bytes_equal(bytes, expected));
	struct mixed_object_header decoded;
	CU_ASSERT_EQUAL(mixed_object_header_decode(bytes, &decoded), ERROR_OK);
	CU_ASSERT_EQUAL(decoded.level, 1);
	CU_ASSERT_EQUAL(decoded.incarnation, header.incarnation);
	CU_ASSERT(uuid_equal(&decoded.id.writer, &header.id.writer));
	CU_ASSERT_EQUAL(decoded.id.sequence, 0x1122);
	CU_ASSERT_EQUAL(decoded.id.created_ms, 1700000000123);
	buffer_done(&out);
	arena_done(&arena);
}

static void test_header_damage(void)
{
	struct buffer out;
	buffer_init(&out, 4096);
	struct mixed_object_header header = some_header(), decoded;
	mixed_object_header_encode(&header, &out);
	for (size_t at = 0; at < out.len; at++) {
		out.data[at] ^= 1;
		CU_ASSERT_EQUAL(mixed_object_header_decode(buffer_view(&out), &decoded), ERROR_CORRUPT);
		out.data[at] ^= 1;
	}
	CU_ASSERT_EQUAL(mixed_object_header_decode((struct bytes){out.data, 63}, &decoded), ERROR_CORRUPT);
	out.data[9] = 2; // a version of tomorrow, whole
	put_u32(out.data + 60, crc32c(0, out.data, 60));
	CU_ASSERT_EQUAL(mixed_object_header_decode(buffer_view(&out), &decoded), ERROR_UNSUPPORTED_FORMAT);
	buffer_done(&out);
}

static const struct mixed_object_section_row rows[2] = {
	{.shard = 0, .len = 50, .position = 1000, .crc = 0xdeadbeef},
	{.shard = 7, .len = 60, .position = 1050, .crc = 0x01020304},
};
enum { TABLE_POSITION = 1110, OBJECT_BYTES = 1110 + 40 + 32 };

static void test_trailer(void)
{
	struct arena arena;
	struct buffer out;
	arena_init(&arena, 0);
	buffer_init(&out, 4096);
	mixed_object_trailer_encode(rows, 2, TABLE_POSITION, &out);
	struct bytes expected = test_unhex(&arena, "00000000"
						   "00000032"
						   "00000000000003e8"
						   "deadbeef"
						   "00000007"
						   "0000003c"
						   "000000000000041a"
						   "01020304"
						   "0000000000000456"
						   "00000002"
						   "92567537"
						   "000000000000049e"
						   "57454952454e4431");
	CU_ASSERT(bytes_equal(buffer_view(&out), expected));
	struct mixed_object_section_row *decoded;
	uint32_t count;
	uint64_t position = 0;
	CU_ASSERT_EQUAL(
		mixed_object_trailer_decode(buffer_view(&out), OBJECT_BYTES, &arena, &decoded, &count, &position), ERROR_OK);
	CU_ASSERT_EQUAL(count, 2);
	CU_ASSERT_EQUAL(position, TABLE_POSITION);
	CU_ASSERT(decoded[1].shard == 7 && decoded[1].len == 60 && decoded[1].position == 1050 && decoded[1].crc == 0x01020304);

	position = 0;
	struct bytes tail = {out.data + 1, out.len - 1};
	CU_ASSERT_EQUAL(mixed_object_trailer_decode(tail, OBJECT_BYTES, &arena, &decoded, &count, &position), ERROR_TOO_LARGE);
	CU_ASSERT_EQUAL(position, TABLE_POSITION);
	tail = (struct bytes){out.data + 41, out.len - 41};
	CU_ASSERT_EQUAL(mixed_object_trailer_decode(tail, OBJECT_BYTES, &arena, &decoded, &count, &position), ERROR_CORRUPT);
	CU_ASSERT_EQUAL(mixed_object_trailer_decode(buffer_view(&out), OBJECT_BYTES + 1, &arena, &decoded, &count, &position),
		ERROR_CORRUPT);
	buffer_done(&out);
	arena_done(&arena);
}

static void test_trailer_damage(void)
{
	struct arena arena;
	struct buffer out;
	arena_init(&arena, 0);
	buffer_init(&out, 4096);
	mixed_object_trailer_encode(rows, 2, TABLE_POSITION, &out);
	struct mixed_object_section_row *decoded;
	uint32_t count;
	uint64_t position;
	for (size_t at = 0; at < out.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			out.data[at] ^= (uint8_t)(1 << bit);
			CU_ASSERT_EQUAL(mixed_object_trailer_decode(
						buffer_view(&out), OBJECT_BYTES, &arena, &decoded, &count, &position),
				ERROR_CORRUPT);
			out.data[at] ^= (uint8_t)(1 << bit);
		}
	}
	buffer_done(&out);
	// A section that reaches into the table, under a right CRC.
	const struct mixed_object_section_row lying = {.shard = 1, .len = 61, .position = 1050};
	buffer_init(&out, 4096);
	mixed_object_trailer_encode(&lying, 1, TABLE_POSITION, &out);
	CU_ASSERT_EQUAL(mixed_object_trailer_decode(buffer_view(&out), OBJECT_BYTES - 20, &arena, &decoded, &count, &position),
		ERROR_CORRUPT);
	buffer_done(&out);
	arena_done(&arena);
}

static void test_key(void)
{
	struct mixed_object_header header = some_header();
	char key[MIXED_OBJECT_KEY_SIZE];
	mixed_object_key(&header.id, key);
	CU_ASSERT_STRING_EQUAL(key, "mixed/2023111422/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122");
	struct mixed_object_id id;
	CU_ASSERT_EQUAL(mixed_object_key_parse(key, &id), ERROR_OK);
	CU_ASSERT(uuid_equal(&id.writer, &header.id.writer));
	CU_ASSERT_EQUAL(id.sequence, 0x1122);
	CU_ASSERT_EQUAL(id.created_ms, 1699999200000); // 2023-11-14 22:00:00 UTC
	header.id = (struct mixed_object_id){.sequence = UINT64_MAX};
	mixed_object_key(&header.id, key);
	CU_ASSERT_STRING_EQUAL(key, "mixed/1970010100/00000000000000000000000000000000-ffffffffffffffff");
	CU_ASSERT_EQUAL(mixed_object_key_parse(key, &id), ERROR_OK);
	CU_ASSERT_EQUAL(id.sequence, UINT64_MAX);
}

static void test_no_keys(void)
{
	static const char *const keys[] = {
		"",
		"mixed/",
		"mixed/2023111422/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-000000000000112",
		"mixed/2023111422/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-00000000000011221",
		"mixed/2023111424/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
		"mixed/2023023001/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
		"mixed/2023111422/F0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
		"mixed/2023111422/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff_0000000000001122",
		"mixed/2023111422-f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
		"Mixed/2023111422/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
		"mixed/ 023111422/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
		"mixed/1969123123/f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff-0000000000001122",
	};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		struct mixed_object_id id;
		CU_ASSERT_EQUAL(mixed_object_key_parse(keys[i], &id), ERROR_MALFORMED);
	}
}

static const struct test_case cases[] = {
	{"header", test_header},
	{"damaged headers", test_header_damage},
	{"trailer", test_trailer},
	{"damaged trailers", test_trailer_damage},
	{"keys", test_key},
	{"no keys", test_no_keys},
};

int main(void)
{
	return TEST_MAIN("mixed objects", cases);
}
