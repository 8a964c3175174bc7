"""pymemcache's HashClient."""

import agent
import pymemcache
from pymemcache.client.hash import HashClient


def connect(mode, servers):
    if mode != "default":
        agent.unknown(mode)
    client = HashClient(
        [f"{host}:{port}" for host, port, _ in servers],
        # Keys are text, as Django gives them: bytes would be hashed as "b'...'".
        allow_unicode_keys=True,
        connect_timeout=10,
        timeout=10,
    )

    def store(key, value):
        return client.set(key.decode(), value, noreply=False)

    def fetch(key):
        return client.get(key.decode())

    return store, fetch


agent.run(f"pymemcache {pymemcache.__version__}", connect)
