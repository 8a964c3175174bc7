#!/usr/bin/env python3
"""Measures how long a walk stands unread while the disk of the spool takes nothing.

A real memcached with short keys is dumped into a file system of its own, ext4 on a
loop device, which is frozen when the walk has begun and thawed some seconds later. Told
are the longest time that a byte of the walk stood in the socket before it was read, and
the latency of single gets of a client that runs beside it.

Needs root, for the loop device, for fsfreeze, and to look at the socket of the dump. The
freeze is undone by this script however it ends, and by a second process of its own after
30 s at most.
"""

import argparse
import array
import atexit
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from bench_server import Server

BAR_MS = 100.0
THAW_AT_MOST_S = 30
SAMPLE_S = 0.002
SYS_PIDFD_GETFD = 438
SIOCINQ = 0x541B
# Of struct tcp_info: tcpi_bytes_acked and tcpi_bytes_received.
BYTES_AT = 120


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


class Disk:
    """An ext4 on a loop device of its own, that can be frozen."""

    def __init__(self, directory):
        image = os.path.join(directory, "image")
        self.place = os.path.join(directory, "disk")
        self.is_frozen = False
        self.loop = None
        self.is_mounted = False
        os.mkdir(self.place)
        with open(image, "wb") as file:
            file.truncate(4 << 30)
        run("mkfs.ext4", "-q", "-F", image)
        atexit.register(self.remove)
        self.loop = run("losetup", "--find", "--show", image)
        run("mount", self.loop, self.place)
        self.is_mounted = True

    def freeze(self):
        # Only what was made here, and nothing that holds anything else.
        assert run("findmnt", "-n", "-o", "SOURCE", "--mountpoint", self.place) == self.loop
        assert self.loop.startswith("/dev/loop")
        script = f'sleep {THAW_AT_MOST_S}; fsfreeze --unfreeze "$1" 2>/dev/null'
        self.guard = subprocess.Popen(
            ["sh", "-c", script, "sh", self.place], start_new_session=True
        )
        self.is_frozen = True
        run("fsfreeze", "--freeze", self.place)

    def thaw(self):
        if self.is_frozen:
            subprocess.run(["fsfreeze", "--unfreeze", self.place], check=False)
            self.is_frozen = False
            os.killpg(self.guard.pid, signal.SIGKILL)
            self.guard.wait()

    def remove(self):
        self.thaw()
        if self.is_mounted:
            # The dump may just be ending.
            for _ in range(50):
                if subprocess.run(["umount", self.place], check=False).returncode == 0:
                    break
                time.sleep(0.1)
            self.is_mounted = False
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop], check=False)
            self.loop = None


class Node(Server):
    """A server with small items."""

    def __init__(self, program, items):
        super().__init__(program, "-m", str(256 + items * 150 // (1 << 20)))

    def load(self, items):
        for start in range(0, items, 10_000):
            numbers = range(start, min(items, start + 10_000))
            self.socket.sendall(b"".join(b"set key:%d 0 0 8 noreply\r\n12345678\r\n" % n for n in numbers))
        self.socket.sendall(b"version\r\n")
        return self.file.readline().split()[1].decode()

    def stats(self, what=b""):
        self.socket.sendall(b"stats " + what + b"\r\n" if what else b"stats\r\n")
        table = {}
        while (words := self.file.readline().split(None, 2))[0] != b"END":
            table[words[1].decode()] = words[2].strip().decode() if len(words) > 2 else ""
        return table


def client(port, items, seconds_pipe):
    """Asks for one key after the other until the pipe is closed; tells the latencies."""
    import random

    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    latencies = array.array("d")
    os.set_blocking(seconds_pipe.fileno(), False)
    while True:
        try:
            if seconds_pipe.buffer.raw.read(1) == b"":
                break
        except BlockingIOError:
            pass
        start = time.perf_counter()
        connection.sendall(b"get key:%d\r\n" % random.randrange(items))
        while not connection.recv(4096).endswith(b"END\r\n"):
            pass
        latencies.append(time.perf_counter() - start)
        time.sleep(0.001)
    found = sorted(latencies)
    at = lambda share: found[min(len(found) - 1, int(len(found) * share))] * 1000
    print(json.dumps({"count": len(found), "p50": at(0.5), "p99": at(0.99), "worst": at(1)}))


def note(table, name, length):
    table[name] = max(table.get(name, 0.0), length)


class Watch(threading.Thread):
    """Looks at the socket of the walk every two milliseconds.

    A byte that had come at one look was unread at each later one at which fewer bytes had
    been taken from the socket: surely so until the last of these, and at most until the
    look after it. A walk is what received much and asked for little.
    """

    LARGE, SMALL = 1 << 20, 4 << 10

    def __init__(self, server, pid):
        super().__init__(daemon=True)
        self.server_port, self.pid = server.port, pid
        self.sure = {}
        self.most = {}
        self.largest = {}
        self.moved = {}
        self.count = 0
        self.gap = 0.0
        self.is_over = threading.Event()

    def sockets(self):
        """The sockets of the dump, by inode, as copies of their descriptors."""
        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = os.pidfd_open(self.pid)
        found = {}
        try:
            for name in os.listdir(f"/proc/{self.pid}/fd"):
                try:
                    link = os.readlink(f"/proc/{self.pid}/fd/{name}")
                except OSError:
                    continue
                if not link.startswith("socket:"):
                    continue
                descriptor = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
                if descriptor < 0:
                    continue
                copy = socket.socket(fileno=descriptor)
                try:
                    is_ours = copy.getpeername()[1] == self.server_port
                except OSError:
                    is_ours = False
                if is_ours:
                    found[link] = copy
                else:
                    copy.close()
        finally:
            os.close(pidfd)
        return found

    def run(self):
        copies = {}
        pending = {}
        looked_at = 0.0
        before = time.perf_counter()
        while not self.is_over.is_set():
            now = time.perf_counter()
            if copies or pending:
                self.gap = max(self.gap, now - before)
            before = now
            if now - looked_at > 0.05:
                looked_at = now
                try:
                    for copy in copies.values():
                        copy.close()
                    copies = self.sockets()
                except OSError:
                    copies = {}
            for name, copy in copies.items():
                try:
                    info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                    unread = struct.unpack("i", fcntl.ioctl(copy, SIOCINQ, b"\0" * 4))[0]
                except OSError:
                    continue
                sent, received = struct.unpack_from("QQ", info, BYTES_AT)
                self.moved[name] = (sent, received)
                self.look(name, pending.setdefault(name, []), now, received, unread)
            time.sleep(SAMPLE_S)
        for copy in copies.values():
            copy.close()

    def look(self, name, waiting, now, received, unread):
        self.count += 1
        taken = received - unread
        while waiting and waiting[0][1] <= taken:
            note(self.most, name, now - waiting.pop(0)[0])
        if unread > 0:
            if waiting:
                note(self.sure, name, now - waiting[0][0])
                note(self.most, name, now - waiting[0][0])
            waiting.append((now, received))
            self.largest[name] = max(self.largest.get(name, 0), unread)

    def of_walks(self, table):
        """The largest number of a table by socket, of those that carried a walk."""
        walks = [
            name
            for name, (sent, received) in self.moved.items()
            if received >= self.LARGE and sent <= self.SMALL
        ]
        assert walks, f"no walk was seen: {self.moved}"
        return max(table.get(name, 0) for name in walks)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=4_000_000)
    parser.add_argument("--freeze", type=float, default=20.0, help="seconds, below 30")
    parser.add_argument("--walk", default="hash")
    parser.add_argument("--spool-memory", default="128MiB")
    parser.add_argument("--memcached", default=shutil.which("memcached"))
    parser.add_argument("--program", default="target/release/mcsnap")
    parser.add_argument("--client", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(*options.client, sys.stdin)
        return 0
    if os.geteuid() != 0:
        sys.exit("tools/bench walk: needs root")
    if not 0 < options.freeze < THAW_AT_MOST_S:
        sys.exit(f"tools/bench walk: --freeze is above 0 and below {THAW_AT_MOST_S}")
    # Whatever ends this ends in the functions that were registered.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    directory = tempfile.mkdtemp(prefix="mcsnap-walk-")
    atexit.register(shutil.rmtree, directory, True)
    disk = Disk(directory)
    server = Node(options.memcached, options.items)
    version = server.load(options.items)
    return measure(options, directory, disk, server, version)


def measure(options, directory, disk, server, version):
    beside = subprocess.Popen(
        [sys.executable, __file__, "--client", str(server.port), str(options.items)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(beside.kill)
    time.sleep(1)
    dump = subprocess.Popen(
        [
            os.path.abspath(options.program),
            "dump",
            f"127.0.0.1:{server.port}",
            f"--to={disk.place}/s",
            "--name=a",
            "--format=json",
            "--progress=none",
            f"--walk={options.walk}",
            f"--spool-memory={options.spool_memory}",
        ],
        stdout=subprocess.PIPE,
    )
    atexit.register(dump.kill)
    watch = Watch(server, dump.pid)
    while server.stats()["lru_crawler_running"] == "0" and dump.poll() is None:
        pass
    watch.start()
    frozen_at = time.perf_counter()
    disk.freeze()
    walk_s = None
    while time.perf_counter() - frozen_at < options.freeze:
        if walk_s is None and server.stats()["lru_crawler_running"] == "0":
            walk_s = time.perf_counter() - frozen_at
        time.sleep(0.01)
    disk.thaw()
    out, _ = dump.communicate()
    watch.is_over.set()
    watch.join()
    beside.stdin.close()
    latency = json.loads(beside.stdout.read())
    report = json.loads(out) if out else {}
    walked = "not read to its end" if walk_s is None else f"read in {walk_s:.2f} s"
    sure_ms, most_ms = (watch.of_walks(table) * 1000 for table in (watch.sure, watch.most))
    largest = watch.of_walks(watch.largest)
    print(
        f"memcached   {version}, {options.items:,} keys such as key:1234567; "
        f"--walk {options.walk} --spool-memory {options.spool_memory}\n"
        f"disk        frozen for {options.freeze:g} s as the walk began; the walk was {walked}\n"
        f"unread      {sure_ms:.1f} ms, at most {most_ms:.1f} ms by the gaps between looks; "
        f"{largest:,} bytes\n"
        f"looks       {watch.count:,}, {watch.gap * 1000:.1f} ms apart at most; bar {BAR_MS:g} ms\n"
        f"client      {latency['count']:,} gets: p50 {latency['p50']:.2f}, p99 {latency['p99']:.2f}, "
        f"worst {latency['worst']:.1f} ms\n"
        f"dump        exit code {dump.returncode}, {report.get('verdict')}, "
        f"{report.get('stored', 0):,} stored, given up: {len(report.get('walks_given_up', []))}"
    )
    is_whole = dump.returncode == 0 and report.get("stored") == options.items
    return 0 if is_whole and sure_ms <= BAR_MS else 1


if __name__ == "__main__":
    sys.exit(main())
