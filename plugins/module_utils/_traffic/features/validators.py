# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as people write them in a traffic policy, or the reason why they cannot be meant. Each function raises
InvalidOption naming the option.
"""

from __future__ import annotations

import re
from typing import Any

from ..._failure import InvalidOption

# RFC 9110, field names.
TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
# Go's time.ParseDuration, less signs and units below a millisecond (Istio's CRDs: at least 1 ms).
DURATION = re.compile(r"^(\d+(\.\d+)?(ms|s|m|h))+$")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# What Python's expressions have and RE2's have not (github.com/google/re2, Syntax).
NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|>|\()|\\[1-9]|[*+?}]\+")
LONGEST_REGEX = 1024
# Envoy's percentages are millionths.
LEAST_PERCENT = 0.0001
GRPC = (
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
# Istio's validation of HTTPRetry.retryOn (pkg/config/validation), besides status codes.
RETRY_ON = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)


def duration(option: str, value: Any) -> str:
    """A duration of at least 1 ms, such as 2s or 1m30s."""
    if not isinstance(value, str) or not DURATION.match(value) or seconds(value) < 0.001:
        raise InvalidOption(
            option,
            f"{value!r} is not a duration of at least 1 ms",
            hint="Use the form 500ms, 2s or 1m30s.",
            code="duration_invalid",
        )
    return value


def seconds(value: str) -> float:
    """Seconds of a duration that was checked."""
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value))


def percent(option: str, value: Any) -> float:
    """A share in percent, more than nothing and at most all."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not LEAST_PERCENT <= value <= 100:
        raise InvalidOption(
            option,
            f"{value!r} is not a valid percentage",
            hint=f"Use a number from {LEAST_PERCENT} to 100.",
            code="percent_invalid",
        )
    return float(value)


def status(option: str, value: Any, low: int = 200) -> int:
    """An HTTP status code."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= 599:
        raise InvalidOption(option, f"{value!r} is not an HTTP status code from {low} to 599", code="status_invalid")
    return value


def grpc_status(option: str, value: Any) -> str:
    if value not in GRPC:
        raise InvalidOption(
            option,
            f"{value!r} is not a valid gRPC status",
            hint=f"Use one of {', '.join(GRPC)}.",
            code="grpc_status_invalid",
        )
    return str(value)


def header(option: str, value: Any) -> str:
    """A header's name, in lower case as Envoy has it. Pseudo headers are refused: they have options of their own."""
    if not isinstance(value, str) or not TOKEN.match(value):
        raise InvalidOption(
            option,
            f"{value!r} is not a valid header name",
            hint="Use letters, digits and dashes. Path, method and authority have separate options.",
            code="header_invalid",
        )
    return value.lower()


def method(option: str, value: Any) -> str:
    if value not in METHODS:
        raise InvalidOption(
            option,
            f"{value!r} is not a valid HTTP method",
            hint=f"Use one of {', '.join(METHODS)}, in capital letters.",
            code="method_invalid",
        )
    return str(value)


def regex(option: str, value: Any) -> str:
    """A regular expression that RE2 takes, as far as can be seen without it."""
    if not isinstance(value, str) or not value:
        raise InvalidOption(option, "the regular expression is empty", code="regex_invalid")
    if len(value) > LONGEST_REGEX:
        raise InvalidOption(
            option,
            f"the regular expression has {len(value)} characters, more than {LONGEST_REGEX}",
            code="regex_invalid",
        )
    try:
        # \z and \C are RE2's own, and Python's not.
        re.compile(value.replace(r"\z", r"\Z").replace(r"\C", "."))
    except re.error as error:
        raise InvalidOption(
            option, f"{value!r} is not a valid regular expression: {error}", code="regex_invalid"
        ) from error
    unknown = NOT_RE2.search(re.sub(r"\\\\|\[[^\]]*\]", "", value))
    if unknown:
        raise InvalidOption(
            option,
            f"{value!r} contains {unknown.group()!r}, which RE2 does not support",
            hint="Remove look-around, backreferences, and possessive or atomic groups.",
            code="regex_invalid",
        )
    return value


# RFC 1123, with Istio's wildcard as the first label.
HOST = re.compile(r"^(\*|(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)$")


def host(option: str, value: Any, wildcard: bool = True) -> str:
    """A DNS name, with `*` for all or as its first label where a wildcard may stand."""
    if not isinstance(value, str) or len(value) > 253 or not HOST.match(value) or (not wildcard and "*" in value):
        raise InvalidOption(
            option,
            f"{value!r} is not a valid host name",
            hint="Use lower-case letters, digits, dashes and dots"
            + ("; * for all, *.example.com for a domain." if wildcard else "."),
            code="host_invalid",
        )
    return value


def port(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise InvalidOption(option, f"{value!r} is not a port from 1 to 65535", code="port_invalid")
    return value


def count(option: str, value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 2**31 - 1:
        raise InvalidOption(option, f"{value!r} is not an integer of {least} or more", code="count_invalid")
    return value


def retry_on(option: str, values: Any) -> str:
    """Conditions of a retry, as Istio writes them."""
    for value in values:
        if value not in RETRY_ON and not (str(value).isdigit() and 100 <= int(value) <= 599):
            raise InvalidOption(
                option,
                f"{value!r} is not a valid retry condition",
                hint=f"Use a status code, or one of {', '.join(RETRY_ON)}.",
                code="retry_on_invalid",
            )
    return ",".join(map(str, values))


def listed(option: str, value: Any, hint: str) -> list[Any]:
    """One value or several, as a list without empty ones."""
    values = value if isinstance(value, list) else [value]
    if not values or any(item in ("", None) for item in values):
        raise InvalidOption(option, "the list is empty", hint=hint, code="list_empty")
    return values


def keys(option: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    """A mapping with none but these keys."""
    if not isinstance(value, dict):
        raise InvalidOption(
            option, f"{value!r} is not a mapping", hint=f"Use the keys {', '.join(known)}.", code="key_unknown"
        )
    for key in value:
        if key not in known:
            raise InvalidOption(
                option, f"{key!r} is not a valid key", hint=f"Use the keys {', '.join(known)}.", code="key_unknown"
            )
    return value
