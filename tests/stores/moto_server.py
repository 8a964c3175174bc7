"""The server of moto, with one thing made right.

moto looks whether a condition of a write holds, and writes, in two steps, and other
requests come between them: of eight writers that wanted one name, two got it now and then.
Here writes go one at a time.
"""

import functools
import sys
import threading

from moto.s3.responses import S3Response
from moto.server import main

LOCK = threading.Lock()


def alone(write):
    @functools.wraps(write)
    def write_alone(self, *arguments, **named):
        # The bytes are here already; nothing in it waits for a client.
        with LOCK:
            return write(self, *arguments, **named)

    return write_alone


S3Response.put_object = alone(S3Response.put_object)

if __name__ == "__main__":
    main(sys.argv[1:])
