#pragma once
// Hash maps are uthash (Debian uthash-dev): intrusive, and iterated in order of insertion, which keeps replay and simulation
// deterministic. This header is the only one to include it, so that running out of memory is CHECKed like everywhere.
// Owner: whoever owns the elements. Bound: the owner's limits.

#include "common/base/check.h"

#define uthash_fatal(message) check_failed(__FILE__, __LINE__, message)
#pragma GCC diagnostic push
#include <uthash.h>
#pragma GCC diagnostic pop
