#!/usr/bin/env bash
# memcached 1.6.18-1+deb12u1 (Debian 12), default settings.
#
# An add stores only where there is nothing yet, so one that fails should leave what is
# there. A meta set in mode add (`ms KEY LENGTH ME`) of a value that is too large deletes
# the item that is there; the classic `add` and the binary one keep it.
#
# Seen, with KEY set to `old` and then a value of 2 MB:
#   add           SERVER_ERROR object too large for cache; the key has 'old'
#   binary add    status 3; the key has 'old'
#   ms ME         SERVER_ERROR object too large for cache; the key has None
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
    root/usr/bin/memcached -l 127.0.0.1 -p -1 -U 0 -u "$(id -un)"&
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

big = b"B" * 2_000_000
client, binary = Client(), Client()

def binary_add():
    head = struct.pack(">BBHBBHIIQII", 0x80, 0x02, 3, 8, 0, 0, 11 + len(big), 0, 0, 0, 0)
    binary.socket.sendall(head + b"KEY" + big)
    _, _, _, _, _, status, length, _, _ = struct.unpack(">BBHBBHIIQ", binary.file.read(24))
    binary.file.read(length)
    return f"status {status}"

found = {}
for name, add in [
    ("add", lambda: client.ask(b"add KEY 0 0 2000000\r\n%s\r\n" % big)),
    ("binary add", binary_add),
    ("ms ME", lambda: client.ask(b"ms KEY 2000000 ME\r\n%s\r\n" % big)),
]:
    assert client.ask(b"set KEY 0 0 3\r\nold\r\n") == "STORED"
    answer = add()
    found[name] = (answer, client.get("KEY"))
    print(f"{name:<13} {answer}; the key has {found[name][1]!r}")
error = "SERVER_ERROR object too large for cache"
wanted = {"add": (error, "old"), "binary add": ("status 3", "old"), "ms ME": (error, None)}
sys.exit(0 if found == wanted else 1)
END
