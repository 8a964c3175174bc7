"""python-memcached; which version, the caller's PYTHONPATH says."""

import agent
import memcache


def connect(mode, servers):
    if mode == "old-hash":
        memcache.useOldServerHashFunction()
    elif mode != "default":
        agent.unknown(mode)
    client = memcache.Client(
        [(f"{host}:{port}", weight) for host, port, weight in servers], socket_timeout=10
    )
    return client.set, client.get


agent.run(f"python-memcached {memcache.__version__}", connect)
