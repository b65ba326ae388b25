"""Everything that a private SLURM has on disk: laid out before it starts, removed at its end."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

from loopback.configuration import Ports, Shape, gres_conf, slurm_conf, slurmdbd_conf
from loopback.daemons import update_state
from loopback.errors import LoopbackError
from loopback.layout import Layout
from loopback.ports import free_ports


def lay_out(layout: Layout, shape: Shape) -> None:
    """Make folders, devices, key and configuration for free ports; the state file comes first.

    Other users can read what their commands need; what only daemons need is root's.
    """
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.folder.chmod(0o755)
    update_state(layout, shape={**vars(shape), "settings": dict(shape.settings)})
    for path in (layout.munge, layout.spool, layout.log, layout.devices):
        path.mkdir()
        path.chmod(0o755)
    layout.controller.mkdir(mode=0o700)
    for node in shape.node_names:
        (layout.spool / node).mkdir()
        (layout.devices / node).mkdir()
        for gpu in range(shape.gpus):
            _make_device(layout.devices / node / f"nvidia{gpu}")
    _write(layout.munge / "key", os.urandom(128), mode=0o600)
    controller, accounting, *nodes = free_ports(2 + shape.nodes)
    ports = Ports(controller, accounting, tuple(nodes))
    hostname = socket.gethostname().partition(".")[0]
    _write(layout.slurm_conf, slurm_conf(layout, shape, ports, hostname).encode())
    _write(layout.gres_conf, gres_conf(layout, shape).encode())
    if shape.accounting:
        text = slurmdbd_conf(layout, ports, hostname)
        _write(layout.slurmdbd_conf, text.encode(), mode=0o600)


def clear(layout: Layout) -> None:
    """Remove what was laid out and what the daemons added, and the folder if that was all."""
    for path in layout.made():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not any(layout.folder.iterdir()):
        layout.folder.rmdir()


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.touch(mode=0o600)
    path.chmod(mode)
    path.write_bytes(content)


def _make_device(path: Path) -> None:
    """A character device like the null device: SLURM gives no numbers to plain files."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        raise LoopbackError(
            f"gpus: {path} cannot be made, for this container may make no devices; "
            "give it the capability MKNOD, or take gpus=0"
        ) from None
