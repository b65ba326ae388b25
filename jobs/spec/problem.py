"""A problem: everything that fixes the initial parameters θ0 and the training loss L."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jobs.spec.dataset_name import parse
from jobs.spec.loss_name import loss_name
from jobs.spec.network_name import FACTORY_ARGUMENTS, custom_network, network_name
from jobs.spec.values import SpecError, one_of, positive, whole

ARCHITECTURES = ("fcn", "cnn", "resnet", "vit", "diagonal", "diagonal-difference")
ACTIVATIONS = ("relu", "tanh", "gelu", "elu", "softplus")
PARAMETERIZATIONS = ("standard", "ntk", "mup")
ALIASES = {"kernel": "ntk"}
"""Other names of parameterizations."""
NORMALIZATIONS = ("scalar", "feature", "channel", "none")
DTYPES = ("float32", "float64")

_SEEDED = re.compile(r"seeded-(0|[1-9][0-9]{0,17})")

SIZES: dict[str, dict[str, Any]] = {
    "fcn": {"width": 200, "depth": 2, "activation": "relu"},
    "cnn": {"width": 32, "depth": 2, "activation": "relu"},
    "resnet": {"width": 16, "depth": 3, "activation": "relu"},
    "vit": {"width": 64, "depth": 4, "activation": "gelu"},
    "diagonal": {"width": None, "depth": 2, "activation": None},
    "diagonal-difference": {"width": None, "depth": 2, "activation": None},
}
"""Defaults by architecture; None where the architecture has no such size."""

CUSTOM_NETWORK_SIZES: dict[str, Any] = {"width": 64, "depth": 2, "activation": "relu"}
"""Defaults of custom networks whose factory takes these."""

UNSEEDED = ("diagonal", "diagonal-difference")
"""Networks whose initial parameters are not random."""

LEAST_DEPTH = {"cnn": 1, "resnet": 1, "vit": 1, "diagonal": 2, "diagonal-difference": 2}
"""A fully connected network of depth 0 is the linear model."""

WIDTH_STEP = {"resnet": 8, "vit": 8}
"""The width is a multiple of this: residual networks normalise 8 groups of channels, and a vision
transformer has a head for every 8 of its width."""

MOST_TRAIN = 10_000_000
"""Training samples: of a thousand numbers each, the longest of synthetic ones, they are 40 GB."""
MOST_WIDTH = 100_000
"""A layer between two of this width has 10¹⁰ weights: 40 GB for each vector of the size of θ."""
MOST_DEPTH = 1_000
"""About as deep as networks have been trained; each layer takes time to build before anything is
computed."""

NORMALIZED: dict[str, str] = {
    "mnist-mini": "scalar",
    "digits": "scalar",
    "mnist": "scalar",
    "fashion-mnist": "scalar",
    "cifar10": "feature",
}
"""Default standardisation of datasets; that of others is ``none``."""

ONE_CHANNEL = ("mnist-mini", "digits", "mnist", "fashion-mnist")
"""Datasets of which ``channel`` is the same as ``scalar``."""


def default_normalization(dataset: str) -> str:
    """The default standardisation of a dataset's inputs."""
    return NORMALIZED.get(dataset.partition("(")[0], "none")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything that fixes the initial parameters θ0 and the training loss L.

    A field that is None, or not given, gets the default of the architecture or dataset. A
    field that the architecture or parameterization has no use for is None, whatever was given, so
    that problems which differ in it alone are equal: width and activation of a network of depth 0,
    the seed of a diagonal network, what the factory of a custom network does not take.
    So are other problems that compute the same: at the base width, and where there is no width,
    ``ntk`` and ``mup`` are ``standard``; for images of one channel ``channel`` is ``scalar``.

    Attributes:
        dataset: its name, with options in brackets where it has any: ``point(x=[2, 1], ...)``;
            see :mod:`jobs.spec.dataset_name`.
        n_train: training samples.
        subset: which ones: the ``first``; ``balanced``: the first of each class, as many of each;
            ``seeded-K``: drawn without replacement by the generator of seed K.
        normalization: how inputs are standardised: by one mean and deviation (``scalar``), by those
            of each input (``feature``) or of each colour (``channel``), or ``none``.
        architecture: its name, or ``FILE.py:FACTORY(ARGUMENTS)@DIGEST`` for a custom network,
            as in ``net.py:build(width, depth)@0123456789abcdef``: in brackets those of width,
            depth and activation that the factory takes, then the first 16 hex digits of the
            SHA-256 of the file.
        width: units, channels or embedding size; None for diagonal networks and linear models.
        depth: layers or blocks; see the architecture.
        loss: ``mse`` is ½ Σ over outputs, ``mse_mean`` the mean over outputs without the ½ (as
            torch's MSELoss); ``ce`` is cross-entropy, with label smoothing as
            ``ce(smoothing=0.1)``; ``logistic`` that of one output for labels ±1; ``huber`` is the
            sum over outputs of Huber's function, quadratic up to ``huber(delta=1)``. Or
            ``FILE.py:FUNCTION@DIGEST``, a function of outputs and labels that gives the loss of
            each sample. All are means over samples.
        weight_decay: λ of ½ λ ‖θ‖², which is added to the loss that is minimised; None for none,
            which 0 is, too.
        parameterization: ``standard``, ``ntk`` (or ``kernel``) or ``mup``.
        base_width: the width at which ``ntk`` and ``mup`` are the standard parameterization.
        init_scale: multiplies all initial parameters.
        seed: of the initial parameters; 0 unless given, None for diagonal networks.

    Raises:
        SpecError: a field has a value that no problem can have.
    """

    dataset: str
    n_train: int
    subset: str = "first"
    normalization: str | None = None
    architecture: str = "fcn"
    width: int | None = None
    depth: int | None = None
    activation: str | None = None
    loss: str = "mse"
    weight_decay: float | None = None
    parameterization: str = "standard"
    base_width: int | None = None
    init_scale: float = 1.0
    seed: int | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str) or not self.dataset:
            raise SpecError("dataset", self.dataset, "the name of a dataset")
        self._set("dataset", str(parse(self.dataset)))
        whole("n_train", self.n_train, 1, MOST_TRAIN)
        self._settle_data()
        self._settle_network()
        if not isinstance(self.loss, str):
            raise SpecError("loss", self.loss, "the name of a loss")
        self._set("loss", str(loss_name(self.loss)))
        self._settle_weight_decay()
        self._settle_parameterization()
        self._set("init_scale", positive("init_scale", self.init_scale))
        self._settle_seed()
        one_of("dtype", self.dtype, DTYPES)

    def _settle_data(self) -> None:
        if not isinstance(self.subset, str) or not (
            self.subset in ("first", "balanced") or _SEEDED.fullmatch(self.subset)
        ):
            raise SpecError("subset", self.subset, "first, balanced, or seeded-K with a seed K")
        if self.normalization is None:
            self._set("normalization", default_normalization(self.dataset))
        one_of("normalization", self.normalization, NORMALIZATIONS)
        if self.normalization == "channel" and self.dataset.partition("(")[0] in ONE_CHANNEL:
            self._set("normalization", "scalar")

    def _settle_network(self) -> None:
        named = self.architecture
        own = custom_network(named) if isinstance(named, str) else None
        if own is not None:
            self._set("architecture", str(own))
            arguments = own.arguments or ()
            sizes = {f: v if f in arguments else None for f, v in CUSTOM_NETWORK_SIZES.items()}
        elif isinstance(named, str) and network_name(named) is not None:
            raise SpecError(
                "architecture",
                named,
                "FILE.py:FACTORY(ARGUMENTS)@DIGEST for a custom network: in brackets those of "
                f"{', '.join(FACTORY_ARGUMENTS)} that the factory takes, then the first 16 hex "
                "digits of the file's SHA-256",
            )
        else:
            one_of("architecture", named, ARCHITECTURES)
            sizes = SIZES[named]
        for field, default in sizes.items():
            if default is None or getattr(self, field) is None:
                self._set(field, default)
        if self.depth is not None:
            whole("depth", self.depth, LEAST_DEPTH.get(named, 0), MOST_DEPTH)
        if named == "fcn" and self.depth == 0:
            self._set("width", None)
            self._set("activation", None)
        if self.width is not None:
            self._check_width("width")
        if named == "diagonal-difference" and self.depth != 2:
            raise SpecError("depth", self.depth, "2 for diagonal-difference")
        if self.activation is not None:
            one_of("activation", self.activation, ACTIVATIONS)

    def _settle_weight_decay(self) -> None:
        if self.weight_decay is None or self.weight_decay == 0:
            self._set("weight_decay", None)
            return
        self._set("weight_decay", positive("weight_decay", self.weight_decay))

    def _settle_parameterization(self) -> None:
        named = self.parameterization
        if isinstance(named, str):
            self._set("parameterization", ALIASES.get(named, named))
        one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        if self.parameterization == "standard" or self.width is None:
            self._set("parameterization", "standard")
            self._set("base_width", None)
            return
        if self.base_width is None:
            raise SpecError(
                "base_width",
                None,
                f"a whole number of at least 1 for {self.parameterization}: the width at which it "
                "is the standard parameterization",
            )
        self._check_width("base_width")
        if self.width == self.base_width:
            self._set("parameterization", "standard")
            self._set("base_width", None)

    def _settle_seed(self) -> None:
        if self.architecture in UNSEEDED:
            self._set("seed", None)
            return
        self._set("seed", 0 if self.seed is None else self.seed)
        whole("seed", self.seed, 0)

    def _check_width(self, field: str) -> None:
        value, step = getattr(self, field), WIDTH_STEP.get(self.architecture, 1)
        whole(field, value, 1, MOST_WIDTH)
        if value % step:
            raise SpecError(field, value, f"a multiple of {step} for {self.architecture}")

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)


def sizes(problem: Problem) -> str:
    """Width and depth in words, ``of width 8 and depth 2``, each where it is not None."""
    said = {"width": problem.width, "depth": problem.depth}
    words = [f"{name} {value}" for name, value in said.items() if value is not None]
    return f"of {' and '.join(words)}" if words else ""
