"""pymemcache's HashClient."""

import agent
import pymemcache
from pymemcache.client.hash import HashClient


def connect(mode, servers):
    if mode not in ("default", "bytes-keys", "prefix"):
        agent.unknown(mode)
    prefix = b"app1:" if mode == "prefix" else b""
    client = HashClient(
        [
            # A socket has no port.
            host if host.startswith("/") else f"{host}:{port}"
            for host, port, _ in servers
        ],
        key_prefix=prefix,
        allow_unicode_keys=mode != "bytes-keys",
        connect_timeout=10,
        timeout=10,
    )

    def given(key):
        # The client puts the prefix before the key itself.
        key = key[len(prefix) :]
        # Text is what Django gives; bytes are hashed as "b'...'".
        return key if mode == "bytes-keys" else key.decode()

    def store(key, value):
        return client.set(given(key), value, noreply=False)

    def fetch(key):
        return client.get(given(key))

    return store, fetch


agent.run(f"pymemcache {pymemcache.__version__}", connect)
