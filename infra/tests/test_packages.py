"""packaging/: each package made of $ICEPACK_BIN, installed in a clean place, and tried there."""

import email
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
import zipfile

from support import ROOT, binary, left_out, roomy, run

PACKAGING = ROOT / "packaging"
NAMED = binary("the packages")


class Crates(unittest.TestCase):
    def test_what_is_published_needs_nothing_that_is_not(self):
        """With a version cargo asks crates.io for a crate, also where only tests need it."""
        shared = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["dependencies"]
        for manifest in (ROOT / "crates").glob("*/Cargo.toml"):
            package = tomllib.loads(manifest.read_text())["package"]
            name = package["name"]
            if package.get("publish") is False:
                self.assertNotIn("version", shared[name], name)
            else:
                self.assertTrue({"version", "path"} <= set(shared[name]) and package["description"], name)
                self.assertEqual((manifest.parent / "LICENSE").read_bytes(), (ROOT / "LICENSE").read_bytes(), name)


@unittest.skipUnless(NAMED, "ICEPACK_BIN names no icepack")
class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(dir=roomy())))
        cls.folder.chmod(0o755)
        cls.binary = cls.folder / "icepack"
        # A debug binary's symbols are most of it.
        run("strip", "-o", cls.binary, NAMED)
        cls.version = run(cls.binary, "--version").stdout.split()[1]

    def made(self, script, *args):
        """What a script of packaging/ made, which it prints the path of."""
        env = os.environ | {"SOURCE_DATE_EPOCH": "1700000000", "DPKG_DEB_COMPRESSOR_TYPE": "none"}
        path = pathlib.Path(run(PACKAGING / script, self.binary, *args, self.folder / "out", env=env).stdout.strip())
        self.assertTrue(path.is_file(), path)
        return path

    def works(self, *icepack, store=None):
        """The first things that a person does, with the icepack that was installed."""
        store = store or tempfile.mkdtemp(dir=self.folder)
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ICEPACK_STORE": str(store)}
        self.assertEqual(run(*icepack, "--version", env=env).stdout, f"icepack {self.version}\n")
        for args in (("demo", "--tenants", "acme=6x20"), ("run",)):
            run(*icepack, *args, env=env)
        self.assertIn("acme", run(*icepack, "status", env=env).stdout)

    @unittest.skipUnless(sys.platform == "linux", "the tag is read from an ELF file")
    def test_the_wheel(self):
        wheel = self.made("wheel.sh")
        self.assertRegex(wheel.name, rf"^icepack_cli-{self.version}-py3-none-(many|musl)linux_\d+_\d+_\w+\.whl$")
        with zipfile.ZipFile(wheel) as archive:
            (program,) = [i for i in archive.infolist() if i.filename.endswith("/scripts/icepack")]
            self.assertTrue(program.external_attr >> 16 & stat.S_IXUSR)
            info = f"icepack_cli-{self.version}.dist-info"
            self.assertIn(f"{info}/licenses/LICENSE", archive.namelist())
            said = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        self.assertEqual((said["Name"], said["Version"], said["License-Expression"]), ("icepack-cli", self.version, "Apache-2.0"))
        self.assertTrue(said.get_payload().startswith("# "), "the page on PyPI is empty")
        environment = self.folder / "environment"
        # Without a pip of its own, which would take longer than all else.
        run(sys.executable, "-m", "venv", "--without-pip", environment)
        run(sys.executable, "-m", "pip", "--python", environment, "install", "--quiet", "--no-index", "--disable-pip-version-check", wheel)
        self.works(environment / "bin" / "icepack")

    @unittest.skipUnless(sys.platform == "linux", "the tag is read from an ELF file")
    def test_a_wheel_of_what_not_every_machine_has_is_refused(self):
        """A program with another library: pip would install it, and it would not start."""
        other = next(p for p in map(shutil.which, ("bash", "curl", "git", "ssh")) if p and b"libtinfo" in run("readelf", "-d", p, text=False).stdout)
        done = run(PACKAGING / "wheel.sh", other, self.folder / "out", ok=range(1, 127))
        self.assertIn("libtinfo", done.stderr)

    @unittest.skipUnless(shutil.which("dpkg-shlibdeps"), "dpkg-dev is not installed")
    def test_the_debian_package(self):
        package = self.made("deb.sh")
        self.assertRegex(run("dpkg-deb", "--field", package, "Depends").stdout, r"^libc6 \(>= 2\.\d+\)")
        self.assertEqual(run("dpkg-deb", "--field", package, "Version").stdout.strip(), f"{self.version}-1")
        if os.geteuid() != 0:
            left_out("the Debian package installed", "that needs root.")
            return
        done = run(ROOT / "scripts" / "debian-base.sh", ok=(0, 3))
        if done.returncode:
            left_out("the Debian package installed", done.stderr)
            return
        # A system without anything else. What the package depends on is in it, but no list of packages that says so.
        root = self.folder / "root"
        root.mkdir()
        run("tar", "-xf", done.stdout.strip(), "-C", root)
        for name in ("info", "updates"):
            (root / "var/lib/dpkg" / name).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        run("dpkg", f"--root={root}", "--force-depends", "--install", package)
        self.assertIn("Status: install ok installed", run("dpkg", f"--root={root}", "--status", "icepack").stdout)
        self.works("chroot", root, "/usr/bin/icepack", store="/home/store")
        self.assertTrue((root / "usr/share/man/man1/icepack-run.1.gz").is_file())
        self.assertIn("_icepack", (root / "usr/share/bash-completion/completions/icepack").read_text())
        # The unit starts what the package brings.
        unit = (root / "usr/share/doc/icepack/examples/icepack.service").read_text()
        (command,) = [line.split("=", 1)[1].split() for line in unit.splitlines() if line.startswith("ExecStart=")]
        self.assertTrue((root / command[0][1:]).is_file())
        # Its arguments are the binary's, but for the file of settings.
        args = [arg for arg in command[1:] if arg not in ("--config", "/etc/icepack/icepack.toml")]
        self.assertEqual(run("chroot", root, command[0], *args, "--store", "/home/store").stdout, "", "a run with nothing to do prints something")
        run("dpkg", f"--root={root}", "--purge", "icepack")
        self.assertFalse((root / "usr/bin/icepack").exists())

    def test_the_archive(self):
        archive = self.made("tarball.sh", "x86_64-unknown-linux-gnu")
        first = archive.read_bytes()
        self.assertEqual(self.made("tarball.sh", "x86_64-unknown-linux-gnu").read_bytes(), first, "the same files, other bytes")
        with tarfile.open(archive) as tar:
            tar.extractall(self.folder / "unpacked", filter="data")
        (place,) = (self.folder / "unpacked").iterdir()
        self.assertEqual(place.name, f"icepack-{self.version}-x86_64-unknown-linux-gnu")
        self.assertTrue({"LICENSE", "README.md", "man", "completions"} <= {path.name for path in place.iterdir()})
        self.works(place / "icepack")

    def test_each_says_how_it_is_used(self):
        for script in sorted(PACKAGING.glob("*.sh")):
            done = subprocess.run([script], capture_output=True, text=True, cwd=ROOT)
            self.assertEqual(done.returncode, 2, script)
            self.assertIn(f"packaging/{script.name} ", done.stderr)


if __name__ == "__main__":
    unittest.main()
