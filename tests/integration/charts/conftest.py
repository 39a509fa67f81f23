"""Helm without a cluster, and a cluster with the charts installed; see `tests/support/charts.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.charts import (
    CHART,
    DEFINITIONS,
    GROUP,
    NAMESPACE,
    ROLES,
    Helm,
    Installed,
    bare_cluster,
    bind,
    eventually,
    helm_of,
)
from tests.support.spec_cases import PROFILE


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return helm_of(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Both charts as a platform team installs them, with a ComputeProfile that the editors and admins of team-a may use."""
    with bare_cluster(tmp_path_factory.mktemp("installed")) as (state, api, helm):
        api.namespace(NAMESPACE, **{"pod-security.kubernetes.io/enforce": "restricted"})
        helm.ok("install", "gradatim-crds", str(DEFINITIONS), "-n", NAMESPACE)
        eventually(lambda: api.exists(f"{GROUP}/ragindices"))
        values = {
            "computeProfile": {"create": True, "spec": PROFILE["spec"], "users": [{"kind": "User", "name": "lead"}]},
            "weaviate": {"enabled": True},
            "workloadNamespaces": ["team-a"],
        }
        for team in ("team-a", "team-b"):
            api.namespace(team)
        helm.ok("install", "gradatim", str(CHART), "-n", NAMESPACE, values=values)
        for user, role in ROLES.items():
            bind(api, "team-a", role, user)
        for user in ("editor", "admin"):
            bind(api, "team-a", "gradatim-use-default", user)
        bind(api, "", "gradatim-profiles", "platform-team")
        bind(api, "team-b", "edit", "lead")
        for user in ("stranger", "later"):
            bind(api, "team-a", "edit", user)
        eventually(
            lambda: api.call("POST", f"{GROUP}/namespaces/team-a/ragindices", {}, user="editor").status_code != 403
        )
        yield Installed(state, api, helm)
