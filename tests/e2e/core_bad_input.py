"""Bad input from clients, the command line, the environment, the store and etcd: each gets Kafka's error code, or a closed
connection, or one clear line and a non-zero exit; and no other connection is harmed."""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

import harness

BIN = harness.ROOT / "build" / "release" / "bin"


class Wire:
    """A raw connection to a frontend."""

    def __init__(self, cluster):
        host, port = cluster.bootstrap.split(",")[0].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)

    def send(self, data):
        self.socket.sendall(data)

    def request(self, key, version, body, correlation=7, flexible=False):
        header = struct.pack(">hhi", key, version, correlation) + struct.pack(">h", 3) + b"bad" + (b"\0" if flexible else b"")
        self.send(struct.pack(">i", len(header + body)) + header + body)

    def response(self):
        """The body behind the correlation id; None if the connection was closed instead."""
        try:
            size = self._exactly(4)
            return self._exactly(struct.unpack(">i", size)[0])[4:] if size else None
        except ConnectionError:
            return None

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                return b"" if not data else data
            data += part
        return data

    def closed(self):
        return self.response() is None


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def batch(payload=b"value", magic=2, count=None):
    from kafka.record.default_records import DefaultRecordBatchBuilder
    from kafka.record.legacy_records import LegacyRecordBatchBuilder

    if magic < 2:
        builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
        builder.append(0, 1700000000000, b"key", payload)
        return bytes(builder.build())
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1700000000000, b"key", payload, [])
    data = bytearray(builder.build())
    if count is not None:
        import binascii  # noqa: F401  (crc32c comes from the kafka module)
        from kafka.record.util import calc_crc32c

        data[57:61] = struct.pack(">i", count)
        data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return bytes(data)


def produce_body(topic, records, partition=0, acks=-1):
    return (struct.pack(">h", -1) + struct.pack(">hi", acks, 10000) + struct.pack(">i", 1) + text(topic) + struct.pack(">i", 1) +
            struct.pack(">i", partition) + struct.pack(">i", len(records)) + records)


def produce_error(cluster, topic, records, partition=0):
    wire = Wire(cluster)
    wire.request(0, 3, produce_body(topic, records, partition))
    body = wire.response()
    assert body is not None, "the connection was closed instead of an answer"
    at = 4 + 2 + len(topic) + 4 + 4
    return struct.unpack(">h", body[at:at + 2])[0]


def check_frames(cluster):
    for name, frame in {
        "negative length": struct.pack(">i", -1),
        "zero length": struct.pack(">i", 0),
        "shorter than a header": struct.pack(">i", 4) + b"\0\x12\0\0",
        "over the limit": struct.pack(">i", 2_000_000_000) + b"\0\0\0\x09\0\0\0\x01",
        "unknown API": struct.pack(">ihhi", 10, 999, 0, 1) + struct.pack(">h", -1),
        "unknown version": struct.pack(">ihhi", 10, 3, 99, 1) + struct.pack(">h", -1),
        "garbage behind a good header": struct.pack(">ihhi", 14, 3, 1, 1) + struct.pack(">h", -1) + b"\x7f\xff\xff\xff",
        "an HTTP client": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    }.items():
        wire = Wire(cluster)
        wire.send(frame)
        try:
            assert wire.closed(), f"{name}: answered instead of closed"
        except TimeoutError:
            raise AssertionError(f"{name}: the connection stays open") from None
    half = Wire(cluster)
    half.send(struct.pack(">i", 1000) + b"\0\0\0\x09")  # and never goes on: must harm nobody
    wire = Wire(cluster)
    wire.request(18, 99, b"", flexible=True)
    body = wire.response()
    assert body and struct.unpack(">h", body[:2])[0] == 35, "ApiVersions of an unknown version: UNSUPPORTED_VERSION in v0"
    return half


def check_batches(cluster):
    good = batch()
    broken = bytearray(good)
    broken[-1] ^= 1
    cases = [
        ("wrong CRC", bytes(broken), (2,)),
        ("truncated", good[:-3], (2, 87)),
        ("less than a header", good[:40], (2, 87)),
        ("lying count", batch(count=1000), (2, 87)),
        ("no batch at all", b"", (2, 42, 87)),
        ("two batches", good + good, (2, 87)),
        ("magic 0", batch(magic=0), (2, 43, 87)),
        ("magic 1", batch(magic=1), (2, 43, 87)),
        ("too large", batch(os.urandom(1 << 20) + b"x" * 200), (10,)),
    ]
    for name, records, codes in cases:
        code = produce_error(cluster, "bad", records)
        assert code in codes, f"{name}: error {code}, expected one of {codes}"
    assert produce_error(cluster, "nowhere", good) == 3, "unknown topic"
    assert produce_error(cluster, "bad", good, partition=99) == 3, "unknown partition"
    assert produce_error(cluster, "bad", good) == 0
    rows = harness.kcat_read(cluster.bootstrap, "bad")
    assert [row[3] for row in rows] == ["value"], f"a refused batch is visible: {rows}"


def check_names(cluster):
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})

    def create_error(topic):
        try:
            list(admin.create_topics([topic]).values())[0].result(20)
        except KafkaException as error:
            return error.args[0].code()
        return 0

    for name in ("with space", "a/b", "..", "x" * 250, "ümlaut"):
        assert create_error(NewTopic(name, 1, 1)) == 17, f"topic name {name!r}"
    assert create_error(NewTopic("bad", 1, 1)) == 36, "exists already"
    assert create_error(NewTopic("odd", 1, 1, config={"no.such.config": "1"})) == 40, "unknown config"
    assert create_error(NewTopic("odd", 1, 1, config={"retention.ms": "soon"})) == 40, "config of a wrong type"
    assert create_error(NewTopic("odd", 0, 1)) == 37, "no partitions"


def starts(arguments, environment=None, timeout=30):
    done = subprocess.run([str(part) for part in arguments], capture_output=True, text=True, timeout=timeout,
                          env=dict(os.environ, **(environment or {})))
    return done.returncode, done.stderr


def check_start(cluster):
    free = ["--admin", "127.0.0.1:0", "--coordinators", "ipc:///nonexistent/none.sock"]
    with tempfile.TemporaryDirectory() as temp:
        bind = ["--bind", f"ipc://{temp}/x.sock"]
        blocked = pathlib.Path(temp) / "blocked"
        blocked.write_text("a file where a directory should be")
        cases = [
            ("unknown flag", [BIN / "weir-writer", "--bogus", "1"], {}, "bogus"),
            ("no value", [BIN / "weir-reader", *bind, *free, "--cache-bytes"], {}, "cache-bytes"),
            ("not a number", [BIN / "weir-writer", *bind, *free, "--put-rate", "many"], {}, "put-rate"),
            ("out of range", [BIN / "weir-writer", *bind, *free, "--put-rate", "-5"], {}, "put-rate"),
            ("unknown environment", [BIN / "weir-writer", *bind, *free], {"WEIR_WRITER_PUT_RAT": "5"}, "WEIR_WRITER_PUT_RAT"),
            ("bad environment value", [BIN / "weir-writer", *bind, *free], {"WEIR_WRITER_PUT_RATE": "x"}, "PUT_RATE"),
            ("unknown store", [BIN / "weir-writer", *bind, *free, "--store", "ftp://x"], {}, "ftp"),
            ("unwritable store", [BIN / "weir-writer", *bind, *free, "--store", f"file://{blocked}/store"], {}, "blocked"),
            ("taken port", [BIN / "weir-frontend", *free, "--kafka", cluster.bootstrap.split(",")[0]], {}, "frontend"),
            ("bad address", [BIN / "weir-frontend", *free, "--kafka", "nowhere"], {}, "kafka"),
            ("no coordinators", [BIN / "weir-reader", *bind, "--store", f"file://{temp}/store"], {}, "coordinators"),
            ("empty coordinators", [BIN / "weir-reader", *bind, "--store", f"file://{temp}/store", "--coordinators", ","], {},
             "coordinators"),
            ("unreachable etcd", [BIN / "weir-coordinator", *bind, "--feed-bind", f"ipc://{temp}/f.sock", *free[:2], "--etcd",
                                  "127.0.0.1:1", "--start-timeout", "2s", "--store", f"file://{temp}/store"], {}, "etcd"),
        ]
        for name, arguments, environment, names in cases:
            code, errors = starts(arguments, environment)
            assert code not in (0, -6, -11), f"{name}: exit {code}\n{errors}"
            last = [line for line in errors.splitlines() if names in line]
            assert last, f"{name}: no line names {names!r}:\n{errors}"
    for role in ("frontend", "writer", "reader", "coordinator"):
        done = subprocess.run([BIN / f"weir-{role}", "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and f"WEIR_{role.upper()}_" in done.stdout and not done.stderr, f"{role} --help"


def main():
    with harness.Cluster() as cluster:
        harness.create_topic(cluster.bootstrap, "bad", 1)
        bystander = Wire(cluster)
        half = check_frames(cluster)
        check_batches(cluster)
        check_names(cluster)
        check_start(cluster)
        bystander.request(18, 0, b"")
        assert bystander.response()[:2] == b"\0\0", "another connection was harmed"
        half.socket.close()
        for name in cluster.names():
            assert "event=restarted" not in (cluster.data / "log" / f"{name}.log").read_text(), f"{name} had to restart"
        print("bad input is refused, nobody else is harmed")


if __name__ == "__main__":
    sys.exit(main())
