# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to a cluster: options, defaults and variables of kubernetes.core, and secrets that stay hidden."""

from __future__ import annotations

import copy
import json
import os

import pytest
import urllib3
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster import connection
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.http import HttpApi
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.retry import RetryingApi
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in ("one", "two")],
    "clusters": [{"name": name, "cluster": {"server": f"https://{name}.invalid:6443"}} for name in ("one", "two")],
    "users": [
        {"name": "one", "user": {"token": "token-of-one"}},
        {"name": "two", "user": {"username": "u", "password": "password-of-two"}},
    ],
}
VARIABLES = (
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    *(spec["fallback"][1][0] for spec in connection.CONNECTION_ARGUMENTS.values()),
)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No cluster is near: whatever this machine has is out of sight."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # kubernetes.config looked for the home when it was imported.
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "home" / ".kube" / "config")
    )


@pytest.fixture
def kubeconfig(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    return str(path)


def options(**given):
    """Options as a module gets them, variables of the environment among them."""
    with patch_module_args(given):
        params = AnsibleModule(argument_spec=connection.CONNECTION_ARGUMENTS).params
    return params


def cluster(**given):
    configuration, name = connection.configure(options(**given))
    return configuration.host, name


def headers(**given):
    """Those that every request carries."""
    return connection.connect(options(**given), 1.0)._api._request_headers("application/json", None)


def refused(**given):
    with pytest.raises(Failure) as failed:
        connection.configure(options(**given))
    assert failed.value.code == "kubeconfig" and failed.value.hint
    return failed.value.message


def test_a_kubeconfig_names_the_cluster_by_its_context(kubeconfig):
    assert cluster(kubeconfig=kubeconfig) == ("https://one.invalid:6443", "one")
    assert cluster(kubeconfig=kubeconfig, context="two") == ("https://two.invalid:6443", "two")


def test_a_kubeconfig_may_be_given_in_place():
    assert cluster(kubeconfig=KUBECONFIG) == ("https://one.invalid:6443", "one")
    assert cluster(kubeconfig=KUBECONFIG, context="two") == ("https://two.invalid:6443", "two")


def test_what_is_said_outright_wins_over_the_kubeconfig(kubeconfig):
    configuration, _name = connection.configure(
        options(
            kubeconfig=kubeconfig,
            host="https://other.invalid",
            api_key="another",
            validate_certs=False,
            ca_cert="/ca",
            client_cert="/cert",
            client_key="/key",
            proxy="http://proxy.invalid:3128",
        )
    )
    assert (
        configuration.host,
        configuration.verify_ssl,
        configuration.ssl_ca_cert,
        configuration.cert_file,
        configuration.key_file,
    ) == (
        "https://other.invalid",
        False,
        "/ca",
        "/cert",
        "/key",
    )
    assert configuration.proxy == "http://proxy.invalid:3128"


def test_a_host_alone_needs_no_kubeconfig():
    assert cluster(host="https://other.invalid", api_key="x") == ("https://other.invalid", "https://other.invalid")


@pytest.mark.parametrize(
    ("variable", "value", "option", "expected"),
    [
        ("K8S_AUTH_CONTEXT", "two", "context", "two"),
        ("K8S_AUTH_HOST", "https://h", "host", "https://h"),
        ("K8S_AUTH_API_KEY", "k", "api_key", "k"),
        ("K8S_AUTH_USERNAME", "u", "username", "u"),
        ("K8S_AUTH_PASSWORD", "p", "password", "p"),
        ("K8S_AUTH_VERIFY_SSL", "no", "validate_certs", False),
        ("K8S_AUTH_SSL_CA_CERT", "/ca", "ca_cert", "/ca"),
        ("K8S_AUTH_CERT_FILE", "/cert", "client_cert", "/cert"),
        ("K8S_AUTH_KEY_FILE", "/key", "client_key", "/key"),
        ("K8S_AUTH_PROXY", "http://p", "proxy", "http://p"),
        ("K8S_AUTH_NO_PROXY", "localhost", "no_proxy", "localhost"),
        ("K8S_AUTH_IMPERSONATE_USER", "eve", "impersonate_user", "eve"),
        ("K8S_AUTH_IMPERSONATE_GROUPS", "a,b", "impersonate_groups", ["a", "b"]),
        ("K8S_AUTH_PERSIST_CONFIG", "yes", "persist_config", True),
        ("K8S_AUTH_KUBECONFIG", "/k", "kubeconfig", "/k"),
    ],
)
def test_each_option_has_its_variable_and_the_option_wins(monkeypatch, variable, value, option, expected):
    monkeypatch.setenv(variable, value)
    assert options()[option] == expected
    other = {"validate_certs": True, "persist_config": False, "impersonate_groups": ["c"]}.get(option, "another")
    assert options(**{option: other})[option] == other


def test_every_option_has_a_variable():
    assert all(spec["fallback"][1][0].startswith("K8S_AUTH_") for spec in connection.CONNECTION_ARGUMENTS.values())


def test_variables_find_the_cluster(monkeypatch, kubeconfig):
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", kubeconfig)
    assert cluster()[1] == "one"
    monkeypatch.setenv("K8S_AUTH_CONTEXT", "two")
    assert cluster()[1] == "two"


def test_a_kubeconfig_that_is_not_there_is_told_by_its_path():
    assert "/nowhere/config does not exist on the host where this task runs" in refused(kubeconfig="/nowhere/config")


def test_a_context_that_is_not_there_is_told_by_its_name(kubeconfig):
    assert "three" in refused(kubeconfig=kubeconfig, context="three")
    assert "three" in refused(kubeconfig=KUBECONFIG, context="three")


def test_without_any_cluster_the_usual_places_are_told(tmp_path):
    message = refused()
    assert "no cluster is configured" in message and str(tmp_path / "home") in message


def test_an_empty_kubeconfig_is_told(tmp_path):
    (tmp_path / "empty").write_text("")
    refused(kubeconfig=str(tmp_path / "empty"))


def test_impersonation_is_sent_with_every_request():
    sent = headers(host="https://other.invalid", impersonate_user="eve", impersonate_groups=["a", "b"])
    assert sent["Impersonate-User"] == "eve" and sent.getlist("Impersonate-Group") == ["a", "b"]


def test_a_token_is_sent_and_else_a_user_and_password():
    assert headers(host="https://other.invalid", username="u", password="p")["Authorization"] == "Basic dTpw"
    assert headers(host="https://other.invalid", username="u", password="p", api_key="t")["Authorization"] == "Bearer t"
    assert "Authorization" not in headers(host="https://other.invalid")


def test_a_cluster_is_asked_again_where_that_is_safe():
    api = connection.connect(options(host="https://other.invalid"), 1.0)
    assert isinstance(api, RetryingApi) and isinstance(api._api, HttpApi)


def test_secrets_of_a_kubeconfig_in_place_are_known():
    inline = copy.deepcopy(KUBECONFIG)
    keys = {"client-key-data": "key-data", "client-certificate-data": "certificate-data"}
    inline["users"].append(
        {
            "name": "three",
            "user": {
                **keys,
                "auth-provider": {
                    "config": {"id-token": "an-id", "refresh-token": "a-refresh", "access-token": "an-access"}
                },
            },
        }
    )
    assert connection.secrets_in(inline) == {
        "token-of-one",
        "password-of-two",
        "key-data",
        "certificate-data",
        "an-id",
        "a-refresh",
        "an-access",
    }
    assert connection.secrets_in("/path/of/kubeconfig") == set() and connection.secrets_in(None) == set()


def test_secrets_are_in_no_result_whether_it_fails_or_not(run, api):
    given = {"kubeconfig": KUBECONFIG, "api_key": "key-of-mine", "password": "password-of-mine"}
    secrets = ("token-of-one", "password-of-two", "key-of-mine", "password-of-mine")
    good = run("mesh_info", **given)
    failed = run("manifests", definition="a: 1\na: 1", **given)
    assert "failed" not in good and failed["failed"]
    assert not any(secret in json.dumps([good, failed]) for secret in secrets)
    assert "one.invalid" in json.dumps(good["invocation"]), "what is no secret is still shown"


def test_a_kubeconfig_may_be_given_as_its_text():
    text = yaml.safe_dump(KUBECONFIG)
    assert connection.configure(options(kubeconfig=text))[1] == "one"
    assert connection.secrets_in(connection.inline(text)) == {"token-of-one", "password-of-two"}


@pytest.mark.parametrize("text", ["users:\n- token: [hunter2\n", "hunter2\nhunter2"])
def test_a_text_that_is_no_kubeconfig_is_not_repeated(text):
    with pytest.raises(Failure) as refused:
        connection.configure(options(kubeconfig=text))
    assert refused.value.code == "kubeconfig" and "hunter2" not in refused.value.message + str(
        refused.value.__context__ and refused.value.reason
    )


def test_secrets_of_plugins_are_known():
    users = [
        {"user": {"auth-provider": {"config": {"client-secret": "of-a-client"}}}},
        {"user": {"exec": {"env": [{"name": "T", "value": "of-a-plugin"}]}}},
    ]
    assert connection.secrets_in({"users": users}) == {"of-a-client", "of-a-plugin"}


def test_what_is_empty_is_not_given(monkeypatch):
    monkeypatch.setenv("K8S_AUTH_HOST", "")
    monkeypatch.setenv("K8S_AUTH_CONTEXT", "")
    configuration, name = connection.configure(connection.options_of(options(kubeconfig=KUBECONFIG)))
    assert (configuration.host, name) == ("https://one.invalid:6443", "one")


@pytest.mark.parametrize(("no_proxy", "by_proxy"), [("server.invalid", False), ("other.invalid", True), (None, True)])
def test_no_proxy_names_the_hosts_that_are_reached_without_it(no_proxy, by_proxy):
    api = connection.connect(
        options(host="https://server.invalid", proxy="http://proxy.invalid:3128", no_proxy=no_proxy), 1.0
    )
    assert isinstance(api._api._pool, urllib3.ProxyManager) == by_proxy


@pytest.mark.parametrize(
    ("given", "user"),
    [
        ({"kubeconfig": KUBECONFIG}, {"token": "token-of-one"}),
        ({"kubeconfig": KUBECONFIG, "context": "two"}, {"username": "u", "password": "password-of-two"}),
        (
            {
                "host": "https://one.invalid:6443",
                "api_key": "t",
                "impersonate_user": "jane",
                "impersonate_groups": ["a", "b"],
            },
            {"token": "t", "as": "jane", "as-groups": ["a", "b"]},
        ),
    ],
)
def test_another_program_is_given_the_same_cluster_with_the_same_rights(tmp_path, given, user):
    path = connection.connect(options(**given), 1.0).kubeconfig(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    content = json.loads(path.read_text())
    assert content["users"][0]["user"] == user and content["clusters"][0]["cluster"]["server"].endswith(".invalid:6443")
    assert connection.configure(options(kubeconfig=str(path)))[0].host == content["clusters"][0]["cluster"]["server"]


def test_another_program_verifies_certificates_as_we_do(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "ca.crt").write_text("ca")
    verified = connection.connect(options(host="https://x.invalid", ca_cert=str(tmp_path / "ca.crt")), 1.0).kubeconfig(
        tmp_path / "one"
    )
    assert json.loads(verified.read_text())["clusters"][0]["cluster"] == {
        "server": "https://x.invalid",
        "certificate-authority": str(tmp_path / "ca.crt"),
    }
    unverified = connection.connect(
        options(host="https://x.invalid", validate_certs=False, proxy="http://p:1"), 1.0
    ).kubeconfig(tmp_path / "two")
    assert json.loads(unverified.read_text())["clusters"][0]["cluster"] == {
        "server": "https://x.invalid",
        "insecure-skip-tls-verify": True,
        "proxy-url": "http://p:1",
    }


def test_several_kubeconfigs_are_one_and_a_missing_one_is_passed_over(kubeconfig, tmp_path):
    (tmp_path / "split").write_text(
        yaml.safe_dump({"contexts": [{"name": "three", "context": {"cluster": "two", "user": "one"}}]})
    )
    joined = os.pathsep.join([str(tmp_path / "split"), str(tmp_path / "gone"), kubeconfig])
    assert cluster(kubeconfig=joined, context="three") == ("https://two.invalid:6443", "three")
    assert headers(kubeconfig=joined, context="three")["authorization"] == "Bearer token-of-one"
    with pytest.raises(Failure, match="gone2 does not exist"):
        cluster(kubeconfig=os.pathsep.join([str(tmp_path / "gone"), str(tmp_path / "gone2")]))
