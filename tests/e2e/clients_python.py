"""The clients of Python programs: confluent-kafka (librdkafka) of today and of Debian, kafka-python and aiokafka; each reads 60,000 and more
real records back, and tries its producer with every codec, a group of two, offsets and the admin client."""

import sys

import harness
from clients import features, install

PROGRAMS = harness.ROOT / "tests" / "e2e" / "clients" / "python"
REQUIREMENTS = ["confluent-kafka==2.16.1", "kafka-python==3.0.12", "aiokafka==0.14.0", "cramjam==2.14.0", "lz4==4.4.5", "zstandard==0.25.0",
                "python-snappy==0.7.3"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
DELETES = "groups: list, delete"
FEATURES = ["create topics", "delete topics", *(f"produce, {codec}" for codec in CODECS), "produce, idempotent", "null key, null value",
            "list offsets", "list offsets by time", "group: join and leave", "group: commits"]


def read_back(cluster, records, program, interpreter):
    out = cluster.data / "read-back.txt"
    features.run([interpreter, PROGRAMS / program, "consume", cluster.bootstrap, "packages", len(records), out], 300)
    harness.check_read_back(records, harness.rows_of(out.read_text()))
    return f"{len(records)} records"


def main():
    fresh, debian = install.python(*REQUIREMENTS), "/usr/bin/python3"
    records = harness.packages()
    table = features.Table("python")
    with harness.Cluster("--frontends", "2", "--writers", "2", "--readers", "2", "--coordinators", "2") as cluster:
        path = cluster.data / "packages.txt"
        harness.write_lines(path, records)
        harness.create_topic(cluster.bootstrap, "packages", 12)
        harness.kcat_produce(cluster.bootstrap, "packages", path)
        for client, program, interpreter, last in (
                ("confluent-kafka 2.16.1", "confluent.py", fresh, DELETES),
                ("confluent-kafka of Debian", "confluent.py", debian, "groups: list"),
                ("kafka-python 3.0.12", "kafka_python.py", fresh, DELETES),
                ("aiokafka 0.14.0", "aio.py", fresh, "groups: list")):
            table.check(client, "read back a whole topic", read_back, cluster, records, program, interpreter)
            table.program(client, [*FEATURES, last], [interpreter, PROGRAMS / program, "features", cluster.bootstrap], 600)
        table.finish()


if __name__ == "__main__":
    sys.exit(main())
