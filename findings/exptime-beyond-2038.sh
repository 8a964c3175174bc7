#!/usr/bin/env bash
# memcached 1.6.18-1+deb12u1 (Debian 12), default settings.
#
# The text protocol reads an exptime as a signed 32-bit number, and the binary protocol
# as an unsigned one. For a second after 2038-01-19 `set` and `ms` say that the item is
# stored, though it has expired at once and has taken the older item of that key with
# it; `touch` says TOUCHED and loses the item. The binary protocol stores the same
# second, the item lives, and `lru_crawler metadump` shows the exptime that was meant:
# copied by the text protocol, with every answer checked, such an item is lost.
#
# Seen, with exptime 4102444800 (2100-01-01):
#   set: STORED; the key has None
#   ms: HD; the key has None
#   touch: TOUCHED; the key has None
#   binary set: status 0; the key has 'new'; metadump: exp=4102444800
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

EXPTIME = 4102444800
client = Client()
found = {}
for command, request in [
    ("set", f"set KEY 0 {EXPTIME} 3\r\nnew\r\n"),
    ("ms", f"ms KEY 3 T{EXPTIME}\r\nnew\r\n"),
    ("touch", f"touch KEY {EXPTIME}\r\n"),
]:
    assert client.ask(b"set KEY 0 0 3\r\nold\r\n") == "STORED"
    answer = client.ask(request.encode())
    found[command] = (answer, client.get("KEY"))
    print(f"{command}: {answer}; the key has {found[command][1]!r}")

binary = Client()
binary.socket.sendall(
    struct.pack(">BBHBBHIIQII", 0x80, 0x01, 3, 8, 0, 0, 14, 0, 0, 0, EXPTIME) + b"KEY" + b"new"
)
status = struct.unpack(">BBHBBHIIQ", binary.file.read(24))[5]
value = client.get("KEY")
line = client.ask(b"lru_crawler metadump hash\r\n")
exptime = next((word for word in line.split() if word.startswith("exp=")), "none")
print(f"binary set: status {status}; the key has {value!r}; metadump: {exptime}")
wanted = {"set": ("STORED", None), "ms": ("HD", None), "touch": ("TOUCHED", None)}
is_seen = found == wanted and (status, value, exptime) == (0, "new", f"exp={EXPTIME}")
sys.exit(0 if is_seen else 1)
END
