"""The devices that a sweep would be computed on, as far as their speed is known without a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from jobs.batch_bounds import BatchBounds
from jobs.device_speed import DeviceSpeed
from orchestrator.cluster import Allocation
from orchestrator.engine.calibration import kept
from orchestrator.engine.devices import pays_by, with_devices
from orchestrator.plan.cost import prior_seconds_per_gradient, seconds_at_speed
from orchestrator.plan.known_cards import known_card
from orchestrator.sweep import Column


@dataclass(frozen=True)
class PlannedDevices:
    """Devices by kind, ``cpu`` and ``cuda``: their speeds, and in words where these come from.

    ``bounds`` are those that were measured with the speed.
    """

    speeds: Mapping[str, DeviceSpeed] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, BatchBounds] = field(default_factory=dict)

    @classmethod
    def named(cls, names: Mapping[str, str | None]) -> Self:
        """Those of these names by kind: as measured, else a known card as its maker describes it;
        of any other nothing is known.
        """
        speeds, sources, bounds = {}, {}, {}
        for kind, name in names.items():
            if name is None:
                continue
            if (calibration := kept(kind, name)) is not None:
                speeds[kind], bounds[kind] = calibration.speed, calibration.bounds
                sources[kind] = f"the speed measured of {name}"
            elif kind == "cuda" and (card := known_card(name)) is not None:
                speeds[kind], sources[kind] = card, f"the speed of {name} by its maker"
        return cls(speeds, sources, bounds)

    def columns(self, columns: Iterable[Column], allocation: Allocation) -> tuple[Column, ...]:
        """The columns, with a GPU for each that leaves it open and that pays on one: as a run
        decides it where the GPU was measured, else where it is faster than its share of the cores.
        """
        columns = tuple(columns)
        if (gpu := self.speeds.get("cuda")) is None:
            return columns
        if "cuda" in self.bounds:
            return with_devices(columns, allocation, pays_by(self.bounds))
        share = allocation.cpus / (allocation.gpus or 1)
        with_gpus = with_devices(columns, allocation, lambda problem: True)
        return tuple(
            on_gpu if seconds_at_speed(on_gpu, gpu) < self._of_a_core(on_cpu) / share else on_cpu
            for on_cpu, on_gpu in zip(columns, with_gpus, strict=True)
        )

    def _of_a_core(self, column: Column) -> float:
        """Seconds of a gradient there."""
        if (core := self.speeds.get("cpu")) is None:
            return prior_seconds_per_gradient(column)
        return seconds_at_speed(column, core)
