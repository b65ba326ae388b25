"""Networks that cannot be used are refused by name; the others have exact second derivatives."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DataParallel, DistributedDataParallel

from jobs.curvature.hessian import Hessian
from jobs.losses import LOSS_SUMS
from jobs.network_requirements import NetworkError
from jobs.objective import Objective
from jobs.parameters import Layout


def _objective(network, features=8, samples=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, features, generator=generator, dtype=dtype)
    layout = Layout.of(network)
    theta = layout.join([p.detach() for p in network.parameters() if p.requires_grad]).to(dtype)
    return Objective(network, layout, LOSS_SUMS["ce"], inputs, torch.arange(samples) % 3), theta


def _refusal(network):
    with pytest.raises(NetworkError) as refused:
        _objective(network)
    return str(refused.value)


def test_batch_normalisation_in_training_mode_mixes_samples_and_is_refused():
    network = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    assert _refusal(network).startswith("module 1 is BatchNorm1d in training mode")
    untracked = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4, track_running_stats=False))
    assert _refusal(untracked.eval()).startswith("module 1 is BatchNorm1d in training mode")


def test_batch_normalisation_in_evaluation_mode_is_exact_and_its_statistics_stay():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))
    network = network.double().eval()
    network[1].running_mean.uniform_(-1, 1)
    before = network[1].running_mean.clone()
    objective, theta = _objective(network)
    _assert_product_is_the_difference_of_gradients(objective, theta)
    assert torch.equal(network[1].running_mean, before)


def test_dropout_is_random_and_refused_unless_it_is_off():
    network = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5), nn.Linear(4, 3))
    assert _refusal(network).startswith("module 1 is Dropout in training mode, which is random")
    _objective(network.eval())


def test_wrapped_networks_are_refused_for_their_gradients_are_means(tmp_path):
    network = nn.Sequential(nn.Linear(8, 3))
    assert _refusal(DataParallel(network)).startswith("module itself is DataParallel, whose")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert "DistributedDataParallel" in _refusal(DistributedDataParallel(network))
    finally:
        torch.distributed.destroy_process_group()


def test_frozen_parameters_are_constants_and_no_part_of_theta():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    network[0].weight.requires_grad_(False)
    objective, theta = _objective(network)
    assert objective.layout.names == ("0.bias", "2.weight", "2.bias")
    assert theta.numel() == 4 + 12 + 3
    _assert_product_is_the_difference_of_gradients(objective, theta)


class _Attention(nn.Module):
    """Attention over 4 tokens of 2 numbers each, between linear layers."""

    def __init__(self, backend=None):
        super().__init__()
        self.mix, self.norm, self.out = nn.Linear(2, 6), nn.LayerNorm(2), nn.Linear(8, 3)
        self.backend = backend

    def forward(self, inputs):
        q, k, v = self.mix(self.norm(inputs.unflatten(1, (4, 2)))).chunk(3, dim=-1)
        if self.backend is None:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            with sdpa_kernel(self.backend):
                mixed = functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])
        return self.out(functional.gelu(mixed).flatten(1))


def test_attention_and_layer_norm_have_exact_second_derivatives():
    torch.manual_seed(0)
    objective, theta = _objective(_Attention().double())
    _assert_product_is_the_difference_of_gradients(objective, theta)


def test_a_module_without_a_second_derivative_is_named():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), _Attention(SDPBackend.FLASH_ATTENTION))
    objective, theta = _objective(network.float(), dtype=torch.float32)
    objective.gradient(theta)
    with pytest.raises(NetworkError, match=r"^module 1 \(_Attention\) has no second derivative"):
        _ = Hessian(objective, theta) @ theta


def _assert_product_is_the_difference_of_gradients(objective, theta):
    vector = torch.randn(theta.shape, generator=torch.Generator().manual_seed(1)).double()
    h = 1e-5
    above, below = (objective.gradient(theta + sign * h * vector)[1] for sign in (1, -1))
    expected = (above - below) / (2 * h)
    product = Hessian(objective, theta) @ vector
    # Truncation h² and rounding 1e-16/h.
    assert float((product - expected).norm()) <= 1e-8 * float(expected.norm())
