"""infra/kustomize with the real kubectl: built, validated against Kubernetes' schemas, and the same job as the chart's."""

import unittest

import kube
from support import INFRA, KUBECTL, NO_KUBECTL, golden, left_out, program, run

import test_helm

FOLDER = INFRA / "kustomize"
if not KUBECTL:
    left_out("infra/kustomize", NO_KUBECTL)


FOLDERS = {"base": "base", "aws": "overlays/aws", "minio": "overlays/minio"}


def build(name):
    return run(program("kubectl"), "kustomize", FOLDER / FOLDERS[name]).stdout


def job(kinds):
    return kinds["CronJob"]["spec"]["jobTemplate"]["spec"]


@unittest.skipUnless(KUBECTL, NO_KUBECTL)
class Kustomize(unittest.TestCase):
    maxDiff = None

    def test_golden(self):
        for name in FOLDERS:
            with self.subTest(name=name):
                golden(self, f"kustomize-{name}.yaml", build(name))

    def test_what_is_built_is_valid_and_safe(self):
        for name in FOLDERS:
            with self.subTest(name=name):
                kinds = kube.objects(build(name))
                self.assertEqual(kube.all_problems(kinds), [])
                # The hash in the name is in the reference too.
                volumes = {v["name"]: v for spec in kube.pods(kinds) for v in spec["volumes"]}
                self.assertEqual(volumes["config"]["configMap"]["name"], kinds["ConfigMap"]["metadata"]["name"])
                self.assertEqual("store" in kube.config(kinds), name != "base")

    def test_it_is_the_job_of_the_chart(self):
        """One way of running it, written twice: what differs must be said here."""
        chart, base = kube.objects(test_helm.render(test_helm.STORE)), kube.objects(build("base"))
        for kinds in (chart, base):
            kinds["CronJob"]["spec"].pop("suspend", None)
            kinds["CronJob"]["spec"]["jobTemplate"].pop("metadata")
            job(kinds)["template"].pop("metadata")
            for volume in job(kinds)["template"]["spec"]["volumes"]:
                volume.pop("configMap", None)
            job(kinds)["template"]["spec"]["volumes"].sort(key=lambda v: v["name"])
        self.assertEqual(base["CronJob"]["spec"], chart["CronJob"]["spec"])

    def test_the_overlays_say_what_the_examples_of_the_chart_say(self):
        for name in ("aws", "minio"):
            with self.subTest(name=name):
                chart, overlay = kube.objects(test_helm.render(f"values-{name}.yaml")), kube.objects(build(name))
                wanted = {key: value for key, value in kube.config(chart).items() if key != "metrics"}
                self.assertEqual(kube.config(overlay), wanted)
                for field in ("completions", "parallelism", "backoffLimitPerIndex"):
                    self.assertEqual(job(overlay).get(field), job(chart).get(field))
                (ours,), (theirs,) = (next(kube.pods(k))["containers"] for k in (overlay, chart))
                self.assertEqual({e["name"]: e for e in ours["env"]}, {e["name"]: e for e in theirs["env"]})
                # The chart's example for AWS spills to a volume of its own, which takes no room on the node.
                disk = {kind: ours["resources"][kind].pop("ephemeral-storage") for kind in ("requests", "limits")}
                if name == "minio":
                    self.assertEqual({kind: theirs["resources"][kind].pop("ephemeral-storage") for kind in disk}, disk)
                self.assertEqual(ours["resources"], theirs["resources"])


if __name__ == "__main__":
    unittest.main()
