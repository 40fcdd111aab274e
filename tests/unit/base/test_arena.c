#include "common/base/arena.h"

#include <stdint.h>
#include <string.h>

#include "common/base/block.h"
#include "tests/unit/base/unit.h"

static void arena_aligned_zeroed_disjoint(void)
{
	struct arena arena;
	uint8_t *pieces[500];
	arena_init(&arena, 0);
	for (size_t i = 0; i < 500; i++) {
		pieces[i] = arena_alloc(&arena, i);
		CU_ASSERT_EQUAL((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		for (size_t k = 0; k < i; k++)
			if (pieces[i][k])
				CU_FAIL("not zeroed");
		memset(pieces[i], (int)(i & 0xff), i);
	}
	for (size_t i = 0; i < 500; i++)
		for (size_t k = 0; k < i; k++)
			if (pieces[i][k] != (i & 0xff))
				CU_FAIL("overwritten");
	arena_done(&arena);
}

static void arena_zeroes_after_reset(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	memset(arena_alloc(&arena, 3000), 0xff, 3000);
	arena_reset(&arena);
	CU_ASSERT_EQUAL(arena.used, 0);
	const uint8_t *again = arena_alloc(&arena, 3000);
	for (size_t i = 0; i < 3000; i++)
		if (again[i])
			CU_FAIL("not zeroed");
	arena_alloc(&arena, 10 << 20);
	arena_reset(&arena);
	CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 1));
	arena_done(&arena);
}

static void arena_limits_what_peers_ask(void)
{
	struct arena arena;
	arena_init(&arena, 1000);
	CU_ASSERT_PTR_NULL(arena_try_alloc(&arena, SIZE_MAX, 2));
	CU_ASSERT_PTR_NULL(arena_try_alloc(&arena, 1, 1001));
	CU_ASSERT_PTR_NOT_NULL(arena_try_alloc(&arena, 10, 60));
	CU_ASSERT_PTR_NULL(arena_try_alloc(&arena, 10, 60));
	CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 5000)); // our own sizes pass
	arena_done(&arena);
}

static void arena_copies(void)
{
	struct arena arena;
	arena_init(&arena, 0);
	CU_ASSERT_PTR_NULL(arena_copy(&arena, BYTES_NULL).data);
	CU_ASSERT_PTR_NOT_NULL(arena_copy(&arena, bytes_of("")).data);
	CU_ASSERT_TRUE(bytes_equal(arena_copy(&arena, bytes_of("text")), bytes_of("text")));
	CU_ASSERT_STRING_EQUAL(arena_string(&arena, bytes_view("textual", 4)), "text");
	CU_ASSERT_STRING_EQUAL(arena_string(&arena, BYTES_NULL), "");
	arena_done(&arena);
}

static unsigned frees;

static void count_free(struct block *block)
{
	(void)block;
	frees++;
}

static void slices_hold_their_block(void)
{
	uint8_t data[10] = "012345678";
	struct block block = {.data = data, .len = sizeof data, .free = count_free};
	atomic_init(&block.refs, 1);
	struct block *held = &block;
	struct slice whole = slice_take(&held);
	CU_ASSERT_PTR_NULL(held);
	struct slice part = slice_part(whole, 2, 3);
	struct slice again = slice_ref(part);
	CU_ASSERT_TRUE(bytes_equal(slice_bytes(again), bytes_of("234")));
	slice_done(&whole);
	slice_done(&part);
	CU_ASSERT_EQUAL(frees, 0);
	slice_done(&again);
	CU_ASSERT_EQUAL(frees, 1);
	CU_ASSERT_PTR_NULL(again.data);
	slice_done(&again);
	CU_ASSERT_EQUAL(frees, 1);
	struct slice copy = slice_copy(bytes_of("copy"));
	CU_ASSERT_TRUE(bytes_equal(slice_bytes(copy), bytes_of("copy")));
	slice_done(&copy);
}

UNIT_MAIN("arena", {"aligned, zeroed, disjoint", arena_aligned_zeroed_disjoint},
	{"zeroed after reset", arena_zeroes_after_reset}, {"limits what peers ask", arena_limits_what_peers_ask},
	{"copies", arena_copies}, {"slices hold their block", slices_hold_their_block})
