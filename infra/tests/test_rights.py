"""Are the rights of infra/iam enough? The icepack of ICEPACK_BIN works with the job's key, on a server that enforces them.

That they are not too much is for tests/python/test_policies.py.
"""

import subprocess
import tempfile
import unittest

import boto3
from botocore.config import Config

from support import DEMO, ROOT, binary, environment, left_out, run

SERVER = ROOT / "scripts" / "s3-server.sh"
# As in scripts/s3-server.sh.
PLACES = {"ICEPACK_STORE": "s3://policy-hot/events", "ICEPACK_ARCHIVE_URL": "s3://policy-cold/frozen"}


class Rights(unittest.TestCase):
    def start(self):
        """A SeaweedFS with both buckets; its URL."""
        done = subprocess.run([SERVER, "install", "seaweedfs"], stdin=subprocess.DEVNULL)
        if done.returncode == 3:
            self.skipTest(left_out("whether the rights are enough", "SeaweedFS could not be installed (see above)."))
        self.assertEqual(done.returncode, 0)
        folder = tempfile.mkdtemp(prefix="icepack-rights-")
        self.addCleanup(run, SERVER, "stop", folder)
        # Its server lives on, and would keep a pipe of ours open.
        url = run(SERVER, "start", "seaweedfs", folder, capture_output=False, stdout=subprocess.PIPE).stdout.strip()
        owner = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="testtest", config=Config(proxies={}))
        for bucket in ("policy-hot", "policy-cold"):
            owner.create_bucket(Bucket=bucket)
        owner.put_bucket_versioning(Bucket="policy-cold", VersioningConfiguration={"Status": "Enabled"})
        self.owner = owner
        return url

    def test_they_are_enough(self):
        icepack = binary("whether the rights are enough")
        if not icepack:
            self.skipTest("ICEPACK_BIN names no icepack")
        url = self.start()
        run(icepack, *DEMO, env=environment(url, "test", "testtest", **PLACES))
        job = environment(url, "job", "jobsecret", **PLACES)
        for command in (["doctor"], ["plan"], ["run"], ["status"], ["ls"], ["verify", "--deep"], ["run"]):
            run(icepack, *command, env=job)
        archived = [o["Key"] for o in self.owner.list_objects_v2(Bucket="policy-cold", Prefix="frozen/system/").get("Contents", [])]
        self.assertTrue(any(key.endswith(".receipt.json") for key in archived), archived)
        compacted = [o["Key"] for o in self.owner.list_objects_v2(Bucket="policy-hot", Prefix="events/acme/").get("Contents", [])]
        self.assertTrue(compacted and all("snapshot." in key for key in compacted), compacted)
        # What was archived comes back with the other role's key, which cannot thaw here, and need not.
        restore = environment(url, "restore", "restoresecret", **PLACES)
        run(icepack, "restore", "--tenant", "system", env=restore)
        back = [o["Key"] for o in self.owner.list_objects_v2(Bucket="policy-hot", Prefix="events/restored-system/").get("Contents", [])]
        self.assertTrue(any("/restored.system." in key for key in back), back)
        self.assertNotEqual(run(icepack, "restore", "--tenant", "system", "--into", "s3://policy-hot/elsewhere", env=restore, ok=range(256)).returncode, 0)
        # The server does enforce them: the same elsewhere fails.
        elsewhere = job | {"ICEPACK_STORE": "s3://policy-hot/elsewhere"}
        self.assertNotEqual(run(icepack, "run", env=elsewhere, ok=range(256)).returncode, 0)


if __name__ == "__main__":
    unittest.main()
