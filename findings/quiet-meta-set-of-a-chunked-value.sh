#!/usr/bin/env bash
# memcached 1.6.18-1+deb12u1 (Debian 12), started with -m 64 -I 8m, evictions on.
#
# A quiet meta set (`ms KEY LENGTH q`) should hide a success alone. One of a value that
# is kept in chunks (above slab_chunk_max, 512 KiB by default) and for which no memory
# is found hides the failure, too: nothing is answered, `mn` says MN, the next command
# is in step, and the value is not stored. An older value of the key stays, so that a
# look for the key finds something. The same set without q says so, and the binary
# protocol's quiet set does (status 0x82).
#
# Seen, with the memory full of 900-byte values and 8 values of 3 MB:
#   ms KEY 3000000 q, then mn: answered MN 8 of 8; 8 of 8 keys have their old value
#   ms KEY 3000000: answered SERVER_ERROR Out of memory during read 8 of 8
#   SETQ, then NOOP: answered 0x11 with status 0x82 8 of 8
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
    root/usr/bin/memcached -l 127.0.0.1 -p -1 -U 0 -u "$(id -un)" -m 64 -I 8m &
server=$!
for ((tries = 0; tries < 300; tries++)); do
    [ ! -s port ] || break
    sleep 0.1
done
port=$(sed -n 's/^TCP INET: //p' port)

python3 - "$port" <<'END'
import struct
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

COUNT = 8
big = b"B" * 3_000_000
client = Client()

def evictions():
    client.socket.sendall(b"stats\r\n")
    found = 0
    while (line := client.file.readline().split()) != [b"END"]:
        if line[1] == b"evictions":
            found = int(line[2])
    return found

number = 0
while evictions() < 500:
    client.socket.sendall(
        b"".join(b"set f%d 0 0 900\r\n%s\r\n" % (number + n, b"z" * 900) for n in range(1000))
    )
    for _ in range(1000):
        assert client.file.readline() == b"STORED\r\n"
    number += 1000

for n in range(COUNT):
    assert client.ask(b"set quiet%d 0 0 3\r\nold\r\n" % n) == "STORED"
quiet = [client.ask(b"ms quiet%d 3000000 q\r\n%s\r\nmn\r\n" % (n, big)) for n in range(COUNT)]
kept = [client.get(f"quiet{n}") for n in range(COUNT)]
aloud = [client.ask(b"ms aloud%d 3000000\r\n%s\r\n" % (n, big)) for n in range(COUNT)]

binary = Client()
told = 0
for n in range(COUNT):
    key = b"binary%d" % n
    setq = struct.pack(">BBHBBHIIQII", 0x80, 0x11, len(key), 8, 0, 0, 8 + len(key) + len(big), 7, 0, 0, 0)
    noop = struct.pack(">BBHBBHIIQ", 0x80, 0x0A, 0, 0, 0, 0, 0, 8, 0)
    binary.socket.sendall(setq + key + big + noop)
    while True:
        _, opcode, _, _, _, status, length, _, _ = struct.unpack(">BBHBBHIIQ", binary.file.read(24))
        binary.file.read(length)
        if opcode == 0x0A:
            break
        told += (opcode, status) == (0x11, 0x82)

error = "SERVER_ERROR Out of memory during read"
print(f"ms KEY 3000000 q, then mn: answered MN {quiet.count('MN')} of {COUNT};",
      f"{kept.count('old')} of {COUNT} keys have their old value")
print(f"ms KEY 3000000: answered {error} {aloud.count(error)} of {COUNT}")
print(f"SETQ, then NOOP: answered 0x11 with status 0x82 {told} of {COUNT}")
lost = [n for n in range(COUNT) if quiet[n] == "MN" and kept[n] == "old"]
sys.exit(0 if lost and error in aloud and told else 1)
END
