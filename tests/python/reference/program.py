"""The program, in a directory of its own and with none of the caller's settings."""

import json
import os
import pathlib
import subprocess


class Program:
    def __init__(self, icepack: pathlib.Path, room: pathlib.Path):
        self.icepack, self.room = icepack, room
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ICEPACK_", "OTEL_"))}
        # Nothing here may reach a real account: plans name S3 for its prices, and ask it nothing.
        self.environment |= {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
        self.environment |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}

    def run(self, *args: str, **environment: str) -> str:
        """What a command prints on stdout, however it ends."""
        command = [self.icepack, "--quiet", *args]
        done = subprocess.run(command, cwd=self.room, env=self.environment | environment, capture_output=True, text=True, check=False)
        assert done.stdout, f"icepack {' '.join(args)} printed nothing and ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def json(self, *args: str, **environment: str):
        """Its document."""
        return json.loads(self.run(*args, "--json", **environment))
