# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proxies tell: access logs, traces, metrics."""

from __future__ import annotations

from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref
from ..._failure import Failure, InvalidOption
from ..._libraries import yaml
from ..features import validators
from .policy_module import PolicyModule, another_for_namespace, workload_labels

GROUP, API, KIND = "telemetry.istio.io", "telemetry.istio.io/v1", "Telemetry"
LOGS, TRACING, METRICS = (
    ("enabled", "providers", "when", "mode"),
    ("enabled", "providers", "percent", "tags"),
    ("enabled", "providers", "disable", "tags", "reporting_interval"),
)
TAG = ("literal", "header", "env", "default")
MODES = {"client": "CLIENT", "server": "SERVER", "both": "CLIENT_AND_SERVER"}
# istio.io, Telemetry, MetricSelector.IstioMetric.
METRIC = (
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
)
# Providers that need no entry in the mesh configuration (istio/istio, pkg/config/mesh: DefaultMeshConfig).
ACCESS_LOG = "envoy"
BUILT_IN = {ACCESS_LOG, "prometheus", "stackdriver"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "default": "default"},
    "workload": {"type": "dict", "default": {}},
    **dict.fromkeys(("access_logs", "tracing", "metrics"), {"type": "dict"}),
}


def _asked(option: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    given = validators.keys(option, value, known)
    if not given:
        raise InvalidOption(option, "it is empty", hint=f"Use the keys {', '.join(known)}.", code="telemetry_empty")
    enabled = given.get("enabled", True)
    if not isinstance(enabled, bool):
        raise InvalidOption(f"{option}.enabled", f"{enabled!r} is neither true nor false", code="bool_invalid")
    if not enabled and set(given) - {"enabled", "providers", "mode"}:
        raise InvalidOption(
            option,
            "`enabled` is false, but other settings are given",
            hint="Remove the other settings, or remove enabled.",
            code="telemetry_ambiguous",
        )
    return given


def _providers(option: str, given: dict[str, Any]) -> dict[str, Any]:
    if "providers" not in given:
        return {}
    if not isinstance(given["providers"], list) or not given["providers"]:
        raise InvalidOption(
            f"{option}.providers",
            f"{given['providers']!r} is not a list of names",
            hint="Remove it to use the providers of the mesh config.",
            code="list_empty",
        )
    return {"providers": [{"name": str(name)} for name in given["providers"]]}


def _off(given: dict[str, Any]) -> bool:
    return given.get("enabled") is False


def _logs(value: Any) -> dict[str, Any]:
    given = _asked("access_logs", value, LOGS)
    # What names no provider says nothing of the log that accessLogFile of the mesh configuration asks for (istio/istio,
    # pilot/pkg/model/telemetry.go).
    found = _providers("access_logs", {"providers": [ACCESS_LOG], **given})
    if _off(given):
        found["disabled"] = True
    if "mode" in given:
        found["match"] = {"mode": _mode("access_logs.mode", given["mode"])}
    if "when" in given:
        if not isinstance(given["when"], str) or not given["when"].strip():
            raise InvalidOption(
                "access_logs.when",
                f"{given['when']!r} is not a valid expression",
                hint="Use a CEL expression, such as 'response.code >= 500'.",
                code="expression_invalid",
            )
        found["filter"] = {"expression": given["when"]}
    return found


def _mode(option: str, value: Any) -> str:
    if value not in MODES:
        raise InvalidOption(
            option, f"{value!r} is not a valid mode", hint=f"Use one of {', '.join(MODES)}.", code="mode_unknown"
        )
    return MODES[value]


def _tracing(value: Any) -> dict[str, Any]:
    given = _asked("tracing", value, TRACING)
    found = _providers("tracing", given)
    if _off(given):
        found["disableSpanReporting"] = True
    if "percent" in given:
        # Nothing is a share here, too: proxies then only pass on what callers began.
        found["randomSamplingPercentage"] = (
            0.0
            if given["percent"] == 0 and not isinstance(given["percent"], bool)
            else validators.percent("tracing.percent", given["percent"])
        )
    if "tags" in given:
        found["customTags"] = {
            name: _tag(f"tracing.tags.{name}", tag) for name, tag in _mapping("tracing.tags", given["tags"]).items()
        }
    return found or {"disableSpanReporting": False}


def _mapping(option: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise InvalidOption(option, f"{value!r} is not a mapping of names", code="key_unknown")
    return value


def _tag(option: str, value: Any) -> dict[str, Any]:
    given = (
        {"literal": value}
        if isinstance(value, (str, int)) and not isinstance(value, bool)
        else validators.keys(option, value, TAG)
    )
    ways = [key for key in ("literal", "header", "env") if key in given]
    if len(ways) != 1:
        raise InvalidOption(option, "set one of literal, header and env", code="tag_ambiguous")
    default = {"defaultValue": str(given["default"])} if "default" in given else {}
    if ways == ["literal"]:
        if default:
            raise InvalidOption(
                option, "default has no effect with literal", hint="Remove default.", code="tag_ambiguous"
            )
        return {"literal": {"value": str(given["literal"])}}
    if ways == ["header"]:
        return {"header": {"name": validators.header(option, given["header"]), **default}}
    return {"environment": {"name": str(given["env"]), **default}}


def _metrics(value: Any) -> dict[str, Any]:
    """Tags: {name: expression in CEL, or false to leave it out}, of all metrics."""
    given = _asked("metrics", value, METRICS)
    found = _providers("metrics", given)
    overrides: list[dict[str, Any]] = []
    if _off(given):
        overrides.append({"disabled": True})
    for name in given.get("disable") or []:
        if name not in METRIC:
            raise InvalidOption(
                "metrics.disable",
                f"{name!r} is not an Istio metric",
                hint=f"Use one of {', '.join(METRIC)}.",
                code="metric_unknown",
            )
        overrides.append({"match": {"metric": name}, "disabled": True})
    if "tags" in given:
        tags = {
            name: {"operation": "REMOVE"} if tag is False else {"value": str(tag)}
            for name, tag in _mapping("metrics.tags", given["tags"]).items()
        }
        overrides.append({"match": {"metric": "ALL_METRICS"}, "tagOverrides": tags})
    if overrides:
        found["overrides"] = overrides
    if "reporting_interval" in given:
        found["reportingInterval"] = validators.duration("metrics.reporting_interval", given["reporting_interval"])
    return found


def _known(cluster: Cluster) -> set[str] | None:
    """Providers of every control plane's configuration; None where there is none to be read."""
    maps = [obj for obj in cluster.list("", "ConfigMap", None, "istio.io/rev") if "mesh" in (obj.get("data") or {})]
    if not maps:
        return None
    providers = [
        provider
        for obj in maps
        for provider in (yaml.safe_load(obj["data"]["mesh"]) or {}).get("extensionProviders") or []
    ]
    return BUILT_IN | {provider["name"] for provider in providers}


class TelemetryModule(PolicyModule):
    """The module telemetry."""

    arguments = ARGUMENTS

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        return [Ref(GROUP, KIND, options["namespace"], options["name"])]

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """Raises InvalidOption."""
        spec: dict[str, Any] = {}
        for option, name, write in (
            ("access_logs", "accessLogging", _logs),
            ("tracing", "tracing", _tracing),
            ("metrics", "metrics", _metrics),
        ):
            if options[option] is not None:
                spec[name] = [write(options[option])]
        if not spec:
            raise InvalidOption(
                "access_logs",
                "no setting is given",
                hint="Set access_logs, tracing or metrics, or state: absent.",
                code="telemetry_empty",
            )
        if options["workload"]:
            spec["selector"] = {"matchLabels": workload_labels(options)}
        return [
            {
                "apiVersion": API,
                "kind": KIND,
                "metadata": {"name": options["name"], "namespace": options["namespace"]},
                "spec": spec,
            }
        ]

    def check_references(self, cluster: Cluster, options: dict[str, Any]) -> tuple[list[Failure], list[str]]:
        """Whether the mesh configuration of some control plane has the providers, and whether the policy is alone."""
        (ref,) = self.owned_refs(options)
        found = [] if options["workload"] else another_for_namespace(cluster, ref, "selector")
        known = _known(cluster)
        for option in ("access_logs", "tracing", "metrics"):
            for name in (options[option] or {}).get("providers") or []:
                if known is not None and str(name) not in known:
                    hint = (
                        "Add it to extensionProviders of the mesh config (mesh_config of the control plane), or use"
                        f" one of {', '.join(sorted(known))}."
                    )
                    found.append(
                        InvalidOption(
                            f"{option}.providers",
                            f"the mesh config does not define provider {name}",
                            hint=hint,
                            code="provider_unknown",
                        )
                    )
        return found, []

    def proxy_markers(self, _obj: Object) -> list[str]:
        # Parts of many listeners, which other such objects and the mesh configuration have a say in: only what was
        # acknowledged is waited for.
        return []


TELEMETRY = TelemetryModule()
