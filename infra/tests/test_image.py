"""infra/docker/Dockerfile built and run, and the chart's pod with it: by buildah and podman, in a folder of their own, on a base made of Debian's packages.

The binary is $ICEPACK_BIN: compiling it is not tested here.
"""

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import kube
import test_docker
import test_helm
from support import DEMO, INFRA, KUBECTL, NO_KUBECTL, ROOT, aws, binary, environment, left_out, localstack, roomy, run

# Set by run.sh where the programs are there and may be used.
ENGINES = os.environ.get("ICEPACK_TEST_IMAGE") == "1"
NO_ENGINES = "ICEPACK_TEST_IMAGE is not 1, or buildah and podman are not to be had (see above)."
if not ENGINES:
    left_out("the image", NO_ENGINES)
USER = 65532
IMAGE = "localhost/icepack"


def base():
    """The path of the base's archive, or None, said loudly."""
    done = run(ROOT / "scripts" / "debian-base.sh", ok=(0, 3))
    return done.stdout.strip() or left_out("the image", done.stderr)


def chart_pod(**values):
    """The chart with values-minio.yaml and these values: its configuration, and the pod of its CronJob."""
    given = [part for name, value in values.items() for part in ("--set", f"{name.replace('__', '.')}={value}")]
    kinds = kube.objects(test_helm.with_file("values-minio.yaml", "template", "icepack", *given).stdout)
    template = kinds["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    # Podman 4.3 refuses annotations of more than 63 characters, which Kubernetes takes. They say nothing to a pod.
    metadata = {key: value for key, value in template["metadata"].items() if key != "annotations"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"name": "pass"}, "spec": template["spec"]}
    return kinds["ConfigMap"], pod


def buckets(name):
    """Two new buckets; the URLs of a store and an archive in them."""
    for kind in ("hot", "cold"):
        aws("s3").create_bucket(Bucket=f"{name}-{kind}")
    return f"s3://{name}-hot/events", f"s3://{name}-cold/events"


class Engine:
    """Buildah and podman, with all that they write below one folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # Not all processes may raise their limits, as an engine would by itself.
        limit = min(1024, os.sysconf("SC_OPEN_MAX"))
        self.file("containers.conf", f"""
[containers]
default_ulimits = ["nofile={limit}:{limit}", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = "{self.folder}/tmp"
""")
        self.file("storage.conf", f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/root"\nrunroot = "{self.folder}/run"\n')
        # Whatever is asked for must be in the folder: there is no registry to ask.
        self.file("registries.conf", "")
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
        }

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def __call__(self, *command, ok=(0,), **options):
        return run(*command, env=self.env, ok=ok, cwd=ROOT, **options)

    def podman(self, *args, **options):
        return self("podman", *args, **options)

    def end(self):
        """Ends what runs, and unmounts what is mounted."""
        for args in (("pod", "rm", "--all", "--force"), ("rm", "--all", "--force", "--time", "0"), ("image", "unmount", "--all")):
            subprocess.run(["podman", *args], env=self.env, capture_output=True, timeout=60)


# What the chart asks of its pod, as an engine's flags.
LOCKED = (
    "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "256",
)  # fmt: skip


@unittest.skipUnless(ENGINES, NO_ENGINES)
class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        named = binary("the image")
        archive = named and base()
        if not archive:
            raise unittest.SkipTest("no binary, or no base")
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=roomy())))
            # Users in containers pass through it.
            folder.chmod(0o755)
            cls.engine = Engine(folder)
            stack.callback(cls.engine.end)
            cls.build(named, archive)
            cls.addClassCleanup(stack.pop_all().close)

    @classmethod
    def build(cls, named, archive):
        """The image, from a context that holds what .dockerignore lets in, with the binary where the release workflow puts it."""
        arguments = dict(a.split("=", 1) for name, a in test_docker.instructions() if name == "ARG" and "=" in a)
        cls.engine.podman("import", "--quiet", "--change", f"USER={USER}", archive, arguments["RUNTIME_IMAGE"])
        context = cls.engine.folder / "context"
        arch = run("dpkg", "--print-architecture").stdout.strip()
        place = context / "dist" / "image" / arch
        (place / "spill").mkdir(parents=True)
        # A debug binary's symbols are most of it.
        run("strip", "-o", place / "icepack", named)
        shutil.copy(ROOT / "LICENSE", context)
        shutil.copy(ROOT / ".dockerignore", context)
        cls.version = re.search(r"\S+$", run(named, "--version").stdout).group()
        # With --pull=false an image that is missing is a failure: the stage that compiles is not begun, nor its base asked for.
        cls.engine(
            "buildah", "bud", "--quiet", "--pull=false", "--isolation", "chroot", "--build-arg", "BINARY=prebuilt", "--build-arg", f"TARGETARCH={arch}",
            "--build-arg", f"VERSION={cls.version}", "--file", INFRA / "docker" / "Dockerfile", "--tag", f"{IMAGE}:{cls.version}", context,
        )  # fmt: skip
        cls.image = f"{IMAGE}:{cls.version}"

    def contained(self, *args, memory=None, volume=None, network="none", env=None, ok=(0,)):
        """Runs icepack in the image as the chart runs it, but for the network."""
        limits = ("--memory", memory, "--memory-swap", memory) if memory else ()
        mounts = ("--volume", f"{volume}:/data") if volume else ()
        given = [part for name, value in (env or {}).items() for part in ("--env", f"{name}={value}")]
        return self.engine.podman("run", "--rm", "--network", network, *LOCKED, *limits, *mounts, *given, self.image, *args, ok=ok)

    def mount(self):
        """A folder for the user of the image."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.engine.folder))
        os.chown(folder, USER, USER)
        return folder

    def test_what_is_in_it(self):
        found = json.loads(self.engine.podman("image", "inspect", self.image).stdout)[0]
        self.assertEqual(found["Config"]["User"], f"{USER}:{USER}")
        self.assertEqual(found["Config"]["Entrypoint"], ["/usr/local/bin/icepack"])
        self.assertEqual(found["Labels"]["org.opencontainers.image.version"], self.version)
        self.assertEqual(self.contained("--version").stdout, f"icepack {self.version}\n")
        # Where what does not fit into memory goes, an engine's volume belongs to whom the image's folder belongs to.
        spill = (pathlib.Path(self.engine.podman("image", "mount", self.image).stdout.strip()) / "spill").stat()
        self.assertEqual((spill.st_uid, spill.st_gid), (USER, USER))
        with self.assertRaises(AssertionError, msg="there is a shell"):
            self.engine.podman("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", self.image, "-c", "true")

    def test_a_pass_on_a_mount_within_the_memory_of_the_chart(self):
        memory = yaml.safe_load((test_helm.CHART / "values.yaml").read_text())["resources"]["limits"]["memory"].removesuffix("i").lower()
        data = self.mount()
        places = {"ICEPACK_STORE": "/data/store", "ICEPACK_ARCHIVE_URL": "/data/archive", "ICEPACK_MEMORY_LIMIT": "512MiB"}

        def icepack(*args, ok=(0,), memory=memory):
            return self.contained(*args, volume=data, env=places, memory=memory, ok=ok)

        icepack(*DEMO)
        # The limit is one: with too little for a pass the kernel ends it …
        icepack("run", memory="8m", ok=(137,))
        # … and the next one takes the work up.
        totals = json.loads(icepack("run", "--json").stdout)["totals"]
        self.assertGreater(totals["ledger"]["rows_archived"], 0)
        self.assertEqual(totals["status"], "done")
        icepack("verify")
        self.assertEqual({(path.stat().st_uid, path.stat().st_gid) for path in data.rglob("*")}, {(USER, USER)})

    def test_nothing_but_the_mounts_can_be_written(self):
        """The image is read-only and the user is nobody: an icepack that is told to write elsewhere says so and changes nothing."""
        for place in ("/store", "/usr/local/store", "/home/nonroot/store"):
            done = self.contained("demo", "--store", place, ok=range(1, 126))
            self.assertIn("ead-only file system", done.stderr, place)

    def test_doctor_and_a_pass_on_s3(self):
        store, archive = buckets("image")
        env = environment(localstack(), "test", "test", ICEPACK_STORE=store, ICEPACK_ARCHIVE_URL=archive)
        del env["PATH"]
        for args in (("doctor",), DEMO, ("run",), ("verify",)):
            self.contained(*args, network="host", env=env)
        self.assertIn("acme", self.contained("status", network="host", env=env).stdout)

    @unittest.skipUnless(KUBECTL, NO_KUBECTL)
    def test_the_pod_of_the_chart(self):
        store, archive = buckets("pod")
        env = environment(localstack(), "test", "test")
        run(binary("the pod"), *DEMO, env=env | {"ICEPACK_STORE": store})
        values = {"config__store": store, "config__archive__url": archive, "config__compaction__min_raw_age": "0s", "aws__endpointUrl": localstack()}
        configuration, pod = chart_pod(**values, image__repository=IMAGE, image__tag=self.version)
        # Podman reads a secret's values from one of its own, in this form.
        keys = {name: base64.b64encode(b"test").decode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        secret = self.engine.file("secret.json", json.dumps(keys))
        self.engine.podman("secret", "create", "icepack-keys", secret)
        manifest = self.engine.file("pod.yaml", yaml.safe_dump_all([configuration, pod]))
        self.engine.podman("kube", "play", "--quiet", "--network", "host", manifest)
        code = self.engine.podman("wait", "pass-icepack", timeout=60).stdout.strip()
        printed = self.engine.podman("logs", "pass-icepack")
        self.assertEqual(code, "0", printed.stdout + printed.stderr)
        self.assertGreater(json.loads(printed.stdout)["totals"]["ledger"]["rows_archived"], 0)
        self.as_the_chart_says(pod)

    def as_the_chart_says(self, pod):
        """What podman made of the pod is what the pod asks for: else the pass shows little."""
        (made,) = json.loads(self.engine.podman("inspect", "pass-icepack").stdout)
        (wanted,) = pod["spec"]["containers"]
        self.assertEqual(made["Config"]["User"], f"{USER}:{USER}")
        self.assertTrue(made["HostConfig"]["ReadonlyRootfs"])
        self.assertEqual(made["HostConfig"]["Memory"], kube.bytes_of(wanted["resources"]["limits"]["memory"]))
        # Those that a program could have by any way; a user who is not root has none at first anyhow.
        self.assertFalse(made["BoundingCaps"])
        self.assertIn("no-new-privileges", made["HostConfig"]["SecurityOpt"])


if __name__ == "__main__":
    unittest.main()
