"""What sources may reach and which files they take, as far as no server is needed."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.api.common import ClaimSource
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources import globs
from gradatim.workloads.sources.claim import list_claim
from gradatim.workloads.sources.globs import matches
from gradatim.workloads.sources.guard import check_url, is_public
from gradatim.workloads.sources.http import path_of
from gradatim.workloads.sources.hugging_face import choose, front_matter


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("**", "a/b/c.md", True),
        ("**/*.md", "c.md", True),
        ("**/*.md", "a/b/c.md", True),
        ("docs/**/*.md", "docs/c.md", True),
        ("docs/**/*.md", "other/docs/c.md", False),
        ("*.md", "a/c.md", False),
        ("docs/*", "docs/a.md", True),
        ("a?c", "a/c", False),
        ("[a-c]*.txt", "b1.txt", True),
        ("[!a]*.txt", "a1.txt", False),
        ("a.md", "axmd", False),
        ("(a|b)", "a", False),
        ("[z-a].md", "b.md", False),
        ("[^a].md", "b.md", True),
        ("a[!b]c", "a/c", False),
        ("*a*b*c", "xaxbxc", True),
        ("*a*b*c", "xaxb/c", False),
        ("**/a/**/b/**/c.md", "a/b/c.md", True),
        ("**/a/**/b/**/c.md", "x/a/y/z/b/c.md", True),
        ("**/a/**/b/**/c.md", "x/a/y/zb/c.md", False),
        ("*/?*/[ab]*/**", "docs/x/ab/c/d.md", True),
        ("a**b**c**", "a/b/c", True),
    ],
)
def test_globs(glob: str, path: str, *, expected: bool) -> None:
    assert matches(path, [glob]) is expected


@pytest.mark.timeout(30)  # hundreds of globs, not one
@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "/", "?", "*", "**", "**/", "[ab]", "[!a]"]), max_size=8).map("".join),
    st.text("ab/", max_size=12),
)
def test_a_glob_of_many_stars_means_what_its_regular_expression_means(glob: str, path: str) -> None:
    whole = re.compile("".join(globs._pieces(glob)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(globs, "_FEW", -1)
        assert globs._matcher.__wrapped__(glob)(path) is (whole.fullmatch(path) is not None)


@pytest.mark.parametrize("glob", ["**/a" * 30 + "x", "*a" * 40 + "*b", "a*" * 30 + "/**/" + "*a" * 20 + "x"])
def test_no_glob_takes_longer_than_its_length_and_the_paths(glob: str) -> None:
    assert not matches("a" * 200 + "/" + "a" * 55, [glob])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1",
        "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_addresses_of_private_networks_are_known(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_known(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    ["http://localhost/x", "http://127.0.0.1:80/x", "http://[::1]/x", "http://2130706433/", "https://169.254.169.254/"],
)
def test_a_url_of_a_private_address_is_refused_unless_the_profile_allows_it(url: str) -> None:
    with pytest.raises(WorkloadError, match="private address"):
        check_url("docs", url, allow_private=False)
    assert check_url("docs", url, allow_private=True).port in {80, 443}


@pytest.mark.parametrize("url", ["ftp://example.com/x", "http:///x", "http://host:99999/"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(WorkloadError, match="source docs"):
        check_url("docs", url, allow_private=True)


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        ("https://example.com/", "text/html", "example.com/index.html"),
        ("https://example.com:8443/a/b.pdf", "application/pdf", "example.com_8443/a/b.pdf"),
        ("https://example.com/a?id=1/2", "text/plain; charset=utf-8", "example.com/a@id=1_2.txt"),
        ("https://example.com/%2e%2e/%2e%2e/etc/passwd", "", "example.com/etc/passwd"),
        ("https://example.com/v1.2/notes", "text/markdown", "example.com/v1.2/notes.md"),
    ],
    ids=["a root", "a port and an extension", "a query", "a climb", "a dot in a folder"],
)
def test_downloads_get_a_safe_name_with_an_extension(url: str, kind: str, path: str) -> None:
    assert path_of(url, kind) == path


def test_a_claim_is_read_below_its_own_folder_only(tmp_path: Path) -> None:
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    (tmp_path / "docs" / "sub" / "a.md").write_text("x")
    (tmp_path / "docs" / "up").symlink_to(tmp_path)
    found = list_claim("docs", ClaimSource(claim_name="docs", sub_path="sub"), 100, tmp_path)
    assert [file.path for file in found.files] == ["a.md"]
    for claim, says in (("docs", "leads out"), ("other", "not mounted")):
        with pytest.raises(WorkloadError, match=says):
            list_claim("docs", ClaimSource(claim_name=claim, sub_path="up"), 100, tmp_path)


HUB = [
    "README.md",
    "data/test-0.parquet",
    "data/train-0.parquet",
    "data/train-1.parquet",
    "script.py",
    "de/train.jsonl",
]


@pytest.mark.parametrize(
    ("card", "config", "split", "expected"),
    [
        ({}, "default", "train", ["data/train-0.parquet", "data/train-1.parquet", "de/train.jsonl"]),
        ({}, "de", "train", ["de/train.jsonl"]),
        ({}, "default", "test", ["data/test-0.parquet"]),
        ({}, "default", "validation", []),
        ({"configs": [{"config_name": "x", "data_files": [{"split": "train", "path": "data/train-*"}]}]}, "x", "train",
         ["data/train-0.parquet", "data/train-1.parquet"]),
        ({"configs": [{"config_name": "x", "data_files": "de/*"}]}, "x", "train", ["de/train.jsonl"]),
        ({"configs": [{"config_name": "x", "data_files": "de/*"}]}, "default", "train", []),
        ({"configs": [{"config_name": "x", "data_files": [{"split": "train", "path": path} for path in (7, None, [["de/*"]])]}]}, "x",
         "train", []),
    ],
    ids=[
        "by name", "by folder", "another split", "a split that is not there", "by the card", "a card with one path", "no config",
        "paths that are none",
    ],
)  # fmt: skip
def test_the_data_files_of_a_config_and_split(
    card: dict[str, object], config: str, split: str, expected: list[str]
) -> None:
    assert choose(HUB, card, config, split) == expected


def test_without_any_split_in_the_names_everything_is_train() -> None:
    assert choose(["a.jsonl", "b.csv", "run.py"], {}, "default", "train") == ["a.jsonl", "b.csv"]


MULTIPLYING = "\n".join(["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 32))])

CARDS = {
    "values": ("---\nconfigs: [1]\n---\n# Card", {"configs": [1]}),
    "other line ends and blanks": ("--- \r\n\r\na: 1\r\n---\t\r\n# Card", {"a": 1}),
    "nothing after it": ("---\na: 1\n---", {"a": 1}),
    "aliases, as PyYAML writes them": ("---\na: &id001 {k: v}\nb: *id001\n---\n", {"a": {"k": "v"}, "b": {"k": "v"}}),
    "aliases that multiply": (f"---\n{MULTIPLYING}\n---\n", {}),
    "a list": ("---\n- a\n---\n", {}),
    "no YAML": ("---\na: [\n---\n", {}),
    "a number that is none": ('---\na: !!int ""\n---\n', {}),
    "nesting without end": (f"---\n{'[' * 5000}\n---\n", {}),
    "lines without end": ("---" + "\n" * 200_000 + "x", {}),
    "rules without end": ("---\n" + ("---" + " " * 50 + "x\n") * 5000, {}),
    "no front matter": ("# Card\n---\na: 1\n---\n", {}),
}


@pytest.mark.parametrize(("card", "expected"), CARDS.values(), ids=CARDS.keys())
def test_what_a_card_says(card: str, expected: dict[str, object]) -> None:
    assert front_matter(card) == expected
