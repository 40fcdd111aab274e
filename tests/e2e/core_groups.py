"""A consumer group through its life at default settings: one member, a second joins, one leaves, one crashes; every record is
consumed, offsets go on where they were, and a restart of the coordinator causes no rebalance."""

import json
import signal
import subprocess
import sys
import time

import harness

MEMBER = r"""
import json, signal, sys
from confluent_kafka import Consumer
bootstrap, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "life", "auto.offset.reset": "earliest",
                     "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "auto.commit.interval.ms": 200})
def tell(event, **more):
    print(json.dumps(dict(event=event, **more)), flush=True)
consumer.subscribe([topic], on_assign=lambda c, p: tell("assigned", partitions=[x.partition for x in p]),
                   on_revoke=lambda c, p: tell("revoked", partitions=[x.partition for x in p]))
running = True
def stop(*_):
    global running
    running = False
signal.signal(signal.SIGTERM, stop)
while running:
    message = consumer.poll(0.1)
    if message is None:
        continue
    if message.error():
        tell("error", text=str(message.error()))
    else:
        tell("record", partition=message.partition(), offset=message.offset(), value=message.value().decode())
consumer.close()
tell("closed")
"""


class Member:
    def __init__(self, cluster, topic):
        self.process = subprocess.Popen([sys.executable, "-c", MEMBER, cluster.bootstrap, topic], stdout=subprocess.PIPE)
        self.events, self.partial = [], b""
        import os
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self):
        data = self.process.stdout.read() or b""
        *lines, self.partial = (self.partial + data).split(b"\n")
        self.events.extend(json.loads(line) for line in lines)
        return self.events

    def partitions(self):
        """As of the last assignment."""
        owned = set()
        for event in self.read():
            if event["event"] == "assigned":
                owned = set(event["partitions"])
            elif event["event"] == "revoked":
                owned -= set(event["partitions"])
        return owned

    def assignments(self):
        return sum(event["event"] == "assigned" for event in self.read())

    def records(self):
        return [(e["partition"], e["offset"], e["value"]) for e in self.read() if e["event"] == "record"]

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(30)
        self.read()


def produce(cluster, topic, first, count):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number in range(first, first + count):
        producer.produce(topic, str(number), partition=number % 6)
    assert producer.flush(30) == 0


def main():
    with harness.Cluster() as cluster:
        topic = "events"
        harness.create_topic(cluster.bootstrap, topic, 6)
        members = []

        def consumed():
            return {value for member in members for _, _, value in member.records()}

        def all_consumed(count):
            harness.until(60, f"{count} records consumed", lambda: len(consumed()) >= count)

        members.append(Member(cluster, topic))
        produce(cluster, topic, 0, 600)
        all_consumed(600)
        assert members[0].partitions() == set(range(6))

        members.append(Member(cluster, topic))
        harness.until(60, "two members share", lambda: len(members[0].partitions()) == len(members[1].partitions()) == 3)
        assert members[0].partitions() | members[1].partitions() == set(range(6))
        produce(cluster, topic, 600, 600)
        all_consumed(1200)
        print("joined: the second member got its share")

        before = [member.assignments() for member in members]
        cluster.kill("coordinator-0")
        produce(cluster, topic, 1200, 600)
        all_consumed(1800)
        settled = time.monotonic() + 8  # longer than the session timeout: the members must still be members
        harness.until(20, "a session later", lambda: time.monotonic() > settled)
        assert [member.assignments() for member in members] == before, "the coordinator's restart caused a rebalance"
        print("the coordinator was killed: no rebalance")

        members[0].end(signal.SIGTERM)
        harness.until(60, "the rest takes over", lambda: members[1].partitions() == set(range(6)))
        produce(cluster, topic, 1800, 600)
        all_consumed(2400)
        print("left: the other member took over")

        members.append(Member(cluster, topic))
        harness.until(60, "two members share", lambda: len(members[1].partitions()) == len(members[2].partitions()) == 3)
        members[1].end(signal.SIGKILL)
        harness.until(60, "the crashed one's share moves", lambda: members[2].partitions() == set(range(6)))
        produce(cluster, topic, 2400, 600)
        all_consumed(3000)
        members[2].end(signal.SIGTERM)
        print("crashed: its share moved after the session timeout")

        # Clean leaves commit: nothing is read twice but around the crash of member 1.
        clean = [record for member in (members[0], members[2]) for record in member.records()]
        assert len(clean) == len(set(clean)), "a record was read twice by members that left cleanly"
        errors = [e for member in members for e in member.events if e["event"] == "error"]
        assert not errors, errors[:3]


if __name__ == "__main__":
    sys.exit(main())
