"""`./run bench`: the same client load against Weir (directory store, all daemons on this machine) and against the client library's
in-process mock cluster, in alternation, so that the ratio holds on a noisy machine. Prints a Markdown table; medians of the
rounds."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness  # noqa: E402

LOAD = harness.ROOT / "build" / "release" / "bin" / "weir-load"
SCENARIOS = [
    ("100 B, 12 partitions", ["--record-bytes", "100", "--partitions", "12"]),
    ("1 KiB, 12 partitions", ["--record-bytes", "1024", "--partitions", "12"]),
    ("1 KiB, 12 partitions, idempotent", ["--record-bytes", "1024", "--partitions", "12", "--idempotent"]),
    ("10 KiB, 12 partitions", ["--record-bytes", "10240", "--partitions", "12"]),
    ("1 KiB, 100 partitions", ["--record-bytes", "1024", "--partitions", "100"]),
]


def load(where, topic, arguments, seconds):
    done = subprocess.run([LOAD, *where, "--topic", topic, "--seconds", str(seconds), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"load failed ({done.returncode}): {done.stdout}{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def cpu_seconds(cluster):
    total = 0.0
    for name in cluster.names():
        if not name.startswith("etcd"):
            total += cluster.metrics(name).get("process_cpu_seconds_total", 0)
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    print("| load | produce MB/s | of the mock's | consume MB/s | of the mock's | ack p50 / p99 ms | daemons' CPU s/GiB | PUTs |")
    print("|---|---|---|---|---|---|---|---|")
    for name, extra in SCENARIOS:
        rows = []
        for turn in range(arguments.rounds):
            mock = load(["--mock"], "load", extra, arguments.seconds)
            with harness.Cluster() as cluster:
                before, puts = cpu_seconds(cluster), cluster.store_requests("put")
                weir = load(["--brokers", cluster.bootstrap], f"load-{turn}", extra, arguments.seconds)
                gib = 2 * weir["acked"] * int(extra[1]) / 2**30
                rows.append({
                    "produce": weir["produce_mb_s"], "produce_ratio": weir["produce_mb_s"] / mock["produce_mb_s"],
                    "consume": weir["consume_mb_s"], "consume_ratio": weir["consume_mb_s"] / mock["consume_mb_s"],
                    "p50": weir["ack_p50_ms"], "p99": weir["ack_p99_ms"],
                    "cpu": (cpu_seconds(cluster) - before) / gib, "puts": cluster.store_requests("put") - puts})
            print(f"{name}, round {turn + 1}: {rows[-1]}", file=sys.stderr)
        m = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        print(f"| {name} | {m['produce']:.0f} | {m['produce_ratio']:.2f} | {m['consume']:.0f} | {m['consume_ratio']:.2f} | "
              f"{m['p50']:.0f} / {m['p99']:.0f} | {m['cpu']:.1f} | {m['puts']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
