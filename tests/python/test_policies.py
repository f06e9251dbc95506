"""Shows that the roles of infra/iam may do what the job and a restore need, and nothing else: asks a server that checks policies, with keys that have
exactly these. Run by test.sh, which names the server (scripts/s3-server.sh start seaweedfs) in ICEPACK_TEST_SEAWEED.

What this server cannot judge is in infra/iam/README.md.
"""

import json
import os
import pathlib
import subprocess
import sys
import unittest
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

SERVER = os.environ.get("ICEPACK_TEST_SEAWEED", "")
# Left out where somebody said so, and not because the variable was forgotten.
MISSING = SERVER == "unavailable" or (SERVER == "" and os.environ.get("ICEPACK_SKIP_S3") == "1")
RENDER = pathlib.Path(__file__).resolve().parents[2] / "infra" / "iam" / "render.py"
# As in scripts/s3-server.sh.
HOT, COLD = "policy-hot", "policy-cold"

if MISSING:
    print("** NOT TESTED: the policies of infra/iam. There is no SeaweedFS.", file=sys.stderr)


def client(key, secret):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, proxies={})
    return boto3.client("s3", endpoint_url=SERVER, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret, config=config)


def code(call):
    """What S3 says to a call: `ok`, or its error. A HEAD's answer has no body, so only a number."""
    try:
        reply = call()
    except ClientError as error:
        return {"403": "AccessDenied", "404": "NoSuchKey"}.get(error.response["Error"]["Code"], error.response["Error"]["Code"])
    # A bulk delete answers 200 whatever becomes of its keys.
    return reply["Errors"][0]["Code"] if reply.get("Errors") else "ok"


def abort_an_upload(s3, bucket, key):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    return s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def finish_an_upload(s3, bucket, key):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts)


@unittest.skipIf(MISSING, "there is no SeaweedFS")
class Policies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not SERVER:
            raise AssertionError("ICEPACK_TEST_SEAWEED is not set: run ./test.sh, or name a server that scripts/s3-server.sh started, or say `unavailable`")
        cls.admin, cls.job, cls.restore = client("test", "testtest"), client("job", "jobsecret"), client("restore", "restoresecret")
        for bucket in (HOT, COLD, "policy-other"):
            if code(lambda: cls.admin.head_bucket(Bucket=bucket)) != "ok":
                cls.admin.create_bucket(Bucket=bucket)
        # As the archive of infra/terraform: a delete without a version would only hide the object, so both are asked.
        cls.admin.put_bucket_versioning(Bucket=COLD, VersioningConfiguration={"Status": "Enabled"})

    def setUp(self):
        # A server that stays may be asked again.
        self.id = uuid.uuid4().hex
        self.hot, self.cold = f"events/acme/{self.id}.parquet", f"frozen/acme/{self.id}.parquet"

    def put(self, bucket, key):
        """An object of the owner's; its version, if it has one."""
        return self.admin.put_object(Bucket=bucket, Key=key, Body=b"rows").get("VersionId")

    def expect(self, wanted, **calls):
        for name, call in calls.items():
            with self.subTest(call=name):
                self.assertEqual(code(call), wanted, name)

    def test_the_job_compacts_the_store(self):
        self.put(HOT, self.hot)
        s3, new = self.job, {"Bucket": HOT, "Key": f"events/acme/new-{self.id}"}
        self.expect(
            "ok",
            list=lambda: s3.list_objects_v2(Bucket=HOT, Prefix="events/"),
            folders=lambda: s3.list_objects_v2(Bucket=HOT, Prefix="events/", Delimiter="/"),
            get=lambda: s3.get_object(Bucket=HOT, Key=self.hot),
            head=lambda: s3.head_object(Bucket=HOT, Key=self.hot),
            create=lambda: s3.put_object(**new, Body=b"rows", IfNoneMatch="*"),
            upload=lambda: finish_an_upload(s3, HOT, f"{self.hot}.parts"),
            abort=lambda: abort_an_upload(s3, HOT, f"{self.hot}.aborted"),
            delete=lambda: s3.delete_object(Bucket=HOT, Key=self.hot),
            bulk_delete=lambda: s3.delete_objects(Bucket=HOT, Delete={"Objects": [{"Key": new["Key"]}]}),
        )
        # A commit whose reply was lost is settled by this: "forbidden" would leave it unknown.
        self.expect("NoSuchKey", head_missing=lambda: s3.head_object(Bucket=HOT, Key=self.hot), get_missing=lambda: s3.get_object(Bucket=HOT, Key=self.hot))

    def test_the_job_adds_to_the_archive(self):
        self.put(HOT, self.hot)
        s3, new = self.job, {"Bucket": COLD, "Key": self.cold}
        self.expect("NoSuchKey", missing=lambda: s3.head_object(**new))
        self.expect(
            "ok",
            create=lambda: s3.put_object(**new, Body=b"rows", IfNoneMatch="*", Tagging="tenant=acme"),
            readback=lambda: s3.get_object(**new),
            head=lambda: s3.head_object(**new, ChecksumMode="ENABLED"),
            list=lambda: s3.list_objects_v2(Bucket=COLD, Prefix="frozen/"),
            upload=lambda: finish_an_upload(s3, COLD, f"{self.cold}.parts"),
            abort=lambda: abort_an_upload(s3, COLD, f"{self.cold}.aborted"),
            copy=lambda: s3.copy_object(
                Bucket=COLD, Key=f"{self.cold}.copy", CopySource={"Bucket": HOT, "Key": self.hot}, TaggingDirective="REPLACE", Tagging="tenant=acme"
            ),
        )

    def test_the_job_deletes_nothing_in_the_archive(self):
        version, s3 = self.put(COLD, self.cold), self.job
        self.assertTrue(version, "the archive bucket has no versions")
        target = {"Bucket": COLD, "Key": self.cold}
        self.expect(
            "AccessDenied",
            delete=lambda: s3.delete_object(**target),
            delete_version=lambda: s3.delete_object(**target, VersionId=version),
            delete_past_the_lock=lambda: s3.delete_object(**target, VersionId=version, BypassGovernanceRetention=True),
            bulk_delete=lambda: s3.delete_objects(Bucket=COLD, Delete={"Objects": [{"Key": self.cold}]}),
            bulk_delete_version=lambda: s3.delete_objects(Bucket=COLD, Delete={"Objects": [{"Key": self.cold, "VersionId": version}]}),
            expire=lambda: s3.put_bucket_lifecycle_configuration(
                Bucket=COLD, LifecycleConfiguration={"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
            ),
            stop_versions=lambda: s3.put_bucket_versioning(Bucket=COLD, VersioningConfiguration={"Status": "Suspended"}),
            bucket_policy=lambda: s3.put_bucket_policy(Bucket=COLD, Policy=json.dumps({"Version": "2012-10-17", "Statement": []})),
            delete_bucket=lambda: s3.delete_bucket(Bucket=COLD),
        )
        self.assertEqual(self.admin.get_object(**target)["Body"].read(), b"rows")
        # The owner may: the calls themselves are right.
        self.expect("ok", owner=lambda: self.admin.delete_object(**target, VersionId=version))

    def test_the_job_stays_within_its_prefixes(self):
        for bucket, key in ((HOT, f"else/{self.id}"), (HOT, f"events-2/{self.id}"), (COLD, f"else/{self.id}"), ("policy-other", f"events/{self.id}")):
            self.put(bucket, key)
            s3, target, folder = self.job, {"Bucket": bucket, "Key": key}, key.split("/")[0] + "/"
            with self.subTest(bucket=bucket, key=folder):
                self.expect(
                    "AccessDenied",
                    get=lambda: s3.get_object(**target),
                    head=lambda: s3.head_object(**target),
                    put=lambda: s3.put_object(**target, Body=b"mine"),
                    create=lambda: s3.put_object(Bucket=bucket, Key=f"{key}.new", Body=b"mine", IfNoneMatch="*"),
                    upload=lambda: s3.create_multipart_upload(**target),
                    delete=lambda: s3.delete_object(**target),
                    bulk_delete=lambda: s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]}),
                    copy_from=lambda: s3.copy_object(Bucket=COLD, Key=f"{self.cold}.stolen", CopySource=target),
                    list=lambda: s3.list_objects_v2(Bucket=bucket, Prefix=folder),
                )
                self.assertEqual(self.admin.get_object(**target)["Body"].read(), b"rows")
        self.expect("AccessDenied", list_all=lambda: self.job.list_objects_v2(Bucket=HOT, Prefix=""))

    def test_a_restore_reads_the_archive_and_adds_to_the_store(self):
        version, s3 = self.put(COLD, self.cold), self.restore
        self.put(HOT, self.hot)
        cold, hot = {"Bucket": COLD, "Key": self.cold}, {"Bucket": HOT, "Key": f"{self.hot}.restored"}
        self.expect(
            "ok",
            find=lambda: s3.list_objects_v2(Bucket=COLD, Prefix="frozen/"),
            get=lambda: s3.get_object(**cold),
            write=lambda: s3.put_object(**hot, Body=b"rows", IfNoneMatch="*"),
            copy=lambda: s3.copy_object(Bucket=HOT, Key=f"{self.hot}.copy", CopySource=cold),
            abort=lambda: abort_an_upload(s3, HOT, f"{self.hot}.aborted"),
        )
        self.expect(
            "AccessDenied",
            archive_put=lambda: s3.put_object(Bucket=COLD, Key=f"{self.cold}.new", Body=b"mine"),
            archive_delete=lambda: s3.delete_object(**cold),
            archive_delete_version=lambda: s3.delete_object(**cold, VersionId=version),
            store_delete=lambda: s3.delete_object(Bucket=HOT, Key=self.hot),
            elsewhere=lambda: s3.put_object(Bucket=HOT, Key=f"else/{self.id}", Body=b"mine"),
            list_elsewhere=lambda: s3.list_objects_v2(Bucket=HOT, Prefix="else/"),
        )


class Rendering(unittest.TestCase):
    """What the server cannot judge, judged by reading."""

    def render(self, *args):
        return subprocess.run([sys.executable, RENDER, *args], capture_output=True, text=True)

    def document(self, role, *more, hot="s3://hot-bucket/a", archive="s3://cold-bucket/b"):
        done = self.render(role, "--hot", hot, "--archive", archive, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def actions(self, document, bucket):
        return {a for s in document["Statement"] for a in s["Action"] if any(f":::{bucket}" in r for r in s["Resource"])}

    def test_only_the_job_deletes_and_only_in_the_store(self):
        everything = ("--kms-key", "arn:aws:kms:us-east-1:000000000000:key/1-2", "--object-lock")
        for role, bucket, deletes in (("job", "hot-bucket", {"s3:DeleteObject"}), ("job", "cold-bucket", set()), ("restore", "hot-bucket", set()), ("restore", "cold-bucket", set())):
            actions = self.actions(self.document(role, *everything), bucket)
            found = {a for a in actions if "Delete" in a or "*" in a or "Bypass" in a or "Lifecycle" in a or a.startswith("s3:PutBucket")}
            self.assertEqual(found, deletes, f"{role} in {bucket}")

    def test_no_resource_is_wider_than_the_prefix(self):
        for role in ("job", "restore"):
            resources = {r for s in self.document(role, "--object-lock")["Statement"] for r in s["Resource"]}
            arn = "arn:aws:s3:::"
            self.assertEqual(resources, {f"{arn}hot-bucket", f"{arn}hot-bucket/a/*", f"{arn}cold-bucket", f"{arn}cold-bucket/b/*"})

    def test_retention_and_keys_only_when_asked_for(self):
        plain = json.dumps([self.document("job"), self.document("restore", "--object-lock")])
        self.assertNotIn("Retention", plain)
        self.assertNotIn("kms:", plain)
        self.assertIn("s3:PutObjectRetention", self.actions(self.document("job", "--object-lock"), "cold-bucket"))
        self.assertIn("s3:RestoreObject", self.actions(self.document("restore"), "cold-bucket"))

    def test_a_whole_bucket_and_slashes(self):
        resources = {r for s in self.document("job", hot="s3://hot-bucket")["Statement"] for r in s["Resource"]}
        self.assertIn("arn:aws:s3:::hot-bucket/*", resources)
        self.assertEqual(self.document("job", hot="s3://hot-bucket/a/"), self.document("job"))

    def test_places_that_would_grant_too_much_are_refused(self):
        for hot, archive, why in (
            ("s3://one-bucket/a", "s3://one-bucket/a/b", "overlaps"),
            ("s3://one-bucket", "s3://one-bucket/b", "overlaps"),
            ("s3://hot-bucket/*", "s3://cold-bucket", "pattern"),
            ("s3://hot-bucket/${aws:username}", "s3://cold-bucket", "pattern"),
            ("s3://*", "s3://cold-bucket", "names no bucket"),
            ("/data", "s3://cold-bucket", "names no bucket"),
        ):
            done = self.render("job", "--hot", hot, "--archive", archive)
            self.assertNotEqual(done.returncode, 0, hot)
            self.assertIn(why, done.stderr)
        self.assertIn("not a key's ARN", self.render("job", "--hot", "s3://aaa", "--archive", "s3://bbb", "--kms-key", "alias/x").stderr)


if __name__ == "__main__":
    unittest.main()
