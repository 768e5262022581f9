# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes that other people wrote into a host's object: they survive in their place."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ..._engine.objects import Object
from ..._failure import not_none
from .external_owners import owner_of
from .host import full_name

Http = dict[str, Any]
# As pieces are named, with a digest of the content behind.
OURS = re.compile(r"(?P<piece>(?:fault-)?(?:route|split|sticky|default)(?:-.*)?)-(?P<digest>[0-9a-f]{8})")
# What is for all that nobody said anything of.
REST = re.compile(r"default-[0-9a-f]{8}")
# Whatever the path, this takes it (istiod's own test of a route behind which none is reached).
EVERY_PATH = ({"prefix": "/"}, {"regex": ".*"})


def digest(content: Http) -> str:
    """The content in the name of a route, so that a proxy's configuration says by itself which of them it has."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()[:8]


def is_ours(http: Http) -> bool:
    return OURS.fullmatch(str(http.get("name") or "")) is not None


def http_routes(obj: Object | None) -> list[Http]:
    return list(((obj or {}).get("spec") or {}).get("http") or [])


def foreign_routes_of(obj: Object | None) -> list[Http]:
    """Routes of other people in an object, in order."""
    return [http for http in http_routes(obj) if not is_ours(http)]


def changed_only_beside_ours(obj: Object, hosts: list[str], gateways: list[str]) -> bool:
    """Whether others have added routes and changed nothing of ours: then the field is ours to write, with their routes
    in it.

    A known owner would set it back.
    """
    ours = [http for http in http_routes(obj) if is_ours(http)]
    whole = all(
        http["name"].endswith(digest({key: value for key, value in http.items() if key != "name"})) for http in ours
    )
    spec = obj["spec"]
    return (
        bool(foreign_routes_of(obj))
        and bool(ours)
        and whole
        and spec.get("hosts") == hosts
        and spec.get("gateways") == gateways
        and not owner_of(obj)
    )


def merge_routes(ours: list[Http], live: list[Http]) -> list[Http]:
    """Our routes with those of others in their place: each before the route of ours that it was before, or, where that
    is gone, before the last; behind all
    that it was behind.
    """
    rest = _rest(ours)
    # Where it was left out, all of theirs were before it.
    end = len(ours) if not rest or any(is_ours(http) and _piece(http) == "default" for http in live) else len(ours) - 1
    before: dict[int, list[Http]] = {}
    places = {_piece(http): number for number, http in reversed(list(enumerate(ours)))}
    for number, http in enumerate(live):
        if is_ours(http):
            continue
        behind = [_piece(one) for one in live[number + 1 :] if is_ours(one)]
        first = not any(is_ours(one) for one in live[:number])
        known = next((places[piece] for piece in behind if piece in places), len(ours) - 1)
        place = end if not behind else 0 if first else known
        before.setdefault(place, []).append(http)
    listed = [http for number in range(len(ours) + 1) for http in [*before.get(number, []), *ours[number : number + 1]]]
    # For the rest there is nothing to say where they take it.
    return [
        http for http in listed if http not in rest or not any(takes_all(one) for one in listed[: listed.index(http)])
    ]


def _rest(ours: list[Http]) -> list[Http]:
    """Our last route, where it says nothing but that all else goes to the host."""
    return [http for http in ours[-1:] if REST.fullmatch(http["name"]) and set(http) == {"name", "route"}]


def _piece(http: Http) -> str:
    """What a route of ours is for, whatever it says now."""
    found = not_none(OURS.fullmatch(http["name"]))
    piece = found["piece"].removeprefix("fault-")
    return "split" if piece.startswith("split-") else piece


def append_adopted(ours: list[Http], adopted: list[Http]) -> list[Http]:
    """Our routes and those of an object that is taken over: these behind ours, but before what is for the rest, which
    goes where they take all.
    """
    rest = _rest(ours)
    # Those that came with a run that was cut off are there already.
    adopted = [http for http in adopted if http not in ours]
    return [*ours[: len(ours) - len(rest)], *adopted, *([] if any(takes_all(http) for http in adopted) else rest)]


def takes_all(http: Http) -> bool:
    """Whether no request gets past the route."""
    matches = http.get("match") or []
    return not matches or any(
        set(match) <= {"name", "uri"} and match.get("uri", EVERY_PATH[0]) in EVERY_PATH for match in matches
    )


def shadowed(listed: list[Http]) -> list[Http]:
    """Routes behind one that takes every request."""
    last = next((number for number, http in enumerate(listed) if takes_all(http)), len(listed))
    return listed[last + 1 :]


def referenced_subsets(listed: list[Http], host: str, namespace: str) -> set[str]:
    """Subsets of a host (full name) to which routes lead."""
    targets = [part.get("destination") or {} for http in listed for part in http.get("route") or []]
    targets += [part.get("destination") or {} for http in listed for part in http.get("mirrors") or []] + [
        http["mirror"] for http in listed if http.get("mirror")
    ]
    return {
        str(target["subset"])
        for target in targets
        if target.get("subset") and full_name(str(target.get("host")), namespace) == host
    }
