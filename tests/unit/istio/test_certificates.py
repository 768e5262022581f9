# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as they are met, read against a library that knows all of them; and what is none."""

from __future__ import annotations

import base64
from datetime import datetime, timezone

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._istio import certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from sound_mesh import bundle, certificate

# openssl x509 -req -signkey: of version 1, so that no field says the version, and with an end that takes four digits of
# the year.
VERSION_1 = """-----BEGIN CERTIFICATE-----
MIIBGjCBwQIUDOLZkr4WjBaEv5aBBNvoSJDBEvswCgYIKoZIzj0EAwIwDzENMAsG
A1UEAwwEcm9vdDAgFw0yNjExMjUwMDI5MjNaGA8yMTI2MTEwMTAwMjkyM1owDzEN
MAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKhl1KXdnFJP
P9yDCEehBpZ5kmm6j51xXB0XIC3ENiTeNak11wpHl3C8TYp4A2401z+mxC4U9ELx
2TlLt+wEFnswCgYIKoZIzj0EAwIDSAAwRQIgIpdy+yIE/EknT9B0D7pMpU5g4EWR
4VlGfaR7GUhpFi4CIQDI2fEhrGic76vtk7nP4Qfk1Qb1DHu+IoA0DiXmqKStZA==
-----END CERTIFICATE-----
"""
VERSION_1_FINGERPRINT = "fe864f35e824fee6d6e27dc64e0a6f139bca1c9e5f70ae1e8fc2687adcdb985a"


def made(key, begins, expires):
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Ä" * 30),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )
    builder = (
        builder.not_valid_before(begins)
        .not_valid_after(expires)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return builder.sign(key, hashes.SHA256())


KEYS = {
    "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ec": lambda: ec.generate_private_key(ec.SECP384R1()),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(
    ("begins", "expires"),
    [
        ("2026-01-02T03:04:05", "2036-01-01T00:00:00"),
        ("1999-12-31T23:59:59", "2049-12-31T23:59:59"),
        ("2049-01-01T00:00:00", "2050-01-01T00:00:00"),
        ("1950-01-01T00:00:00", "9999-12-31T23:59:59"),
    ],
)
def test_fingerprint_and_validity_are_those_that_a_library_reads(kind, begins, expires):
    begins, expires = (datetime.fromisoformat(text).replace(tzinfo=timezone.utc) for text in (begins, expires))
    theirs = made(KEYS[kind](), begins, expires)
    ours = certificates.of_der(theirs.public_bytes(serialization.Encoding.DER))
    assert ours.fingerprint == theirs.fingerprint(hashes.SHA256()).hex()
    assert (ours.begins, ours.expires) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc) == (begins, expires)


def test_a_certificate_of_version_1_is_read_too():
    (found,) = certificates.of_pem(VERSION_1)
    assert (found.fingerprint, found.begins.isoformat(), found.expires.isoformat()) == (
        VERSION_1_FINGERPRINT,
        "2026-11-25T00:29:23+00:00",
        "2126-11-01T00:29:23+00:00",
    )


def test_a_bundle_has_all_of_its_certificates_whatever_is_between_them():
    one, two = certificate(), certificate("two")
    found = certificates.of_pem(f"# the old one\n{one}\r\n# the new one\n{two.replace(chr(10), chr(13) + chr(10))}")
    assert len({item.fingerprint for item in found}) == 2 and found == certificates.of_base64(bundle(one + two))


def broken():
    der = base64.b64decode("".join(certificate().splitlines()[1:-1]))
    yield "empty", b""
    yield "no sequence", b"\x02\x01\x00"
    yield "something after it", der + b"\x00\x00"
    yield "a length without an end", b"\x30\x80" + der[4:]
    yield "a length of five bytes", b"\x30\x85\x00\x00\x00\x00\x01\x00"
    yield "an empty sequence", b"\x30\x00"
    yield "one byte", b"\x30"
    yield "no times", der.replace(b"\x17\x0d", b"\x04\x0d", 1)
    for cut in range(1, len(der), 37):
        yield f"cut off at {cut}", der[:cut]


@pytest.mark.parametrize(("what", "data"), list(broken()), ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_certificate_is_a_value_error_and_nothing_else(what, data):
    with pytest.raises(ValueError):
        certificates.of_der(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
        certificate() + "-----BEGIN CERTIFICATE-----\nQ0E=\n",
    ],
)
def test_a_text_without_a_whole_certificate_is_a_value_error(text):
    with pytest.raises(ValueError):
        certificates.of_pem(text)


@pytest.mark.parametrize("text", ["!", "Q0E=", "", "Q0E"])
def test_a_bundle_that_is_none_is_a_value_error(text):
    with pytest.raises(ValueError):
        certificates.of_base64(text)
