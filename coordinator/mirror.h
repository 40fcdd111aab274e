#pragma once
// The rows under one etcd prefix, kept up to date: a range, then a watch from there on. Owner: whoever reads it. Bound: only
// for prefixes of few small rows (coordinators, one owner key).

#include <stdbool.h>

#include "common/base/env.h"
#include "common/storage/metadata_store.h"

struct mirror;

struct mirror_row {
	struct bytes key; // whole
	struct bytes value;
	int64_t create_revision;
};

struct mirror *mirror_new(const struct env *env, struct metadata_store *store, const char *prefix);
void mirror_free(struct mirror **mirror);
uint64_t mirror_step(struct mirror *mirror);

// Whether the first range has been answered; before that there are no rows.
bool mirror_loaded(const struct mirror *mirror);
// In order of their keys; valid until the next event.
size_t mirror_count(const struct mirror *mirror);
const struct mirror_row *mirror_at(const struct mirror *mirror, size_t index);
// Grows with each change.
uint64_t mirror_version(const struct mirror *mirror);
