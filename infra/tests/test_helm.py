"""infra/helm/icepack with the real helm: linted, rendered, validated against Kubernetes' schemas, and wrong values refused."""

import copy
import json
import tempfile
import tomllib
import unittest

import yaml

import kube
from support import INFRA, KUBECTL, NO_KUBECTL, ROOT, golden, left_out, program, run

CHART = INFRA / "helm" / "icepack"
STORE = {"config": {"store": "s3://events/prod"}}
if not KUBECTL:
    left_out("infra/helm", NO_KUBECTL)

# A value for every list and switch that the examples leave alone.
EVERYTHING = {
    "image": {"repository": "registry.example/icepack", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "commonLabels": {"team": "data", "cost-centre": "7"},
    "fullnameOverride": "compactor",
    "config": {
        "store": "gs://events",
        "timestamp_column": "ts",
        "memory_limit": "600 MiB",
        "compaction": {"strategy": "time", "min_files_to_compact": 5, "target_file_size": "256MiB"},
        "retention": {"allow_short_ttl": True, "tenants": {'quoted "name"': "forever", "eu-*": "1d 12h"}},
        "archive": {"url": "s3://cold", "tagging": False, "verify": "readback", "min_object_size": "1MiB", "endpoint": "https://cold.example"},
        "tenants": {"acme": {"compaction": {"max_raw_age": "1h"}, "retention": {"ttl": "7d"}}, "b.c": {"retention": {"ttl": "forever"}}},
    },
    "onlyTenants": ["acme", "eu-*"],
    "timeZone": "Europe/Berlin",
    "suspend": True,
    "job": {"ttlSecondsAfterFinished": 1000000, "backoffLimit": 0},
    "credentials": {"existingSecret": "keys", "accessKeyIdKey": "id", "sessionTokenKey": "token"},
    "serviceAccount": {"create": False, "name": "mine"},
    "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    "networkPolicy": {"enabled": True, "egressPorts": []},
    "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}],
    "envFrom": [{"prefix": "OTEL_", "configMapRef": {"name": "otel"}}, {"secretRef": {"name": "env", "optional": True}}],
    "extraArgs": ["--strategy", "full"],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    "initContainers": [{"name": "proxy", "image": "registry.example/proxy:1", "restartPolicy": "Always"}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"azure.workload.identity/use": "true", "team": "ops"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "batch", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
        {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}},
    ],
    "priorityClassName": "low",
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.10"], "searches": ["minio.svc.cluster.local"], "options": [{"name": "ndots", "value": "1"}]},
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["cold.example"]}],
    "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
}
WATCH = STORE | {"mode": "watch", "networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]}, "metrics": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}}
INDEXED = STORE | {"job": {"shards": 8}}
RESTORE = EVERYTHING | {
    "mode": "restore",
    "restore": {
        "tenants": ["acme", "eu-*"],
        "from": "2026-01-01",
        "to": "2026-02-01T12:00:00Z",
        "as": "acme-january",
        "into": "gs://rescued/prod",
        "tier": "Standard",
        "days": 3,
        "hold": "90d",
        "extraArgs": ["--again"],
        "activeDeadlineSeconds": None,
        "existingSecret": "restore-keys",
        "serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "restore@example.iam.gserviceaccount.com"}},
    },
}


def helm(*args, **options):
    return run(program("helm"), *args, **options)


def with_file(values, *args, **options):
    """Runs helm on the chart with these values: a dict, or the name of an example."""
    if isinstance(values, str):
        return helm(*args, CHART, "-f", CHART / values, **options)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        return helm(*args, CHART, "-f", file.name, **options)


def render(values):
    return with_file(values, "template", "icepack", "--namespace", "icepack").stdout


CASES = {"default": STORE, "aws": "values-aws.yaml", "minio": "values-minio.yaml", "everything": EVERYTHING, "watch": WATCH, "indexed": INDEXED, "restore": RESTORE}


@unittest.skipUnless(KUBECTL, NO_KUBECTL)
class Helm(unittest.TestCase):
    maxDiff = None

    def test_lint(self):
        for name, values in CASES.items():
            with self.subTest(case=name):
                with_file(values, "lint", "--strict")

    def test_golden(self):
        for name, values in CASES.items():
            with self.subTest(case=name):
                golden(self, f"helm-{name}.yaml", render(values))

    def test_what_is_rendered_is_valid_and_safe(self):
        for name, values in CASES.items():
            with self.subTest(case=name):
                kinds = kube.objects(render(values))
                self.assertEqual(kube.all_problems(kinds), [])
                self.assertEqual("CronJob" in kinds, name not in ("watch", "restore"))
                self.assertEqual("Job" in kinds, name == "restore")
                # A restore's role may not try what a pass does.
                self.assertEqual("Pod" in kinds, name != "restore", "helm test has nothing to run")

    def test_the_checks_fire(self):
        """Each of these is a fault, and is found."""
        good = kube.objects(render(STORE))
        self.assertEqual(kube.all_problems(good), [])
        job = ("CronJob", "spec", "jobTemplate", "spec")
        pod = (*job, "template", "spec")
        container = (*pod, "containers", 0)
        for path, value in (
            (("CronJob", "spec", "unknown"), 1),
            (("CronJob", "spec", "concurrencyPolicy"), "Allow"),
            ((*job, "podFailurePolicy", "rules", 0, "onExitCodes", "values"), [2]),
            ((*job, "podFailurePolicy", "rules", 0, "action"), "FailIndex"),
            ((*job, "podFailurePolicy", "rules", 1, "onPodConditions", 0, "status"), "False"),
            ((*job, "activeDeadlineSeconds"), 2700),
            ((*job, "backoffLimitPerIndex"), 1),
            ((*pod, "restartPolicy"), "OnFailure"),
            ((*pod, "hostNetwork"), True),
            ((*pod, "automountServiceAccountToken"), True),
            ((*pod, "securityContext", "runAsNonRoot"), False),
            ((*pod, "securityContext", "seccompProfile"), {"type": "Unconfined"}),
            ((*pod, "volumes", 1), {"name": "spill", "emptyDir": {}}),
            ((*pod, "volumes", 0), {"name": "config", "hostPath": {"path": "/"}}),
            ((*container, "securityContext", "readOnlyRootFilesystem"), False),
            ((*container, "securityContext", "allowPrivilegeEscalation"), True),
            ((*container, "securityContext", "capabilities"), {"drop": []}),
            ((*container, "resources", "limits", "memory"), "576Mi"),
            ((*container, "resources", "limits", "ephemeral-storage"), "10Gi"),
            ((*container, "resources", "requests", "ephemeral-storage"), "1Gi"),
            ((*container, "args", 4), "--conf"),
            ((*container, "env", 0, "value"), "/tmp"),
        ):
            bad = copy.deepcopy(good)
            place = bad
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            self.assertNotEqual(kube.all_problems(bad), [], f"{path} = {value} was not noticed")

    def test_a_shard_ends_alone(self):
        """Exit 5 is about one tenant, and exit 2 comes to each shard by itself: neither ends a shard that works."""
        for values, action in ((INDEXED, "FailIndex"), ("values-aws.yaml", "FailIndex"), (STORE, "FailJob")):
            with self.subTest(values=values):
                kinds = kube.objects(render(values))
                job = kinds["CronJob"]["spec"]["jobTemplate"]["spec"]
                self.assertEqual(job["podFailurePolicy"]["rules"][0]["action"], action)
                self.assertNotIn("maxFailedIndexes", job)
                job["podFailurePolicy"]["rules"][0]["action"] = {"FailIndex": "FailJob", "FailJob": "FailIndex"}[action]
                self.assertNotEqual(kube.all_problems(kinds), [], "the other action was not noticed")

    def test_wrong_values_are_refused(self):
        def put(path, value):
            values = copy.deepcopy(STORE)
            *steps, last = path.split(".")
            place = values
            for step in steps:
                place = place.setdefault(step, {})
            place[last] = value
            return values

        for values, why in (
            ({}, "config.store is not set"),
            (put("config.store", "events"), "/config/store"),
            (put("config.stor", "s3://a"), "stor"),
            (put("config.retention.max_expire_percent", 0), "max_expire_percent"),
            (put("config.retention.default_ttl", "0s"), "default_ttl"),
            (put("config.retention.default_ttl", 30), "default_ttl"),
            (put("config.retention.tenants", {"system": "soon"}), "system"),
            (put("config.compaction.strategy", "best"), "strategy"),
            (put("config.archive.object_lock_mode", "GOVERNANCE"), "object_lock_days"),
            (put("config.archive.url", "/data"), "/config/archive/url"),
            (put("config.memory_limit", "1GiB"), "resources.limits.memory (704Mi) must be more than config.memory_limit (1GiB)"),
            (put("config.memory_limit", "640MiB"), "must be more than"),
            (put("config.memory_limit", "lots"), "memory_limit"),
            (put("resources.limits.memory", "576Mi"), "must be more than"),
            (put("resources.limits.memory", "0.5Gi"), "memory"),
            (put("job.activeDeadlineSeconds", 659), "no time is left"),
            (put("job.shards", 0), "shards"),
            (put("aws.endpointUrl", "http://minio:9000"), "allowHttp"),
            (put("podSecurityContext.runAsNonRoot", False), "runAsNonRoot"),
            (put("podSecurityContext.runAsUser", 0), "runAsUser"),
            (put("podSecurityContext.seccompProfile.type", "Unconfined"), "seccompProfile"),
            (put("podSecurityContext.privileged", True), "privileged"),
            (put("metrics.podMonitor.enabled", True), "mode: watch"),
            (put("job.shards", 4) | {"mode": "watch"}, "job.shards needs mode: cronjob"),
            (put("mode", "daemon"), "mode"),
            (put("schedule", "hourly"), "schedule"),
            (put("image.digest", "sha256:12"), "digest"),
            (put("replicas", 3), "replicas"),
            (put("spill.sizeLimit", ""), "sizeLimit"),
            (put("resources.limits.ephemeral-storage", "10Gi"), "must be more than spill.sizeLimit (10Gi)"),
            (put("resources.limits.ephemeral-storage", "lots"), "ephemeral-storage"),
            (put("commonLabels", {"app.kubernetes.io/name": "mine"}), "app.kubernetes.io/name"),
            (put("podLabels", {"app.kubernetes.io/instance": "mine"}), "app.kubernetes.io/instance"),
            (put("commonLabels", {"team": "data & more"}), "team"),
            (put("envFrom", [{"name": "env"}]), "envFrom"),
            (put("envFrom", [{"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}}]), "envFrom"),
            (put("initContainers", [{"name": "icepack", "image": "a"}]), "initContainers"),
            (put("topologySpreadConstraints", [{"topologyKey": "zone"}]), "topologySpreadConstraints"),
            (put("dnsPolicy", "Cluster"), "dnsPolicy"),
            (put("dnsPolicy", "None"), "nameservers"),
            (put("hostAliases", [{"ip": "10.0.0.7"}]), "hostnames"),
            (put("credentials.sessionTokenKey", ""), "sessionTokenKey"),
            (put("mode", "restore"), "restore.tenants is empty"),
            (put("restore.tenants", ["acme"]) | {"mode": "restore"}, "config.archive.url is not set"),
            (put("restore.tenants", ["--all"]), "tenants"),
            (put("restore.from", "yesterday"), "from"),
            (put("restore.tier", "Fast"), "tier"),
            (put("restore.days", 0), "days"),
            (put("restore.hold", "long"), "hold"),
            (put("restore.into", "/data"), "into"),
            (put("restore.enabled", True), "enabled"),
        ):
            with self.subTest(values=values):
                done = with_file(values, "template", "icepack", ok=range(256))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(why, done.stderr)

    def test_the_memory_check_is_exact(self):
        values = copy.deepcopy(STORE)
        values["resources"] = {"limits": {"memory": f"{(576 << 10) + 1}Ki"}, "requests": {"memory": f"{(576 << 10) + 1}Ki"}}
        self.assertEqual(kube.all_problems(kube.objects(render(values))), [])

    def test_the_room_on_disk_follows_from_the_spill(self):
        def disk(**values):
            container = next(kube.pods(kube.objects(render(STORE | values))))["containers"][0]
            return {kind: container["resources"][kind].get("ephemeral-storage") for kind in ("requests", "limits")}

        def same(size):
            return {"requests": size, "limits": size}

        self.assertEqual(disk(), same("10496Mi"))
        self.assertEqual(disk(spill={"sizeLimit": "40G"}), same("38403Mi"))
        self.assertEqual(disk(spill={"sizeLimit": "40Gi", "storageClassName": "gp3"}), same(None))
        mine = {"limits": {"memory": "704Mi", "ephemeral-storage": "20Gi"}, "requests": {"memory": "704Mi", "ephemeral-storage": "2Gi"}}
        self.assertEqual(disk(resources=mine), {"requests": "2Gi", "limits": "20Gi"})
        # Kubernetes takes the limit for the request.
        self.assertEqual(disk(resources={"limits": {"memory": "704Mi", "ephemeral-storage": "20Gi"}}), {"requests": None, "limits": "20Gi"})

    def test_a_restore_says_what_is_wanted(self):
        def args(**restore):
            values = STORE | {"mode": "restore", "config": {"store": "s3://events/prod", "archive": {"url": "s3://cold"}}, "restore": {"tenants": ["acme"]} | restore}
            return kube.objects(render(values))["Job"]["spec"]["template"]["spec"]["containers"][0]["args"]

        common = ["restore", "--config", "/etc/icepack/icepack.toml", "--log-format", "json", "--log-level", "info", "--tenant", "acme"]
        self.assertEqual(args(), [*common, "--tier", "Bulk", "--hold", "30d", "--days", "7", "--wait"])
        self.assertEqual(args(wait=False)[-2:], ["--days", "7"])
        self.assertEqual(args(dryRun=True)[-1], "--dry-run")
        container = kube.objects(render(RESTORE))["Job"]["spec"]["template"]["spec"]["containers"][0]
        given = ["--from", "2026-01-01", "--to", "2026-02-01T12:00:00Z", "--into", "gs://rescued/prod", "--as", "acme-january", "--tier", "Standard", "--hold", "90d", "--days", "3"]
        self.assertEqual(container["args"], [*common, "--tenant", "eu-*", *given, "--wait", "--again"])
        secrets = {e["valueFrom"]["secretKeyRef"]["name"] for e in container["env"] if "valueFrom" in e}
        self.assertEqual(secrets, {"restore-keys"})
        # An unquoted date is a date to YAML.
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("restore:\n  from: 2026-01-01\n  tenants: [acme]\n")
            file.flush()
            text = with_file("values-aws.yaml", "template", "x", "-f", file.name, "--set", "mode=restore").stdout
        self.assertIn('- "2026-01-01"', text)

    def test_a_restore_lives_beside_the_passes(self):
        """The values of the passes are taken as they are, and no object of the one release is one of the other's."""
        for name, values in CASES.items():
            with self.subTest(case=name):
                given = yaml.safe_load((CHART / values).read_text()) if isinstance(values, str) else copy.deepcopy(values)
                given |= {"mode": "restore", "config": {"archive": {"url": "s3://cold"}} | given["config"]}
                given["restore"] = given.get("restore", {}) | {"tenants": ["acme"]}
                passes = kube.objects(render(values))
                restore = kube.objects(with_file(given, "template", "restore-acme", "--namespace", "icepack").stdout)
                self.assertEqual(kube.all_problems(restore), [])
                self.assertEqual(set(restore) - {"NetworkPolicy"}, {"ServiceAccount", "ConfigMap", "Job"})
                for kind, found in restore.items():
                    if kind in passes:
                        self.assertNotEqual(found["metadata"]["name"], passes[kind]["metadata"]["name"], kind)
                account = restore["ServiceAccount"]["metadata"]
                pod = restore["Job"]["spec"]["template"]["spec"]
                self.assertEqual((pod["serviceAccountName"], pod["volumes"][0]["configMap"]["name"]), (account["name"], restore["ConfigMap"]["metadata"]["name"]))
                self.assertEqual(account.get("annotations"), given["restore"].get("serviceAccount", {}).get("annotations"))

    def test_a_restore_is_started_once(self):
        """An upgrade would have to change a job, or to start it again: it is refused. And a job that a timer removes, an upgrade would make anew."""
        done = with_file(RESTORE, "template", "icepack", "--is-upgrade", ok=range(256))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("helm uninstall icepack, then helm install", done.stderr)
        self.assertNotIn("ttlSecondsAfterFinished", kube.objects(render(RESTORE))["Job"]["spec"])
        with_file(STORE, "template", "icepack", "--is-upgrade")

    def test_common_labels_are_everywhere_and_select_nothing(self):
        common = EVERYTHING["commonLabels"]
        for values in (EVERYTHING, WATCH | {"commonLabels": common}):
            kinds = kube.objects(render(values))
            labels = {kind: found["metadata"]["labels"] for kind, found in kinds.items()}
            for kind, path in (("CronJob", ("jobTemplate", "spec", "template")), ("Deployment", ("template",))):
                place = kinds.get(kind, {}).get("spec")
                for step in path if place else ():
                    place = place[step]
                if place:
                    labels[f"the pods of {kind}"] = place["metadata"]["labels"] | ({"team": "data"} if values is EVERYTHING else {})
            for kind, found in labels.items():
                self.assertEqual(found | common, found, kind)
            selectors = json.dumps([kinds[kind]["spec"].get("selector", kinds[kind]["spec"].get("podSelector")) for kind in ("Deployment", "NetworkPolicy", "PodMonitor") if kind in kinds])
            self.assertNotIn("team", selectors)
            self.assertIn("app.kubernetes.io/instance", selectors)
        # What is said of the pods alone goes before.
        pod = kube.objects(render(EVERYTHING))["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]
        self.assertEqual((pod["labels"]["team"], pod["labels"]["cost-centre"]), ("ops", "7"))

    def test_what_is_given_for_the_pods_reaches_them(self):
        """As it was given, in the job's pod and in the test's."""
        given = {key: EVERYTHING[key] for key in ("dnsPolicy", "dnsConfig", "hostAliases", "initContainers", "affinity", "tolerations", "nodeSelector", "priorityClassName")}
        for spec in kube.pods(kube.objects(render(EVERYTHING))):
            self.assertEqual({key: spec.get(key) for key in given}, given)
            (container,) = spec["containers"]
            self.assertEqual(container["envFrom"], EVERYTHING["envFrom"])
            for wanted in EVERYTHING["extraVolumes"]:
                self.assertIn(wanted, spec["volumes"])
            for wanted in EVERYTHING["extraVolumeMounts"]:
                self.assertIn(wanted, container["volumeMounts"])
            ours, theirs = spec["topologySpreadConstraints"]
            self.assertEqual(ours["labelSelector"], {"matchLabels": {"app.kubernetes.io/name": "icepack", "app.kubernetes.io/instance": "icepack"}})
            self.assertEqual(theirs, EVERYTHING["topologySpreadConstraints"][1])

    def test_a_session_token_is_read_where_the_secret_has_one(self):
        def token(values):
            container = next(kube.pods(kube.objects(render(values))))["containers"][0]
            return [e["valueFrom"]["secretKeyRef"] for e in container["env"] if e["name"] == "AWS_SESSION_TOKEN"]

        self.assertEqual(token(EVERYTHING), [{"name": "keys", "key": "token", "optional": True}])
        self.assertEqual(token("values-minio.yaml"), [{"name": "icepack-keys", "key": "AWS_SESSION_TOKEN", "optional": True}])
        self.assertEqual(token(STORE), [])

    def test_the_configuration_is_what_the_values_say(self):
        for name, values in CASES.items():
            with self.subTest(case=name):
                given = yaml.safe_load((CHART / values).read_text()) if isinstance(values, str) else values
                wanted = copy.deepcopy(given["config"])
                wanted.setdefault("memory_limit", "512MiB")
                wanted.setdefault("compaction", {}).setdefault("min_raw_age", "10m")
                wanted.setdefault("retention", {}).setdefault("max_expire_percent", 60)
                wanted["spill_dir"] = "/spill"
                if given.get("metrics", {}).get("pushgateway"):
                    wanted["metrics"] = {"pushgateway": given["metrics"]["pushgateway"]}
                self.assertEqual(kube.config(kube.objects(render(values))), wanted)

    def test_a_changed_configuration_restarts_watch(self):
        def annotation(values):
            return kube.objects(render(values))["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

        changed = copy.deepcopy(WATCH)
        changed["config"]["concurrency"] = 9
        self.assertNotEqual(annotation(WATCH), annotation(changed))

    def test_an_upgrade_may_reuse_older_values(self):
        """helm upgrade --reuse-values knows no default of a key that the installed chart did not have; null takes it away here too."""
        new = ("commonLabels", "restore", "envFrom", "initContainers", "topologySpreadConstraints", "dnsPolicy", "dnsConfig", "hostAliases")
        for values in (STORE | {"credentials": {"existingSecret": "keys"}}, WATCH | {"credentials": {"existingSecret": "keys"}}):
            older = values | dict.fromkeys(new) | {"credentials": values["credentials"] | {"sessionTokenKey": None}}
            self.assertEqual(render(older), render(values))

    def test_the_oldest_kubernetes_is_tested(self):
        self.assertEqual(yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"], f">={kube.VERSIONS[0]}.0-0")

    def test_the_app_is_the_crate(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        self.assertEqual(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"], version)

    def test_notes(self):
        restore = "restores rows of acme, eu-* from s3://cold into gs://rescued/prod."
        for values, told in ((STORE, "expired rows are dropped"), (RESTORE, restore), (STORE, "reason PodFailurePolicy"), (INDEXED, "status.failedIndexes"), ("values-minio.yaml", "archives expired rows in s3://events-cold/prod"), (WATCH, "deployment/icepack")):
            done = with_file(values, "install", "icepack", "--dry-run=client", "--namespace", "icepack")
            self.assertIn(told, done.stdout)


if __name__ == "__main__":
    unittest.main()
