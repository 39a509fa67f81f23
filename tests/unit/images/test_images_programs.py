"""The image of one compiled program: what is in it, as whom it runs, what it is called."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from gradatim.platform.binaries import WEAVIATE as TOOL
from gradatim.platform.binaries.catalog import LISTEN_VARIABLE
from gradatim.platform.images import catalog, oci, programs, tarlayer
from gradatim.platform.images.oci import Identity
from gradatim.platform.images.tarlayer import Tree

ROOT = Path(__file__).parents[3]


def test_the_tree_holds_the_program_its_user_and_a_place_for_temporary_files(tmp_path: Path) -> None:
    program = tmp_path / "compiled"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o700)
    folder = tmp_path / "tree"
    folder.mkdir(mode=0o700)
    programs.fill(folder, program, catalog.WEAVIATE.program)
    modes = {e.name: oct(tarlayer.mode(e.info.st_mode, open_to_all=False)) for e in tarlayer.entries([Tree(folder)])}
    assert modes == {
        "bin": "0o755",
        "bin/weaviate": "0o755",
        "etc": "0o755",
        "etc/group": "0o644",
        "etc/passwd": "0o644",
        "tmp": "0o1777",
    }
    assert (folder / "bin" / "weaviate").read_bytes() == b"\x7fELF"
    assert (folder / "etc" / "passwd").read_text().startswith("gradatim:x:10001:10001:")


def test_weaviate_runs_as_the_images_user_and_listens_for_pods() -> None:
    document = json.loads(oci.config(catalog.WEAVIATE, Identity("1", "1", "amd64"), []))["config"]
    assert document["Entrypoint"] == ["/bin/weaviate"]
    assert (document["User"], document["WorkingDir"]) == ("10001:10001", "/")
    # Our build of it listens on loopback without.
    assert f"{LISTEN_VARIABLE}=0.0.0.0" in document["Env"]
    assert document["Labels"]["org.opencontainers.image.licenses"] == "BSD-3-Clause"


def test_the_charts_default_tag_is_that_of_the_image() -> None:
    values = yaml.safe_load((ROOT / "charts" / "gradatim" / "values.yaml").read_text())
    assert f"v{values['weaviate']['image']['tag']}" == TOOL.version
