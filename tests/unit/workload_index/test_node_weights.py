"""The encoder's files on a worker's node: copied once, checked by digest, held while in use, within bounds."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gradatim.rag.embed.files import digest
from gradatim.rag.embed.options import EncoderError
from gradatim.workloads.executor import Place
from gradatim.workloads.index import weights
from gradatim.workloads.index.weights import ModelAt, NodeCache, weights_at


@dataclass
class Driver:
    """The driver's files, and how often each was read."""

    change: bytes = b""
    seen: list[str] = field(default_factory=list)

    def read(self, file: Path) -> Iterator[bytes]:
        """Yield a file in two pieces, and a third one that does not belong to it."""
        self.seen.append(file.name)
        data = file.read_bytes()
        yield data[:3]
        yield data[3:]
        if self.change:
            yield self.change


def model(root: Path, text: str = "weights", **members: object) -> ModelAt:
    """Return a model of two files."""
    (root / "1_Pooling").mkdir(parents=True)
    (root / "model.safetensors").write_text(text)
    (root / "1_Pooling" / "config.json").write_text("{}")
    files = (("1_Pooling/config.json", 2), ("model.safetensors", len(text)))
    return replace(ModelAt(root, ".", digest(root), files), **members)  # type: ignore[arg-type]


def place(driver: Driver) -> Place:
    return Place(driver=driver, node="n2")


def test_a_worker_beside_the_driver_uses_its_folder(tmp_path: Path) -> None:
    found = weights_at(model(tmp_path / "m"), Place(), tmp_path / "cache")
    assert (found.folder, found.transformer) == (tmp_path / "m", tmp_path / "m")
    assert not (tmp_path / "cache").exists()


def test_another_node_copies_once_and_everybody_there_uses_the_copy(tmp_path: Path) -> None:
    driver, wanted = Driver(), model(tmp_path / "m")
    first, second = (weights_at(wanted, place(driver), tmp_path / "cache") for _ in range(2))
    first.close()
    second.close()
    assert first.folder == second.folder == tmp_path / "cache" / wanted.digest
    assert digest(first.folder) == wanted.digest
    assert sorted(driver.seen) == ["config.json", "model.safetensors"]
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["changed", "gone", "half"])
def test_a_copy_that_is_not_the_model_is_made_again(tmp_path: Path, damage: str) -> None:
    driver, wanted = Driver(), model(tmp_path / "m")
    first = weights_at(wanted, place(driver), tmp_path / "cache")
    first.close()
    file = first.folder / "model.safetensors"
    if damage == "gone":
        file.unlink()
    else:
        file.write_text("weightz" if damage == "changed" else "wei")
    with closing(weights_at(wanted, place(driver), tmp_path / "cache")) as again:
        assert digest(again.folder) == wanted.digest
    assert len(driver.seen) == 4


def test_a_mounted_folder_is_used_where_it_holds_the_same_and_copied_where_not(tmp_path: Path) -> None:
    driver, wanted = Driver(), model(tmp_path / "m", everywhere=True)
    assert weights_at(wanted, place(driver), tmp_path / "cache").folder == tmp_path / "m"
    assert driver.seen == []
    other = replace(wanted, digest="0" * 64)
    with pytest.raises(EncoderError, match="on node n2 is not what the driver has"):
        weights_at(other, place(driver), tmp_path / "cache")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"files": (("../../evil", 1),)}, "leads out of the model"),
        ({"files": (("/etc/evil", 1),)}, "leads out of the model"),
        ({"files": tuple((f"{n}.json", 1) for n in range(501))}, "has 501 files"),
        ({"files": (("model.safetensors", 65 * 2**30),)}, "a model has at most"),
    ],
    ids=["a name that climbs", "an absolute name", "too many files", "too many bytes"],
)
def test_what_is_no_model_is_refused_before_anything_is_copied(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    driver = Driver()
    with pytest.raises(EncoderError, match=says):
        weights_at(replace(model(tmp_path / "m"), **change), place(driver), tmp_path / "cache")  # type: ignore[arg-type]
    assert driver.seen == []


def test_a_file_that_grew_meanwhile_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="is not what the driver has"):
        weights_at(model(tmp_path / "m"), place(Driver(b"more")), tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_the_longest_unused_goes_when_there_are_too_many_and_what_is_in_use_stays(tmp_path: Path) -> None:
    driver = Driver()
    cache = NodeCache(tmp_path / "cache", "n2", limit=25)  # two of nine bytes each, and no third
    models = [model(tmp_path / name, f"weight{name}") for name in "abc"]
    with closing(cache.get(models[0], driver)):
        cache.get(models[1], driver).close()
        cache.get(models[2], driver).close()
        assert [(tmp_path / "cache" / m.digest).is_dir() for m in models] == [True, False, True]


def test_what_a_killed_worker_left_goes_with_the_next_copy_and_a_copy_under_way_stays(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    root.mkdir(mode=0o700)
    for name in ("left", "busy"):
        (root / f"{name}.lock").touch()
        (root / f"{name}.part" / "1_Pooling").mkdir(parents=True)
        (root / f"{name}.part" / "model.safetensors").write_text("wei")
    wanted = model(tmp_path / "m")
    with (root / "busy.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        NodeCache(root, "n2").get(wanted, Driver()).close()
    assert sorted(file.name for file in root.iterdir() if file.is_dir()) == sorted(["busy.part", wanted.digest])
    assert (root / "busy.part" / "model.safetensors").is_file()


def test_a_full_disk_is_said_with_node_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SPARE_BYTES", 2**60)
    driver = Driver()
    with pytest.raises(OSError, match="the encoder needs 9 bytes on node n2, where") as caught:
        weights_at(model(tmp_path / "m"), place(driver), tmp_path / "cache")
    assert (caught.value.errno, driver.seen) == (errno.ENOSPC, [])


def test_a_cache_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name in ("link", "open"):
        with pytest.raises(EncoderError, match="does not belong to this user alone"):
            weights_at(model(tmp_path / f"m-{name}"), place(Driver()), tmp_path / name)


@dataclass(frozen=True)
class Counting:
    """The driver's files; leaves a line for every read."""

    log: Path

    def read(self, file: Path) -> Iterator[bytes]:
        """Yield a file, and note it."""
        with self.log.open("a") as stream:
            stream.write(f"{file.name}\n")
        yield file.read_bytes()


def _copy(wanted: ModelAt, log: Path, cache: Path) -> None:
    with closing(weights_at(wanted, Place(driver=Counting(log), node="n2"), cache)) as found:
        assert digest(found.folder) == wanted.digest


@pytest.mark.timeout(20)
def test_workers_of_one_node_that_start_together_copy_once(tmp_path: Path) -> None:
    wanted, log = model(tmp_path / "m"), tmp_path / "log"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_copy, args=(wanted, log, tmp_path / "cache")) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    assert sorted(log.read_text().split()) == ["config.json", "model.safetensors"]
