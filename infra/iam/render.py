#!/usr/bin/env python3
"""Prints one of the policies beside this file as the IAM document for these buckets. Needs Python 3 alone.

    render.py job --hot s3://events/prod --archive s3://events-cold/prod [--kms-key ARN] [--object-lock] [--partition aws-cn]
    render.py restore --hot … --archive … [--kms-key ARN]
"""

import argparse
import json
import pathlib
import re
import string
import sys

HERE = pathlib.Path(__file__).resolve().parent
# IAM reads these as patterns in a resource: a bucket or prefix that holds one would grant more than it names.
PATTERN = re.compile(r"[*?$\"\\]|[\x00-\x1f]")


def place(url):
    """The bucket, and the prefix with its closing slash, or nothing for a whole bucket."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme != "s3" or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise ValueError(f"`{url}` names no bucket; use s3://bucket/prefix")
    if PATTERN.search(prefix):
        raise ValueError(f"`{url}` holds a character that IAM takes for a pattern; choose a prefix without * ? $ \" and backslash")
    return bucket, f"{prefix}/" if prefix else ""


def overlap(one, other):
    """Whether one of two places holds, or is, the other."""
    return one[0] == other[0] and (one[1].startswith(other[1]) or other[1].startswith(one[1]))


def fill(name, values):
    """One template with its placeholders filled; an unknown one is an error."""
    return json.loads(string.Template((HERE / f"{name}.json").read_text()).substitute(values))


def render(role, hot, archive, kms_key=None, object_lock=False, partition="aws"):
    """The whole document of a role."""
    hot, archive = place(hot), place(archive)
    if overlap(hot, archive):
        raise ValueError("the archive overlaps the store: the right to delete in the one would hold in the other; keep them apart")
    values = {"partition": partition, "hot_bucket": hot[0], "hot_prefix": hot[1], "archive_bucket": archive[0], "archive_prefix": archive[1]}
    document = fill(role, values)
    if object_lock and role == "job":
        document["Statement"] += fill("object-lock", values)["Statement"]
    if kms_key:
        if not re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", kms_key):
            raise ValueError(f"`{kms_key}` is not a key's ARN; use arn:aws:kms:REGION:ACCOUNT:key/ID (an alias cannot stand in a policy)")
        document["Statement"] += fill("kms", {"kms_key_arn": kms_key})["Statement"]
    return document


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["job", "restore"])
    parser.add_argument("--hot", required=True, metavar="URL", help="the store, s3://bucket/prefix")
    parser.add_argument("--archive", required=True, metavar="URL", help="the archive, s3://bucket/prefix")
    parser.add_argument("--kms-key", metavar="ARN", help="the key that the buckets are encrypted with, if it is one of your own")
    parser.add_argument("--object-lock", action="store_true", help="the job sets retention on what it archives")
    parser.add_argument("--partition", default="aws", choices=["aws", "aws-cn", "aws-us-gov"])
    args = parser.parse_args()
    try:
        document = render(args.role, args.hot, args.archive, args.kms_key, args.object_lock, args.partition)
    except ValueError as error:
        sys.exit(f"render: {error}")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
