#!/usr/bin/env python3
"""How much memory dumps and restores take, beside the limit that they were given.

Loads several memcached servers, and dumps and restores them without a limit and with
ever lower ones. Told is the most anonymous memory that the program had at a time: that is
what --mem-limit bounds, since the system can have the memory of mapped files back. A run
above 1.05 of its limit fails.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from bench_server import Server

SAMPLE_S = 0.002
BAR = 1.05
MEBIBYTE = 1 << 20


class Node(Server):
    """A server with items of given lengths."""

    def __init__(self, program, mebibytes):
        super().__init__(program, "-I", "64m", "-c", "4096", "-m", str(mebibytes))

    def load(self, lengths, seed):
        source = random.Random(seed)
        bytes_of = source.randbytes(MEBIBYTE)
        pending = []
        for number, length in enumerate(lengths):
            start = source.randrange(len(bytes_of))
            value = (bytes_of[start:] + bytes_of * (length // MEBIBYTE + 1))[:length]
            pending.append(b"set %d:key:%d 0 0 %d noreply\r\n%b\r\n" % (seed, number, length, value))
            if len(pending) > 500 or length > MEBIBYTE:
                self.socket.sendall(b"".join(pending))
                pending.clear()
        self.socket.sendall(b"".join(pending) + b"version\r\n")
        assert self.file.readline().startswith(b"VERSION")

    def flush(self):
        self.socket.sendall(b"flush_all\r\n")
        assert self.file.readline() == b"OK\r\n"


def run(words):
    """Runs a program; returns its exit code, its report, and its most anonymous memory."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(words, stdout=out, stderr=errors)
        peak = 0
        while process.poll() is None:
            try:
                with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                    found = re.search(r"RssAnon:\s+(\d+) kB", status.read())
                peak = max(peak, int(found[1]) << 10 if found else 0)
            except (FileNotFoundError, ProcessLookupError):
                break
            time.sleep(SAMPLE_S)
        code = process.wait()
        out.seek(0)
        errors.seek(0)
        return code, out.read(), errors.read().decode(), peak


def lengths_of(kind, count):
    source = random.Random(7)
    if kind == "short":
        return [source.randrange(100, 700) for _ in range(count)]
    # Among short ones are some of all lengths up to 16 MiB.
    lengths = [source.randrange(100, 700) for _ in range(count // 10)]
    lengths += [min(int(2 ** source.uniform(10, 24)), 16 * MEBIBYTE - 1) for _ in range(60)]
    return lengths


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="target/release/mcsnap")
    parser.add_argument("--memcached", default=shutil.which("memcached"))
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--items", type=int, default=200_000, help="of each node")
    parser.add_argument("--limits", default="none,512,256,128,96,64")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    rows = []
    print(f"{'values':8} {'job':20} {'limit MiB':>9} {'peak MiB':>9} {'ratio':>6} {'seconds':>8}")
    for kind in ("short", "mixed"):
        with tempfile.TemporaryDirectory() as directory:
            lengths = lengths_of(kind, options.items)
            most = 4 * sum(lengths) // MEBIBYTE + 256
            servers = [Node(options.memcached, most) for _ in range(options.nodes)]
            for number, server in enumerate(servers):
                server.load(lengths, number)
            addresses = [server.address for server in servers]
            jobs = {
                "dump": ["dump", *addresses, "--to", directory, "--full-speed"],
                "dump zstd:19": ["dump", addresses[0], "--to", directory, "--compression=zstd:19"],
                "restore": ["restore", f"{directory}/base", "--to", ",".join(addresses)]
                + ["--ring=ketama", "--mode=set", "--full-speed", "--yes"],
                "restore 16 threads": ["restore", f"{directory}/base", "--to", ",".join(addresses)]
                + ["--ring=ketama", "--mode=set", "--full-speed", "--yes", "--threads=16"],
            }
            code, _, errors, _ = run([options.program, *jobs["dump"], "--name=base", "-q"])
            assert code == 0, errors
            for job, words in jobs.items():
                for limit in options.limits.split(","):
                    words_now = [options.program, *words, "-q", "--format=json"]
                    if job.startswith("dump"):
                        words_now.append("--name=again")
                    if limit == "none":
                        words_now.append("--mem-limit=none")
                    else:
                        words_now.append(f"--mem-limit={limit}MiB")
                    start = time.monotonic()
                    code, report, errors, peak = run(words_now)
                    elapsed = time.monotonic() - start
                    shutil.rmtree(f"{directory}/again", ignore_errors=True)
                    if code == 2 and "at least" in errors:
                        print(f"{kind:8} {job:20} {limit:>9} {errors.strip().splitlines()[-1]}")
                        continue
                    ratio = None if limit == "none" else peak / (int(limit) * MEBIBYTE)
                    row = {"values": kind, "job": job, "limit_mib": limit, "peak": peak}
                    row |= {"ratio": ratio, "seconds": elapsed, "exit_code": code}
                    rows.append(row)
                    shown = "" if ratio is None else f"{ratio:.2f}"
                    told = f"{kind:8} {job:20} {limit:>9} {peak / MEBIBYTE:9.1f} {shown:>6}"
                    print(f"{told} {elapsed:8.1f}", "" if code == 0 else f"exit {code}: {errors}")
            for server in servers:
                server.stop()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    wrong = [row for row in rows if row["exit_code"] != 0 or (row["ratio"] or 0) > BAR]
    for row in wrong:
        print("above the bar or failed:", json.dumps(row))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
