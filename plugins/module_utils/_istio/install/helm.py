# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The helm program, for charts that are to be real Helm releases.

The plan is ours: what a chart renders to is compared with what is live. Only the writing is Helm's.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, ref_of
from ..._engine.planning import adopt
from ..._engine.planning.change import ApplyOptions
from ..._engine.planning.managed_fields import without_fields_of
from ..._engine.steps import Step, WriterRecord
from ..._engine.waiting.deadline import Deadline
from ..._failure import Failure, InvalidOption
from ..binaries.local_binaries import TIMEOUT, LocalBinary, yaml_documents

KNOWN = (3, 4)
# helm/helm pkg/action/validate.go: what makes an object one of a release.
MANAGED_BY, RELEASE_NAME, RELEASE_NAMESPACE = (
    "app.kubernetes.io/managed-by",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
)
CHARTS = "Use manifests/charts of an unpacked release, as the module release returns it."
KEEP = "helm.sh/resource-policy"
# Helm's name in managedFields.
MANAGER = "helm"


@dataclass(frozen=True)
class HelmRelease:
    """What a user asks of Helm: a chart's folder under a name, with values. labels: of the Secrets in which Helm keeps
    it.
    """

    name: str
    namespace: str
    chart: Path
    values: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class Helm(LocalBinary):
    """One helm binary, of major version 3 or 4. Raises InvalidOption "unknown_helm"."""

    option = "helm"
    remedy = "Helm 3 and Helm 4 are supported."

    def __init__(self, path: str | None) -> None:
        super().__init__(path)
        self.major = int(self._version(self._ask_major))
        self._digests: dict[Path, str] = {}

    def _ask_major(self) -> str:
        text = self._run(["version", "--template", "{{ .Version }}"])
        found = re.match(r"v(\d+)\.", text.strip())
        if not found or int(found[1]) not in KNOWN:
            raise InvalidOption(
                "helm",
                f"{self.path} reports version {text.strip()[:50]!r}",
                hint="Use Helm 3 or Helm 4.",
                code="unknown_helm",
            )
        return found[1]

    def render(self, release: HelmRelease, kubernetes: str, upgrade: bool) -> list[Object]:
        """The chart's objects as Helm would write them.

        kubernetes: the server's version, on which charts depend; empty, the one that Helm takes. Raises InvalidOption
        for values that the chart refuses, with
        Helm's words.
        """
        if release.chart not in self._digests:
            self._digests[release.chart] = _folder_digest(release.chart)
        values = json.dumps(release.values, sort_keys=True, ensure_ascii=False)
        key = "\n".join(
            [self._digests[release.chart], release.name, release.namespace, kubernetes, str(upgrade), values]
        )
        arguments = [
            "template",
            release.name,
            str(release.chart),
            "--namespace",
            release.namespace,
            "--values",
            "-",
            *(["--kube-version", kubernetes] if kubernetes else []),
        ]
        objects = self._rendered(
            key, lambda: parse_objects(self._run([*arguments, "--is-upgrade"] if upgrade else arguments, values))
        )
        return [_marked(obj, release) for obj in objects]

    def _run(self, arguments: list[str], text: str = "", timeout: float = TIMEOUT) -> str:
        with tempfile.TemporaryDirectory(prefix="helm-") as home:
            # The user's plugins and repositories have no say.
            return self._call(
                arguments,
                text,
                {"HOME": home, **{f"HELM_{name}_HOME": home for name in ("CACHE", "CONFIG", "DATA")}},
                timeout,
            )

    def _refusal(self, command: str, text: str) -> Failure:
        last = " ".join(line.strip() for line in text.splitlines() if line.strip())[-600:] or "no output"
        if command == "template":
            return InvalidOption(
                "values",
                f"helm rejects the configuration: {last}",
                code="invalid_values",
                hint="Correct profile, values, mesh_config or gateways.",
            )
        return Failure(
            "helm",
            f"helm {command} failed: {last}",
            reason=last,
            hint="Run the task again: it continues the release that Helm left unfinished.",
        )

    def upgrade(self, cluster: Cluster, release: HelmRelease, adopt: bool, force: bool, deadline: Deadline) -> None:
        """Installs or upgrades. adopt: also take what carries no mark of this release; force: also fields of others.
        Raises Failure "helm".
        """
        options = [
            "--install",
            "--namespace",
            release.namespace,
            "--values",
            "-",
            "--reset-values",
            "--timeout",
            _timeout(deadline),
        ]
        if release.labels:
            options += ["--labels", ",".join(f"{key}={value}" for key, value in sorted(release.labels.items()))]
        if adopt:
            options.append("--take-ownership")
        if self.major == 4:
            options += ["--server-side", "true", *(["--force-conflicts"] if adopt or force else [])]
        self._with_cluster(
            cluster,
            ["upgrade", release.name, str(release.chart), *options],
            deadline,
            json.dumps(release.values, ensure_ascii=False),
        )

    def uninstall(self, cluster: Cluster, name: str, namespace: str, deadline: Deadline) -> None:
        self._with_cluster(
            cluster,
            ["uninstall", name, "--namespace", namespace, "--timeout", _timeout(deadline), "--ignore-not-found"],
            deadline,
        )

    def _with_cluster(self, cluster: Cluster, arguments: list[str], deadline: Deadline, text: str = "") -> None:
        with tempfile.TemporaryDirectory(prefix="helm-") as folder:
            kubeconfig = cluster.api.kubeconfig(Path(folder))
            self._run([*arguments, "--kubeconfig", str(kubeconfig)], text, deadline.left() + TIMEOUT)


def _timeout(deadline: Deadline) -> str:
    return f"{max(1, int(deadline.left()))}s"


def _folder_digest(folder: Path) -> str:
    """Of names and content of all files."""
    if not (folder / "Chart.yaml").is_file():
        raise InvalidOption("charts", f"{folder} contains no chart on the host where this task runs", hint=CHARTS)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def parse_objects(manifest: str) -> list[Object]:
    return [document for document in yaml_documents(manifest) if isinstance(document, dict) and document.get("kind")]


def _marked(obj: Object, release: HelmRelease) -> Object:
    """With what Helm itself adds."""
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), MANAGED_BY: "Helm"}
    annotations = {
        **(metadata.get("annotations") or {}),
        RELEASE_NAME: release.name,
        RELEASE_NAMESPACE: release.namespace,
    }
    return {**obj, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


@dataclass(frozen=True)
class HelmRevision:
    """One revision of a release, as Helm keeps it in a Secret."""

    secret: Object
    version: int
    status: str
    chart_version: str
    values: dict[str, Any]
    objects: list[Object]

    @property
    def pending(self) -> bool:
        return self.status.startswith("pending")

    @property
    def deletable(self) -> list[Object]:
        return [obj for obj in self.objects if KEEP not in (obj["metadata"].get("annotations") or {})]


def helm_revisions(cluster: Cluster, name: str, namespace: str) -> list[HelmRevision]:
    """Oldest first."""
    secrets = cluster.list("", "Secret", namespace, f"owner=helm,name={name}")
    return sorted((_revision(secret) for secret in secrets), key=lambda revision: revision.version)


def last_revision(cluster: Cluster, name: str, namespace: str) -> HelmRevision | None:
    known = helm_revisions(cluster, name, namespace)
    return known[-1] if known else None


def _revision(secret: Object) -> HelmRevision:
    # Kubernetes' base64 around Helm's own (helm/helm pkg/storage/driver/util.go).
    content = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    chart_version = content["chart"]["metadata"]["version"]
    return HelmRevision(
        secret,
        int(content["version"]),
        content["info"]["status"],
        chart_version,
        content.get("config") or {},
        parse_objects(content.get("manifest") or ""),
    )


def receipt(release: HelmRelease, version: int) -> Object:
    """The Secret that Helm will write."""
    labels = {**release.labels, "owner": "helm", "name": release.name, "version": str(version)}
    metadata = {
        "name": f"sh.helm.release.v1.{release.name}.v{version}",
        "namespace": release.namespace,
        "labels": labels,
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "helm.sh/release.v1"}


class Installation:
    """A step's program: Helm makes the release equal to what is wanted."""

    manager = MANAGER

    def __init__(
        self, helm: Helm, release: HelmRelease, last: HelmRevision | None, kubernetes: str, rules: ApplyOptions
    ) -> None:
        """last: the release's newest revision; rules: whose objects and fields become this release's, and whose stay
        theirs.
        """
        self._helm, self._release, self._last, self._kubernetes, self._rules = helm, release, last, kubernetes, rules
        self._tools = rules.adopt - {MANAGER}
        self.namespace = release.namespace

    def step(self, ready: bool = False) -> Step:
        """The step of what Helm would write now. Raises InvalidOption."""
        return Step(
            f"release {self._release.name}",
            self._helm.render(self._release, self._kubernetes, upgrade=self._last is not None),
            ready,
            writer=self,
        )

    def last_write(self) -> WriterRecord:
        last = self._last
        # One that is half written goes before, and its number is used again.
        version = 1 if last is None else last.version if last.pending else last.version + 1
        return WriterRecord(
            last.deletable if last else [], receipt(self._release, version), last is not None and self._fits(last)
        )

    def validate(self, live: list[Object]) -> None:
        # As Helm itself refuses at its first write (pkg/action/validate.go), but before anything is written.
        for obj in [] if self._tools else live:
            mark = obj["metadata"].get("annotations") or {}
            if (mark.get(RELEASE_NAME), mark.get(RELEASE_NAMESPACE)) != (self._release.name, self.namespace):
                owner = (
                    f"belongs to release {mark[RELEASE_NAME]}" if mark.get(RELEASE_NAME) else "was not created by Helm"
                )
                hint = "Set adopt to adopt it, or remove it with the tool that created it."
                raise Failure(
                    "not_helms", f"{ref_of(obj)} already exists and {owner}", ref=ref_of(obj).as_result(), hint=hint
                )

    def _fits(self, last: HelmRevision) -> bool:
        # A chart may render another way for the first revision than for later ones.
        wanted = self._helm.render(self._release, self._kubernetes, upgrade=last.version > 1)
        labels = last.secret["metadata"].get("labels") or {}
        if not self._release.labels.items() <= labels.items():
            return False
        return (
            last.status == "deployed"
            and last.values == self._release.values
            and _by_ref(last.objects, self._release) == _by_ref(wanted, self._release)
        )

    def write(self, cluster: Cluster, deadline: Deadline) -> None:
        if self._last and self._last.pending:
            # A helm that was killed leaves this, and every later one would refuse to work. Where one is at work now,
            # its own write fails.
            cluster.delete(self._last.secret)
        if self._tools:
            wanted = self._helm.render(self._release, self._kubernetes, upgrade=True)
            cluster.each(lambda obj: self._take(cluster, obj), [cluster.placed(obj, self.namespace) for obj in wanted])
        self._helm.upgrade(cluster, self._release, bool(self._tools), self._rules.force, deadline)

    def _take(self, cluster: Cluster, wanted: Object) -> None:
        """Makes an object of another tool what Helm would have made: its values first, then its owner. What only the
        tool had set goes.
        """
        ref = ref_of(wanted)
        live = cluster.get(ref.group, ref.kind, ref.namespace, ref.name)
        tools = self._tools | {cluster.manager}
        if live is None or not adopt.owners(live, tools):
            return
        wanted = without_fields_of(wanted, live, self._rules.ignore_managers)
        adopt.retry_on_conflict(cluster, live, lambda obj: adopt.migrate(cluster, obj, wanted, tools))
        applied = cluster.apply(wanted, force=True)
        # Helm 3 writes as one who updates, Helm 4 as one who applies: what stands under the other word it would never
        # remove.
        operation = "Update" if self._helm.major == 3 else "Apply"
        theirs = cluster.with_manager(MANAGER)
        adopt.retry_on_conflict(
            cluster, applied, lambda obj: adopt.migrate(theirs, obj, wanted, frozenset({cluster.manager}), operation)
        )


class Removal:
    """A step's program: Helm takes the release away."""

    manager = MANAGER

    def __init__(self, helm: Helm, name: str, namespace: str, known: list[HelmRevision]) -> None:
        self._helm, self._name, self.namespace, self._known = helm, name, namespace, known

    def step(self) -> Step:
        return Step(f"release {self._name}", deleted=[revision.secret for revision in self._known], writer=self)

    def last_write(self) -> WriterRecord:
        return WriterRecord(self._known[-1].deletable if self._known else [], None, True)

    def validate(self, live: list[Object]) -> None:
        pass

    def write(self, cluster: Cluster, deadline: Deadline) -> None:
        self._helm.uninstall(cluster, self._name, self.namespace, deadline)


def _by_ref(objects: list[Object], release: HelmRelease) -> dict[str, Object]:
    return {str(ref_of(obj)): _marked(obj, release) for obj in objects}
