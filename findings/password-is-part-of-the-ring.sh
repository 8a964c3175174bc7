#!/usr/bin/env bash
# python-binary-memcached 0.33.0 with uhashring 2.5, and memcached 1.6.18-1+deb12u1
# (Debian 12) with default settings.
#
# The ring of DistributedClient hashes no addresses: the label of a server is
# `host:port_USER_PASSWORD`, and without a user `host:port_None_None`. So a new password,
# or a first one, moves keys among servers that are all the same as before, and a client
# that is to find them has to have the same user and password.
#
# Seen, of 1000 keys on 3 servers that were set without a user:
#   1000 are where a ring of host:port_None_None puts them
#   335 are where a ring of host:port puts them
#   1000 are found by another client without a user
#   315 are found with user app and password one
#   309 are found with user app and password two
#
# Runs on Debian 12 with python3 and pip, as any user; exits with 0 if that is seen (the
# shares depend on the ports), 1 if not, 2 if it could not be checked.
set -euo pipefail

work=$(mktemp -d)
servers=()
clean_up() {
    for server in "${servers[@]}"; do
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    done
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
if ! python3 -m pip install --quiet --no-deps --target python --disable-pip-version-check \
    python-binary-memcached==0.33.0 uhashring==2.5 >pip.log 2>&1; then
    cat pip.log >&2
    echo "not checked: the packages cannot be had" >&2
    exit 2
fi
for package in *.deb; do
    dpkg -x "$package" root
done
libraries=$(dirname "$(find "$work/root" -name 'libevent-2.1.so.7')")

# Port -1 is one that the kernel chooses; the server writes it to the file.
for number in 1 2 3; do
    MEMCACHED_PORT_FILENAME=port.$number LD_LIBRARY_PATH=$libraries \
        root/usr/bin/memcached -l 127.0.0.1 -p -1 -U 0 -u "$(id -un)" &
    servers+=($!)
done
for ((tries = 0; tries < 300; tries++)); do
    [ ! -s port.1 ] || [ ! -s port.2 ] || [ ! -s port.3 ] || break
    sleep 0.1
done
mapfile -t ports < <(sed -n 's/^TCP INET: //p' port.1 port.2 port.3)

PYTHONPATH=python python3 - "${ports[@]}" <<'END'
import socket, sys
from bmemcached import DistributedClient
from uhashring import HashRing

servers = [f"127.0.0.1:{port}" for port in sys.argv[1:]]
keys = [f"key{number}" for number in range(1000)]

def keys_of(server):
    """Asks a server which of the keys it has."""
    host, port = server.split(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(f"get {' '.join(keys)}\r\n".encode())
        lines = iter(connection.makefile("rb").readline, b"END\r\n")
        return {line.split()[1].decode() for line in lines if line.startswith(b"VALUE")}

def explained(label):
    """How many keys are where a ring of such labels puts them."""
    ring = HashRing([server + label for server in servers])
    return sum(key in there[ring.get_node(key).removesuffix(label)] for key in keys)

def found(*user):
    client = DistributedClient(servers, *user)
    return sum(client.get(key) is not None for key in keys)

writer = DistributedClient(servers)
assert all([writer.set(key, "value") for key in keys])
there = {server: keys_of(server) for server in servers}
labelled, plain = explained("_None_None"), explained("")
print(f"{labelled} are where a ring of host:port_None_None puts them")
print(f"{plain} are where a ring of host:port puts them")
without, one, two = found(), found("app", "one"), found("app", "two")
print(f"{without} are found by another client without a user")
print(f"{one} are found with user app and password one")
print(f"{two} are found with user app and password two")
moved = [count < 900 for count in (plain, one, two)]
sys.exit(0 if labelled == without == len(keys) and all(moved) else 1)
END
