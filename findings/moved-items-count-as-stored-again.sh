#!/usr/bin/env bash
# memcached 1.6.18-1+deb12u1 (Debian 12), `-m 64 -o slab_reassign,slab_automove=0`.
#
# `total_items` is documented as the number of items stored since the server started.
# Items that the slab mover takes from one page to another are counted in it again, so
# that it rises while no client writes. Whoever compares how far it has risen with what
# was sent, to see whether all of it was stored, is told of more than was sent, and misses
# a loss. `slab_reassign_rescues` has the difference, but only once a page is done.
#
# Seen, with 60,000 items of 100 bytes, of which half are deleted, and three pages moved:
#   stored: total_items 60000, slab_reassign_rescues 0
#   moved: total_items 60000 + rescues, cmd_set 60000, rescues above 1000
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
    root/usr/bin/memcached -l 127.0.0.1 -p -1 -U 0 -u "$(id -un)" \
    -m 64 -o slab_reassign,slab_automove=0 &
server=$!
for ((tries = 0; tries < 300; tries++)); do
    [ ! -s port ] || break
    sleep 0.1
done
port=$(sed -n 's/^TCP INET: //p' port)

python3 - "$port" <<'END'
import socket, sys, time

ITEMS, PAGES = 60_000, 3
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
answers = server.makefile("rb")

def ask(request):
    server.sendall(request)
    return answers.readline().rstrip().decode()

def stats(argument=""):
    server.sendall(f"stats {argument}".strip().encode() + b"\r\n")
    found = {}
    while (line := answers.readline().decode().split())[0] != "END":
        found[line[1]] = line[2]
    return found

def show(name):
    found = stats()
    counts = {key: int(found[key]) for key in ("total_items", "slab_reassign_rescues", "cmd_set")}
    print(f"{name}:", ", ".join(f"{key} {count}" for key, count in counts.items()))
    return counts

items = b"".join(b"ms key:%d 100 q\r\n%s\r\n" % (n, b"x" * 100) for n in range(ITEMS))
assert ask(items + b"mn\r\n") == "MN"
before = show("stored")
# Room in the pages that stay, for what is in those that go.
assert ask(b"".join(b"md key:%d q\r\n" % n for n in range(0, ITEMS, 2)) + b"mn\r\n") == "MN"
source = next(key.split(":")[0] for key in stats("slabs") if key.endswith(":total_pages"))
for page in range(PAGES):
    while (answer := ask(b"slabs reassign %s 20\r\n" % source.encode())).startswith("BUSY"):
        time.sleep(0.1)
    assert answer == "OK", answer
    for _ in range(300):
        if int(stats()["slabs_moved"]) > page:
            break
        time.sleep(0.1)
after = show("moved")
rescues = after["slab_reassign_rescues"]
is_seen = (
    before["total_items"] == after["cmd_set"] == ITEMS
    and after["total_items"] == ITEMS + rescues
    and rescues > 1000
)
sys.exit(0 if is_seen else 1)
END
