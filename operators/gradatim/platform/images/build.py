"""Build one image: base, torch and its libraries, other dependencies, our code, each a layer that is made only when its input changed.
One of a single compiled program has that as its only layer.

Called by the command line and by tests. A layer is found again by a key over everything that went into it, so a change of code costs
one thin layer and seconds. Work lies in the cache folder, never in the checkout.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from gradatim.platform.binaries import WEAVIATE, Settings, resolve
from gradatim.platform.images import (
    environment,
    layout,
    oci,
    ours,
    owners,
    programs,
    requirements,
    rootfs,
    tarlayer,
    tools,
    trim,
)
from gradatim.platform.images.catalog import DEMO_EXTRA, DEMO_MODEL, PREFIX, SITE, Image, reference
from gradatim.platform.images.environment import Filled
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.layers import Store
from gradatim.platform.images.oci import Layer
from gradatim.platform.images.requirements import Requirement
from gradatim.platform.images.tarlayer import Tree

Report = Callable[[str], None]
# Part of every key but the base's: a change of how layers are written must not reuse older ones.
_RECIPE = "2"
_PROGRAMS = {"weaviate": WEAVIATE}


@dataclass(frozen=True)
class Options:
    """What to make. `tag` is the version of the project, or of the program, when empty."""

    cpu_only: bool = False
    demo_model: bool = False
    tag: str = ""

    @property
    def variant(self) -> tuple[str, ...]:
        """What the label of the image says was left out or added."""
        return (("cpu-only",) if self.cpu_only else ()) + (("demo-model",) if self.demo_model else ())


@dataclass(frozen=True)
class Workshop:
    """Where to build: the checkout, the cache, the environment for tools, and who hears what happens."""

    source: Path
    cache: Path
    env: Mapping[str, str]
    report: Report

    @classmethod
    def at(cls, source: Path, env: Mapping[str, str], report: Report) -> Workshop:
        """Return the workshop for a checkout, with the cache below `$GRADATIM_CACHE` or `~/.cache/gradatim`.

        Raises ImageError when `source` is no checkout: a lock file is not part of an installed package.
        """
        if not ((source / "uv.lock").is_file() and (source / "pyproject.toml").is_file()):
            raise ImageError(f"{source} is no checkout of Gradatim: give one with --source, the lock file is needed")
        base = env.get("GRADATIM_CACHE") or Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradatim"
        return cls(source, Path(base).expanduser().absolute() / "images", env, report)

    @property
    def version(self) -> str:
        """The version of the project."""
        return str(tomllib.loads((self.source / "pyproject.toml").read_text())["project"]["version"])


@dataclass(frozen=True)
class Built:
    """A built image: its name, the digest to pin, and the folder with its layout."""

    reference: str
    digest: str
    folder: Path
    layers: tuple[Layer, ...]


def build(image: Image, options: Options, target: Path, shop: Workshop) -> Built:
    """Build an image and put its OCI layout at `target`. Raises ImageError with what to do."""
    found = tools.find(shop.env, shop.report)
    shop.cache.mkdir(parents=True, exist_ok=True)
    with FileLock(shop.cache / "lock"):
        maker = _Maker(image, options, shop, found, Store(shop.cache))
        layers = maker.layers()
        version = _PROGRAMS[image.name].version.removeprefix("v") if image.program else shop.version
        identity = oci.Identity(options.tag or version, version, environment.architecture(), options.variant)
        config = oci.config(image, identity, layers)
        manifest = oci.manifest(config, layers)
        documents = {"config": config, "manifest": manifest, "index": oci.index(image, identity, manifest)}
        layout.write(target, documents, layers, shop.cache)
    return Built(reference(image, identity.tag), oci.digest(manifest), target, layers)


@dataclass(frozen=True)
class _Maker:
    """The layers of one image, lowest first."""

    image: Image
    options: Options
    shop: Workshop
    tools: tools.Tools
    store: Store

    def layers(self) -> tuple[Layer, ...]:
        if self.image.program:
            return (self._program(),)
        pinned = environment.locked(self.shop.source, self.image.extras, self.tools, self.shop.env)
        requirements.refuse(pinned, self.image.forbidden, self.image.name)
        if self.options.cpu_only:
            pinned = requirements.without(pinned, trim.CPU_ONLY_PACKAGES)
        torch, libraries = requirements.split(pinned, requirements.accelerator)
        base, root = self._base()
        made = [base]
        for name, items in (("torch", torch), ("libraries", libraries), ("model", self._model())):
            if items:
                made.append(self._dependencies(name, items, root))
        return (*made, self._ours(root))

    def _model(self) -> tuple[Requirement, ...]:
        if not self.options.demo_model:
            return ()
        pinned = environment.locked(self.shop.source, (DEMO_EXTRA,), self.tools, self.shop.env)
        return requirements.only(pinned, DEMO_MODEL)

    def _program(self) -> Layer:
        tool = _PROGRAMS[self.image.name]
        found = resolve(tool, Settings.from_environment(self.shop.env), lambda _, said: self.shop.report(said))
        key = f"{self.image.name}-{hashlib.sha256(repr((_RECIPE, tool.source.digest)).encode()).hexdigest()[:16]}"
        if known := self.store.find(key):
            return known
        with self._folder() as folder:
            programs.fill(folder, Path(found.argv(self.image.name)[0]), self.image.program)
            return self._layer(self.image.name, key, lambda: ([Tree(folder)], lambda _: self.image.name))

    def _base(self) -> tuple[Layer, Path]:
        source = rootfs.archive(self.shop.env)
        key = source.key(self.image.debian)
        root = self.store.root(key)
        if not root.is_dir():
            self.shop.report(f"base: Debian with {', '.join(self.image.debian)}")
            rootfs.make(root, self.image.debian, source, self.tools, self.shop.env)
        tree = Tree(root, left_out=trim.excluding(trim.BASE, trim.KEPT_OF_BASE))
        return self._layer("base", f"base-{key}", lambda: ([tree], owners.of_debian(root))), root

    def _dependencies(self, name: str, items: tuple[Requirement, ...], root: Path) -> Layer:
        trimmed = trim.CPU_ONLY_FILES if self.options.cpu_only and name == "torch" else ()
        said = repr((_RECIPE, requirements.digest(items), root.name, trimmed))
        key = f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
        if known := self.store.find(key):
            return known
        with self._folder() as folder:
            self.shop.report(f"{name}: installing {len(items)} distributions")
            filled = environment.install(items, folder, self.tools, self.shop.env)
            self.shop.report(f"{name}: compiling")
            environment.compile_bytecode(root, filled.site, strict=False)
            trees = _trees(filled, (*trim.ENVIRONMENT, *trimmed))
            return self._layer(name, key, lambda: (trees, owners.of_site(filled.site, SITE)))

    def _ours(self, root: Path) -> Layer:
        with self._folder() as folder:
            self.shop.report(f"gradatim: {', '.join(self.image.packages)}")
            filled = ours.unpack(self.shop.source, self.image.packages, folder, self.tools, self.shop.env)
            environment.compile_bytecode(root, filled.site, strict=True)
            trees = _trees(filled, ())
            return self._layer("gradatim", "", lambda: (trees, owners.of_site(filled.site, SITE)))

    def _layer(self, name: str, key: str, content: Callable[[], tuple[Iterable[Tree], Callable[[str], str]]]) -> Layer:
        """Return the layer with this key, written first where needed. A layer without key is written every time."""
        if key and (known := self.store.find(key)):
            return known
        trees, owner = content()
        entries = tarlayer.entries(trees)
        self.shop.report(f"{name}: writing {len(entries)} entries")
        return self.store.add(name, key, lambda out: tarlayer.write(entries, out, owner))

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder beside uv's cache rather than in /tmp: links need one file system, and trees are large."""
        work = self.shop.cache / "work"
        shutil.rmtree(work, ignore_errors=True)  # of a build that was killed; the lock is ours
        work.mkdir()
        try:
            yield Path(tempfile.mkdtemp(dir=work))
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _trees(filled: Filled, left_out: Iterable[str]) -> list[Tree]:
    return [
        Tree(filled.site, SITE.lstrip("/"), trim.excluding(left_out), open_to_all=True),
        Tree(filled.programs, f"{PREFIX}/bin".lstrip("/"), open_to_all=True),
    ]
