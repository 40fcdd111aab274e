"""Who may include whom. The folders are the architecture; this keeps them that way. Usage: layering.py ROOT; exits 1 with one
line per include that breaks a rule."""

import pathlib
import re
import sys

# folder -> prefixes of quoted includes it may use. The longest matching folder counts.
ALLOWED = {
    "common/base": ["common/base/"],
    "common/runtime": ["common/base/", "common/runtime/"],
    "common/storage": ["common/base/", "common/runtime/", "common/storage/"],
    "common/cluster": ["common/base/", "common/runtime/", "common/cluster/", "proto/"],
    "proto/kafka": ["common/base/", "proto/kafka/"],
    "frontend": ["common/", "proto/", "frontend/"],
    "writer": ["common/", "proto/", "writer/"],
    "reader": ["common/", "proto/", "reader/"],
    "coordinator": ["common/", "proto/", "coordinator/"],
}
# Libraries that only one place may know.
SYSTEM = {
    "zmq.h": ["common/runtime"],
    "grpc/": ["common/storage/etcd", "common/storage/metadata_store"],
    "microhttpd.h": ["common/runtime"],
    "curl/": ["common/storage"],
    "uthash.h": ["common/base/hash_map.h"],
}
# Only the coordinator talks to etcd.
METADATA = ("common/storage/metadata_store", "common/storage/etcd")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def problems_of(path: str, text: str):
    folder = max((f for f in ALLOWED if path.startswith(f + "/")), key=len, default=None)
    if folder is None:
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, target = match.groups()
        if kind == '"':
            if not any(target.startswith(prefix) for prefix in ALLOWED[folder]):
                yield f"{path}:{number}: {folder}/ may not include {target}"
            elif target.startswith(METADATA) and folder not in ("common/storage", "coordinator"):
                yield f"{path}:{number}: only the coordinator talks to the metadata store"
        for library, places in SYSTEM.items():
            if kind == "<" and target.startswith(library) and not any(path.startswith(p) for p in places):
                yield f"{path}:{number}: {target} belongs behind {', '.join(places)}"
    if path.endswith(".h") and "#pragma once" not in text:
        yield f"{path}:1: no #pragma once"


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    found, files = [], 0
    for folder in ALLOWED:
        for path in sorted((root / folder).rglob("*.[ch]")):
            relative = path.relative_to(root).as_posix()
            if max((f for f in ALLOWED if relative.startswith(f + "/")), key=len) != folder:
                continue
            files += 1
            found.extend(problems_of(relative, path.read_text()))
    if not files:
        found.append(f"no source found below {root}")
    print("\n".join(found) or f"{files} files keep to their layers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
