"""The copies that a run directory keeps of networks of the user's own."""

from __future__ import annotations

from pathlib import Path

from jobs.spec.digest import digest_of
from jobs.spec.network_name import is_own_network
from orchestrator.store import write_bytes_whole
from orchestrator.sweep import Sweep, SweepError
from orchestrator.sweep.own_networks import MODELS


def keep_networks(run: Path, sweep: Sweep) -> None:
    """Copy the files of a sweep's own networks into the run directory, and use the copies.

    Raises:
        SweepError: a file has changed since the sweep was read.
        StoreError: the directory cannot be written to.
    """
    names = {column.problem.architecture for column in sweep.columns}
    digests = {name.rpartition("@")[2]: name for name in sorted(filter(is_own_network, names))}
    if not digests:
        return
    from jobs.models import own  # with torch, which other sweeps need not wait for

    folder = run.resolve() / MODELS
    for digest, name in digests.items():
        path, copy = own.path_of(digest), folder / f"{digest}.py"
        content = path.read_bytes() if path.is_file() else b""
        if digest_of(content) != digest:
            raise SweepError(
                f"problem.architecture is {name!r}; {path} must be the file with this digest, but "
                "it has changed since the sweep was read"
            )
        if path != copy:
            folder.mkdir(mode=0o700, exist_ok=True)
            write_bytes_whole(copy, content)
            own.register(digest, copy)


def find_networks(run: Path) -> None:
    """Let this process find the networks that a run directory keeps."""
    files = sorted((run / MODELS).glob("[0-9a-f]*.py"))
    if files:
        from jobs.models import own

        for path in files:
            own.register(path.stem, path)
