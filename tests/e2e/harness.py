"""A cluster of real processes for one test: `./run up` on free ports and a data directory of its own, `./run down` at the end. On
failure the ends of all logs are shown and the directory is kept."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = str(ROOT / "run")


def until(seconds, what, condition, pause=0.02):
    """Polls condition until it gives something true and returns that; AssertionError names what did not come."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(pause)  # between two looks, never instead of one


class Cluster:
    def __init__(self, *arguments, rebalance_delay_ms=0):
        base = ROOT / "build" / "e2e"
        base.mkdir(parents=True, exist_ok=True)
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="cluster-", dir=base))
        self.arguments = list(arguments)
        self.environment = dict(os.environ, WEIR_RUN_REBALANCE_DELAY=str(rebalance_delay_ms))

    def __enter__(self):
        self.up()
        return self

    def up(self):
        command = [RUN, "up", "--data", str(self.data), "--port", "0", "--no-build", *self.arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, stdin=subprocess.DEVNULL)
        if done.returncode:
            self.show_logs()
            subprocess.run([RUN, "down", "--data", str(self.data)], capture_output=True)
            raise SystemExit(f"up failed:\n{done.stdout}{done.stderr}")

    def __exit__(self, kind, error, trace):
        if kind:
            self.show_logs()
        subprocess.run([RUN, "down", "--data", str(self.data)], capture_output=True, check=not kind)
        if not kind:
            shutil.rmtree(self.data)

    def show_logs(self):
        for log in sorted((self.data / "log").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-25:]
            print(f"--- {log.name}", *lines, sep="\n", file=sys.stderr)

    def names(self, role=""):
        return sorted(p.stem for p in (self.data / "run").glob(f"{role}*.address"))

    def _address(self, name):
        return (self.data / "run" / f"{name}.address").read_text().split()

    @property
    def bootstrap(self):
        return ",".join(self._address(name)[0] for name in self.names("frontend"))

    @property
    def etcd(self):
        return self._address("etcd-0")[0]

    @property
    def store(self):
        return self.data / "store"

    def pid(self, name):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.data / "run" / f"{name}.pid").read_text())
        return 0

    def ready(self, name):
        try:
            with urllib.request.urlopen(f"http://{self._address(name)[1]}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self, name, number=signal.SIGKILL):
        """Ends the process; the supervisor starts another. Returns once that one is ready."""
        old = self.pid(name)
        os.kill(old, number)
        until(60, f"{name} is back", lambda: self.pid(name) not in (0, old) and self.ready(name))

    def metrics(self, name):
        """{'metric{labels}': value}"""
        with urllib.request.urlopen(f"http://{self._address(name)[1]}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {key: float(value) for key, value in rows}

    def store_requests(self, kind):
        """How often all daemons asked the object store for this kind of thing."""
        total = 0
        for name in self.names():
            if name.startswith("etcd"):
                continue
            for key, value in self.metrics(name).items():
                if "object_store_requests_total" in key and f'kind="{kind}"' in key:
                    total += value
        return int(total)


def packages():
    """Real records: every package Debian offers, one JSON object a line with its number, keyed by name. [(key, value)]"""
    text = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True, errors="replace").stdout
    records = []
    for paragraph in text.split("\n\n"):
        fields, name = {}, None
        for line in paragraph.splitlines():
            if line.startswith((" ", "\t")) and name:
                fields[name] += "\n" + line[1:]
            elif ": " in line or line.endswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Package" in fields:
            fields["number"] = len(records)
            records.append((fields["Package"], json.dumps(fields, ensure_ascii=True)))
    assert len(records) >= 60_000, f"only {len(records)} records: run apt-get update"
    return records


def write_lines(path, records):
    with open(path, "w") as file:
        file.writelines(f"{key}\t{value}\n" for key, value in records)


def number_of(value):
    return json.loads(value)["number"]


def check_read_back(records, read, *, once=True):
    """read: [(partition, offset, key, value)] in the order of reading. Every record is there (once), bytes unchanged, and within a
    partition in the order it was sent with offsets that grow."""
    assert len(read) >= len(records), f"{len(read)} read of {len(records)} sent"
    seen, last_offset, last_number = set(), {}, {}
    for partition, offset, key, value in read:
        number = number_of(value)
        assert records[number] == (key, value), f"record {number} at {partition}/{offset} is not what was sent"
        if once:
            assert number not in seen, f"record {number} twice, again at {partition}/{offset}"
        seen.add(number)
        assert offset > last_offset.get(partition, -1), f"offset {offset} of partition {partition} after {last_offset[partition]}"
        assert number > last_number.get(partition, -1), f"partition {partition}: record {number} after {last_number[partition]}"
        last_offset[partition], last_number[partition] = offset, number
    missing = len(records) - len(seen)
    assert not missing, f"{missing} records are missing, the first is {min(set(range(len(records))) - seen)}"


def kcat_produce(bootstrap, topic, path, *extra):
    subprocess.run(
        ["kcat", "-P", "-b", bootstrap, "-t", topic, "-K", "\t", "-l", str(path), "-X", "message.timeout.ms=120000", *extra],
        check=True, timeout=300)


def kcat_read(bootstrap, topic, timeout=300):
    done = subprocess.run(
        ["kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%p\t%o\t%k\t%s\n"],
        check=True, capture_output=True, text=True, timeout=timeout)
    return rows_of(done.stdout)


def rows_of(text):
    """Lines of partition, offset, key and value, separated by tabs, as rows for check_read_back."""
    rows = (line.split("\t", 3) for line in text.split("\n") if line)
    return [(int(partition), int(offset), key, value) for partition, offset, key, value in rows]


def create_topic(bootstrap, topic, partitions, config=None):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})]).values():
        future.result(30)
