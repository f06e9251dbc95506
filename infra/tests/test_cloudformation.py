"""infra/cloudformation: linted, its statements compared with infra/iam, and deployed on LocalStack, where ICEPACK_BIN may work."""

import json
import pathlib
import re
import sys
import unittest

import yaml

import support
from support import INFRA, aws, canonical, run

import render

TEMPLATE = INFRA / "cloudformation" / "icepack.yaml"
KEY = "arn:aws:kms:us-east-1:000000000000:key/1-2"
OIDC = "arn:aws:iam::000000000000:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"
ISSUER = OIDC.partition("oidc-provider/")[2]
PSEUDO = {"AWS::Partition": "aws", "AWS::AccountId": "000000000000", "AWS::Region": "us-east-1"}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation: `!Ref x` becomes {"Ref": "x"}."""


def short_form(loader, suffix, node):
    build = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: lambda n: loader.construct_sequence(n, deep=True), yaml.MappingNode: lambda n: loader.construct_mapping(n, deep=True)}
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": build[type(node)](node)}


Loader.add_multi_constructor("!", short_form)


class Resolved:
    """The template as it becomes with these parameters. Knows the functions that it uses, and no others."""

    def __init__(self, **given):
        self.template = yaml.load(TEMPLATE.read_text(), Loader)
        defaults = {name: p.get("Default") for name, p in self.template["Parameters"].items()}
        unknown = set(given) - set(defaults)
        assert not unknown, unknown
        self.names = PSEUDO | defaults | given

    def condition(self, name):
        return self.value(self.template["Conditions"][name])

    def value(self, node):
        if isinstance(node, list):
            return [v for v in map(self.value, node) if v is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (function, argument), = node.items()
            if function == "Ref":
                return NOTHING if argument == "AWS::NoValue" else self.names[argument]
            if function == "Fn::If":
                return self.value(argument[1] if self.condition(argument[0]) else argument[2])
            if function == "Fn::Equals":
                return self.value(argument[0]) == self.value(argument[1])
            if function == "Fn::Not":
                return not self.value(argument[0])
            if function == "Fn::Or":
                return any(self.value(part) for part in argument)
            if function == "Condition":
                return self.condition(argument)
            if function == "Fn::Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                names = self.names | {name: self.value(value) for name, value in own.items()}
                return re.sub(r"\$\{([^}]+)\}", lambda match: names[match[1]], text)
            assert not function.startswith("Fn::"), function
        return {key: value for key, value in ((k, self.value(v)) for k, v in node.items()) if value is not NOTHING}

    def resource(self, name):
        """Its properties; None where its condition does not hold."""
        resource = self.template["Resources"][name]
        if "Condition" in resource and not self.condition(resource["Condition"]):
            return None
        # What a resource refers to by Ref is itself a bucket's name.
        self.names |= {"HotBucket": self.names["HotBucketName"], "ArchiveBucket": self.names["ArchiveBucketName"]}
        return self.value(resource["Properties"])

    def policy(self, role):
        (policy,) = self.resource(role)["Policies"]
        return policy["PolicyDocument"]

    def rules(self):
        """Whether every assertion of the Rules section holds."""
        rules = [r for r in self.template["Rules"].values() if self.value(r.get("RuleCondition", True))]
        return all(self.value(assertion["Assert"]) for rule in rules for assertion in rule["Assertions"])

    def accepts(self, parameter, value):
        rule = self.template["Parameters"][parameter]
        if rule["Type"] == "Number":
            return value >= rule["MinValue"]
        return re.fullmatch(rule["AllowedPattern"], value) is not None if "AllowedPattern" in rule else value in rule["AllowedValues"]


PLAIN = {"HotBucketName": "icepack-cfn-hot", "ArchiveBucketName": "icepack-cfn-cold", "TrustedService": "ecs-tasks.amazonaws.com"}
FULL = {
    "HotBucketName": "icepack-cfn-hot",
    "HotPrefix": "prod/a",
    "ArchiveBucketName": "icepack-cfn-cold",
    "ArchivePrefix": "prod",
    "ArchiveObjectLock": "true",
    "OidcProviderArn": OIDC,
    "OidcIssuer": ISSUER,
    "RestorePrincipal": "arn:aws:iam::000000000000:role/operators",
    "RestoreServiceAccount": "icepack:icepack-restore",
}


class Template(unittest.TestCase):
    def test_lint(self):
        run(pathlib.Path(sys.executable).with_name("cfn-lint"), "--regions", "eu-central-1", "us-east-1", "--", TEMPLATE)

    def test_the_statements_are_those_of_infra_iam(self):
        for given, options in ((PLAIN, {}), (FULL | {"KmsKeyArn": KEY}, {"kms_key": KEY}), (FULL, {}), (PLAIN | {"HotPrefix": "only"}, {})):
            resolved = Resolved(**given)
            places = [f"s3://{given[f'{kind}BucketName']}/{given.get(f'{kind}Prefix', '')}" for kind in ("Hot", "Archive")]
            wanted = render.render("job", *places, object_lock=given.get("ArchiveObjectLock") == "true", **options)
            with self.subTest(given=given):
                self.assertEqual(canonical(resolved.policy("JobRole")), canonical(wanted))
                if "RestorePrincipal" in given:
                    self.assertEqual(canonical(resolved.policy("RestoreRole")), canonical(render.render("restore", *places, **options)))
                else:
                    self.assertIsNone(resolved.resource("RestoreRole"))

    def test_the_buckets(self):
        """LocalStack drops the lifecycle rule and the encryption, so they are asserted here."""
        for given, algorithm in ((PLAIN, "AES256"), (FULL | {"KmsKeyArn": KEY}, "aws:kms")):
            resolved = Resolved(**given)
            for name in ("HotBucket", "ArchiveBucket"):
                bucket = resolved.resource(name)
                rules = bucket["LifecycleConfiguration"]["Rules"]
                self.assertEqual({r.pop("Status") for r in rules}, {"Enabled"})
                wanted = [{"Id": "abort-incomplete-multipart-uploads", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}]
                if name == "HotBucket":
                    wanted.append({"Id": "remove-old-versions", "NoncurrentVersionExpiration": {"NoncurrentDays": 7}, "ExpiredObjectDeleteMarker": True})
                self.assertEqual(rules, wanted, "nothing but icepack expires data")
                self.assertEqual(bucket["VersioningConfiguration"], {"Status": "Enabled"})
                encryption = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
                self.assertEqual(encryption, {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": KEY} if algorithm == "aws:kms" else {}))
                self.assertEqual(set(bucket["PublicAccessBlockConfiguration"].values()), {True})
                self.assertEqual(resolved.template["Resources"][name]["DeletionPolicy"], "Retain")
            self.assertEqual(resolved.resource("ArchiveBucket").get("ObjectLockEnabled", False), "ArchiveObjectLock" in given)
        none = Resolved(**PLAIN, HotVersioning="false", HotNoncurrentDays=1)
        self.assertEqual([none.resource(name)["VersioningConfiguration"] for name in ("HotBucket", "ArchiveBucket")], [{"Status": "Suspended"}, {"Status": "Enabled"}])
        # Versions from before go all the same.
        self.assertEqual(none.resource("HotBucket")["LifecycleConfiguration"]["Rules"][1]["NoncurrentVersionExpiration"], {"NoncurrentDays": 1})
        there = Resolved(**PLAIN, CreateHotBucket="false")
        self.assertIsNone(there.resource("HotBucket"))
        self.assertIsNone(there.resource("HotBucketPolicy"))

    def test_who_may_take_the_role(self):
        trust = json.loads(Resolved(**FULL).resource("JobRole")["AssumeRolePolicyDocument"])["Statement"][0]
        self.assertEqual(trust["Condition"]["StringEquals"][f"{ISSUER}:sub"], "system:serviceaccount:icepack:icepack")
        def restore(**given):
            return json.loads(Resolved(**given).resource("RestoreRole")["AssumeRolePolicyDocument"])["Statement"]

        people, cluster = restore(**FULL)
        self.assertEqual(people["Principal"], {"AWS": FULL["RestorePrincipal"]})
        self.assertEqual(cluster["Principal"], {"Federated": OIDC})
        self.assertEqual(cluster["Condition"]["StringEquals"], {f"{ISSUER}:sub": "system:serviceaccount:icepack:icepack-restore", f"{ISSUER}:aud": "sts.amazonaws.com"})
        self.assertEqual(restore(**FULL | {"RestoreServiceAccount": ""}), [people])
        self.assertEqual(restore(**FULL | {"RestorePrincipal": ""}), [cluster])
        (trust,) = Resolved(**PLAIN).resource("JobRole")["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual((trust["Action"], trust["Condition"]), (["sts:AssumeRole"], {"StringEquals": {"aws:SourceAccount": "000000000000"}}))
        (trust,) = Resolved(**PLAIN | {"TrustedService": "pods.eks.amazonaws.com"}).resource("JobRole")["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual((trust["Action"], "Condition" in trust), (["sts:AssumeRole", "sts:TagSession"], False))

    def test_wrong_parameters_are_refused(self):
        self.assertTrue(Resolved(**PLAIN).rules())
        self.assertTrue(Resolved(**FULL).rules())
        for change in ({"ArchiveBucketName": "icepack-cfn-hot"}, {"TrustedService": ""}, {"OidcProviderArn": OIDC}, {"RestoreServiceAccount": "icepack:restore"}, {"RestoreServiceAccount": "icepack:icepack"}):
            self.assertFalse(Resolved(**PLAIN | change).rules(), change)
        resolved = Resolved(**PLAIN)
        for parameter, good, bad in (
            ("HotPrefix", ["", "a", "a/b", "prod"], ["/a", "a/", "a*", "a?b", "${aws:username}", "/"]),
            ("ArchivePrefix", ["", "prod/x"], ["prod/", "*"]),
            ("HotVersioning", ["true", "false"], ["", "Enabled"]),
            ("HotNoncurrentDays", [1, 30], [0]),
            ("KmsKeyArn", ["", KEY], ["alias/x"]),
            ("RestorePrincipal", ["", "arn:aws:iam::000000000000:role/a"], ["*", "arn:aws:iam::000000000000:role/*"]),
            ("ServiceAccount", ["icepack:icepack"], ["icepack", "*:*"]),
            ("RestoreServiceAccount", ["", "icepack:icepack-restore"], ["icepack", "*:*"]),
            ("TrustedService", ["ec2.amazonaws.com"], ["lambda.amazonaws.com"]),
        ):
            self.assertEqual([v for v in good if not resolved.accepts(parameter, v)] + [v for v in bad if resolved.accepts(parameter, v)], [], parameter)


class Deployed(unittest.TestCase):
    def test_a_stack_on_localstack(self):
        cloudformation, s3, iam, stack = aws("cloudformation"), aws("s3"), aws("iam"), "icepack-cfn"
        key = aws("kms").create_key()["KeyMetadata"]["Arn"]
        given = FULL | {"KmsKeyArn": key}
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
        self.addCleanup(self.remove, stack)
        cloudformation.create_stack(StackName=stack, TemplateBody=TEMPLATE.read_text(), Parameters=parameters, Capabilities=["CAPABILITY_IAM"])
        cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        outputs = {o["OutputKey"]: o["OutputValue"] for o in cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]}
        self.assertEqual((outputs["StoreUrl"], outputs["ArchiveUrl"]), ("s3://icepack-cfn-hot/prod/a", "s3://icepack-cfn-cold/prod"))

        places = (outputs["StoreUrl"], outputs["ArchiveUrl"], key)
        for arn, policy, wanted in (
            (outputs["JobRoleArn"], "icepack-job", render.render("job", *places, object_lock=True)),
            (outputs["RestoreRoleArn"], "icepack-restore", render.render("restore", *places)),
        ):
            role = arn.rpartition("/")[2]
            document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            self.assertEqual(canonical(document), canonical(wanted), role)
        self.assertEqual(s3.get_object_lock_configuration(Bucket="icepack-cfn-cold")["ObjectLockConfiguration"]["ObjectLockEnabled"], "Enabled")
        for bucket in ("icepack-cfn-hot", "icepack-cfn-cold"):
            self.assertEqual(s3.get_bucket_versioning(Bucket=bucket).get("Status"), "Enabled")
            (deny,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
            self.assertEqual((deny["Effect"], deny["Condition"]), ("Deny", {"Bool": {"aws:SecureTransport": "false"}}))
            self.assertEqual(set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()), {True})

        support.work_inside(outputs["StoreUrl"], outputs["ArchiveUrl"])

    def remove(self, stack):
        cloudformation = aws("cloudformation")
        cloudformation.delete_stack(StackName=stack)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        # The buckets are retained, though LocalStack removes those that are empty.
        s3 = aws("s3")
        for bucket in [b["Name"] for b in s3.list_buckets(Prefix="icepack-cfn-")["Buckets"]]:
            locked = {"BypassGovernanceRetention": True} if bucket == FULL["ArchiveBucketName"] else {}
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                for version in page.get("Versions", []) + page.get("DeleteMarkers", []):
                    s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"], **locked)
            s3.delete_bucket(Bucket=bucket)


if __name__ == "__main__":
    unittest.main()
