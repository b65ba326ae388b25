"""Downloads from real servers on the loopback interface, with the faults that servers have."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from support.web import Web, serving

from orchestrator.data.download import (
    BLOCK,
    DEFAULT_WAIT,
    LONGEST_WAIT,
    TRIES,
    DownloadError,
    download,
    seconds,
)

CONTENT = np.random.default_rng(0).bytes(3 * BLOCK + 1234)
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
WRONG = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


def _get(target: Path, *webs: Web, seen: list[int] | None = None) -> None:
    addresses = [f"{web.address}file" for web in webs]
    watch = (lambda done: None) if seen is None else seen.append
    download(addresses, target, SIZE, SHA256, watch)


def _only(target: Path) -> bool:
    """Whether the whole file is there and nothing beside it."""
    return target.read_bytes() == CONTENT and list(target.parent.iterdir()) == [target]


def test_a_file_appears_under_its_name_when_it_is_whole_and_right(tmp_path):
    seen: list[int] = []
    target = tmp_path / "new" / "file"
    with serving(Web({"/file": CONTENT})) as web:
        _get(target, web, seen=seen)
    assert _only(target)
    assert web.asked == [("/file", None)]
    assert seen == [BLOCK, 2 * BLOCK, 3 * BLOCK, SIZE]


def test_a_connection_that_breaks_off_is_resumed_where_it_was(tmp_path):
    with serving(Web({"/file": CONTENT}, breaks_off=[BLOCK + 5, 7])) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")
    ranges = [asked for _, asked in web.asked]
    assert ranges == [None, f"bytes={BLOCK + 5}-", f"bytes={BLOCK + 12}-"]


def test_a_later_call_goes_on_from_what_has_come(tmp_path):
    with serving(Web({"/file": CONTENT}, breaks_off=[BLOCK, 0, 0, 0])) as web:
        with pytest.raises(
            DownloadError, match=rf"broke off at {BLOCK} of {SIZE} .* {BLOCK} bytes"
        ):
            _get(tmp_path / "file", web)
        assert [path.name for path in tmp_path.iterdir()] == ["file.part"]
        web.asked.clear()
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")
    assert web.asked == [("/file", f"bytes={BLOCK}-")]


def test_a_server_that_cannot_send_a_part_sends_the_whole_again(tmp_path):
    with serving(Web({"/file": CONTENT}, breaks_off=[BLOCK], ranges=False)) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")
    assert len(web.asked) == 2


def test_a_server_that_does_not_say_how_much_there_is_will_do(tmp_path):
    with serving(Web({"/file": CONTENT}, lengths=False)) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_that_always_breaks_off_is_given_up(tmp_path, ranges, lengths):
    web = Web({"/file": CONTENT}, breaks_off=[100] * 50, ranges=ranges, lengths=lengths)
    with serving(web), pytest.raises(DownloadError, match="broke off"):
        _get(tmp_path / "file", web)
    assert len(web.asked) == 3
    assert not (tmp_path / "file").exists()


def test_wrong_bytes_are_never_kept(tmp_path):
    with serving(Web({"/file": WRONG})) as web:
        found = hashlib.sha256(WRONG).hexdigest()
        with pytest.raises(DownloadError, match=f"SHA-256 {found}; it must have {SHA256}"):
            _get(tmp_path / "file", web)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"<html>not here</html>", CONTENT + b"more"])
def test_a_file_of_another_size_is_not_even_read(tmp_path, content):
    words = f"has {len(content)} bytes; it must have {SIZE}"
    with serving(Web({"/file": content})) as web, pytest.raises(DownloadError, match=words):
        _get(tmp_path / "file", web)
    assert list(tmp_path.iterdir()) == []


def test_the_next_mirror_is_tried_when_one_fails(tmp_path):
    with (
        serving(Web({})) as empty,
        serving(Web({"/file": WRONG})) as wrong,
        serving(Web({"/file": CONTENT}, breaks_off=[100, 0, 0, 0])) as broken,
        serving(Web({"/file": CONTENT})) as good,
    ):
        _get(tmp_path / "file", empty, wrong, broken, good)
        assert _only(tmp_path / "file")
        assert len(empty.asked) == 1  # an answer is an answer: 404 is not asked for again
        assert good.asked == [("/file", "bytes=100-")]
        with pytest.raises(DownloadError) as refused:
            _get(tmp_path / "other", empty, wrong)
    for words in (f"{empty.address}file: HTTP status 404", f"{wrong.address}file: the file there"):
        assert words in str(refused.value)


def test_a_beginning_from_elsewhere_that_is_wrong_spoils_no_good_mirror(tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    with serving(Web({"/file": CONTENT})) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")
    assert [asked for _, asked in web.asked] == ["bytes=1000-", None]


def test_a_beginning_that_is_too_long_is_thrown_away(tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"x")
    with serving(Web({"/file": CONTENT})) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")


def test_a_whole_part_is_checked_and_needs_no_connection(tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    download(["http://127.0.0.1:9/file"], tmp_path / "file", SIZE, SHA256)
    assert _only(tmp_path / "file")


def test_nobody_there_is_an_error_that_names_the_address(tmp_path):
    with serving(Web({})) as gone:
        pass
    with pytest.raises(DownloadError, match=rf"{gone.address}file: .*refused.*set https_proxy"):
        _get(tmp_path / "file", gone)
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_from_the_environment_is_used(tmp_path, monkeypatch):
    address = "http://data.invalid/file"  # a name that nobody resolves
    with serving(Web({address: CONTENT})) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        download([address], tmp_path / "file", SIZE, SHA256)
    assert _only(tmp_path / "file")
    assert proxy.asked == [(address, None)]


def test_two_downloads_of_one_file_do_not_mix(tmp_path):
    with (tmp_path / "file.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            serving(Web({"/file": CONTENT})) as web,
            pytest.raises(DownloadError, match="another process"),
        ):
            _get(tmp_path / "file", web)
    assert web.asked == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch, number):
    def refuse(file: object, operation: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with serving(Web({"/file": CONTENT})) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")


def test_storage_that_is_full_is_no_mirrors_fault(tmp_path):
    (tmp_path / "file.part").symlink_to("/dev/full")
    with serving(Web({"/file": CONTENT})) as web:
        with pytest.raises(OSError, match="No space left"):
            _get(tmp_path / "file", web, web)
        assert len(web.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(tmp_path, monkeypatch, status):
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with serving(Web({"/file": CONTENT}, busy=[(status, "7"), (status, None)])) as web:
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")
    assert waits == [7, DEFAULT_WAIT]
    with (
        serving(Web({"/file": CONTENT}, busy=[(status, "0")] * 9)) as web,
        pytest.raises(DownloadError, match=f"HTTP status {status}"),
    ):
        _get(tmp_path / "other", web)
    assert len(web.asked) == TRIES


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", 0),
        ("30", 30),
        ("86400", LONGEST_WAIT),
        ("9" * 50, DEFAULT_WAIT),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_WAIT),
        ("soon", DEFAULT_WAIT),
        (None, DEFAULT_WAIT),
    ],
)
def test_a_wait_is_a_number_of_seconds_or_a_date_and_never_long(header, expected):
    assert seconds(header, now=1000.0) == expected


def test_a_download_that_another_one_has_just_ended_is_no_error(tmp_path):
    target = tmp_path / "file"

    def other_ends(done: int) -> None:
        if done == SIZE:
            (tmp_path / "file.part").replace(target)

    with serving(Web({"/file": CONTENT})) as web:
        download([f"{web.address}file"], target, SIZE, SHA256, other_ends)
        assert _only(target)
        target.unlink()
        with pytest.raises(DownloadError, match="taken away by another process"):
            download(
                [f"{web.address}file"],
                target,
                SIZE,
                SHA256,
                lambda done: (tmp_path / "file.part").unlink(missing_ok=True),
            )
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_of_another_kind_is_named_unless_it_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with serving(Web({"/file": CONTENT})) as web:
        words = "http_proxy begins with socks5://; it must begin with http:// or https://"
        with pytest.raises(DownloadError, match=words):
            _get(tmp_path / "file", web)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        _get(tmp_path / "file", web)
    assert _only(tmp_path / "file")
