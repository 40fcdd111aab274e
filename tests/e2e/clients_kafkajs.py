"""kafkajs, the client of most Node programs, on a cluster of two of each daemon: it reads 60,000 and more real records back, and tries its
producer, groups and admin client."""

import os
import sys

import harness
from clients import features, install

CLIENT = "kafkajs 2.2.4"
PROGRAM = harness.ROOT / "tests" / "e2e" / "clients" / "kafkajs.js"

FEATURES = [
    "create topics", "create partitions", "describe configs", "describe cluster", "delete topics", "topic made by producing",
    "produce, none", "produce, gzip", "produce, acks=1", "produce, acks=0", "produce, idempotent", "null key, null value",
    "list offsets", "list offsets by time", "group: join and leave", "group: commits, alter offsets", "groups: list, describe, delete",
]


def read_back(cluster, records, environment):
    out = cluster.data / "kafkajs.txt"
    features.run(["node", PROGRAM, "consume", cluster.bootstrap, "packages", len(records), out], 300, env=environment)
    harness.check_read_back(records, harness.rows_of(out.read_text()))
    return f"{len(records)} records"


def main():
    environment = dict(os.environ, **install.node())
    records = harness.packages()
    table = features.Table("kafkajs")
    with harness.Cluster("--frontends", "2", "--writers", "2", "--readers", "2", "--coordinators", "2") as cluster:
        path = cluster.data / "packages.txt"
        harness.write_lines(path, records)
        harness.create_topic(cluster.bootstrap, "packages", 12)
        harness.kcat_produce(cluster.bootstrap, "packages", path)
        table.check(CLIENT, "read back a whole topic", read_back, cluster, records, environment)
        table.program(CLIENT, FEATURES, ["node", PROGRAM, "features", cluster.bootstrap], 900, env=environment)
        table.finish()


if __name__ == "__main__":
    sys.exit(main())
