# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprint and validity of certificates: the few fields of RFC 5280 that are needed, read strictly from DER."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
SEQUENCE, INTEGER, EXPLICIT_VERSION = 0x30, 0x02, 0xA0
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
INDEFINITE = 0x80


@dataclass(frozen=True)
class Certificate:
    """fingerprint: SHA-256 of the DER, in hex; begins, expires: UTC."""

    fingerprint: str
    begins: datetime
    expires: datetime


def of_pem(text: str) -> list[Certificate]:
    """Every certificate of a bundle. Raises ValueError where there is none, or one that cannot be read."""
    blocks = PEM.findall(text)
    if not blocks or text.count("-----BEGIN CERTIFICATE-----") != len(blocks):
        raise ValueError("not a PEM certificate")
    try:
        return [of_der(base64.b64decode("".join(block.split()), validate=True)) for block in blocks]
    except binascii.Error as error:
        raise ValueError(f"not a PEM certificate: {error}") from error


def of_base64(text: str) -> list[Certificate]:
    """The certificates of a webhook's caBundle: PEM, in base64 once more. Raises ValueError."""
    return of_pem(base64.b64decode(text, validate=True).decode("ascii", errors="replace"))


def of_der(data: bytes) -> Certificate:
    """Raises ValueError."""
    outer = list(_items(data))
    if [tag for tag, _content in outer] != [SEQUENCE]:
        raise ValueError("not a valid certificate: expected one sequence")
    parts = list(_items(outer[0][1]))
    if len(parts) != 3 or parts[0][0] != SEQUENCE:
        raise ValueError("not a valid certificate: expected body, algorithm and signature")
    body = list(_items(parts[0][1]))
    # version (left out in version 1), serial number, algorithm, issuer, validity
    fields = body[1:] if body and body[0][0] == EXPLICIT_VERSION else body
    if [tag for tag, _content in fields[:4]] != [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE]:
        raise ValueError("not a valid certificate: expected a validity after the issuer")
    times = [_time(tag, content) for tag, content in _items(fields[3][1])]
    if len(times) != 2:
        raise ValueError("not a valid certificate: expected two times in the validity")
    return Certificate(hashlib.sha256(data).hexdigest(), *times)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of each value; each has a length, and must fit (X.690, DER)."""
    place = 0
    while place < len(data):
        tag, first = data[place], data[place + 1] if place + 1 < len(data) else INDEFINITE
        if first == INDEFINITE:
            raise ValueError("not valid DER: a value has no length")
        start = place + 2 + (first & 0x7F if first & 0x80 else 0)
        length = int.from_bytes(data[place + 2 : start], "big") if first & 0x80 else first
        place = start + length
        if place > len(data):
            raise ValueError("not valid DER: a value is truncated")
        yield tag, data[start:place]


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii", errors="replace")
    if tag == UTC_TIME:
        # Two digits of a year between 1950 and 2049 (RFC 5280, 4.1.2.5.1).
        text = ("20" if text[:2] < "50" else "19") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("not a valid certificate: the validity contains no times")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
