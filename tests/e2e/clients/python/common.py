"""What every Python client is asked to do, over one small adapter a library. `PROGRAM consume BOOTSTRAP TOPIC COUNT FILE` writes each record
as a line (partition, offset, key, value); `PROGRAM features BOOTSTRAP` tries the rest and reports a line a feature."""

import os
import random
import sys
import threading
import time
import traceback
import uuid

UNIQUE = uuid.uuid4().hex[:8]
PARTITIONS = 4
START = 1_700_000_000_000


class Adapter:
    """One library. `codecs` are those it can compress with; the methods raise what the library raises."""

    codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    idempotent = True
    deletes_groups = True

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def create_topic(self, topic, partitions):
        raise NotImplementedError

    def delete_topic(self, topic):
        raise NotImplementedError

    def topics(self):
        raise NotImplementedError

    def produce(self, topic, messages, codec="none", idempotent=False):
        """messages: [(partition, key, value, headers, timestamp in ms)]; gives their offsets."""
        raise NotImplementedError

    def read(self, topic, partitions, count, seconds):
        """From the earliest offsets, without a group: [(partition, offset, key, value, headers, timestamp)]"""
        raise NotImplementedError

    def watermarks(self, topic, partitions):
        """[(low, high)]"""
        raise NotImplementedError

    def offsets_by_time(self, topic, partitions, timestamp):
        """[offset or None]"""
        raise NotImplementedError

    def member(self, topic, group):
        raise NotImplementedError

    def committed(self, group, topic, partitions):
        """[offset or None]"""
        raise NotImplementedError

    def groups(self):
        raise NotImplementedError

    def delete_group(self, group):
        raise NotImplementedError


class Member(threading.Thread):
    """A member of a group; its thread runs live() until `stopping`. It commits what it read before it ends."""

    def __init__(self):
        super().__init__(daemon=True)
        self.assigned, self.read, self.stopping, self.error = set(), [], threading.Event(), None

    def run(self):
        try:
            self.live()
        except Exception as error:  # noqa: BLE001 the test's thread tells it
            self.error = error
            traceback.print_exc()

    def live(self):
        raise NotImplementedError

    def stop(self):
        self.stopping.set()
        self.join(40)
        assert not self.is_alive(), "a member does not end"
        assert not self.error, f"a member failed: {self.error!r}"


def until(seconds, what, condition):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what()}: not within {seconds} s"
        time.sleep(0.02)  # between two looks, never instead of one


def some_messages(count):
    """Message i: partition i mod 4, second i."""
    numbers = random.Random(1)
    return [(i % PARTITIONS, b"key-%d" % i, numbers.randbytes(i % 900), [("number", b"%d" % i), ("binary", b"\0\xff")], START + i * 1000)
            for i in range(count)]


def round_trip(adapter, topic, **options):
    messages = some_messages(600)
    adapter.create_topic(topic, PARTITIONS)
    offsets = adapter.produce(topic, messages, **options)
    assert offsets == [i // PARTITIONS for i in range(len(messages))], f"acked offsets {offsets[:20]}"
    check_same(messages, adapter.read(topic, PARTITIONS, len(messages), 40))


def check_same(messages, read):
    assert len(read) == len(messages), f"{len(read)} read of {len(messages)}"
    seen = {partition: [] for partition in range(PARTITIONS)}
    for partition, offset, *rest in read:
        assert offset == len(seen[partition]), f"offset {offset} of partition {partition} after {len(seen[partition])} records"
        seen[partition].append(tuple(rest))
    for partition, rows in seen.items():
        sent = [(key, value, headers, timestamp) for p, key, value, headers, timestamp in messages if p == partition]
        for offset, (was, found) in enumerate(zip(sent, rows)):
            assert was == found, f"{partition}/{offset}: sent {was}, read {found}"


def create_topics(adapter):
    topic = f"made-{UNIQUE}"
    adapter.create_topic(topic, 5)
    assert topic in adapter.topics(), "a made topic is not listed"
    try:
        adapter.create_topic(topic, 5)
    except Exception as error:  # noqa: BLE001 each library has its own
        assert "exist" in str(error).lower() or "exist" in type(error).__name__.lower() or "36" in str(error), repr(error)
    else:
        raise AssertionError("the same topic could be made twice")


def delete_topics(adapter):
    adapter.delete_topic(f"made-{UNIQUE}")
    assert f"made-{UNIQUE}" not in adapter.topics(), "the deleted topic is still listed"


def nulls(adapter):
    topic = f"nulls-{UNIQUE}"
    adapter.create_topic(topic, PARTITIONS)
    messages = [(0, None, b"no key", [], START), (0, b"tombstone", None, [], START), (0, b"", b"", [("empty", b"")], START)]
    adapter.produce(topic, messages)
    check_same(messages, adapter.read(topic, PARTITIONS, len(messages), 40))


def watermarks(adapter):
    assert adapter.watermarks(f"produced-none-{UNIQUE}", PARTITIONS) == [(0, 150)] * PARTITIONS


def by_time(adapter):
    topic = f"produced-none-{UNIQUE}"
    for second, wanted in ((0, [0, 0, 0, 0]), (0.001, [1, 0, 0, 0]), (101.5, [26, 26, 25, 25]), (3600, [None] * 4)):
        found = adapter.offsets_by_time(topic, PARTITIONS, START + int(second * 1000))
        assert found == wanted, f"second {second}: {found} instead of {wanted}"


def group_of_two(adapter):
    """Two members share the partitions; one leaves, the other takes all; every record once."""
    topic, group = f"group-{UNIQUE}", f"two-{UNIQUE}"
    adapter.create_topic(topic, PARTITIONS)
    sent = []

    def send(count):
        more = [(i % PARTITIONS, None, b"%d" % (len(sent) + i), [], START) for i in range(count)]
        adapter.produce(topic, more)
        sent.extend(value for _, _, value, _, _ in more)

    members = []

    def start():
        members.append(adapter.member(topic, group))
        members[-1].start()

    def shares():
        broken = [m.error for m in members if m.error]
        assert not broken, f"a member failed: {broken!r}"
        return [len(m.assigned) for m in members if not m.stopping.is_set()]

    def every_record_once():
        read = lambda: [row for m in members for row in m.read]  # noqa: E731
        until(60, lambda: f"{len(read())} of {len(sent)} records by the group", lambda: shares() and len(read()) >= len(sent))
        values = sorted(value for _, _, value in read())
        assert values == sorted(sent), f"{len(values)} records read, {len(set(values))} different, {len(sent)} sent"
        for m in members:
            for partition in range(PARTITIONS):
                offsets = [row[1] for row in m.read if row[0] == partition]
                assert offsets == sorted(offsets), f"partition {partition} was read out of order"

    try:
        start()
        until(60, lambda: f"one member, all partitions: {shares()}", lambda: shares() == [4])
        start()
        until(60, lambda: f"two members, two partitions each: {shares()}", lambda: shares() == [2, 2])
        send(400)
        every_record_once()
        assert all(len(m.read) == 200 for m in members), [len(m.read) for m in members]
        members[0].stop()
        until(60, lambda: f"the other has all: {shares()}", lambda: shares() == [4])
        send(400)
        every_record_once()
    finally:
        for m in members:
            m.stop()


def commits(adapter):
    topic, group = f"group-{UNIQUE}", f"two-{UNIQUE}"
    found = adapter.committed(group, topic, PARTITIONS)
    assert found == [200] * PARTITIONS, f"committed {found}"
    assert adapter.committed(f"nobody-{UNIQUE}", topic, PARTITIONS) == [None] * PARTITIONS, "a group that never was has offsets"
    adapter.produce(topic, [(p, None, b"later", [], START) for p in range(PARTITIONS)])
    again = adapter.member(topic, group)
    again.start()
    try:
        until(60, lambda: f"{again.read}", lambda: again.error or len(again.read) >= PARTITIONS)
    finally:
        again.stop()
    assert sorted(again.read) == [(p, 200, b"later") for p in range(PARTITIONS)], again.read


def groups(adapter):
    group = f"two-{UNIQUE}"
    assert group in adapter.groups(), f"not listed; there is {adapter.groups()}"
    if adapter.deletes_groups:
        adapter.delete_group(group)
        assert group not in adapter.groups(), "the deleted group is still listed"


def features(adapter):
    yield "create topics", lambda: create_topics(adapter)
    yield "delete topics", lambda: delete_topics(adapter)
    for codec in adapter.codecs:
        yield f"produce, {codec}", lambda codec=codec: round_trip(adapter, f"produced-{codec}-{UNIQUE}", codec=codec)
    if adapter.idempotent:
        yield "produce, idempotent", lambda: round_trip(adapter, f"idempotent-{UNIQUE}", idempotent=True)
    yield "null key, null value", lambda: nulls(adapter)
    yield "list offsets", lambda: watermarks(adapter)
    yield "list offsets by time", lambda: by_time(adapter)
    yield "group: join and leave", lambda: group_of_two(adapter)
    yield "group: commits", lambda: commits(adapter)
    yield "groups: list, delete" if adapter.deletes_groups else "groups: list", lambda: groups(adapter)


def main(adapter_class):
    verb, bootstrap, *rest = sys.argv[1:]
    adapter = adapter_class(bootstrap)
    failed = 0
    if verb == "consume":
        topic, count, path = rest
        read = adapter.read(topic, 12, int(count), 240)
        with open(path, "wb") as file:
            file.writelines(b"%d\t%d\t%s\t%s\n" % row[:4] for row in read)
    else:
        for name, try_ in features(adapter):
            try:
                try_()
                result = "ok"
            except Exception as error:  # noqa: BLE001 each library has its own; the table shows it
                failed += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                result = f"FAIL\t{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})".replace("\n", "\\n")
            print(f"feature\t{name}\t{result}", flush=True)
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # a member that a failed feature left must not keep the process
