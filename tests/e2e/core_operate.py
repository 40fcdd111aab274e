"""What an operator does with ./run: up (twice), status, logs, down, up again on the same data, arguments that are wrong, a store that
cannot be used, and a cluster of two of each daemon."""

import pathlib
import subprocess
import sys
import tempfile

import harness

FOUR = ("coordinator-0", "frontend-0", "reader-0", "writer-0")


def run(*arguments, code=0):
    """The output of ./run, which must end with this code; None: any but 0."""
    done = subprocess.run([harness.RUN, *arguments], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    good = done.returncode != 0 if code is None else done.returncode == code
    assert good, f"run {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def states(cluster):
    """{'frontend-0': (pid, state)} as status tells them, one line a process."""
    lines = run("status", "--data", str(cluster.data)).splitlines()[1:]
    rows = {f"{fields[0]}-{fields[1]}": (fields[2], fields[3]) for fields in (line.split() for line in lines)}
    assert len(rows) == len(lines), f"not one line a process: {lines}"
    return rows


def commit(cluster, offset=None):
    """Commits for partition 0 if an offset is given; what is committed."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "kept", "enable.auto.commit": False})
    try:
        if offset is not None:
            consumer.commit(offsets=[TopicPartition("kept", 0, offset)], asynchronous=False)
        return consumer.committed([TopicPartition("kept", 0)], timeout=20)[0].offset
    finally:
        consumer.close()


def produce(cluster, values):
    """Their offsets in partition 0."""
    from confluent_kafka import Producer

    offsets = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True})
    for value in values:
        producer.produce("kept", value, partition=0, on_delivery=lambda error, message: offsets.append(error or message.offset()))
    assert producer.flush(30) == 0
    return offsets


def check_life(cluster):
    assert "already running" in run("up", "--data", str(cluster.data), "--no-build")
    rows = states(cluster)
    assert set(rows) == {*FOUR, "etcd-0"} and all(state == "ready" for _, state in rows.values()), rows
    assert all(int(pid) == cluster.pid(name) for name, (pid, _) in rows.items()), rows
    assert "event=ready" in run("logs", "writer", "--data", str(cluster.data))
    assert "event=ready" in run("logs", "frontend-0", "--data", str(cluster.data))
    run("logs", "nobody", "--data", str(cluster.data), code=1)


def check_kill(cluster):
    import os
    import signal

    for name in FOUR:
        old = cluster.pid(name)
        os.kill(old, signal.SIGSTOP)  # as good as gone for status, and it stays so until we have looked
        assert states(cluster)[name][1] == "starting", f"{name} is paused, status: {states(cluster)[name]}"
        os.kill(old, signal.SIGKILL)
        harness.until(30, f"{name} is back", lambda: states(cluster)[name][1] == "ready" and int(states(cluster)[name][0]) != old)
        assert "event=restarted" in run("logs", name, "--data", str(cluster.data))


def check_again(cluster):
    """Down and up: nothing is lost, offsets go on."""
    harness.create_topic(cluster.bootstrap, "kept", 2)
    assert produce(cluster, [f"before {i}" for i in range(100)]) == list(range(100))
    assert commit(cluster, 40) == 40
    assert "stopped" in run("down", "--data", str(cluster.data))
    assert "not running" in run("status", "--data", str(cluster.data))
    assert "not running" in run("down", "--data", str(cluster.data))
    cluster.up()
    assert commit(cluster) == 40, "the group's offset"
    assert produce(cluster, ["after"]) == [100], "offsets go on"
    rows = harness.kcat_read(cluster.bootstrap, "kept")
    assert [(offset, value) for _, offset, _, value in rows] == [*((i, f"before {i}") for i in range(100)), (100, "after")]


def check_arguments():
    for arguments, names in (
            (["frobnicate"], "frobnicate"), (["up", "--frobnicate"], "--frobnicate"), (["up", "--writers", "none"], "--writers"),
            (["up", "--writers"], "--writers"), (["up", "--port", "70000"], "--port"), (["up", "--store"], "--store"),
            (["status", "--frobnicate"], "--frobnicate"), (["down", "now"], "now"), (["build", "nothing"], "nothing"),
            (["test", "nothing"], "nothing")):
        last = run(*arguments, code=None).splitlines()[-1]
        assert names in last and last.startswith("run:"), f"run {arguments}: {last}"


def check_store():
    with tempfile.TemporaryDirectory(dir=harness.ROOT / "build" / "e2e") as temp:
        blocked = pathlib.Path(temp) / "blocked"
        blocked.write_text("a file where a directory should be")
        for store, names in ((f"file://{blocked}/store", "blocked"), ("ftp://nowhere", "ftp")):
            data = pathlib.Path(temp) / "data"
            output = run("up", "--data", str(data), "--port", "0", "--no-build", "--store", store, code=None)
            assert names in output, f"the message does not name the store:\n{output}"
            assert "not running" in run("status", "--data", str(data))
            left = subprocess.run(["pgrep", "-f", str(data)], capture_output=True, text=True).stdout.split()
            assert not left, f"still running: {left}"


def check_two():
    from confluent_kafka.admin import AdminClient

    with harness.Cluster("--frontends", "2", "--writers", "2", "--readers", "2", "--coordinators", "2") as cluster:
        rows = states(cluster)
        assert len(rows) == 9 and all(state == "ready" for _, state in rows.values()), rows
        harness.create_topic(cluster.bootstrap, "spread", 32)
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})

        def leaders():
            partitions = admin.list_topics("spread", 10).topics["spread"].partitions.values()
            return [partition.leader for partition in partitions]

        harness.until(20, "both frontends lead", lambda: len(set(leaders())) == 2)
        counts = sorted(leaders().count(leader) for leader in set(leaders()))
        assert sum(counts) == 32 and counts[0] >= 4, counts


def main():
    with harness.Cluster() as cluster:
        check_life(cluster)
        check_again(cluster)
        check_kill(cluster)
    print("up, status, logs, down and up again; what is killed comes back")
    check_arguments()
    check_store()
    print("what is wrong is said and leaves nothing behind")
    check_two()
    print("two of each: both frontends lead")


if __name__ == "__main__":
    sys.exit(main())
