// Every decoder writes into the caller's buffer piece by piece and stops at its limit: what a packed form claims about its
// plain size is never trusted. On failure the buffer is as long as before.
#include "common/storage/compression.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/check.h"

enum {
	PIECE_BYTES = 64 << 10,
	GZIP_WINDOW = 15 + 16, // zlib.h: 16 more selects the gzip header
	GZIP_LEVEL = 6,
	ZSTD_LEVEL = 3,
	XERIAL_HEADER_BYTES = 16,
	XERIAL_BLOCK_BYTES = 32 << 10, // what SnappyOutputStream takes
};

// snappy-java's SnappyCodec: magic, version 1, compatible from version 1.
static const uint8_t xerial_header[XERIAL_HEADER_BYTES] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
enum { XERIAL_MAGIC_BYTES = 8 };

// Where a streaming decoder writes next. At the limit that is one spare byte: if it gets filled, the plain form is too large;
// if the stream ends without it, it just fits.
struct outlet {
	struct buffer *out;
	uint8_t *at;
	size_t len;
	uint8_t spare;
};

static void outlet_open(struct outlet *outlet)
{
	size_t left = outlet->out->limit - outlet->out->len;
	outlet->len = left < PIECE_BYTES ? left : PIECE_BYTES;
	outlet->at = outlet->len ? buffer_extend(outlet->out, outlet->len) : NULL;
	if (outlet->at)
		return;
	outlet->at = &outlet->spare;
	outlet->len = 1;
}

// written bytes of the piece are kept.
static enum error outlet_close(struct outlet *outlet, size_t written)
{
	if (outlet->at == &outlet->spare)
		return written ? ERROR_TOO_LARGE : ERROR_OK;
	outlet->out->len -= outlet->len - written;
	return ERROR_OK;
}

// Java's GZIPInputStream reads members one after the other, so we do.
static enum error gzip_decode(struct bytes packed, struct buffer *out)
{
	z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.len};
	CHECK(inflateInit2(&stream, GZIP_WINDOW) == Z_OK);
	enum error error = ERROR_OK;
	int status = Z_OK;
	while (!error && (status == Z_OK || (status == Z_STREAM_END && stream.avail_in))) {
		if (status == Z_STREAM_END && inflateReset(&stream) != Z_OK)
			break;
		struct outlet outlet = {.out = out};
		outlet_open(&outlet);
		stream.next_out = outlet.at;
		stream.avail_out = (uInt)outlet.len;
		status = inflate(&stream, Z_NO_FLUSH);
		error = outlet_close(&outlet, outlet.len - stream.avail_out);
	}
	inflateEnd(&stream);
	if (!error && status != Z_STREAM_END)
		error = ERROR_CORRUPT;
	return error;
}

static enum error gzip_encode(struct bytes plain, struct buffer *out)
{
	z_stream stream = {.next_in = (Bytef *)(uintptr_t)plain.data, .avail_in = (uInt)plain.len};
	CHECK(deflateInit2(&stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	size_t bound = deflateBound(&stream, plain.len);
	uint8_t *at = buffer_extend(out, bound);
	if (at) {
		stream.next_out = at;
		stream.avail_out = (uInt)bound;
		CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
		out->len -= stream.avail_out;
	}
	deflateEnd(&stream);
	return at ? ERROR_OK : ERROR_TOO_LARGE;
}

static enum error snappy_decode_block(struct bytes packed, struct buffer *out)
{
	size_t len;
	if (snappy_uncompressed_length((const char *)packed.data, packed.len, &len) != SNAPPY_OK)
		return ERROR_CORRUPT;
	if (!len)
		return packed.len == 1 ? ERROR_OK : ERROR_CORRUPT;
	uint8_t *at = buffer_extend(out, len);
	if (!at)
		return ERROR_TOO_LARGE;
	snappy_status status = snappy_uncompress((const char *)packed.data, packed.len, (char *)at, &len);
	return status == SNAPPY_OK ? ERROR_OK : ERROR_CORRUPT;
}

static enum error snappy_decode(struct bytes packed, struct buffer *out)
{
	if (packed.len < XERIAL_HEADER_BYTES || memcmp(packed.data, xerial_header, XERIAL_MAGIC_BYTES) != 0)
		return snappy_decode_block(packed, out);
	struct reader reader = reader_of(packed);
	(void)reader_bytes(&reader, XERIAL_HEADER_BYTES);
	enum error error = ERROR_OK;
	while (!error && reader_left(&reader)) {
		int32_t len = reader_i32(&reader);
		struct bytes block = len < 0 ? BYTES_NULL : reader_bytes(&reader, (size_t)len);
		error = block.data ? snappy_decode_block(block, out) : ERROR_CORRUPT;
	}
	return error;
}

static enum error snappy_encode(struct bytes plain, struct buffer *out)
{
	buffer_append(out, xerial_header, sizeof xerial_header);
	for (size_t position = 0; position < plain.len && !out->failed; position += XERIAL_BLOCK_BYTES) {
		size_t len = plain.len - position < XERIAL_BLOCK_BYTES ? plain.len - position : XERIAL_BLOCK_BYTES;
		size_t room = snappy_max_compressed_length(len);
		uint8_t *at = buffer_extend(out, 4 + room);
		if (!at)
			break;
		size_t packed = room;
		CHECK(snappy_compress((const char *)plain.data + position, len, (char *)at + 4, &packed) == SNAPPY_OK);
		put_u32(at, (uint32_t)packed);
		out->len -= room - packed;
	}
	return out->failed ? ERROR_TOO_LARGE : ERROR_OK;
}

static enum error lz4_decode(struct bytes packed, struct buffer *out)
{
	LZ4F_dctx *context;
	CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)));
	enum error error = ERROR_OK;
	size_t wanted = 1; // 0 once the frame has ended
	bool stalled = false;
	while (!error && wanted && !stalled) {
		struct outlet outlet = {.out = out};
		outlet_open(&outlet);
		size_t written = outlet.len;
		size_t taken = packed.len;
		wanted = LZ4F_decompress(context, outlet.at, &written, packed.data, &taken, NULL);
		bool failed = LZ4F_isError(wanted) != 0;
		error = outlet_close(&outlet, failed ? 0 : written);
		if (!error && failed)
			error = ERROR_CORRUPT;
		if (failed)
			break;
		packed.data += taken;
		packed.len -= taken;
		stalled = !taken && !written;
	}
	LZ4F_freeDecompressionContext(context);
	if (!error && (wanted || packed.len))
		error = ERROR_CORRUPT;
	return error;
}

static enum error lz4_encode(struct bytes plain, struct buffer *out)
{
	// As Kafka's Java client writes it; its reader refuses linked blocks.
	LZ4F_preferences_t preferences = {
		.frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
	};
	size_t room = LZ4F_compressFrameBound(plain.len, &preferences);
	uint8_t *at = buffer_extend(out, room);
	if (!at)
		return ERROR_TOO_LARGE;
	size_t packed = LZ4F_compressFrame(at, room, plain.data, plain.len, &preferences);
	CHECK(!LZ4F_isError(packed));
	out->len -= room - packed;
	return ERROR_OK;
}

static enum error zstd_decode(struct bytes packed, struct buffer *out)
{
	ZSTD_DStream *stream = ZSTD_createDStream();
	CHECK(stream != NULL);
	ZSTD_inBuffer in = {packed.data, packed.len, 0};
	enum error error = ERROR_OK;
	size_t wanted = 1; // 0 once a frame has ended
	bool stalled = false;
	while (!error && !stalled && (wanted || in.pos < in.size)) {
		struct outlet outlet = {.out = out};
		outlet_open(&outlet);
		ZSTD_outBuffer piece = {outlet.at, outlet.len, 0};
		size_t in_before = in.pos;
		wanted = ZSTD_decompressStream(stream, &piece, &in);
		bool failed = ZSTD_isError(wanted) != 0;
		error = outlet_close(&outlet, failed ? 0 : piece.pos);
		if (!error && failed)
			error = ERROR_CORRUPT;
		stalled = in.pos == in_before && !piece.pos;
	}
	ZSTD_freeDStream(stream);
	if (!error && wanted)
		error = ERROR_CORRUPT;
	return error;
}

static enum error zstd_encode(struct bytes plain, struct buffer *out)
{
	size_t room = ZSTD_compressBound(plain.len);
	uint8_t *at = buffer_extend(out, room);
	if (!at)
		return ERROR_TOO_LARGE;
	size_t packed = ZSTD_compress(at, room, plain.data, plain.len, ZSTD_LEVEL);
	CHECK(!ZSTD_isError(packed));
	out->len -= room - packed;
	return ERROR_OK;
}

static enum error none_code(struct bytes bytes, struct buffer *out)
{
	buffer_bytes(out, bytes);
	return out->failed ? ERROR_TOO_LARGE : ERROR_OK;
}

typedef enum error (*code_fn)(struct bytes in, struct buffer *out);

static const struct {
	code_fn decode;
	code_fn encode;
} codecs[COMPRESSION_COUNT] = {
	[COMPRESSION_NONE] = {none_code, none_code},
	[COMPRESSION_GZIP] = {gzip_decode, gzip_encode},
	[COMPRESSION_SNAPPY] = {snappy_decode, snappy_encode},
	[COMPRESSION_LZ4] = {lz4_decode, lz4_encode},
	[COMPRESSION_ZSTD] = {zstd_decode, zstd_encode},
};

static enum error run(code_fn fn, struct bytes in, struct buffer *out)
{
	if (out->failed)
		return ERROR_TOO_LARGE;
	if (in.len > INT32_MAX)
		return ERROR_TOO_LARGE;
	size_t len_before = out->len;
	enum error error = fn(in, out);
	if (!error)
		return ERROR_OK;
	out->len = len_before;
	out->failed = false;
	return error;
}

enum error compression_decode(enum compression codec, struct bytes packed, struct buffer *out)
{
	return codec < COMPRESSION_COUNT ? run(codecs[codec].decode, packed, out) : ERROR_UNSUPPORTED_COMPRESSION;
}

enum error compression_encode(enum compression codec, struct bytes plain, struct buffer *out)
{
	return codec < COMPRESSION_COUNT ? run(codecs[codec].encode, plain, out) : ERROR_UNSUPPORTED_COMPRESSION;
}
