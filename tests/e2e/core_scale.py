"""Two of each daemon under load while any of them, etcd too, is killed, paused or stopped at random times; then everything heals and
all is read again. Checked is what Jepsen's workload for Kafka checks: nothing acked is lost, nothing of an idempotent producer is
doubled, nobody's records are reordered, an offset has one value for ever, no poll goes back or skips, watermarks and a group's
committed offsets never go back. `core_scale.py [SEED [SECONDS]]` repeats a run's faults."""

import contextlib
import os
import random
import signal
import sys
import threading
import time
import urllib.request

import harness

TOPIC = "scale"
PARTITIONS = 8
CLIENT = {"socket.timeout.ms": 6000, "reconnect.backoff.max.ms": 1000, "topic.metadata.refresh.interval.ms": 3000, "log_level": 2}


class History:
    """All that clients saw. Violations are collected, not raised: they happen in threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.violations = []
        self.values = {}  # (partition, offset): value, by any poll or ack
        self.acked = {}   # value: (partition, offset or -1)
        self.unknown = {}  # value: error
        self.sent = {}    # (producer, partition): [values in the order of sending]

    def violation(self, text):
        with self.lock:
            self.violations.append(text)
        print("VIOLATION", text, flush=True)

    def at(self, partition, offset, value, who):
        with self.lock:
            known = self.values.setdefault((partition, offset), value)
        if known != value:
            self.violation(f"{partition}/{offset} is {known} and, seen by {who}, {value}")

    def high(self):
        """The offset behind the last acked record of each partition."""
        with self.lock:
            ends = {}
            for partition, offset in self.acked.values():
                ends[partition] = max(ends.get(partition, 0), offset + 1)
            return ends


class Worker(threading.Thread):
    """Repeats step() until told to stop."""

    def __init__(self, history, name, pause=0.0):
        super().__init__(daemon=True, name=name)
        self.history, self.pause, self.stopped, self.steps = history, pause, threading.Event(), 0

    def run(self):
        try:
            while not self.stopped.is_set():
                self.step()
                self.steps += 1
                self.stopped.wait(self.pause)
            self.end()
        except Exception as error:  # a dead worker would check nothing
            self.history.violation(f"{self.name} died: {error!r}")

    def end(self):
        pass


class Sender(Worker):
    def __init__(self, history, bootstrap, name, idempotent):
        from confluent_kafka import Producer

        super().__init__(history, name, 0.01)
        settings = dict(CLIENT, **{"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 2, "message.timeout.ms": 120000,
                                   "request.timeout.ms": 5000, "retries": 100000})
        settings.update({"enable.idempotence": True} if idempotent else {"max.in.flight": 1})
        self.producer, self.idempotent = Producer(settings), idempotent
        self.random = random.Random(name)
        self.open = dict.fromkeys(range(PARTITIONS), 0)

    def step(self):
        partition = self.random.randrange(PARTITIONS)
        # The client's max.in.flight is a broker's: across a change of leaders only an idempotent producer keeps the order by itself.
        if len(self.producer) < 2000 and (self.idempotent or not self.open[partition]):
            sent = self.history.sent.setdefault((self.name, partition), [])
            for _ in range(self.random.randrange(1, 5) if self.idempotent else 1):
                self.open[partition] += 1
                value = f"{self.name}:{partition}:{len(sent)}"
                sent.append(value)
                self.producer.produce(TOPIC, value, partition=partition, on_delivery=self.delivered)
        self.producer.poll(0)

    def delivered(self, error, message):
        value = message.value().decode()
        self.open[message.partition()] -= 1
        if error:
            self.history.unknown[value] = str(error)
            return
        offset = message.offset() if message.offset() is not None else -1  # the client may know of the ack by a later one
        with self.history.lock:
            self.history.acked[value] = (message.partition(), offset)
        if offset >= 0:
            self.history.at(message.partition(), offset, value, self.name)

    def end(self):
        self.producer.flush(60)


class Reader(Worker):
    """Reads all partitions from the beginning. Offsets are dense, so each record is the one behind the last."""

    def __init__(self, history, bootstrap, name):
        from confluent_kafka import Consumer, TopicPartition

        super().__init__(history, name)
        self.consumer = Consumer(dict(CLIENT, **{"bootstrap.servers": bootstrap, "group.id": name, "enable.auto.commit": False,
                                                 "auto.offset.reset": "error", "fetch.wait.max.ms": 300}))
        self.consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
        self.next = dict.fromkeys(range(PARTITIONS), 0)

    def step(self):
        for message in self.consumer.consume(500, 0.2):
            if message.error():
                if message.error().name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
                    self.history.violation(f"{self.name}: {message.error()} of partition {message.partition()}")
                continue
            partition, offset = message.partition(), message.offset()
            if offset != self.next[partition]:
                self.history.violation(f"{self.name}: offset {offset} of partition {partition}, expected {self.next[partition]}")
            self.next[partition] = offset + 1
            self.history.at(partition, offset, message.value().decode(), self.name)

    def has(self, ends):
        return all(self.next[partition] >= end for partition, end in ends.items())

    def end(self):
        self.consumer.close()


class Watcher(Worker):
    """Asks for the watermarks of all partitions in turn."""

    def __init__(self, history, bootstrap, name):
        from confluent_kafka import Consumer

        super().__init__(history, name, 0.02)
        self.consumer = Consumer(dict(CLIENT, **{"bootstrap.servers": bootstrap, "group.id": name}))
        self.last = dict.fromkeys(range(PARTITIONS), (0, 0))

    def step(self):
        from confluent_kafka import KafkaException, TopicPartition

        partition = self.steps % PARTITIONS
        try:
            marks = self.consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=2)
        except KafkaException:
            return
        if marks is None:
            return
        low, high = self.last[partition]
        if marks[0] < low or marks[1] < high:
            self.history.violation(f"{self.name}: watermarks of {partition} went from {low}, {high} to {marks[0]}, {marks[1]}")
        self.last[partition] = marks


class Committer(Worker):
    """Commits growing offsets for a group and asks for them; another one of the same group only asks."""

    def __init__(self, history, bootstrap, name, commits):
        from confluent_kafka import Consumer

        super().__init__(history, name, 0.05)
        self.consumer = Consumer(dict(CLIENT, **{"bootstrap.servers": bootstrap, "group.id": "committers", "enable.auto.commit": False}))
        self.commits = commits
        self.tried, self.committed = 0, dict.fromkeys(range(PARTITIONS), -1)

    def step(self):
        from confluent_kafka import KafkaException, TopicPartition

        if self.commits:
            self.tried += 1
            try:
                done = self.consumer.commit(offsets=[TopicPartition(TOPIC, p, self.tried) for p in range(PARTITIONS)], asynchronous=False)
                for row in done:
                    if not row.error:
                        self.committed[row.partition] = row.offset
            except KafkaException:
                pass
        try:
            rows = self.consumer.committed([TopicPartition(TOPIC, p) for p in range(PARTITIONS)], timeout=3)
        except KafkaException:
            return
        for row in rows:
            if row.error:
                continue
            if max(row.offset, -1) < self.committed[row.partition]:
                self.history.violation(f"{self.name}: partition {row.partition} is committed at {row.offset}, was {self.committed[row.partition]}")
            self.committed[row.partition] = max(row.offset, self.committed[row.partition])


class Nemesis:
    """Kills, pauses and stops processes at random times. The supervisor starts again what ended."""

    def __init__(self, cluster, seed):
        self.cluster, self.random, self.paused = cluster, random.Random(seed), {}
        self.counts = {}

    def resume(self, now):
        for name, (pid, until) in list(self.paused.items()):
            if now >= until:
                del self.paused[name]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def step(self):
        name = self.random.choice(self.cluster.names())
        act = self.random.choice(("kill", "pause", "stop"))
        length = self.random.uniform(3, 8)
        pid = self.cluster.pid(name)
        if not pid or name in self.paused or (name == "etcd-0" and act != "kill"):
            return
        number = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP, "stop": signal.SIGTERM}[act]
        print(f"{time.strftime('%X')} {act} {name}" + (f" for {length:.1f} s" if act == "pause" else ""), flush=True)
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        if act == "pause":
            self.paused[name] = (pid, time.monotonic() + length)
        self.counts[act] = self.counts.get(act, 0) + 1

    def run(self, seconds):
        end = time.monotonic() + seconds
        following = time.monotonic() + 2
        while time.monotonic() < end:
            self.resume(time.monotonic())
            if time.monotonic() >= following:
                self.step()
                following = time.monotonic() + self.random.uniform(0.2, 3)
            time.sleep(0.05)
        self.resume(float("inf"))


def healthy(cluster, name):
    if not cluster.pid(name):
        return False
    if not name.startswith("etcd"):
        return cluster.ready(name)
    try:
        with urllib.request.urlopen(f"http://{cluster.etcd}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def check(history, idempotent):
    """All of the log is in history.values now."""
    places = {}
    for (partition, offset), value in sorted(history.values.items()):
        places.setdefault(value, []).append((partition, offset))
    lost = [value for value in history.acked if value not in places]
    if lost:
        history.violation(f"{len(lost)} acked and never read: {lost[:10]}")
    for value, where in places.items():
        if len(where) > 1 and value.split(":")[0] in idempotent:
            history.violation(f"{value} is at {where}")
    for (producer, partition), values in history.sent.items():
        last, before = -1, None
        for value in values:
            # A send of unknown outcome may come late; with idempotence not even that.
            if value not in places or (value not in history.acked and producer not in idempotent):
                continue
            where, offset = places[value][0]
            if where != partition:
                history.violation(f"{value} is in partition {where}")
            if offset < last:
                history.violation(f"{value} at {where}/{offset} comes before {before} at {last}")
            last, before = offset, value


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 32)
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    print(f"seed {seed}", flush=True)
    history = History()
    with harness.Cluster("--frontends", "2", "--writers", "2", "--readers", "2", "--coordinators", "2") as cluster:
        bootstrap = cluster.bootstrap
        harness.create_topic(bootstrap, TOPIC, PARTITIONS)
        senders = [Sender(history, bootstrap, f"exact{i}", True) for i in range(2)]
        senders += [Sender(history, bootstrap, f"plain{i}", False) for i in range(2)]
        readers = [Reader(history, bootstrap, f"reader{i}") for i in range(2)]
        others = [Watcher(history, bootstrap, f"watcher{i}") for i in range(2)]
        others += [Committer(history, bootstrap, f"committer{i}", i == 0) for i in range(2)]
        for worker in senders + readers + others:
            worker.start()
        nemesis = Nemesis(cluster, seed)
        nemesis.run(seconds)
        healed = time.monotonic()
        for name in cluster.names():
            harness.until(30, f"{name} is back", lambda: healthy(cluster, name))
        print(f"healed after {time.monotonic() - healed:.1f} s", flush=True)
        for worker in senders:
            worker.stopped.set()
        for worker in senders:
            worker.join(60)
        acked_at = time.monotonic()
        print(f"all sent after {acked_at - healed:.1f} s", flush=True)
        readers += [Reader(history, address, f"final-{address}") for address in bootstrap.split(",")]
        for worker in readers[2:]:
            worker.start()
        ends = history.high()
        try:
            harness.until(30, "all is read", lambda: all(reader.has(ends) for reader in readers))
        except AssertionError:
            for reader in readers:
                behind = {p: (reader.next[p], end) for p, end in ends.items() if reader.next[p] < end}
                if behind:
                    history.violation(f"{reader.name} does not get on: {behind}")
        for worker in readers + others:
            worker.stopped.set()
        for worker in readers + others:
            worker.join(20)
        sent = sum(len(values) for values in history.sent.values())
        for value, error in history.unknown.items():
            if value.startswith("exact"):
                history.violation(f"{value}, idempotent: {error}")
                break
        check(history, {"exact0", "exact1"})
        silent = [worker.name for worker in others + readers if not worker.steps]
        assert not silent, f"{silent} did nothing"
        print(f"seed {seed}: {nemesis.counts}; {sent} sent, {len(history.acked)} acked, {len(history.unknown)} unknown, "
              f"{len(history.values)} in the log; committed {others[2].committed[0]} of {others[2].tried}, {len(history.violations)} violations")
        assert not history.violations, history.violations[:5]
        assert len(history.acked) + len(history.unknown) == sent, "a send has no outcome"
        assert len(history.acked) > sent / 2, "hardly anything was acked"


if __name__ == "__main__":
    sys.exit(main())
