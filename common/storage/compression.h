#pragma once
// Kafka's codecs by their well-kept libraries: zlib (gzip), snappy (raw and the xerial framing Java uses), lz4 (frame format),
// zstd. Used where records must be looked into (time lookup, LogAppendTime never), not on the produce path.

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/storage/record_batch.h"

// Appends the plain bytes to out; its limit bounds what a hostile batch can unfold to (ERROR_TOO_LARGE).
MUST_CHECK enum error compression_decode(enum compression codec, struct bytes packed, struct buffer *out);
// Appends a packed form.
MUST_CHECK enum error compression_encode(enum compression codec, struct bytes plain, struct buffer *out);
