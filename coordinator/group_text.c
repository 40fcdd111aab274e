#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/group.h"

struct bytes group_text_copy(struct bytes text)
{
	if (!text.data)
		return BYTES_NULL;
	uint8_t *copy = memory_alloc(text.len + 1);
	memcpy(copy, text.data, text.len);
	copy[text.len] = 0;
	return bytes_view(copy, text.len);
}

void group_text_set(struct bytes *text, struct bytes value)
{
	struct bytes copy = group_text_copy(value); // first: value may be a view of text
	group_text_drop(text);
	*text = copy;
}

void group_text_drop(struct bytes *text)
{
	free((void *)text->data);
	*text = BYTES_NULL;
}

char *group_text_c(struct bytes text)
{
	static char empty[1];
	return text.data ? (char *)text.data : empty;
}

struct bytes group_text_or_empty(struct bytes text)
{
	return text.data ? text : bytes_of("");
}

bool group_text_valid(struct bytes text)
{
	return !text.data || !memchr(text.data, 0, text.len);
}
