#include "reader/object_name.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

static struct object_name *object_names_get(struct object_names *names, const char *key)
{
	struct object_name *name;
	size_t len = strlen(key);
	HASH_FIND(hh, names->by_key, key, len, name);
	if (name)
		return object_name_ref(name);
	name = memory_zalloc(sizeof *name + len + 1);
	name->names = names;
	name->holds = 1;
	name->block_bytes = SEGMENT_BLOCK_BYTES;
	memcpy(name->key, key, len + 1);
	HASH_ADD_KEYPTR(hh, names->by_key, name->key, len, name);
	return name;
}

struct object_name *object_names_mixed(struct object_names *names, const struct mixed_object_id *id)
{
	char key[MIXED_OBJECT_KEY_SIZE];
	mixed_object_key(id, key);
	struct object_name *name = object_names_get(names, key);
	name->mixed = true;
	name->id = *id;
	name->block_bytes = MIXED_BLOCK_BYTES;
	return name;
}

struct object_name *object_names_segment(struct object_names *names, const char *key)
{
	return object_names_get(names, key);
}

struct object_name *object_name_ref(struct object_name *name)
{
	name->holds++;
	return name;
}

void object_name_unref(struct object_name **name)
{
	struct object_name *held = *name;
	*name = NULL;
	if (!held || --held->holds > 0)
		return;
	HASH_DEL(held->names->by_key, held);
	free(held);
}
