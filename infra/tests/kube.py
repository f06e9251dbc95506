"""What must hold of icepack's Kubernetes objects, whoever rendered them."""

import tomllib

import kubernetes_validate
import yaml

# The oldest that the chart takes, and the newest with a schema.
VERSIONS = ("1.31", "1.37")
# A custom resource: its schema is the operator's, not Kubernetes'.
CUSTOM = {"PodMonitor"}


def objects(text):
    """The objects of a render, by kind."""
    found = [o for o in yaml.safe_load_all(text) if o]
    kinds = [o["kind"] for o in found]
    assert len(set(kinds)) == len(kinds), f"two of a kind: {kinds}"
    return dict(zip(kinds, found))


def invalid(kinds):
    """What the API server would not take, unknown fields included."""
    problems = []
    for kind, found in kinds.items():
        if kind in CUSTOM:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(found, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{kind} in {version}: {'.'.join(map(str, error.path))}: {error.message}")
    return problems


def pods(kinds):
    """Every pod's specification."""
    template = ("spec", "template", "spec")
    where = {"CronJob": ("spec", "jobTemplate", *template), "Deployment": template, "Job": template, "Pod": ("spec",)}
    for kind, path in where.items():
        if kind in kinds:
            spec = kinds[kind]
            for step in path:
                spec = spec[step]
            yield spec


def bytes_of(text):
    """A size as Kubernetes or icepack writes it."""
    number = "".join(c for c in text if c.isdigit())
    powers = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "M": 10**6, "G": 10**9}
    return int(number) * powers[text[len(number) :].strip().removesuffix("B")]


def unsafe(spec, config):
    """What a pod does not keep of the restricted profile, and of what icepack promises about itself."""
    problems = []

    def want(condition, what):
        if not condition:
            problems.append(what)

    context, (container,) = spec.get("securityContext", {}), spec["containers"]
    own = container.get("securityContext", {})
    want(context.get("runAsNonRoot") is True and context.get("runAsUser", 1) != 0, "runs as root")
    want(context.get("seccompProfile") == {"type": "RuntimeDefault"}, "no seccomp profile")
    want(own.get("allowPrivilegeEscalation") is False, "may gain rights")
    want(own.get("readOnlyRootFilesystem") is True, "writes to its image")
    want(own.get("capabilities") == {"drop": ["ALL"]}, "keeps capabilities")
    want(not any(key in spec for key in ("hostNetwork", "hostPID", "hostIPC")), "shares the host's namespaces")
    want(not any("hostPath" in v for v in spec["volumes"]), "mounts the host's files")
    want(spec.get("automountServiceAccountToken") is False, "has a token for the API server")
    limit, memory = container["resources"]["limits"]["memory"], config.get("memory_limit", "512MiB")
    want(bytes_of(limit) > bytes_of(memory) + (64 << 20), f"memory limit {limit} is too little for memory_limit {memory}")
    want(container["resources"]["requests"]["memory"] == limit, "may be evicted for memory it was not promised")
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    (spill,) = [v for v in spec["volumes"] if mounts.get(v["name"]) == config.get("spill_dir", "/tmp")] or [{}]
    if "emptyDir" in spill:
        # More than the spill, since logs count; and as much asked for, or the pod goes to a node that has not the room.
        disk = {kind: container["resources"][kind].get("ephemeral-storage", "0M") for kind in ("requests", "limits")}
        want(bytes_of(disk["limits"]) > bytes_of(spill["emptyDir"].get("sizeLimit", "0M")), "is evicted before its spill is full, or never")
        want(disk["requests"] == disk["limits"], "spills onto a node that has not the room")
    want("sizeLimit" in spill.get("emptyDir", {}) or "ephemeral" in spill, "spills without bound, or where it cannot write")
    want({"name": "TMPDIR", "value": config.get("spill_dir")} in container["env"], "temporary files go to the image")
    want("--config" in container["args"] and container["args"][container["args"].index("--config") + 1].startswith(mounts.get("config", "?")), "reads no configuration")
    return problems


def impatient(job):
    """What the specification of a job does not keep, of a pass or of a restore."""
    problems = []

    def want(condition, what):
        if not condition:
            problems.append(what)

    pod = job["template"]["spec"]
    rules = job.get("podFailurePolicy", {}).get("rules", [])
    # FailIndex is for Indexed jobs with a limit of their own for each index, or the API server refuses it.
    codes = [r["onExitCodes"] for r in rules if r["action"] == ("FailIndex" if "completionMode" in job else "FailJob")]
    want(pod.get("restartPolicy") == "Never", "the failure policy is not looked at")
    # A restore that only asked for the thaw ends with 6.
    final = [2, 5, 6] if "restore" in pod["containers"][0].get("args", []) else [2, 5]
    want([(c["operator"], c["values"], c["containerName"]) for c in codes] == [("In", final, pod["containers"][0]["name"])], f"exit codes {final} are tried again, or end other shards")
    want(len(rules) == 2, "a rule that nobody expects")
    want(any(r["action"] == "Ignore" and r["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}] for r in rules), "a drained node counts as a failure")
    return problems


def careless(cronjob):
    """What a CronJob does not keep."""
    spec = cronjob["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    problems = impatient(job)

    def want(condition, what):
        if not condition:
            problems.append(what)

    want(spec.get("concurrencyPolicy") == "Forbid", "passes overlap")
    args = pod["containers"][0]["args"]
    duration = int(args[args.index("--max-duration") + 1].removesuffix("s")) if "--max-duration" in args else None
    want(duration and job.get("activeDeadlineSeconds") and 60 <= job["activeDeadlineSeconds"] - duration, "Kubernetes ends passes that would have ended")
    want(("completionMode" in job) == ("backoffLimitPerIndex" in job) != ("backoffLimit" in job), "a shard's failures are another's")
    want(job.get("completions", 1) == job.get("parallelism", 1), "shards wait for each other")
    told = [e.get("value") for e in pod["containers"][0]["env"] if e["name"] == "JOB_COMPLETIONS"]
    want(told == ([str(job["completions"])] if "completionMode" in job else []), "a shard does not know how many there are")
    return problems


def config(kinds):
    """icepack.toml."""
    return tomllib.loads(kinds["ConfigMap"]["data"]["icepack.toml"])


def all_problems(kinds):
    settings = config(kinds)
    found = invalid(kinds) + [p for spec in pods(kinds) for p in unsafe(spec, settings)]
    found += careless(kinds["CronJob"]) if "CronJob" in kinds else []
    return found + (impatient(kinds["Job"]["spec"]) if "Job" in kinds else [])
