"""Frozen inputs lie where users may write: only what status bound the Run to is ever used."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from gradatim.api.run import RunConfig, document_digest
from gradatim.api.runstatus import RunStatus
from gradatim.operator.applying import config_map, freeze
from gradatim.operator.errors import TryLater
from gradatim.operator.kube import AlreadyExists, Body, Resource
from gradatim.operator.observing import Frozen, frozen
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import frozen_inputs

OWNER: Body = {"apiVersion": "v", "kind": "RAGIndex", "metadata": {"name": "docs", "namespace": "team", "uid": "u"}}


class Maps:
    """The ConfigMaps of a namespace."""

    def __init__(self, *bodies: Body) -> None:
        self.held = {b["metadata"]["name"]: b for b in bodies}

    async def find(self, _: Resource, __: str, name: str) -> Body | None:
        """Return one of them."""
        return self.held.get(name)

    async def create(self, _: Resource, __: str, body: Body) -> Body:
        """Make one."""
        if body["metadata"]["name"] in self.held:
            raise AlreadyExists(409, "AlreadyExists", "")
        self.held[body["metadata"]["name"]] = body
        return body

    async def delete(self, _: Resource, body: Body) -> None:
        """Remove one."""
        del self.held[body["metadata"]["name"]]


@pytest.fixture
def config(world: Callable[..., World]) -> RunConfig:
    """Return the inputs of the index's next Run; fractions, null members and letters of all sorts included."""
    kwargs = {"column": "text", "min_value": 0.1, "max_value": 1e-7, "other": None, "set": ["é", "\u2028", 2**53]}
    seen = world(spec={"validation": {"expectations": [{"type": "expect_x", "kwargs": kwargs}]}})
    return frozen_inputs(seen, RunStatus(name="docs-2", trigger="generation", generation=1), force=False)


def run_of(config: RunConfig) -> RunStatus:
    """Return the Run as status has it."""
    return RunStatus(name=config.run, trigger="generation", config_digest=config.digest)


def changed(config: RunConfig, **members: Any) -> RunConfig:
    """Return a config that seals what somebody put in."""
    return config.model_copy(update=members).sealed()


async def look(config: RunConfig, body: Body) -> Frozen:
    """Read the ConfigMap for the Run of `config`."""
    return await frozen(Maps(body), "team", "u", run_of(config))  # type: ignore[arg-type]


async def test_what_was_frozen_is_read_back(config: RunConfig) -> None:
    assert (await look(config, config_map(OWNER, config))).config == config


async def test_inputs_that_another_release_froze_are_used_although_defaults_differ(config: RunConfig) -> None:
    body = config_map(OWNER, config)
    document = json.loads(body["data"]["config.json"])
    del document["deadlineSeconds"]  # as if the field were newer than what was frozen
    bare = changed(config)
    document["digest"] = digest = "sha256:" + "0" * 64
    body["data"]["config.json"] = json.dumps(document)
    assert (await look(bare.model_copy(update={"digest": digest}), body)).config is None, "the digest must be over it"
    document["digest"] = document_digest(document)
    body["data"]["config.json"] = json.dumps(document)
    found = await look(bare.model_copy(update={"digest": document["digest"]}), body)
    assert found.config is not None
    assert found.config.digest == document["digest"]


async def test_forged_inputs_count_as_absent(config: RunConfig) -> None:
    limits = config.limits.model_copy(update={"allowed_source_roots": ["/"], "allow_private_networks": True})
    forged = changed(config, limits=limits)
    assert await look(config, config_map(OWNER, forged)) == Frozen(config_map(OWNER, forged), None)
    posing = forged.model_copy(update={"digest": config.digest})
    assert (await look(config, config_map(OWNER, posing))).config is None


async def test_a_member_that_is_there_twice_cannot_tell_digest_and_use_apart(config: RunConfig) -> None:
    body = config_map(OWNER, config)
    text = body["data"]["config.json"]
    body["data"]["config.json"] = '{"secretsPath":"/etc",' + text[1:]
    found = await look(config, body)
    assert found.config is None or found.config.secrets_path == config.secrets_path


async def test_freezing_again_adopts_the_same_and_replaces_other_inputs(config: RunConfig) -> None:
    maps = Maps(config_map(OWNER, config))
    assert await freeze(maps, OWNER, config) == config  # type: ignore[arg-type]
    maps = Maps(config_map(OWNER, changed(config, secrets_path="/etc")))
    with pytest.raises(TryLater):
        await freeze(maps, OWNER, config)  # type: ignore[arg-type]
    assert maps.held == {}
    assert await freeze(maps, OWNER, config) == config  # type: ignore[arg-type]
    assert maps.held == {config.run: config_map(OWNER, config)}


async def test_inputs_frozen_again_after_a_change_that_concerns_no_run_are_the_same(
    world: Callable[..., World],
) -> None:
    run = RunStatus(name="docs-2", trigger="generation", generation=1)
    seen = world()
    later = seen.index.model_copy(update={"metadata": seen.index.metadata.model_copy(update={"generation": 7})})
    again = frozen_inputs(dataclasses.replace(seen, index=later), run, force=False)
    assert again.digest == frozen_inputs(seen, run, force=False).digest
