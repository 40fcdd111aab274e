#!/usr/bin/python3
"""Record batches as kafka-python builds them, with what was put in: the oracle of record_batch_test.

Needs Debian's python3-kafka, python3-lz4, python3-snappy and python3-zstandard:
  vectors/generate_batches.py > vectors/record_batches.txt
Lines: batch NAME HEX | header ATTRIBUTES LAST_DELTA BASE_TIMESTAMP MAX_TIMESTAMP PRODUCER EPOCH SEQUENCE COUNT |
record DELTA TIMESTAMP KEY VALUE HEADERS (hex, "-" for null, "." for empty,
"a*N" for N times the letter a)
"""
import kafka.record.default_records as records
import snappy

def hex_of(data):
    if data is None:
        return "-"
    if len(data) > 1000:
        assert set(data) == {ord("a")}
        return "a*%d" % len(data)
    return data.hex() or "."


def plain_rows(count):
    return [(1700000000000 + i * 3, b"key-%d" % i, b"value %d " % i * 12, []) for i in range(count)]


def odd_rows():
    return [
        (1700000000500, None, b"no key " * 20, []),
        (1700000000100, b"", b"", [("h", b"1"), ("empty", b""), ("null", None)]),
        (1699999999000, b"tombstone", None, []),
        (1700000000900, None, None, [("\u00e9", b"\x00\xff")]),
    ]


def big_rows():
    return [(1700000000000 + i, b"k%d" % (i * i), b"a" * (2000 + i), []) for i in range(60)]


def emit(name, codec, rows, producer=(-1, -1, -1), transactional=False):
    builder = records.DefaultRecordBatchBuilder(2, codec, transactional, *producer, 1 << 20)
    for offset, (timestamp, key, value, headers) in enumerate(rows):
        assert builder.append(offset, timestamp, key, value, headers)
    data = bytes(builder.build())
    assert data[22] & 7 == codec, "it leaves out compression that does not pay"
    attributes = codec | (0x10 if transactional else 0)
    times = [row[0] for row in rows]
    print("batch", name, data.hex())
    print("header", attributes, len(rows) - 1, times[0], max(times), *producer, len(rows))
    for offset, (timestamp, key, value, headers) in enumerate(rows):
        print("record", offset, timestamp, hex_of(key), hex_of(value), len(headers))


print("# Made by generate_batches.py (kafka-python); do not edit.")
for codec, codec_name in enumerate(["none", "gzip", "snappy", "lz4", "zstd"]):
    emit(codec_name + "_one", codec, plain_rows(1))
    emit(codec_name + "_plain", codec, plain_rows(12))
    emit(codec_name + "_odd", codec, odd_rows())
    emit(codec_name + "_idempotent", codec, plain_rows(3), (1007, 2, 2147483646))
    emit(codec_name + "_transactional", codec, plain_rows(2), (1 << 40, 0, 0), True)
    if codec:
        emit(codec_name + "_big", codec, big_rows())
records.snappy_encode = snappy.compress  # without the framing of snappy-java
emit("snappy_raw", 2, plain_rows(12))
