"""How far each unfinished trial was logged, so that a resumed one is not logged twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store import write_bytes_whole


@dataclass(frozen=True)
class Logged:
    """The last ``step`` that was logged of a trial, and the sink's own name of its ``run``."""

    step: int = -1
    run: str | None = None


class LoggedSteps:
    """A small file in the sink's folder for each trial that is logged and has not ended.

    It is written before its steps are logged: after a kill some may be missing in the sink, but
    none is there twice; the tables have them all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".steps"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, trial_id: str) -> Logged:
        """How far a trial was logged; nothing of it where there is no file or no sense in it."""
        try:
            content = json.loads(self._path(trial_id).read_text())
            return Logged(int(content["step"]), content["run"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return Logged()

    def write(self, trial_id: str, logged: Logged) -> None:
        """Note how far a trial is logged."""
        text = json.dumps({"step": logged.step, "run": logged.run})
        write_bytes_whole(self._path(trial_id), text.encode())

    def forget(self, trial_id: str) -> None:
        """A trial that has ended is never resumed."""
        self._path(trial_id).unlink(missing_ok=True)

    def _path(self, trial_id: str) -> Path:
        return self._folder / trial_id
