"""Runs LocalStack in this process, without Docker: on 127.0.0.1 only, and with everything it writes below one directory.

    python start.py --port 4566 --data DIR --services s3

localstack.sh starts this in the background; run it by hand to watch it.
"""

import argparse
import contextlib
import hashlib
import os
import sys
import uuid

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--services", required=True)
args = parser.parse_args()

# A session of its own: a Ctrl-C in the terminal that started it is not for it. Already a leader: nothing to do.
with contextlib.suppress(PermissionError):
    os.setsid()

data = os.path.abspath(args.data)
address = f"127.0.0.1:{args.port}"
for folder in ("tmp", "cache"):
    os.makedirs(os.path.join(data, folder), exist_ok=True)

# LocalStack is steered by some two hundred environment variables, and reads profiles from the home directory. Only these
# get through, so that it is the same server in every shell, and so that no credentials reach it.
kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
os.environ.clear()
os.environ.update(
    kept,
    HOME=data,
    # Objects larger than half a megabyte go to temporary files, which are not below FILESYSTEM_ROOT.
    TMPDIR=os.path.join(data, "tmp"),
    XDG_CACHE_HOME=os.path.join(data, "cache"),
    FILESYSTEM_ROOT=os.path.join(data, "root"),
    # Inside any container it takes itself for its own image, ignores FILESYSTEM_ROOT and writes to /var/lib/localstack.
    OVERRIDE_IN_DOCKER="0",
    GATEWAY_LISTEN=address,
    LOCALSTACK_HOST=address,
    SERVICES=args.services,
    EAGER_SERVICE_LOADING="1",
    # It needs nothing from outside.
    DISABLE_EVENTS="1",
    SKIP_SSL_CERT_DOWNLOAD="1",
    DNS_ADDRESS="0",
)

# Its KMS was written for Python 3.12, where the name may be bytes.
if sys.version_info < (3, 12):
    uuid5_of_text = uuid.uuid5

    def uuid5(namespace, name):
        if isinstance(name, bytes):
            return uuid.UUID(bytes=hashlib.sha1(namespace.bytes + name).digest()[:16], version=5)
        return uuid5_of_text(namespace, name)

    uuid.uuid5 = uuid5

from twisted.internet import endpoints


class LoopbackEndpoint(endpoints.TCP4ServerEndpoint):
    """Listens on 127.0.0.1, or not at all: by itself LocalStack takes every interface, whatever GATEWAY_LISTEN says, and goes on,
    saying that it is ready, when the port is taken."""

    def __init__(self, reactor, port, backlog=50, interface=None):
        super().__init__(reactor, port, backlog, "127.0.0.1")

    def listen(self, factory):
        return super().listen(factory).addErrback(self.give_up)

    def give_up(self, failure):
        print(failure.getErrorMessage(), flush=True)
        os._exit(1)


endpoints.TCP4ServerEndpoint = LoopbackEndpoint

from localstack.runtime.main import main

main()
