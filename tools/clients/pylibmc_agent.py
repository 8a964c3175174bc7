"""pylibmc, on the libmemcached of its wheel or of the system."""

import agent
import pylibmc

BEHAVIORS = {
    "default": {},
    "ketama": {"ketama": True},
    "ketama-weighted": {"ketama_weighted": True},
}


def connect(mode, servers):
    if mode not in BEHAVIORS:
        agent.unknown(mode)
    ten_seconds = 10_000_000
    timeouts = {"connect_timeout": 10_000, "send_timeout": ten_seconds, "receive_timeout": ten_seconds}
    client = pylibmc.Client(
        [
            # A socket has no port, and pylibmc no weight for it.
            host if host.startswith("/") else f"{host}:{port}:{weight}"
            for host, port, weight in servers
        ],
        behaviors={**BEHAVIORS[mode], **timeouts},
    )
    return client.set, client.get


agent.run(
    f"pylibmc {pylibmc.__version__} on libmemcached {pylibmc.libmemcached_version}", connect
)
