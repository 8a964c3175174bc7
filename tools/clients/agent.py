"""What the Python agents share; README.md tells what an agent does.

An agent gives `run` its version and a function that connects: it takes a mode and
a list of (host, port, weight), and returns two functions: one that stores bytes
under a key and says whether it could, and one that gets them, or None.
"""

import json
import signal
import sys

LIMIT_SECONDS = 120


def run(version, connect):
    # Without a handler the signal ends the process.
    signal.alarm(LIMIT_SECONDS)
    if sys.argv[1:] == ["version"]:
        print(version)
        return
    job, mode, path, *servers = sys.argv[1:]
    store, fetch = connect(mode, [parsed(server) for server in servers])
    with open(path, "rb") as file:
        items = [line.split(b"\t") for line in file.read().split(b"\n")[:-1]]
    if job == "write":
        report = write(store, items)
    elif job == "read":
        report = read(fetch, items)
    else:
        sys.exit(f"no job {job}")
    print(json.dumps(report))


def parsed(server):
    address, _, weight = server.partition("*")
    host, _, port = address.rpartition(":")
    return host, int(port), int(weight or 1)


def unknown(mode):
    sys.exit(f"no mode {mode}")


def write(store, items):
    refused = [key for key, value in items if not store(key, value)]
    return {
        "stored": len(items) - len(refused),
        "refused": len(refused),
        "first": [key.hex() for key in refused[:5]],
    }


def read(fetch, items):
    counts = {"equal": 0, "different": 0, "missing": 0}
    bad = []
    for key, value in items:
        found = fetch(key)
        if found == value:
            counts["equal"] += 1
            continue
        counts["missing" if found is None else "different"] += 1
        bad.append(key)
    return {**counts, "first": [key.hex() for key in bad[:5]]}
