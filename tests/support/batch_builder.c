#include "tests/support/batch_builder.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/crc32c.h"

static int64_t plan_delta(const struct batch_plan *plan, uint32_t record)
{
	return plan->timestamp_deltas ? plan->timestamp_deltas[record] : 0;
}

static void put_record(struct buffer *out, const struct batch_plan *plan, uint32_t record)
{
	struct buffer body;
	buffer_init(&body, SIZE_MAX);
	buffer_u8(&body, 0);
	buffer_varint(&body, plan_delta(plan, record));
	buffer_varint(&body, record);
	buffer_varint(&body, -1);
	buffer_varint(&body, plan->value_bytes);
	if (plan->value_bytes)
		memset(buffer_extend(&body, plan->value_bytes), plan->fill, plan->value_bytes);
	buffer_varint(&body, 0);
	buffer_varint(out, (int64_t)body.len);
	buffer_bytes(out, buffer_view(&body));
	buffer_done(&body);
}

struct slice batch_build(const struct batch_plan *plan)
{
	struct buffer out;
	int64_t max_delta = plan_delta(plan, 0);
	buffer_init(&out, SIZE_MAX);
	for (uint32_t i = 0; i < plan->records; i++)
		max_delta = plan_delta(plan, i) > max_delta ? plan_delta(plan, i) : max_delta;
	buffer_i64(&out, 0);
	buffer_i32(&out, 0);
	buffer_i32(&out, -1);
	buffer_i8(&out, 2);
	buffer_u32(&out, 0);
	buffer_i16(&out, 0);
	buffer_i32(&out, (int32_t)plan->records - 1);
	buffer_i64(&out, plan->base_timestamp);
	buffer_i64(&out, plan->base_timestamp + max_delta);
	buffer_i64(&out, plan->producer_id);
	buffer_i16(&out, plan->producer_id < 0 ? -1 : plan->producer_epoch);
	buffer_i32(&out, plan->producer_id < 0 ? -1 : plan->base_sequence);
	buffer_i32(&out, (int32_t)plan->records);
	for (uint32_t i = 0; i < plan->records; i++)
		put_record(&out, plan, i);
	put_u32(out.data + 8, (uint32_t)out.len - 12);
	put_u32(out.data + 17, crc32c(0, out.data + 21, out.len - 21));
	struct slice slice = slice_copy(buffer_view(&out));
	buffer_done(&out);
	return slice;
}

struct slice batch_expected(struct bytes sent, int64_t base_offset, int32_t leader_epoch)
{
	struct slice copy = slice_copy(sent);
	put_u64(copy.block->data, (uint64_t)base_offset);
	put_u32(copy.block->data + 12, (uint32_t)leader_epoch);
	return copy;
}
