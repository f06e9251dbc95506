"""What the tests of infra/ share: where things are, programs, a LocalStack of their own. Run by run.sh."""

import atexit
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import boto3
from botocore.config import Config

TESTS = pathlib.Path(__file__).resolve().parent
INFRA = TESTS.parent
ROOT = INFRA.parent

sys.path.insert(0, str(INFRA / "iam"))
sys.dont_write_bytecode = True

# Whatever account the shell is logged in to, nothing here may reach it.
for variable in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[variable]
os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true")


def left_out(what, why):
    """Says loudly that something is not tested; the reason of the skip."""
    bar = "*" * 90
    print(f"{bar}\n** NOT TESTED: {what}. {why}\n{bar}", file=sys.stderr, flush=True)
    return why


def run(*command, ok=(0,), **options):
    """Runs a program; its output, both streams, is in the failure where it ends with another code."""
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
    done = subprocess.run([str(part) for part in command], **options)
    if done.returncode not in ok:
        raise AssertionError(f"{' '.join(str(part) for part in command)}: exit {done.returncode}\n{done.stdout or ''}\n{done.stderr or ''}")
    return done


# As Ctrl-C: by itself Python would end without a word to atexit, and what was started would stay.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@functools.cache
def localstack():
    """The URL of a LocalStack with IAM, KMS and CloudFormation; started when first asked for, stopped at the end."""
    given = os.environ.get("ICEPACK_TEST_LOCALSTACK_FULL")
    if given:
        return given
    script = ROOT / "localstack" / "localstack.sh"
    # Its server lives on, and would keep a pipe of ours open: the log goes where ours goes.
    url = run(script, "start", "--full", "--port", "0", capture_output=False, stdout=subprocess.PIPE).stdout.strip()
    atexit.register(run, script, "stop", "--port", url.rpartition(":")[2])
    return url


def aws(service):
    """A client of the LocalStack."""
    config = Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 2})
    return boto3.client(
        service, endpoint_url=localstack(), region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test", config=config
    )


def canonical(document):
    """A policy so that two which say the same are equal: a value alone is a list of one, and lists have no order."""
    document = json.loads(document) if isinstance(document, str) else document
    statements = []
    for statement in document["Statement"]:
        same = {key: sorted([value] if isinstance(value, str) else value) if key in ("Action", "Resource") else value for key, value in statement.items()}
        same["Condition"] = {
            test: {key: [value] if isinstance(value, str) else value for key, value in keys.items()} for test, keys in statement.get("Condition", {}).items()
        }
        statements.append(same)
    return sorted(statements, key=lambda statement: statement["Sid"])


def roomy():
    """Where folders with copies of the binary are made: in memory, where there is room, for disks may be slow. None: where temporary files are."""
    return "/dev/shm" if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 2 << 30 else None


def binary(what):
    """The icepack of $ICEPACK_BIN; None, said loudly, where none is named."""
    named = os.environ.get("ICEPACK_BIN")
    if not named:
        left_out(what, "ICEPACK_BIN names no icepack.")
    return named


def environment(endpoint, key, secret, **more):
    """All that an icepack gets to know about a server on this machine."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    } | more


# Tenant system has 60 days of events, of which 30 expire: so something is archived.
DEMO = ("demo", "--tenants", "acme=6x200,system=12x200")


def work_inside(store, archive, run_args=("run",), **more):
    """Runs an icepack inside buckets that were just made; returns it, ready to be called with more arguments, or None where there is none."""
    named = binary("the job inside the buckets just made")
    if not named:
        return None
    # The files of the demo were just written: the chart's settings would leave them alone for ten minutes.
    places = {"ICEPACK_STORE": store, "ICEPACK_ARCHIVE_URL": archive, "ICEPACK_COMPACTION_MIN_RAW_AGE": "0"}
    env = environment(localstack(), "test", "test", **places)

    def icepack(*args, ok=(0,)):
        return run(named, *args, env=env | more, ok=ok)

    icepack(*DEMO)
    # The second time there is nothing to do.
    for args in (run_args, ["verify"], run_args):
        icepack(*args)
    found = [o["Key"] for o in aws("s3").list_objects_v2(Bucket=archive.split("/")[2], Prefix=f"{archive.split('/', 3)[3]}/system/").get("Contents", [])]
    if not any(key.endswith(".receipt.json") for key in found):
        raise AssertionError(f"nothing was archived: {found}")
    undo(store, icepack, run_args)
    return icepack


def undo(store, icepack, run_args):
    """What docs/runbook.md says of files that are gone from the store, as it says it."""
    s3, (bucket, _, prefix) = aws("s3"), store.removeprefix("s3://").partition("/")

    def listed(kind, key):
        found = s3.list_object_versions(Bucket=bucket, Prefix=f"{prefix}/{key}").get(kind, [])
        return [v for v in found if "/_icepack/" not in v["Key"]]

    def bring_back(key):
        (marker,) = [m for m in listed("DeleteMarkers", "") if m["Key"] == key and m["IsLatest"]]
        s3.delete_object(Bucket=bucket, Key=key, VersionId=marker["VersionId"])

    # A live file that somebody deleted: icepack refuses the tenant until it is back, and then nothing has happened.
    live = next(v for v in listed("Versions", "acme/") if v["IsLatest"])
    s3.delete_object(Bucket=bucket, Key=live["Key"])
    icepack("verify", ok=(1,))
    icepack(*run_args, ok=(5,))
    bring_back(live["Key"])
    icepack("verify")
    icepack(*run_args)
    if s3.head_object(Bucket=bucket, Key=live["Key"])["ETag"] != live["ETag"]:
        raise AssertionError("another file came back")

    # A file that icepack merged and deleted: under a new tenant it is a file like any other …
    merged = next(v for v in listed("Versions", "acme/") if "/snapshot." not in v["Key"] and not v["IsLatest"])
    new = f"{prefix}/undone/{merged['Key'].rpartition('/')[2]}"
    s3.copy_object(Bucket=bucket, Key=new, CopySource={"Bucket": bucket, "Key": merged["Key"], "VersionId": merged["VersionId"]})
    if new not in icepack("ls", "--tenant", "undone").stdout:
        raise AssertionError(f"{new} is not read")
    # … and under its old name it is a repeated upload, which goes again.
    bring_back(merged["Key"])
    rows = icepack("ls", "--tenant", "acme").stdout
    if merged["Key"] in rows:
        raise AssertionError(f"the rows of {merged['Key']} are there twice")
    icepack(*run_args)
    if not [m for m in listed("DeleteMarkers", "acme/") if m["Key"] == merged["Key"] and m["IsLatest"]]:
        raise AssertionError(f"{merged['Key']} stays")


# Where run.sh unpacked them.
KUBECTL = os.environ.get("ICEPACK_TEST_KUBECTL")
NO_KUBECTL = "helm and kubectl could not be installed (see above)."


def program(name):
    return pathlib.Path(KUBECTL) / "bin" / name


def golden(test, name, text):
    """Compares a render with golden/NAME; with UPDATE_GOLDEN=1 writes it."""
    path = TESTS / "golden" / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    test.assertTrue(path.exists(), f"no {path}: run UPDATE_GOLDEN=1 infra/tests/run.sh {type(test).__module__}")
    test.assertEqual(path.read_text(), text, f"{name} is another: if that is meant, run UPDATE_GOLDEN=1 infra/tests/run.sh {type(test).__module__} and commit it")
