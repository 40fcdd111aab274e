"""What each client was seen to do, as a table: features down, clients across. A test that fails is a row of the table and the script goes
on with the next, so that one run names everything that is missing. Results are kept below build/, `python3 features.py` prints all."""

import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import harness  # noqa: E402

BUILD = harness.ROOT / "build" / "clients"
RESULTS = BUILD / "results"


def why(error):
    text = str(error) or type(error).__name__
    for stream in (getattr(error, "stdout", None), getattr(error, "stderr", None)):
        if stream:
            stream = stream.decode(errors="replace") if isinstance(stream, bytes) else stream
            text += "\n" + "\n".join(stream.splitlines()[-25:])[-4000:]
    return text


def run(command, timeout, **options):
    """A client's program: bounded in time; what it said is part of the error if it fails. Gives its standard output."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, errors="replace", timeout=timeout,
                          stdin=subprocess.DEVNULL, **options).stdout


class Table:
    def __init__(self, name):
        self.name, self.rows = name, []

    def note(self, client, feature, reason=""):
        self.rows.append((client, feature, reason))
        print(f"{'FAIL' if reason else 'ok':5} {client}: {feature}" + (f": {reason}" if reason else ""), flush=True)

    def check(self, client, feature, function, *arguments):
        """One feature in this process: it failed if the function raises."""
        started = time.monotonic()
        try:
            detail = function(*arguments)
        except (AssertionError, OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
            self.note(client, feature, why(error))
            return False
        self.note(client, feature)
        print(f"      {time.monotonic() - started:.1f} s{f', {detail}' if detail else ''}", flush=True)
        return True

    def program(self, client, features, command, timeout, **options):
        """Features that another program tries: it prints a line `feature NAME ok` or `feature NAME FAIL why`, separated by tabs, for
        each of the expected ones. One that it does not name has failed, and so has an end other than 0."""
        problem = ""
        try:
            output = run(command, timeout, **options)
        except subprocess.SubprocessError as error:
            output, problem = error.stdout or "", why(error)
            output = output.decode(errors="replace") if isinstance(output, bytes) else output
        missing = list(features)
        for line in output.splitlines():
            kind, _, rest = line.partition("\t")
            if kind != "feature":
                continue
            name, _, result = rest.partition("\t")
            assert name in missing, f"{client} reports a feature that nobody expects, or twice: {name}"
            missing.remove(name)
            self.note(client, name, "" if result == "ok" else result.removeprefix("FAIL\t").replace("\\n", "\n      ") or "?")
        for name in missing:
            self.note(client, name, f"was not tried; the program: {problem or 'ended with 0'}")
        # Failed features make the program end with 1; an end that they do not explain is a failure too.
        if problem and not any(reason for who, _, reason in self.rows if who == client):
            self.note(client, "the program ends well", problem)

    def finish(self):
        """Prints the table and keeps it; ends the script unless all passed."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(self.rows, indent=1))
        print(render(self.rows))
        failed = [f"{client}: {feature}" for client, feature, reason in self.rows if reason]
        assert self.rows, "no feature was tried"
        if failed:
            raise SystemExit(f"{len(failed)} of {len(self.rows)} failed: " + "; ".join(failed))


def render(rows):
    clients = list(dict.fromkeys(client for client, _, _ in rows))
    features = list(dict.fromkeys(feature for _, feature, _ in rows))
    results = {}
    for client, feature, reason in rows:
        results[client, feature] = "FAILED" if reason else results.get((client, feature), "passed")
    width = max(len(feature) for feature in features) + 2
    lines = [" " * width + "  ".join(clients)]
    for feature in features:
        lines.append(feature.ljust(width) + "  ".join(results.get((c, feature), "").ljust(len(c)) for c in clients).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    kept = [tuple(row) for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text())]
    print(render(kept) if kept else "no client was tried yet")
