"""infra/terraform with the real provider: format, validity, the module's own tests, and a life on LocalStack, where ICEPACK_BIN may work."""

import functools
import glob
import json
import os
import pathlib
import shutil
import tempfile
import unittest

import kube
import support
from support import INFRA, KUBECTL, NO_KUBECTL, aws, canonical, left_out, program, run

import render

# Where terraform itself looks for providers that are not to be fetched, and where images keep them.
PLACES = [
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
    "~/.terraform.d/plugin-cache",
    "/opt/*",
    "/usr/local/lib/*",
]
PROVIDER = "registry.terraform.io/hashicorp/aws"


@functools.cache
def plugins():
    """The folder above registry.terraform.io; None where there is none."""
    given = [os.environ[name] for name in ("TF_PLUGIN_DIR", "TF_PLUGIN_CACHE_DIR") if os.environ.get(name)]
    for place in given + PLACES:
        for folder in sorted(glob.glob(os.path.expanduser(place))):
            if os.path.isdir(os.path.join(folder, PROVIDER)):
                return folder
    return None


def missing():
    if not shutil.which("terraform"):
        return "there is no terraform on the PATH; install 1.9 or newer."
    if not plugins():
        return f"no provider {PROVIDER} in TF_PLUGIN_DIR or the usual folders; run `terraform providers mirror DIR` in infra/terraform and name DIR in TF_PLUGIN_DIR."
    return None


MISSING = missing()
if MISSING:
    left_out("infra/terraform", MISSING)

# Added to an example, so that what it makes is made on LocalStack.
OVERRIDE = """
provider "aws" {{
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  endpoints {{
    iam = "{url}"
    kms = "{url}"
    s3  = "{url}"
    sts = "{url}"
  }}
}}
"""
OIDC = "arn:aws:iam::000000000000:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"
OPERATORS = "arn:aws:iam::000000000000:role/operators"


@unittest.skipIf(MISSING, MISSING or "")
class Terraform(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="icepack-terraform-")
        self.addCleanup(folder.cleanup)
        # A copy, since init and apply write beside the files.
        self.infra = pathlib.Path(folder.name) / "infra"
        for part in ("terraform", "iam"):
            shutil.copytree(INFRA / part, self.infra / part, ignore=shutil.ignore_patterns(".terraform*", "__pycache__", "*.tfstate*"))
        # A configuration of the user's could name mirrors or a backend.
        keep = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        self.env = keep | {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}

    def terraform(self, folder, *args, **options):
        return run("terraform", f"-chdir={self.infra / 'terraform' / folder}", *args, env=self.env, **options)

    def init(self, folder):
        self.terraform(folder, "init", "-input=false", "-no-color", f"-plugin-dir={plugins()}")

    def destroy(self, folder):
        """Once is enough: each time takes half a minute."""
        if self.terraform(folder, "state", "list").stdout.strip():
            self.terraform(folder, "destroy", "-auto-approve", "-input=false", "-no-color")

    def test_format(self):
        self.terraform(".", "fmt", "-check", "-recursive", "-diff")

    def test_the_module(self):
        self.init(".")
        self.terraform(".", "validate", "-no-color")
        self.terraform(".", "test", "-no-color")

    def test_the_batch_example_is_valid(self):
        self.init("examples/batch")
        self.terraform("examples/batch", "validate", "-no-color")

    def test_the_eks_example_lives_on_localstack(self):
        example, name = "examples/eks", "icepack-tf"
        (self.infra / "terraform" / example / "localstack_override.tf").write_text(OVERRIDE.format(url=support.localstack()))
        self.env |= {"TF_VAR_oidc_provider_arn": OIDC, "TF_VAR_operators": json.dumps([OPERATORS]), "TF_VAR_name": name, "TF_VAR_force_destroy": "true"}
        self.init(example)
        self.terraform(example, "validate", "-no-color")
        self.addCleanup(self.destroy, example)
        self.terraform(example, "apply", "-auto-approve", "-input=false", "-no-color")
        outputs = {key: value["value"] for key, value in json.loads(self.terraform(example, "output", "-json").stdout).items()}

        hot, cold = f"{name}-events", f"{name}-events-cold"
        self.assertEqual((outputs["store_url"], outputs["archive_url"]), (f"s3://{hot}/prod", f"s3://{cold}/prod"))
        key = self.check_buckets(hot, cold)
        self.check_roles(name, outputs, key)
        self.check_work(outputs)

        # Exit 2 would be a difference.
        self.terraform(example, "plan", "-detailed-exitcode", "-input=false", "-no-color")
        self.destroy(example)
        self.assertEqual(aws("s3").list_buckets(Prefix=name)["Buckets"], [])

    def check_buckets(self, hot, cold):
        s3 = aws("s3")
        for bucket in (hot, cold):
            rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
            self.assertEqual((rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], rule["BucketKeyEnabled"]), ("aws:kms", True))
            key = rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
            self.assertEqual(set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()), {True})
            lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
            self.assertEqual([r["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for r in lifecycle if "AbortIncompleteMultipartUpload" in r], [1])
            self.assertEqual({r["Status"] for r in lifecycle}, {"Enabled"})
            expires = [r["Expiration"] for r in lifecycle if "Expiration" in r]
            self.assertEqual(expires, [{"ExpiredObjectDeleteMarker": True}] * (bucket == hot), "nothing but icepack expires data")
            old = [r["NoncurrentVersionExpiration"] for r in lifecycle if "NoncurrentVersionExpiration" in r]
            self.assertEqual(old, [{"NoncurrentDays": 7}] * (bucket == hot))
            self.assertEqual(s3.get_bucket_versioning(Bucket=bucket).get("Status"), "Enabled")
            (deny,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
            self.assertEqual((deny["Effect"], deny["Action"], deny["Condition"]), ("Deny", "s3:*", {"Bool": {"aws:SecureTransport": "false"}}))
            self.assertEqual(sorted(deny["Resource"]), [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
        self.assertEqual(s3.get_object_lock_configuration(Bucket=cold)["ObjectLockConfiguration"]["ObjectLockEnabled"], "Enabled")
        return key

    def check_roles(self, name, outputs, key):
        iam = aws("iam")
        places = (f"{outputs['store_url']}", f"{outputs['archive_url']}", key)
        job, restore = iam.get_role(RoleName=name)["Role"], iam.get_role(RoleName=f"{name}-restore")["Role"]
        self.assertEqual(job["Arn"], outputs["job_role_arn"])
        self.assertIn(job["Arn"], outputs["helm_values"])
        (trust,) = job["AssumeRolePolicyDocument"]["Statement"]
        issuer = OIDC.partition("oidc-provider/")[2]
        self.assertEqual(trust["Principal"], {"Federated": OIDC})
        self.assertEqual(trust["Condition"], {"StringEquals": {f"{issuer}:sub": "system:serviceaccount:icepack:icepack", f"{issuer}:aud": "sts.amazonaws.com"}})
        people, cluster = restore["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(people["Principal"], {"AWS": OPERATORS})
        self.assertEqual(cluster["Principal"], {"Federated": OIDC})
        self.assertEqual(cluster["Condition"], {"StringEquals": {f"{issuer}:sub": "system:serviceaccount:icepack:icepack-restore", f"{issuer}:aud": "sts.amazonaws.com"}})
        for role, wanted in ((job, render.render("job", *places, object_lock=True)), (restore, render.render("restore", *places))):
            (policy,) = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
            self.assertEqual(canonical(document), canonical(wanted), role["RoleName"])
            self.assertEqual(iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"], [])

    def check_chart(self, outputs):
        """The chart takes what Terraform prints; returns the containers of the job and of a restore, and their icepack.toml."""
        if not KUBECTL:
            left_out("the chart with Terraform's outputs", NO_KUBECTL)
            return None, None, None
        values = pathlib.Path(self.infra) / "values.yaml"
        values.write_text(outputs["helm_values"])
        kinds = kube.objects(run(program("helm"), "template", "icepack", INFRA / "helm" / "icepack", "-f", values).stdout)
        self.assertEqual(kube.all_problems(kinds), [])
        self.assertEqual(kinds["ServiceAccount"]["metadata"]["annotations"], {"eks.amazonaws.com/role-arn": outputs["job_role_arn"]})
        config = kube.config(kinds)
        self.assertEqual((config["store"], config["archive"]["url"]), (outputs["store_url"], outputs["archive_url"]))
        wanted = ["--set", "mode=restore,restore.tenants={system},restore.hold=90d"]
        restore = kube.objects(run(program("helm"), "template", "back", INFRA / "helm" / "icepack", "-f", values, *wanted).stdout)
        self.assertEqual(kube.all_problems(restore), [])
        account = restore["ServiceAccount"]["metadata"]
        self.assertEqual((account["name"], account["annotations"]), ("icepack-restore", {"eks.amazonaws.com/role-arn": outputs["restore_role_arn"]}))
        self.assertEqual(kube.config(restore), config)
        containers = [next(kube.pods({kind: found[kind]}))["containers"][0] for kind, found in (("CronJob", kinds), ("Job", restore))]
        return *containers, kinds["ConfigMap"]["data"]["icepack.toml"]

    def check_work(self, outputs):
        """The own command lines of the CronJob and of a restore, and their settings; only folders are others here, and the credentials."""
        job, restore, toml = self.check_chart(outputs)
        places = (outputs["store_url"], outputs["archive_url"])
        if not job:
            support.work_inside(*places)
            return
        spill, file = self.infra / "spill", self.infra / "icepack.toml"
        spill.mkdir()
        file.write_text(toml.replace('"/spill"', json.dumps(str(spill))))
        args, restore_args = ([str(file) if a == "/etc/icepack/icepack.toml" else a for a in container["args"]] for container in (job, restore))
        env = {e["name"]: e["value"].replace("/spill", str(spill)) for e in job["env"]}
        icepack = support.work_inside(*places, run_args=args, **env)
        if icepack:
            self.assertIn("restored 1,200 rows", icepack(*restore_args).stdout)
            # Again it goes on where it was, which is at the end.
            self.assertIn("nothing was written", icepack(*restore_args).stdout)


if __name__ == "__main__":
    unittest.main()
