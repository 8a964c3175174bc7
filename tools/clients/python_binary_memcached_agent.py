"""python-binary-memcached's DistributedClient."""

import agent
from importlib.metadata import version

from bmemcached import DistributedClient


def connect(mode, servers):
    if mode != "default":
        agent.unknown(mode)
    client = DistributedClient(
        [f"{host}:{port}" for host, port, _ in servers], socket_timeout=10, raw_data=True
    )

    # A key of bytes would be hashed as "b'...'".
    def store(key, value):
        return client.set(key.decode(), value)

    def fetch(key):
        return client.get(key.decode())

    return store, fetch


agent.run(f"python-binary-memcached {version('python-binary-memcached')}", connect)
