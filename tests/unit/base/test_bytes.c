#include "common/base/bytes.h"

#include <string.h>

#include "tests/unit/base/unit.h"

static void reader_takes_big_endian(void)
{
	static const uint8_t data[] = {
		0x01, 0x02, 0x03, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0};
	struct reader reader = reader_of(bytes_view(data, sizeof data));
	CU_ASSERT_EQUAL(reader_u8(&reader), 1);
	CU_ASSERT_EQUAL(reader_u16(&reader), 0x0203);
	CU_ASSERT_EQUAL(reader_i16(&reader), -2);
	CU_ASSERT_EQUAL(reader_i32(&reader), -3);
	CU_ASSERT_EQUAL(reader_u64(&reader), 256);
	CU_ASSERT_EQUAL(reader_left(&reader), 8);
	CU_ASSERT_EQUAL(reader_f64(&reader), 1.5);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
}

static void reader_failure_sticks(void)
{
	static const uint8_t data[] = {1, 2, 3};
	struct reader reader = reader_of(bytes_view(data, sizeof data));
	CU_ASSERT_EQUAL(reader_u32(&reader), 0);
	CU_ASSERT_TRUE(reader.failed);
	CU_ASSERT_EQUAL(reader_u8(&reader), 0);
	CU_ASSERT_PTR_NULL(reader_bytes(&reader, 1).data);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_MALFORMED);
}

static void reader_refuses_left_over(void)
{
	static const uint8_t data[] = {1, 2};
	struct reader reader = reader_of(bytes_view(data, sizeof data));
	reader_u8(&reader);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_MALFORMED);
	reader_u8(&reader);
	CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
}

static void reader_bytes_are_views(void)
{
	static const uint8_t data[] = "abcdef";
	struct reader reader = reader_of(bytes_view(data, 6));
	struct bytes part = reader_bytes(&reader, 4);
	CU_ASSERT_PTR_EQUAL(part.data, data);
	CU_ASSERT_EQUAL(part.len, 4);
	CU_ASSERT_EQUAL(reader_bytes(&reader, SIZE_MAX).len, 0);
	CU_ASSERT_TRUE(reader.failed);
}

// Encodings from the protobuf documentation ("Encoding", varints and zig-zag).
static const struct {
	uint64_t value;
	size_t len;
	uint8_t packed[10];
} uvarints[] = {
	{0, 1, {0}},
	{1, 1, {1}},
	{127, 1, {0x7f}},
	{128, 2, {0x80, 0x01}},
	{150, 2, {0x96, 0x01}},
	{300, 2, {0xac, 0x02}},
	{UINT32_MAX, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
	{UINT64_MAX, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
};

static void uvarint_vectors(void)
{
	for (size_t i = 0; i < sizeof uvarints / sizeof *uvarints; i++) {
		struct buffer buffer;
		struct bytes packed = bytes_view(uvarints[i].packed, uvarints[i].len);
		buffer_init(&buffer, 64);
		buffer_uvarint(&buffer, uvarints[i].value);
		CU_ASSERT_TRUE(bytes_equal(buffer_view(&buffer), packed));
		struct reader reader = reader_of(packed);
		CU_ASSERT_EQUAL(reader_uvarint64(&reader), uvarints[i].value);
		CU_ASSERT_EQUAL(reader_finished(&reader), ERROR_OK);
		reader = reader_of(packed);
		uint32_t narrow = reader_uvarint32(&reader);
		CU_ASSERT_EQUAL(reader.failed, uvarints[i].value > UINT32_MAX);
		CU_ASSERT_EQUAL(narrow, uvarints[i].value > UINT32_MAX ? 0 : uvarints[i].value);
		buffer_done(&buffer);
	}
}

static void varint_zigzag(void)
{
	static const struct {
		int64_t value;
		uint64_t zigzag;
	} rows[] = {{0, 0}, {-1, 1}, {1, 2}, {-2, 3}, {INT32_MAX, 4294967294}, {INT32_MIN, 4294967295},
		{INT64_MAX, UINT64_MAX - 1}, {INT64_MIN, UINT64_MAX}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buffer buffer;
		buffer_init(&buffer, 64);
		buffer_varint(&buffer, rows[i].value);
		struct reader reader = reader_of(buffer_view(&buffer));
		CU_ASSERT_EQUAL(reader_uvarint64(&reader), rows[i].zigzag);
		reader = reader_of(buffer_view(&buffer));
		CU_ASSERT_EQUAL(reader_varint64(&reader), rows[i].value);
		reader = reader_of(buffer_view(&buffer));
		int32_t narrow = reader_varint32(&reader);
		if (rows[i].value >= INT32_MIN && rows[i].value <= INT32_MAX)
			CU_ASSERT_EQUAL(narrow, rows[i].value);
		buffer_done(&buffer);
	}
}

static void varint_refuses_overlong(void)
{
	static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
	static const uint8_t wide32[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
	static const uint8_t wide64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
	static const uint8_t cut[] = {0x80};
	struct reader reader = reader_of(bytes_view(endless, sizeof endless));
	reader_uvarint64(&reader);
	CU_ASSERT_TRUE(reader.failed);
	reader = reader_of(bytes_view(wide32, sizeof wide32));
	CU_ASSERT_EQUAL(reader_uvarint32(&reader), 0);
	CU_ASSERT_TRUE(reader.failed);
	reader = reader_of(bytes_view(wide64, sizeof wide64));
	CU_ASSERT_EQUAL(reader_uvarint64(&reader), 0);
	CU_ASSERT_TRUE(reader.failed);
	reader = reader_of(bytes_view(cut, sizeof cut));
	CU_ASSERT_EQUAL(reader_uvarint32(&reader), 0);
	CU_ASSERT_TRUE(reader.failed);
}

static void buffer_stops_at_limit(void)
{
	struct buffer buffer;
	buffer_init(&buffer, 1000);
	for (unsigned i = 0; i < 250; i++)
		buffer_u32(&buffer, i);
	CU_ASSERT_FALSE(buffer.failed);
	CU_ASSERT_EQUAL(buffer.len, 1000);
	buffer_u8(&buffer, 1);
	CU_ASSERT_TRUE(buffer.failed);
	CU_ASSERT_EQUAL(buffer.len, 1000);
	CU_ASSERT_EQUAL(get_u32(buffer.data + 996), 249);
	buffer_clear(&buffer);
	CU_ASSERT_FALSE(buffer.failed);
	CU_ASSERT_PTR_NULL(buffer_extend(&buffer, 1001));
	CU_ASSERT_TRUE(buffer.failed);
	buffer_done(&buffer);
}

static void bytes_order(void)
{
	CU_ASSERT_TRUE(bytes_compare(bytes_of("a"), bytes_of("b")) < 0);
	CU_ASSERT_TRUE(bytes_compare(bytes_of("ab"), bytes_of("a")) > 0);
	CU_ASSERT_EQUAL(bytes_compare(bytes_of(""), BYTES_NULL), 0);
	CU_ASSERT_EQUAL(bytes_compare(bytes_of("same"), bytes_of("same")), 0);
	CU_ASSERT_TRUE(bytes_compare(bytes_view("\xff", 1), bytes_view("\x01", 1)) > 0);
	CU_ASSERT_TRUE(bytes_equal(BYTES_NULL, bytes_of("")));
	CU_ASSERT_FALSE(bytes_equal(bytes_of("a"), bytes_of("b")));
}

UNIT_MAIN("bytes", {"reader takes big-endian", reader_takes_big_endian}, {"reader's failure sticks", reader_failure_sticks},
	{"reader refuses what is left over", reader_refuses_left_over}, {"bytes are views", reader_bytes_are_views},
	{"uvarint vectors", uvarint_vectors}, {"varint zig-zag", varint_zigzag},
	{"varint refuses overlong", varint_refuses_overlong}, {"buffer stops at its limit", buffer_stops_at_limit},
	{"order", bytes_order})
