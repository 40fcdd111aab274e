#pragma once
// CRC32C (Castagnoli), the checksum of Kafka's record batches and of our object formats. ISA-L for long runs, the CPU's crc32
// instruction for short ones, chosen once at start.

#include <stddef.h>
#include <stdint.h>

// The CRC of data continued from crc; start with 0.
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
