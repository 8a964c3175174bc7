#!/usr/bin/env bash
# memcached 1.6.18-1+deb12u1 (Debian 12), default settings.
#
# An item marked stale (`md KEY I`) gives the first client that asks a win token (W), so
# that this one makes it anew; all others are told that it was given (Z). A tool that
# only looks takes it, too, and `u` (do not update the item) does not prevent that:
# after one `mg KEY v u` no application ever gets W, and the item stays stale until it
# expires. `mg KEY s t u`, without the value, does the same; `gets` and `me` do not.
#
# Seen; each line is what an application's `mg KEY v` is told after another client's:
#   gets KEY        VA 3 W X
#   me KEY          VA 3 W X
#   mg KEY v u      VA 3 X Z
#   mg KEY s t u    VA 3 X Z
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

seen = {}
for reading in ["gets KEY", "me KEY", "mg KEY v u", "mg KEY s t u"]:
    tool, application = Client(), Client()
    assert application.ask(b"set KEY 0 1000 3\r\nold\r\n") == "STORED"
    assert application.ask(b"md KEY I\r\n") == "HD"
    assert tool.ask(f"{reading}\r\n".encode()) not in ["END", "EN"]
    answer = application.ask(b"mg KEY v\r\n")
    seen[reading] = " ".join(answer.split()[:2] + sorted(answer.split()[2:]))
    print(f"{reading:<15} {seen[reading]}")
won, taken = "VA 3 W X", "VA 3 X Z"
sys.exit(0 if list(seen.values()) == [won, won, taken, taken] else 1)
END
