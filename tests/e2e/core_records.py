"""The main job on real input: 60,000 and more real records by kcat with keys into 12 partitions; read back by kcat, by a group of
three python consumers, and by python3-kafka: every record once, order per partition kept, byte-identical. What the store and
etcd hold afterwards is as designed: mixed objects only, few of them; owners, log and topics."""

import multiprocessing
import subprocess
import sys

import harness


def group_member(bootstrap, topic, results, stop):
    from confluent_kafka import Consumer

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "three", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    owned = 0
    while not stop.is_set():
        batch = []
        for message in consumer.consume(1000, timeout=0.2):
            assert not message.error(), message.error()
            batch.append((message.partition(), message.offset(), message.key().decode(), message.value().decode()))
        owned += len(batch)
        if batch:
            results.put(batch)
    consumer.close()
    results.put(owned)


def read_by_group(bootstrap, topic, expected):
    results, stop = multiprocessing.Queue(), multiprocessing.Event()
    members = [multiprocessing.Process(target=group_member, args=(bootstrap, topic, results, stop)) for _ in range(3)]
    for member in members:
        member.start()
    read, shares = [], []
    while len(read) < expected:
        read.extend(results.get(timeout=120))
    stop.set()
    while len(shares) < 3:
        item = results.get(timeout=60)
        if isinstance(item, int):
            shares.append(item)
        else:
            read.extend(item)
    for member in members:
        member.join(60)
        assert member.exitcode == 0, f"a consumer ended with {member.exitcode}"
    assert all(shares), f"a member of the group got nothing: {shares}"
    return read


def read_by_kafka_python(bootstrap, topic, expected):
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest",
                             consumer_timeout_ms=30000)
    read = []
    for message in consumer:
        read.append((message.partition, message.offset, message.key.decode(), message.value.decode()))
        if len(read) == expected:
            break
    consumer.close()
    return read


def check_etcd(cluster):
    keys = subprocess.run(["etcdctl", "--endpoints", cluster.etcd, "get", "--prefix", "--keys-only", "/weir"],
                          check=True, capture_output=True, text=True, env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}).stdout
    for part in ("/owner", "/log/", "/weir/topics/packages", "/weir/cluster"):
        assert part in keys, f"etcd holds no {part}:\n{keys[:2000]}"


def main():
    records = harness.packages()
    with harness.Cluster(rebalance_delay_ms=1000) as cluster:
        path = cluster.data / "packages.txt"
        harness.write_lines(path, records)
        harness.create_topic(cluster.bootstrap, "packages", 12)
        puts_before = cluster.store_requests("put")
        harness.kcat_produce(cluster.bootstrap, "packages", path)
        puts = cluster.store_requests("put") - puts_before

        read = harness.kcat_read(cluster.bootstrap, "packages")
        harness.check_read_back(records, read)
        assert {row[0] for row in read} == set(range(12)), "a partition stayed empty"
        print(f"kcat: {len(read)} records, {puts} PUTs")

        harness.check_read_back(records, read_by_group(cluster.bootstrap, "packages", len(records)))
        print("a group of three: every record once")
        harness.check_read_back(records, read_by_kafka_python(cluster.bootstrap, "packages", len(records)))
        print("python3-kafka: every record once")

        check_etcd(cluster)
        objects = [p.relative_to(cluster.store).as_posix() for p in cluster.store.rglob("*") if p.is_file()]
        assert any(o.startswith("mixed/") for o in objects)
        strange = [o for o in objects if not o.startswith(("mixed/", "meta/"))]
        assert not strange, f"not only mixed objects: {strange[:5]}"
        print(f"{sum(o.startswith('mixed/') for o in objects)} mixed objects for 12 partitions")


if __name__ == "__main__":
    sys.exit(main())
