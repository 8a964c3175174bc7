"""A memcached of the bench's own."""

import atexit
import socket
import subprocess
import time


class Server:
    """A memcached on a loopback port, with one connection to it."""

    def __init__(self, program, *options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        arguments = ["-u", "root", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0"]
        self.process = subprocess.Popen([program, *arguments, *options])
        atexit.register(self.stop)
        for _ in range(500):
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port))
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        else:
            raise SystemExit(f"{program} does not listen on {self.address}")
        self.file = self.socket.makefile("rb")

    def stop(self):
        self.process.kill()
        self.process.wait()
