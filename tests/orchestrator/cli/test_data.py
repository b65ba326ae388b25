"""``eos data``: what the commands print, and their exit status."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest
from support.data_files import idx_bytes, random_images, write_idx
from support.web import Web, serving

from orchestrator.data import OFFICIAL
from orchestrator.data.official import Archive, Official


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EOS_DATA", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("command", ["list", "fetch", "check"])
def test_every_command_has_help_with_an_example(eos, command):
    answer = eos("data", command, "--help")
    assert answer.status == 0
    assert f"Example: eos data {command}" in answer.out


def test_the_list_says_what_there_is_and_where(eos, root):
    rows = {row["dataset"]: row for row in json.loads(eos("data", "list", "--json").out)}
    assert rows["digits"]["there"] is True
    assert rows["digits"]["where"] == "package sklearn"
    mnist = rows["mnist"]
    assert (mnist["training"], mnist["test"], mnist["input"]) == (60_000, 10_000, [1, 28, 28])
    assert mnist["where"] == str(root / "mnist")
    assert mnist["there"] is False
    assert "eos data fetch mnist" in mnist["problem"]
    assert rows["cifar10"]["input"] == [3, 32, 32]
    assert rows["point(x=[2, 1], truth=[0.5, 0.5])"]["there"] is True
    table = eos("data", "list")
    assert table.status == 0
    assert "1×28×28" in table.out


def test_a_fetch_brings_files_and_a_check_agrees_until_one_is_damaged(eos, root, monkeypatch):
    content = gzip.compress(idx_bytes(random_images(20, 784)[0].reshape(-1, 28, 28)), mtime=0)
    path, digest = "mnist/train-images-idx3-ubyte.gz", hashlib.sha256(content).hexdigest()
    with serving(Web({"/train-images-idx3-ubyte.gz": content})) as web:
        archive = Archive(path, len(content), digest, ("http://127.0.0.1:9/",))
        small = Official((archive,), None, {path: f"sha256:{digest}"})
        monkeypatch.setitem(OFFICIAL, "mnist", small)
        answer = eos("data", "fetch", "mnist", "--mirror", web.address, "--json")
    assert answer.status == 0
    begin = answer.out.index("[")
    assert json.loads(answer.out[begin:]) == [
        {"dataset": "mnist", "where": str(root / "mnist"), "downloaded": 1}
    ]
    assert (root / path).read_bytes() == content
    assert eos("data", "check", "mnist").status == 0
    (root / path).write_bytes(content[:-1])
    answer = eos("data", "check", "--json")  # all of which anything is there
    assert answer.status == 1
    rows = json.loads(answer.out)
    assert [row["dataset"] for row in rows] == ["mnist-mini", "digits", "mnist"]
    assert digest in rows[-1]["problem"]


def test_a_dataset_that_is_asked_for_and_missing_is_wrong(eos):
    answer = eos("data", "check", "cifar10")
    assert answer.status == 1
    assert answer.out.count("missing") == 6
    assert eos("data", "check").status == 0


def test_files_whose_checksum_is_not_published_are_checked_by_their_headers(eos, root):
    for part in ("train", "t10k"):
        write_idx(root / "fashion-mnist", part, *random_images(20, 784), packed=False)
    rows = json.loads(eos("data", "check", "fashion-mnist", "--json").out)
    assert [row["checked"] for row in rows] == ["header and size only"] * 4
    assert rows[0]["problem"] == "its sizes are (20, 28, 28); they must be (60000, 28, 28)"
    rows = json.loads(eos("data", "check", "digits", "--json").out)
    assert [row["checked"] for row in rows] == ["installed only"]
    assert "header and size only" in eos("data", "check", "fashion-mnist").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "digits"], "NAME is 'digits'; it must be one of mnist, fashion-mnist, cifar10"),
        (["check", "imagenet"], "NAME is 'imagenet'; it must be one of mnist-mini, digits, mnist"),
        (["fetch", "mnist", "--mirror", "ftp://x/"], "--mirror is 'ftp://x/'; it must begin with"),
    ],
)
def test_a_wrong_request_is_refused_by_one_sentence(eos, arguments, words):
    answer = eos("data", *arguments)
    assert answer.status == 2
    assert words in answer.error


def test_a_failed_download_is_one_sentence_and_exit_status_1(eos, monkeypatch):
    archive = Archive("mnist/train-images-idx3-ubyte.gz", 1, "0" * 64, ("http://127.0.0.1:9/",))
    monkeypatch.setitem(OFFICIAL, "mnist", Official((archive,), None, {}))
    answer = eos("data", "fetch", "mnist")
    assert answer.status == 1
    assert answer.error.startswith("train-images-idx3-ubyte.gz must come from one of its mirrors")
