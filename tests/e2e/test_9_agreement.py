# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the comparison of lists says «unchanged», the server's own dry run says so too: on all that is shipped, and on
what nobody thought of.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import result as report
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning import change as changes
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning import diff
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.managed_fields import owns_exactly
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from hypothesis import HealthCheck, Phase, event, given, note, reject, settings
from hypothesis import strategies as st
from playbook_runner import ROOT, Lab, Played

pytestmark = pytest.mark.long

NAMESPACE = "proof-agreement"
Object = dict[str, Any]
Strategy = st.SearchStrategy[Any]
WRITERS = ("control_plane", "namespace", "manifests", "addons", "traffic")
# The control plane with its default tag, the addons, the demo and the traffic objects.
SHIPPED = 100
EXAMPLES, VARIANTS = 60, 12
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
EMPTY = (None, "", 0, False, {}, [])
# Pairs of ways to write one amount, and amounts that are near.
AMOUNTS = (
    1,
    "1",
    "1000m",
    2,
    "2",
    "2000m",
    "0.5",
    "500m",
    0.1,
    "100m",
    "1Ki",
    "1024",
    "1024Mi",
    "1Gi",
    "1536Mi",
    "1.5Gi",
    "1k",
    "1000",
    "1e3",
    0,
    "0",
)
WORDS = ("a", "b", "1", "1.0", "1Gi", "1024Mi", "true", "")
KEYS = ("app", "storage", "limits", "one")


def maybe(**optional: Strategy) -> Strategy:
    """A map with any of these keys."""
    return st.fixed_dictionaries({}, optional=optional)


def has(optional: dict[str, Strategy] | None = None, **required: Strategy) -> Strategy:
    return st.fixed_dictionaries(required, optional=optional or {})


def some(item: Strategy, least: int = 0, key: str = "", most: int = 3) -> Strategy:
    """A list, in which `key` tells items apart."""
    return st.lists(item, min_size=least, max_size=most, unique_by=(lambda value: value[key]) if key else None)


def of(*values: Any) -> Strategy:
    return st.sampled_from(values).map(copy.deepcopy)


def often(strategy: Strategy) -> Strategy:
    """Now and then nothing at all, in one of the ways to say it."""
    return st.one_of(strategy, strategy, strategy, of(*EMPTY))


amounts = of(*AMOUNTS)
labels = st.dictionaries(of(*KEYS), of(*WORDS), max_size=3)
marks = maybe(labels=st.one_of(labels, st.none()), annotations=st.one_of(labels, st.none()))
selector = maybe(matchLabels=st.dictionaries(of(*KEYS), of("a", "b"), max_size=2))
port_number = st.integers(1, 5)
resources = st.one_of(
    maybe(requests=maybe(cpu=amounts, memory=amounts)), maybe(limits=maybe(cpu=amounts, memory=amounts))
)
reference = has({"optional": of(True, False)}, name=of("words"), key=of("a", "b"))
source = st.one_of(
    st.builds(lambda ref: {"configMapKeyRef": ref}, reference),
    st.builds(lambda ref: {"secretKeyRef": ref}, reference),
    st.builds(
        lambda ref: {"fieldRef": ref},
        has({"apiVersion": of("v1")}, fieldPath=of("metadata.name", "metadata.namespace")),
    ),
    st.builds(
        lambda ref: {"resourceFieldRef": ref},
        has({"divisor": of("0", "1", 1, "1000m")}, resource=of("limits.cpu"), containerName=of("web")),
    ),
)
variable = st.one_of(
    has({"value": of(*WORDS, None)}, name=of("A", "B", "C")), has(name=of("A", "B", "C"), valueFrom=source)
)
probe = has(
    {key: of(0, 1, 5, None) for key in ("initialDelaySeconds",)} | {"periodSeconds": of(1, 10)},
    httpGet=has({"path": of("/", "/ready")}, port=of(80, "http")),
)
security = maybe(
    runAsUser=of(0, 1, None),
    runAsNonRoot=of(True, False, None),
    allowPrivilegeEscalation=of(True, False),
    capabilities=maybe(drop=of([], ["ALL"])),
)
container_port = has({"protocol": of("TCP", "UDP"), "name": of("http", "dns")}, containerPort=port_number)
mount = has({"subPath": of("", "a"), "readOnly": of(True, False)}, name=of("scratch"), mountPath=of("/a", "/b"))
container = has(
    {
        "env": some(variable, key="name"), "ports": some(container_port, key="containerPort"), "resources": often(resources), "readinessProbe": often(probe),
        "securityContext": often(security), "volumeMounts": some(mount, key="mountPath"), "args": some(of("a", "b", ""), 1),
        "imagePullPolicy": of("Never", "IfNotPresent"),
    },
    name=of("web"), image=of("localhost/lab/client:stand-in"),
)  # fmt: skip
toleration = has(
    {"tolerationSeconds": of(0, 1, None), "value": of("")},
    key=of("a", "b"),
    operator=of("Exists"),
    effect=of("NoExecute"),
)
volume = has(
    name=of("scratch"), emptyDir=of({}, {"medium": "Memory"}, {"sizeLimit": "1024Mi"}, {"sizeLimit": "1Gi"}, None)
)
pod = st.builds(
    lambda first, rest, metadata: {"metadata": {**metadata, "labels": {"app": "drawn"}},
                                   "spec": {**rest, "containers": [first], "volumes": [{"name": "scratch", "emptyDir": {}}]}},
    container,
    maybe(
        tolerations=often(some(toleration, key="key")), nodeSelector=often(labels), securityContext=often(maybe(fsGroup=of(0, 1, None))),
        enableServiceLinks=of(True, False),
        terminationGracePeriodSeconds=of(0, 30), automountServiceAccountToken=of(True, False), affinity=often(of({"nodeAffinity": None}, {"podAffinity": {}})),
    ),
    maybe(annotations=labels),
)  # fmt: skip


def spread(first: str, **specs: Strategy) -> Strategy:
    """metadata and the other parts of an object of this apiVersion/kind."""
    version, _slash, kind = first.rpartition("/")
    return st.builds(
        lambda metadata, rest: {"apiVersion": version, "kind": kind, "metadata": metadata, **rest},
        marks,
        maybe(**specs) if "spec" not in specs else has(**specs),
    )


def fixed(strategy: Strategy, **values: Any) -> Strategy:
    return strategy.map(lambda drawn: {**copy.deepcopy(values), **drawn})


service_port = has(
    {"name": st.none(), "protocol": of("TCP"), "targetPort": of(80, "http", "80"), "appProtocol": of("http", "")},
    port=port_number,
)
named_port = st.builds(lambda port: {**port, "name": f"p{port['port']}"}, service_port)
peers = often(some(maybe(podSelector=selector, namespaceSelector=selector)))
policy_port = maybe(port=of(80, "http"), protocol=of("TCP", "UDP"))
rule = has(
    {"resourceNames": of([], ["a"])},
    apiGroups=of([""], ["", "apps"]),
    resources=of(["pods"], ["pods", "services"]),
    verbs=of(["get"], ["list", "get"]),
)
rollout = maybe(
    strategy=often(
        maybe(type=of("RollingUpdate"), rollingUpdate=often(maybe(maxSurge=of(1, "25%"), maxUnavailable=of(0, "25%"))))
    )
)
metric = has(
    type=of("Resource"),
    resource=has(
        name=of("cpu"),
        target=st.one_of(
            has(type=of("Utilization"), averageUtilization=of(50, 80)),
            has(type=of("AverageValue"), averageValue=of("500m", "0.5", "1", "1000m")),
        ),
    ),
)
window = maybe(
    stabilizationWindowSeconds=of(0, 300),
    policies=often(some(has(type=of("Pods"), value=of(1, 4), periodSeconds=of(15, 60)))),
)
claim = has(
    {"status": st.just({})},
    metadata=has(name=of("data")),
    spec=has(
        accessModes=of(["ReadWriteOnce"]), resources=has(requests=has(storage=of("1Gi", "1024Mi", "1073741824"))), **{}
    ),
)
destination = has(
    {"weight": of(0, 1, 90, 100)},
    destination=has({"subset": of("v1", "v2"), "port": has(number=port_number)}, host=of("web", "shop")),
)
http_route = has(
    {
        "timeout": of("5s", "5.0s", "0s"), "retries": often(maybe(attempts=of(0, 2), perTryTimeout=of("1s"), retryOn=of("5xx", ""))),
        "mirrorPercentage": of({"value": 1}, {"value": 1.0}, {"value": 0.5}),
        "match": some(has(uri=has(prefix=of("/", "/a"))), 1),
        "fault": of({"abort": {"httpStatus": 500, "percentage": {"value": 0}}}, {"abort": {"httpStatus": 500}}), "name": of("a", ""),
        "headers": of({}, {"request": {}}, {"request": {"set": {"a": ""}}}),
    },
    route=some(destination, 1),
)  # fmt: skip
pool = maybe(
    http=maybe(http1MaxPendingRequests=of(0, 1), h2UpgradePolicy=of("UPGRADE", "DEFAULT")),
    tcp=maybe(maxConnections=of(0, 1), connectTimeout=of("1s", "1.0s")),
)
outliers = maybe(
    consecutive5xxErrors=of(0, 5, None), minHealthPercent=of(0, 50), splitExternalLocalOriginErrors=of(True, False)
)
balancer = of({"simple": "ROUND_ROBIN"}, {"simple": "UNSPECIFIED"}, {"simple": "LEAST_REQUEST"})
traffic = often(maybe(connectionPool=often(pool), outlierDetection=often(outliers), loadBalancer=balancer))
subset = has({"labels": labels, "trafficPolicy": traffic}, name=of("v1", "v2", "v3"))

KINDS: dict[str, Strategy] = {
    "ConfigMap": spread("v1/ConfigMap", data=often(labels), binaryData=of({}, None, {"b": ""}, {"b": "aGk="}), immutable=of(False, None)),
    "Service": spread(
        "v1/Service",
        spec=st.one_of(
            has({"selector": often(labels), "publishNotReadyAddresses": of(True, False), "sessionAffinity": of("None", "ClientIP")},
                ports=some(service_port, 1, "port", 1)),
            has({"selector": labels, "type": of("ClusterIP", "NodePort")}, ports=some(named_port, 2, "port")),
        ),
    ),
    "Deployment": spread(
        "apps/v1/Deployment",
        spec=st.builds(lambda own, more, template: {**own, **more, "replicas": 0, "selector": {"matchLabels": {"app": "drawn"}}, "template": template}, rollout,
                       maybe(minReadySeconds=of(0, 1), progressDeadlineSeconds=of(600, 100)), pod),
    ),
    "HorizontalPodAutoscaler": spread(
        "autoscaling/v2/HorizontalPodAutoscaler",
        spec=has(
            {"minReplicas": of(1, 2, None), "metrics": some(metric), "behavior": often(maybe(scaleDown=often(window), scaleUp=often(window)))},
            maxReplicas=of(3, 4), scaleTargetRef=has(apiVersion=of("apps/v1"), kind=of("Deployment"), name=of("web")),
        ),
    ),
    "NetworkPolicy": spread(
        "networking.k8s.io/v1/NetworkPolicy",
        spec=has({"ingress": often(some(maybe(ports=often(some(policy_port)), **{"from": peers}))), "policyTypes": of(["Ingress"], [], None)},
                 podSelector=selector),
    ),
    "Role": spread("rbac.authorization.k8s.io/v1/Role", rules=often(some(rule))),
    "StatefulSet": spread(
        "apps/v1/StatefulSet",
        spec=st.builds(
            lambda more, template: {**more, "replicas": 0, "selector": {"matchLabels": {"app": "drawn"}}, "serviceName": "drawn", "template": template},
            maybe(volumeClaimTemplates=some(claim, 0, most=1), podManagementPolicy=of("Parallel"), revisionHistoryLimit=of(0, 10),
                  updateStrategy=often(of({"type": "RollingUpdate"}, {"rollingUpdate": {"partition": 0}}))), pod,
        ),
    ),
    "VirtualService": spread("networking.istio.io/v1/VirtualService",
                             spec=has({"gateways": of([], ["mesh"]), "exportTo": of([], ["."])}, hosts=of(["web"], ["web", "shop"]), http=some(http_route, 1))),
    "DestinationRule": spread("networking.istio.io/v1/DestinationRule",
                              spec=has({"trafficPolicy": traffic, "subsets": some(subset, key="name"), "exportTo": of([], ["."])}, host=of("web", "shop"))),
}  # fmt: skip
IDENTITY = {("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace")}
# What may be added anywhere, for it is there already when nothing is said, or means the same as nothing.
ADDED = {
    "replicas": (0, 1), "protocol": ("TCP", "UDP"), "optional": (False,), "immutable": (False,), "tolerationSeconds": (0,), "runAsUser": (0,),
    "allowPrivilegeEscalation": (False,), "apiVersion": ("v1",),
    "scope": ("*",), "divisor": ("0",), "weight": (0,), "attempts": (0,), "storage": ("", "1Gi"), "labels": ({}, None), "annotations": ({}, None),
    "matchLabels": ({},), "value": ("", 0), "name": ("",),
    "data": ({}, None), "policyTypes": ([],), "minReplicas": (1,), "exportTo": ([],), "volumeMode": ("Filesystem",), "partition": (0,),
    "type": ("ClusterIP", "RollingUpdate"),
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values but those that say which object it is."""
    if path and path not in IDENTITY:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def other_words(value: Any) -> list[Any]:
    """The same value, as somebody else might write it, and values that only look like it."""
    found: list[Any] = list(EMPTY)
    if isinstance(value, list):
        found += [value[::-1], value[:-1], value + value[:1]]
    elif isinstance(value, dict):
        found += [
            {key: inner for key, inner in value.items() if inner not in EMPTY},
            *({**value, key: copy.deepcopy(added)} for key, values in ADDED.items() for added in values),
        ]
    else:
        found += [str(value), f"{value}.0", *AMOUNTS]
        if isinstance(value, (int, float)):
            found += [value + 1, float(value)]
    return found


@st.composite
def mutated(draw: Any, wanted: Object) -> Object:
    """The object with one or two of its values missing, empty, reordered, added, or in other words."""
    variant = copy.deepcopy(wanted)
    for _ in range(draw(st.integers(1, 2))):
        paths = list(places(variant))
        if not paths:
            return variant
        *way, last = draw(st.sampled_from(paths))
        place = variant
        for key in way:
            place = place[key]
        if isinstance(place, dict) and draw(st.integers(0, 4)) == 0:
            del place[last]
        else:
            place[last] = draw(st.sampled_from(other_words(place[last])).map(copy.deepcopy))
    return variant


def verdicts(played: Played) -> dict[tuple[str, ...], str]:
    """{object: action} of all modules that write."""
    rows = [row for module in WRITERS for result in played.of(module) for row in result["objects"]]
    return {tuple(row["ref"][part] for part in ("group", "kind", "namespace", "name")): row["action"] for row in rows}


def asked(played: Played) -> int:
    return sum(result["summary"]["dry_runs"] for module in WRITERS for result in played.of(module))


def test_lists_and_server_agree_on_every_object_that_is_shipped(mesh: Lab, tmp_path: Path) -> None:
    by_lists = mesh.site().ok()
    local = verdicts(by_lists)
    assert set(local.values()) == {"unchanged"} and len(local) >= SHIPPED
    assert asked(by_lists) == 0, "each verdict was the comparison's own"

    playbooks = tmp_path / "playbooks"
    shutil.copytree(ROOT / "playbooks", playbooks)
    plays = yaml.safe_load((playbooks / "site.yml").read_text())
    site = next(play for play in plays if "tasks" in play)
    site["module_defaults"] = {f"servicemesh.istio.{module}": {"compare": "dry_run"} for module in WRITERS}
    (playbooks / "site.yml").write_text(yaml.safe_dump([site]))
    by_server = mesh.play(playbooks / "site.yml", "-e", "@tests/lab/vars.yml").ok()
    assert verdicts(by_server) == local
    assert asked(by_server) >= len(local), "each verdict was the server's"


@pytest.fixture(scope="module")
def cluster(mesh: Lab, api: Any) -> Iterator[Cluster]:
    mesh.kubectl("create", "namespace", NAMESPACE)
    yield Cluster(api)
    mesh.kubectl("delete", "namespace", NAMESPACE)


def created(cluster: Cluster, wanted: Object) -> Object:
    """The live object, once its controller has written what it always writes. Examples that the server refuses are
    none.
    """
    try:
        cluster.apply(wanted)
    except ApiError as error:
        assert error.status in (400, 422, 500), error
        event("refused by the server")
        reject()
    end = time.monotonic() + 20
    while True:
        live = now(cluster, wanted)
        controlled = wanted["kind"] in ("Deployment", "StatefulSet")
        annotated = wanted["kind"] != "Deployment" or live["metadata"].get("annotations")
        if not controlled or (
            annotated and (live.get("status") or {}).get("observedGeneration") == live["metadata"]["generation"]
        ):
            return live
        assert time.monotonic() < end, live
        time.sleep(0.05)


def now(cluster: Cluster, wanted: Object) -> Object:
    live = cluster.get(wanted["apiVersion"].rpartition("/")[0], wanted["kind"], NAMESPACE, wanted["metadata"]["name"])
    assert live is not None
    return live


def server_says(cluster: Cluster, wanted: Object, live: Object) -> tuple[str, Any]:
    """(the dry run's verdict, what it would change), on an object that nobody writes to meanwhile."""
    while True:
        try:
            change = diff._dry_run(cluster, wanted, live, changes.ApplyOptions())
            answer: tuple[str, Any] = (change.action, report.difference(change) if change.changes else change.message)
        except Failure as failure:
            answer = (failure.code, failure.message)
        again = now(cluster, wanted)
        if again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"] or not owns_exactly(
            wanted, again, cluster.manager
        ):
            return answer
        live = again


@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_never_hides_what_the_server_would_change(cluster: Cluster, kind: str) -> None:
    numbers = itertools.count()
    said: Counter[str] = Counter()

    @BOUNDED
    @given(st.data())
    def check(data: st.DataObject) -> None:
        wanted = data.draw(KINDS[kind])
        wanted["metadata"].update(name=f"{kind.lower()}-{next(numbers)}", namespace=NAMESPACE)
        live = created(cluster, wanted)
        others = [data.draw(mutated(wanted)) for _ in range(VARIANTS)]
        fresh = data.draw(KINDS[kind])
        fresh["metadata"].update(name=wanted["metadata"]["name"], namespace=NAMESPACE)
        for variant in [copy.deepcopy(wanted), fresh, *others]:
            unchanged = owns_exactly(variant, live, cluster.manager)
            said[f"{'same' if variant == wanted else 'other'} {unchanged}"] += 1
            if unchanged:
                note(f"was: {wanted}\nis wanted: {variant}")
                assert server_says(cluster, variant, live) == ("unchanged", "")

    check()
    # A comparison that never says «unchanged» would never be wrong.
    assert said["same True"] > 0 and said["other False"] > 0, said
