#pragma once
// Names of objects, each kept once however many index entries and cached blocks refer to it. Owner: the reader; a name lives as
// long as its holds, which the index and the cache bound.

#include <stdbool.h>
#include <stdint.h>

#include "common/base/hash_map.h"
#include "common/storage/mixed_object.h"

struct object_name;

struct object_names {
	struct object_name *by_key;
};

struct object_name {
	struct object_names *names;
	uint32_t holds;
	bool mixed; // else a segment
	struct mixed_object_id id;
	uint32_t block_bytes; // how the cache cuts it
	UT_hash_handle hh;
	char key[];
};

enum { MIXED_BLOCK_BYTES = 1 << 20, SEGMENT_BLOCK_BYTES = 4 << 20 };

// One hold each.
struct object_name *object_names_mixed(struct object_names *names, const struct mixed_object_id *id);
struct object_name *object_names_segment(struct object_names *names, const char *key);
struct object_name *object_name_ref(struct object_name *name);
void object_name_unref(struct object_name **name);
