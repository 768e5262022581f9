# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""On the test data of Istio's own analyzers, pre-flight says what they say, for which it needs Istio's source alone;
and a module refuses what it finds.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import programs, settings
from playbook_runner import Lab

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))

from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files.manifests import (
    parse_manifests,
    read_file,
)  # noqa: E402
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import flatten  # noqa: E402
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption  # noqa: E402
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight import (
    loader,  # noqa: E402
    registry,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight.object_index import (
    World,
    namespace,
)  # noqa: E402

# Analyzer -> our checks for the same thing. One message of theirs may be several checks of ours, and several analyzers
# may give it.
ANALYZERS = {
    "annotations.K8sAnalyzer": (
        "annotation_unknown",
        "annotation_misplaced",
        "annotation_invalid",
        "annotation_deprecated",
    ),
    "authn.BlockedCIDRsAnalyzer": ("jwks_unrestricted",),
    "authz.AuthorizationPoliciesAnalyzer": ("authorization_selects_nothing", "authorization_no_namespace"),
    "conditions.ConditionAnalyzer": ("condition_negative",),
    "deployment.ApplicationUIDAnalyzer": ("user_of_proxy",),
    "deployment.ServiceAssociationAnalyzer": ("port_of_two_protocols", "ports_of_one_target"),
    "deprecation.FieldAnalyzer": ("deprecated_field", "definition_gone"),
    "destinationrule.CaCertificateAnalyzer": ("tls_unverified", "port_tls_unverified"),
    "destinationrule.PodNotSelectedAnalyzer": ("destination_rule_no_host", "subset_without_pods"),
    "envoyfilter.EnvoyPatchAnalyzer": (
        "filter_relative",
        "filter_replaces_wrongly",
        "filter_adds_wrongly",
        "filter_removes_wrongly",
        "filter_relative_by_version",
    ),
    "externalcontrolplane.ExternalControlPlaneAnalyzer": ("webhook_no_address", "webhook_at_address"),
    "gateway.CertificateAnalyzer": ("gateway_certificate_repeated",),
    "gateway.ConflictingGatewayAnalyzer": ("gateways_conflict",),
    "gateway.IngressGatewayPortAnalyzer": ("gateway_selects_nothing", "gateway_port_not_on_service"),
    "gateway.SecretAnalyzer": ("gateway_selects_nothing", "gateway_no_secret", "gateway_credential_invalid"),
    "injection.Analyzer": (
        "namespace_not_enrolled",
        "namespace_by_default",
        "namespace_several_labels",
        "pod_without_proxy",
    ),
    "injection.ImageAutoAnalyzer": ("image_auto", "image_auto_not_injected"),
    "k8sgateway.CRDVersionAnalyzer": ("definition_old",),
    "k8sgateway.SelectorAnalyzer": ("selector_ineffective",),
    "schemaValidation.CollectionValidationAnalyzer": ("route_unreachable", "match_ineffective"),
    "service.PortNameAnalyzer": ("port_name_form", "external_name_port"),
    "serviceentry.ConflictingServiceEntryProtocolAnalyzer": ("entry_protocols_conflict",),
    "serviceentry.ProtocolAddressesAnalyzer": ("entry_address_needed",),
    "sidecar.SelectorAnalyzer": (
        "sidecar_selects_nothing",
        "sidecars_overlap",
        "sidecars_without_selector",
        "sidecar_ineffective",
    ),
    "telemetry.DefaultSelectorAnalyzer": ("telemetries_without_selector",),
    "telemetry.ProviderAnalyzer": ("telemetry_no_provider",),
    "telemetry.SelectorAnalyzer": ("telemetry_selects_nothing", "telemetries_overlap"),
    "virtualservice.ConflictingMeshGatewayHostsAnalyzer": ("hosts_conflict",),
    "virtualservice.DestinationHostAnalyzer": (
        "virtual_service_no_host",
        "destination_no_port",
        "destination_port_needed",
        "subset_ineffective_at_gateway",
    ),
    "virtualservice.DestinationRuleAnalyzer": ("subset_undefined",),
    "virtualservice.GatewayAnalyzer": ("virtual_service_no_gateway", "host_not_in_gateway", "gateway_generated"),
    "virtualservice.JWTClaimRouteAnalyzer": ("claim_without_authentication",),
    "webhook.Analyzer": ("injectors_overlap", "injector_no_service"),
}
# What the collection has no check for, and why.
LEFT = {
    "injection.ImageAnalyzer": "mesh_check says which proxies are stale",
    "maturity.AlphaAnalyzer": "istioctl has it switched off",
    "multicluster.MeshNetworksAnalyzer": "mesh networks are an option of the control plane",
    "telemetry.LightstepAnalyzer": "a provider that Istio has given up",
}
# Checks of an analyzer's code of which its test data has no case.
WITHOUT_DATA = {"shape_wrong"}
# (case, message) where the two differ by intent -> why.
DIFFERS: dict[tuple[str, tuple[str, str]], str] = {}
Message = tuple[str, str]


@dataclass(frozen=True)
class Case:
    """name, files, mesh configuration, analyzer, and what it says: {(code, "Kind namespace/name")}."""

    name: str
    files: tuple[str, ...]
    mesh: str
    analyzer: str
    expected: frozenset[Message]


@functools.cache
def source() -> Path:
    folder = programs.source(settings.DEFAULT_ISTIO) / "pkg/config/analysis"
    assert folder.is_dir(), "Istio's source is not in the module cache"
    return folder


def codes() -> dict[str, str]:
    """{name of a message in Go: code}"""
    return {
        str(row["name"]): str(row["code"])
        for row in yaml.safe_load((source() / "msg/messages.yaml").read_text())["messages"]
    }


@functools.cache
def cases() -> list[Case]:
    """The table of Istio's test, by its own words."""
    text = (source() / "analyzers/analyzers_test.go").read_text()
    grid = text[text.index("var testGrid = []testCase{") : text.index("// regex patterns for analyzer names")]
    known = codes()
    found = []
    for block in re.split(r"\n\t\{\n", grid)[1:]:
        files = re.search(r"inputFiles:\s*\[\]string\{(.*?)\}", block, re.DOTALL)
        mesh = re.search(r'meshConfigFile:\s*"([^"]+)"', block)
        analyzer = re.search(r"analyzer:\s*&?([\w.]+)", block)
        name = re.search(r'name:\s*"([^"]+)"', block)
        assert files and analyzer and name, block
        said = re.findall(r'\{msg\.(\w+), "([^"]+)"\}', block)
        found.append(
            Case(
                name[1],
                tuple(re.findall(r'"([^"]+)"', files[1])),
                mesh[1] if mesh else "",
                analyzer[1],
                frozenset((known[message], obj) for message, obj in said),
            )
        )
    return found


def world(case: Case) -> World:
    """The files as a whole mesh: what is not in them does not exist, as the analyzers see it."""
    folder = source() / "analyzers"
    read = [obj for file in case.files for obj in flatten(parse_manifests((folder / file).read_text(), file), file)]
    mesh: dict[str, Any] = yaml.safe_load((folder / case.mesh).read_text()) if case.mesh else {}
    # Their reader takes objects without a namespace as they are.
    return World(
        [*loader.default_gateway("istio-system"), *loader.normalize_objects(read, "")], complete=True, mesh=mesh
    )


def ours(case: Case) -> set[Message]:
    picture = world(case)
    found = set()
    for code in ANALYZERS[case.analyzer]:
        check = registry.BY_CODE[code]
        for finding in check.judge(picture):
            ref = finding.ref
            place = f"{ref.namespace}/{ref.name}" if namespace(finding.obj) else ref.name
            found |= {(analyzer, f"{ref.kind} {place}") for analyzer in registry.analyzer_codes(check)}
    return found


def test_every_analyzer_is_one_that_we_have_or_leave_out_for_a_reason() -> None:
    assert {case.analyzer for case in cases()} == {*ANALYZERS, *LEFT}
    compared = {code for own in ANALYZERS.values() for code in own}
    assert compared == {check.code for check in registry.CHECKS if registry.analyzer_codes(check)} - WITHOUT_DATA


def test_verdicts_on_their_test_data_are_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    shared = [case for case in cases() if case.analyzer in ANALYZERS]
    differences, messages = [], 0
    for case in shared:
        found = ours(case)
        messages += len(case.expected)
        differences += [
            (case.name, "theirs alone", message)
            for message in sorted(case.expected - found)
            if (case.name, message) not in DIFFERS
        ]
        differences += [
            (case.name, "ours alone", message)
            for message in sorted(found - case.expected)
            if (case.name, message) not in DIFFERS
        ]
    with capsys.disabled():
        print(
            f"\n{len(shared)} of {len(cases())} cases of {len(ANALYZERS)} analyzers compared: {messages} messages,"
            f" {len(differences)} differences, {len(DIFFERS)} of intent"
        )
    assert len(shared) > 80 and messages > 120
    assert not differences, "\n".join(map(str, differences))


def test_samples_of_istio_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """Each file by itself. Those of bookinfo are parts of each other."""
    folder = source().parents[2] / "samples"
    errors, files = [], 0
    for path in sorted(path for path in folder.rglob("*.yaml") if "bookinfo" not in path.parts):
        try:
            objects = loader.normalize_objects(read_file(path, "src"), "default")
        except InvalidOption:
            # Values of charts, and templates.
            continue
        files += bool(objects)
        errors += [
            f"{path.relative_to(folder)}: {registry.finding_text(row)}"
            for row in registry.run_checks(loader.load_files(objects, "istio-system"))
            if row["severity"] == "error"
        ]
    with capsys.disabled():
        print(f"\n{files} files of samples without an error")
    assert files > 50 and not errors, "\n".join(errors)


SPACE = "proof-preflight"
HOST = {"namespace": SPACE, "service": "web"}


@pytest.fixture
def split(mesh: Lab) -> Iterator[Lab]:
    """A host with a share for each of two versions, and a route of somebody else to the second one."""
    mesh.kubectl("create", "namespace", SPACE)
    container = {
        "name": "web",
        "image": "localhost/lab/client:stand-in",
        "imagePullPolicy": "Never",
        "env": [{"name": "STANDIN", "value": "client"}],
    }
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"web-{version}", "namespace": SPACE, "labels": {"app": "web", "version": version}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }
        for version in ("v1", "v2")
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": SPACE},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
    }
    theirs = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "theirs", "namespace": SPACE},
        "spec": {
            "hosts": ["theirs.example.com"],
            "http": [{"route": [{"destination": {"host": "web", "subset": "v2"}}]}],
        },
    }
    mesh.kubectl("apply", "-f", "-", text=yaml.safe_dump_all([service, *pods]))
    done = mesh.module("traffic_split", **HOST, versions={"v1": 1, "v2": 1})
    assert "failed" not in done and done["findings"] == [] and done["forbidden_kinds"] == {}, done
    mesh.kubectl("apply", "-f", "-", text=yaml.safe_dump(theirs))
    yield mesh
    mesh.kubectl("delete", "namespace", SPACE)


def versions_of(lab: Lab) -> dict[str, str]:
    """{object: its resourceVersion} of all policy, and of what is kept of it."""
    found = lab.get("virtualservices.networking.istio.io,destinationrules.networking.istio.io,configmaps", "-n", SPACE)[
        "items"
    ]
    return {f"{item['kind']} {item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in found}


def test_a_change_that_breaks_somebody_elses_object_is_refused_and_nothing_is_written(split: Lab) -> None:
    before = versions_of(split)
    for options in ({"versions": {"v1": 1}}, {"state": "absent"}):
        refused = split.module("traffic_split", **HOST, **options)
        assert (
            refused["failure"]["code"] == "preflight_failed"
            and refused["failure"]["reason"] == "subset_undefined"
            and refused["changed"] is False
        ), refused
        assert (
            f"VirtualService {SPACE}/theirs, spec.http[0].route[0].destination.subset" in refused["msg"]
            and versions_of(split) == before
        )
    planned = split.module("traffic_split", check=True, **HOST, versions={"v1": 1})
    assert (
        planned["changed"]
        and planned["findings"] == split.module("traffic_split", **HOST, versions={"v1": 1})["findings"]
        and "subset_undefined" in str(planned["warnings"])
    )
    done = split.module("traffic_split", **HOST, versions={"v1": 1}, preflight="warn")
    assert done["changed"] and "subset_undefined" in str(done["warnings"]) and versions_of(split) != before
