#!/usr/bin/env bash
# memcached 1.6.18-1+deb12u1 (Debian 12), started with -m 512 -o hashpower=20, so
# that its hash table has no need to grow.
#
# `lru_crawler metadump all` says END as if it had listed every item. While clients only
# read, so that no item comes or goes, it leaves out keys that were there all the time:
# it walks the LRU lists, among which reads move items, and passes over items that are
# being sent. `lru_crawler metadump hash` (1.6.9 and later) leaves out none.
#
# Seen, of 200,000 keys, beside 3 clients that get random ones (counts differ from run to
# run):
#   metadump hash: 0 missing
#   metadump all: 17098 missing
#
# Runs on Debian 12 with python3, as any user; exits with 0 if that is seen, 1 if not,
# 2 if it could not be checked.
set -euo pipefail

work=$(mktemp -d)
server=
clean_up() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
cd "$work"

# OpenSSL is that of the system.
packages=(memcached=1.6.18-1+deb12u1 libevent-2.1-7=2.1.12-stable-8+deb12u1
    libsasl2-2=2.1.28+dfsg-10+deb12u1)
if ! apt-get download "${packages[@]}" >apt.log 2>&1; then
    cat apt.log >&2
    echo "not checked: the packages cannot be had" >&2
    exit 2
fi
for package in *.deb; do
    dpkg -x "$package" root
done
libraries=$(dirname "$(find "$work/root" -name 'libevent-2.1.so.7')")

# Port -1 is one that the kernel chooses; the server writes it to the file.
MEMCACHED_PORT_FILENAME=port LD_LIBRARY_PATH=$libraries \
    root/usr/bin/memcached -l 127.0.0.1 -p -1 -U 0 -u "$(id -un)" -m 512 -o hashpower=20 &
server=$!
for ((tries = 0; tries < 300; tries++)); do
    [ ! -s port ] || break
    sleep 0.1
done
port=$(sed -n 's/^TCP INET: //p' port)

python3 - "$port" <<'END'
import os, random, signal, time
import socket, sys

class Client:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
        self.file = self.socket.makefile("rb")

    def ask(self, request):
        """Sends bytes; returns the first line of the answer, without its end."""
        self.socket.sendall(request)
        return self.file.readline().rstrip().decode()

    def get(self, key, command="get"):
        """Returns the value of a key, or None."""
        head = self.ask(f"{command} {key}\r\n".encode()).split()
        if head == ["END"]:
            return None
        value = self.file.read(int(head[3]) + 2)[:-2].decode()
        self.file.readline()
        return value

COUNT, LOADS, TRIES = 200_000, 3, 6

def fill(client):
    for start in range(0, COUNT, 1000):
        keys = range(start, start + 1000)
        client.socket.sendall(b"".join(b"set key%d 0 0 100\r\n%0100d\r\n" % (n, n) for n in keys))
        for _ in keys:
            assert client.file.readline() == b"STORED\r\n"

def load():
    """Gets random keys until it is stopped."""
    client = Client()
    requests = []
    for _ in range(500):
        keys = b" ".join(b"key%d" % random.randrange(COUNT) for _ in range(100))
        requests.append(b"get %s\r\n" % keys)
    while True:
        request = random.choice(requests)
        client.socket.sendall(request)
        while client.file.readline() != b"END\r\n":
            pass

def missing(which):
    client = Client()
    client.socket.sendall(b"lru_crawler metadump %s\r\n" % which.encode())
    keys = set()
    while (line := client.file.readline()) != b"END\r\n":
        if line.startswith(b"BUSY"):
            time.sleep(0.5)
            client.socket.sendall(b"lru_crawler metadump %s\r\n" % which.encode())
            continue
        assert line.startswith(b"key="), line
        keys.add(line.split()[0])
    return COUNT - len(keys)

fill(Client())
children = []
is_seen = False
try:
    for _ in range(LOADS):
        child = os.fork()
        if child == 0:
            load()
        children.append(child)
    time.sleep(1)
    for _ in range(TRIES):
        counts = {which: missing(which) for which in ["hash", "all"]}
        for which, count in counts.items():
            print(f"metadump {which}: {count} missing", flush=True)
        if counts["hash"]:
            break
        if counts["all"]:
            is_seen = True
            break
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
sys.exit(0 if is_seen else 1)
END
