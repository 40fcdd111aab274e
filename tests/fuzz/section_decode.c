// A section as the bucket or a writer may hand it over; what decodes must come back the same when encoded.
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/storage/mixed_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_again(const struct section *section)
{
	struct buffer first, second;
	struct arena arena;
	struct section again;
	buffer_init(&first, 64 << 20);
	buffer_init(&second, 64 << 20);
	arena_init(&arena, 64 << 20);
	section_encode(section, &first);
	CHECK(section_decode(buffer_view(&first), &arena, &again) == ERROR_OK);
	section_encode(&again, &second);
	CHECK(bytes_equal(buffer_view(&first), buffer_view(&second)));
	arena_done(&arena);
	buffer_done(&first);
	buffer_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct arena arena;
	struct section section;
	arena_init(&arena, 1 << 20);
	if (section_decode((struct bytes){data, len}, &arena, &section) == ERROR_OK)
		check_again(&section);
	CHECK(arena.used <= 1 << 20);
	arena_done(&arena);
	return 0;
}
