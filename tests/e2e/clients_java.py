"""Kafka's own Java client and console tools, the newest and the last of the 3 series: the console tools, the admin client, a default
producer while daemons are killed, a consumer group whose members come, go and crash."""

import json
import os
import signal
import subprocess
import sys
import threading

import harness
from clients import features, install

VERSIONS = ["4.3.1", "3.9.2"]
JAVA = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
PARTITIONS = 12

ADMIN_FEATURES = [
    "create topics", "describe topics", "create partitions", "describe configs", "describe cluster", "produce, idempotent",
    "list offsets", "list offsets by time", "list offsets, max timestamp", "group: describe", "group: commits, alter offsets",
    "groups: list, describe, delete", "delete topics",
]


class Program:
    """One of our Java programs: what it says is gathered line by line, it is told things by standard input, and it ends with the block."""

    def __init__(self, class_path, name, arguments, errors):
        self.name, self.said, self.errors = name, [], errors
        with open(errors, "w") as stderr:
            self.process = subprocess.Popen([*JAVA, "-cp", class_path, *map(str, arguments)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self.listener.join(10)

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def last(self, word):
        """What followed this word when it was said last, or None."""
        for line in reversed(self.said):
            if line.partition(" ")[0] == word:
                return line.partition(" ")[2]
        return None

    def ended(self):
        return self.process.poll() is not None

    def check_alive(self):
        assert not self.ended(), f"{self.name} ended with {self.process.returncode}; it said {self.said[-5:]}; {self.end_of_errors()}"

    def check_ends(self, seconds):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end; it said {self.said[-5:]}; {self.end_of_errors()}") from None
        self.listener.join(10)
        assert code == 0, f"{self.name} ended with {code}; it said {self.said[-5:]}; {self.end_of_errors()}"

    def end_of_errors(self):
        return self.errors.read_text(errors="replace")[-1500:]


# --- console tools ---


class Tools:
    def __init__(self, class_path, bootstrap):
        self.class_path, self.bootstrap = class_path, bootstrap
        self.formatter = "--property" if "java-3" in class_path else "--formatter-property"

    def run(self, tool, *arguments, timeout=120):
        command = [*JAVA, "-cp", self.class_path, f"org.apache.kafka.tools.{tool}", "--bootstrap-server", self.bootstrap, *map(str, arguments)]
        return features.run(command, timeout)

    def topics(self, *arguments):
        return self.run("TopicCommand", *arguments)

    def groups(self, *arguments):
        return self.run("consumer.group.ConsumerGroupCommand", *arguments)

    def console_consumer(self, topic, count, *arguments, timeout=300):
        output = self.run("consumer.ConsoleConsumer", "--topic", topic, "--from-beginning", "--max-messages", count, "--timeout-ms", 60000,
                          *(word for name in ("key", "partition", "offset") for word in (self.formatter, f"print.{name}=true")),
                          *arguments, timeout=timeout)
        return harness.rows_of(output.replace("\nPartition:", "\n").removeprefix("Partition:").replace("\tOffset:", "\t"))


def read_back(tools, records):
    harness.check_read_back(records, tools.console_consumer("packages", len(records)))
    return f"{len(records)} records"


def topics_tool(tools, topic):
    tools.topics("--create", "--topic", topic, "--partitions", 3, "--config", "retention.ms=7200000")
    assert topic in tools.topics("--list").split()
    described = tools.topics("--describe", "--topic", topic)
    for part in ("PartitionCount: 3", "retention.ms=7200000"):
        assert part in described, f"no {part} in:\n{described}"
    assert described.count("Leader: none") == 0 and described.count("Leader: ") == 3, described
    tools.topics("--alter", "--topic", topic, "--partitions", 5)
    assert "PartitionCount: 5" in tools.topics("--describe", "--topic", topic)
    tools.topics("--delete", "--topic", topic)
    assert topic not in tools.topics("--list").split()


def producer_perf(tools, topic):
    harness.create_topic(tools.bootstrap, topic, 4)
    output = features.run([*JAVA, "-cp", tools.class_path, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records",
                           "20000", "--record-size", "200", "--throughput", "-1", "--producer-props",
                           f"bootstrap.servers={tools.bootstrap}", "compression.type=lz4"], 180)
    summary = output.strip().splitlines()[-1]
    assert summary.startswith("20000 records sent"), output
    return summary


def get_offsets(tools, topic):
    rows = [line.split(":") for line in tools.run("GetOffsetShell", "--topic", topic).split()]
    assert len(rows) == 4 and sum(int(row[2]) for row in rows) == 20000, rows


def consumer_perf(tools, topic):
    output = tools.run("ConsumerPerformance", "--topic", topic, "--messages", 20000, "--timeout", 60000, "--hide-header")
    assert int(output.strip().splitlines()[-1].split(",")[4]) >= 20000, output


def groups_tool(tools, topic):
    """The members' view of a group by the tool: described, reset, deleted."""
    group = f"{topic}-group"
    assert len(tools.console_consumer(topic, 20000, "--group", group)) == 20000
    assert group in tools.groups("--list").split()
    rows = described(tools, group)
    assert sum(int(row["LOG-END-OFFSET"]) for row in rows) == 20000 and all(row["LAG"] == "0" for row in rows), rows
    tools.groups("--group", group, "--topic", topic, "--reset-offsets", "--to-offset", 11, "--execute")
    assert all(row["CURRENT-OFFSET"] == "11" for row in described(tools, group)), described(tools, group)
    assert "Empty" in tools.groups("--describe", "--group", group, "--state")
    tools.groups("--delete", "--group", group)
    assert group not in tools.groups("--list").split()


def described(tools, group):
    """`kafka-consumer-groups --describe` as [{column: value}]."""
    lines = [line.split() for line in tools.groups("--describe", "--group", group).splitlines() if line.strip()]
    heads = next(i for i, line in enumerate(lines) if line[0] == "GROUP")
    return [dict(zip(lines[heads], line)) for line in lines[heads + 1:]]


# --- a producer with Kafka's defaults, while daemons are killed ---


def numbered(records, count):
    """So many records out of the real ones, numbered through."""
    more = []
    for number in range(count):
        key, value = records[number % len(records)]
        more.append((key, json.dumps(dict(json.loads(value), number=number))))
    return more


def check_acks(path, records, read):
    """What the producer was told is what is read: one ack a record, and at the told offset is that record."""
    acks = [tuple(map(int, line.split("\t"))) for line in path.read_text().splitlines()]
    assert len(acks) == len(records), f"{len(acks)} acks for {len(records)} records"
    where = {(partition, offset): harness.number_of(value) for partition, offset, _, value in read}
    for number, partition, offset in acks:
        if offset >= 0:  # a duplicate whose first ack was lost may be acked without one
            assert where.get((partition, offset)) == number, f"record {number} was acked as {partition}/{offset}; there is {where.get((partition, offset))}"
    return sum(offset < 0 for _, _, offset in acks)


def produce_through_kills(cluster, class_path, topic, records):
    harness.create_topic(cluster.bootstrap, topic, PARTITIONS)
    path, acks = cluster.data / f"{topic}.txt", cluster.data / f"{topic}-acks.txt"
    harness.write_lines(path, records)
    victims = ["writer-0", "coordinator-0", "frontend-0"] * 2
    share = len(records) // (len(victims) + 1)
    kills = []
    with Program(class_path, "the producer", ["Produce", cluster.bootstrap, topic, path, acks], cluster.data / f"{topic}.log") as producer:
        acked = lambda: int(producer.last("acked") or 0)  # noqa: E731

        def far_enough(count):
            producer.check_alive()
            assert not producer.last("failed"), f"a send failed: {producer.last('failed')} after {acked()} acks; killed {kills}"
            return acked() >= count

        for turn, victim in enumerate(victims):
            # It runs into the kill: it may send a whole share more while only half of that must be acked.
            producer.tell((turn + 2) * share)
            harness.until(150, f"acks after {kills}", lambda: far_enough(turn * share + share // 2))
            kills.append(f"{victim} at {acked()}")
            cluster.kill(victim)
        producer.tell(len(records))
        harness.until(180, f"all acks after {kills}", lambda: producer.ended() or far_enough(len(records)))
        producer.check_ends(60)
    read = harness.kcat_read(cluster.bootstrap, topic)
    harness.check_read_back(records, read)
    without = check_acks(acks, records, read)
    return f"{len(read)} records once and in order, {without} acked without offset; killed {', '.join(kills)}"


# --- a group whose members come, go and crash ---


class Group:
    """Members of one group over one topic, each a process."""

    def __init__(self, cluster, class_path, topic, group):
        self.cluster, self.class_path, self.topic, self.group = cluster, class_path, topic, group
        self.members, self.files = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        for member in self.members.values():
            member.__exit__(*failure)

    def start(self, name, *settings):
        self.files[name] = self.cluster.data / f"{self.group}-{name}.txt"
        arguments = ["Member", self.cluster.bootstrap, self.topic, self.group, self.files[name], *settings]
        self.members[name] = Program(self.class_path, f"member {name}", arguments, self.cluster.data / f"{self.group}-{name}.log")

    def partitions(self, name):
        """What a member has: assigned and not revoked since, whether all move at once or one by one."""
        has = set()
        for line in self.members[name].said:
            word, _, rest = line.partition(" ")
            listed = set(rest.split(",")) - {""}
            if word == "assigned":
                has |= listed
            elif word in ("revoked", "lost"):
                has -= listed
        return has

    def shares(self):
        """How many partitions each living member has."""
        return {name: len(self.partitions(name)) for name, member in self.members.items() if not member.ended()}

    def await_shares(self, seconds, **wanted):
        self.await_(seconds, lambda: f"shares {wanted}, but they are {self.shares()}", lambda: self.shares() == wanted)

    def await_(self, seconds, what, condition, pause=0.02):
        try:
            harness.until(seconds, "", condition, pause)
        except AssertionError as error:
            raise AssertionError(f"{what()} {error}; {[(name, m.said[-4:], m.end_of_errors()) for name, m in self.members.items()]}") from None

    def count(self):
        return sum(int(member.last("read") or 0) for member in self.members.values())

    def await_count(self, seconds, wanted):
        self.await_(seconds, lambda: f"{wanted} records, but {self.count()} were read", lambda: self.count() >= wanted)

    def read_by(self, name):
        text = self.files[name].read_text()
        return harness.rows_of(text[:text.rfind("\n") + 1])  # a killed one may leave half a line

    def read(self):
        return [row for name in self.members for row in self.read_by(name)]

    def crash(self, name):
        os.kill(self.members[name].process.pid, signal.SIGKILL)
        self.members[name].process.wait(30)

    def close(self, name):
        self.members[name].process.stdin.close()
        self.members[name].check_ends(60)


def group_lives(cluster, class_path, topic, records):
    """Default settings: range assignor, offsets committed automatically, 45 s session."""
    harness.create_topic(cluster.bootstrap, topic, PARTITIONS)
    part, sent = len(records) // 4, 0

    def produce():
        nonlocal sent
        path = cluster.data / f"{topic}-{sent}.txt"
        harness.write_lines(path, records[sent:sent + part])
        harness.kcat_produce(cluster.bootstrap, topic, path)
        sent += part

    with Group(cluster, class_path, topic, f"{topic}-group") as group:
        produce()
        group.start("a")
        group.start("b")
        group.await_shares(60, a=6, b=6)
        group.await_count(60, sent)
        group.start("c")
        produce()  # while the group changes
        group.await_shares(60, a=4, b=4, c=4)
        group.await_count(60, sent)
        group.close("b")
        produce()
        group.await_shares(60, a=6, c=6)
        group.await_count(60, sent)
        # Members that join and leave in good order make no record come twice.
        harness.check_read_back(records[:sent], sorted(group.read()))
        shares = {name: len(group.read_by(name)) for name in "abc"}
        assert all(shares.values()), f"a member read nothing: {shares}"

        group.crash("c")
        produce()
        group.await_shares(100, a=12)
        distinct = lambda: {harness.number_of(value) for _, _, _, value in group.read()}  # noqa: E731
        group.await_(60, lambda: f"{sent} different records, but {len(distinct())}", lambda: len(distinct()) == sent, pause=0.5)
        twice = len(group.read()) - sent
        crashed = {row[:2] for row in group.read_by("c")}
        rows = [row[:2] for name in "ab" for row in group.read_by(name)]
        assert sum(row in crashed for row in rows) == twice, f"{twice} records came twice, not all of them read by the crashed member"
        harness.check_read_back(records[:sent], sorted(set(group.read())))
        group.close("a")
        rows = described(Tools(class_path, cluster.bootstrap), group.group)
        assert len(rows) == PARTITIONS and all(row["LAG"] == "0" for row in rows), f"lag after the last member left: {rows}"
        return f"{sent} records by {shares}; {twice} twice after the crash"


def group_keeps_names(cluster, class_path, topic, records):
    """Static members (group.instance.id): one that crashes and comes back under its name gets its partitions, and nobody else notices."""
    harness.create_topic(cluster.bootstrap, topic, PARTITIONS)
    path = cluster.data / f"{topic}.txt"
    harness.write_lines(path, records)
    with Group(cluster, class_path, topic, f"{topic}-group") as group:
        group.start("a", "group.instance.id=first")
        group.start("b", "group.instance.id=second")
        group.await_shares(60, a=6, b=6)
        changes, had = list(group.members["a"].said), group.partitions("b")
        group.crash("b")
        group.start("again", "group.instance.id=second")
        group.await_shares(60, a=6, again=6)
        assert group.partitions("again") == had, f"{group.partitions('again')} instead of {had}"
        assert group.members["a"].said == changes, f"the other member was disturbed: {group.members['a'].said}"
        harness.kcat_produce(cluster.bootstrap, topic, path)
        group.await_count(60, len(records))
        harness.check_read_back(records, sorted(group.read()))


def group_cooperates(cluster, class_path, topic, records):
    """Cooperative-sticky: a member that comes takes some partitions, and the others are never given up."""
    harness.create_topic(cluster.bootstrap, topic, PARTITIONS)
    path = cluster.data / f"{topic}.txt"
    harness.write_lines(path, records)
    setting = "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
    with Group(cluster, class_path, topic, f"{topic}-group") as group:
        group.start("a", setting)
        group.await_shares(60, a=12)
        group.start("b", setting)
        harness.kcat_produce(cluster.bootstrap, topic, path)  # while the group changes
        group.await_shares(60, a=6, b=6)
        revoked = [line for line in group.members["a"].said if line.startswith("revoked") and len(line.split(",")) > 6]
        assert not revoked, f"all were given up: {revoked}"
        group.await_count(60, len(records))
        group.close("b")
        group.await_shares(60, a=12)
        harness.check_read_back(records, sorted(group.read()))


def main():
    paths = {version: install.java(version) for version in VERSIONS}
    records = harness.packages()
    many = numbered(records, 100_000)
    table = features.Table("java")
    with harness.Cluster("--frontends", "2") as cluster:
        path = cluster.data / "packages.txt"
        harness.write_lines(path, records)
        harness.create_topic(cluster.bootstrap, "packages", PARTITIONS)
        harness.kcat_produce(cluster.bootstrap, "packages", path)
        for version, class_path in paths.items():
            client, tools, suffix = f"java {version}", Tools(class_path, cluster.bootstrap), version.replace(".", "-")
            table.check(client, "read back a whole topic", read_back, tools, records)
            table.program(client, ADMIN_FEATURES, [*JAVA, "-cp", class_path, "Admin", cluster.bootstrap], 400)
            table.check(client, "kafka-topics", topics_tool, tools, f"tool-{suffix}")
            table.check(client, "kafka-producer-perf-test", producer_perf, tools, f"perf-{suffix}")
            table.check(client, "kafka-get-offsets", get_offsets, tools, f"perf-{suffix}")
            table.check(client, "kafka-consumer-perf-test", consumer_perf, tools, f"perf-{suffix}")
            table.check(client, "kafka-consumer-groups", groups_tool, tools, f"perf-{suffix}")
            table.check(client, "group: join, leave, crash", group_lives, cluster, class_path, f"group-{suffix}", records[:40_000])
            table.check(client, "group: static member", group_keeps_names, cluster, class_path, f"static-{suffix}", records[:10_000])
            table.check(client, "group: cooperative-sticky", group_cooperates, cluster, class_path, f"sticky-{suffix}", records[:10_000])
            table.check(client, "produce through kills", produce_through_kills, cluster, class_path, f"kills-{suffix}", many)
        table.finish()


if __name__ == "__main__":
    sys.exit(main())
