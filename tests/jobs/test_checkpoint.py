import dataclasses
import functools
import json
import os
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jobs import OngoingTrial, checkpoint, run_trial
from jobs.checkpoint import CheckpointError
from jobs.spec import FURTHER_MEASURES

GD = {"learning_rate": 0.08}
RK4, RKC2 = ({"learning_rate": None, "flow_method": name} for name in ("rk4", "rkc2"))
KINDS = pytest.mark.parametrize("kind", [GD, RK4, RKC2], ids=["gd", "rk4", "rkc2"])
SEVERAL = {"n_train": 20, "epsilons": (0.4, 0.3, 0.2), "trajectory_every": 7}


@functools.cache
def _whole(spec):
    """What a trial finds that nothing interrupts."""
    return run_trial(spec, threads=1)


@functools.cache
def _content(spec, step):
    """The checkpoint of a trial at a step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint")
        _advanced(spec, step).save(path)
        return path.read_bytes()


def _advanced(spec, step):
    run = OngoingTrial(spec, threads=1)
    run.advance(lambda: run.step >= step)
    return run


def _restored(spec, path):
    run = OngoingTrial(spec, threads=1)
    run.restore(path)
    return run


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(GD, "float64"), (RK4, "float32"), (RKC2, "float32"), (RKC2, "float64")],
    ids=["gd", "rk4", "rkc2-single", "rkc2-double"],
)
def test_a_run_that_was_interrupted_ends_with_the_same_bits(trial, tmp_path, kind, dtype):
    spec = trial(**kind, dtype=dtype, **SEVERAL)
    whole = _whole(spec)
    crossed = [crossing.steps for crossing in whole.crossings]
    assert len(set(crossed)) == 3
    around = {step + shift for step in crossed for shift in (-1, 0, 1)}
    run = OngoingTrial(spec, threads=1)
    for step in sorted({0, 1, 7} | around):
        run.advance(lambda step=step: run.step >= step)
        run.save(tmp_path / "checkpoint")
        again = _restored(spec, tmp_path / "checkpoint")
        assert again.step == run.step
        assert again.finished == run.finished
        again.advance()
        # Crossings hold the counters of gradients and products, too.
        assert again.result() == whole


MEASURED = {
    "also": FURTHER_MEASURES,
    "eigenvalues": 2,
    "midpoint": True,
    "probes": 3,
}


@KINDS
def test_a_run_that_was_interrupted_has_the_same_further_measures(trial, tmp_path, kind):
    spec = trial(**kind, **SEVERAL, **MEASURED)
    whole = _whole(spec)
    crossed = [crossing.steps for crossing in whole.crossings]
    run = OngoingTrial(spec, threads=1)
    for step in sorted({0, 1, crossed[0], crossed[0] + 1, crossed[1] - 1, crossed[2]}):
        run.advance(lambda step=step: run.step >= step)
        run.save(tmp_path / "checkpoint")
        again = _restored(spec, tmp_path / "checkpoint")
        again.advance()
        assert again.result() == whole
    assert all(crossing.measures for crossing in whole.crossings)


def test_the_file_has_the_flow_beside_gd(trial, tmp_path):
    spec, path = trial(**SEVERAL, also=("distance_from_flow",)), tmp_path / "checkpoint"
    _advanced(spec, 25).save(path)
    with safe_open(path, framework="np") as file:
        kept = {"theta", "previous", "eigenvectors"}
        assert set(file.keys()) == {*kept, *("flow_" + name for name in kept), "trajectory"}
    flow = checkpoint.load(path, spec.trial_id).recorded.flow
    # GD has come to 25 η; its last look was a step earlier, and the flow a step behind that.
    assert flow.previous_time < 23 * 0.1 <= flow.time


@pytest.mark.parametrize("lost", ["flow", "flow_theta", "flow_previous"])
def test_a_file_that_lacks_the_flow_beside_gd_is_refused(trial, tmp_path, lost):
    spec, path = trial(**SEVERAL, also=("distance_from_flow",)), tmp_path / "checkpoint"
    _advanced(spec, 25).save(path)
    _rewritten(path, lambda tensors, state, _: (state if lost == "flow" else tensors).pop(lost))
    _refused(spec, path)


@KINDS
def test_saving_does_not_change_the_run_itself(trial, tmp_path, kind):
    spec = trial(**kind, **SEVERAL)
    run = OngoingTrial(spec, threads=1)
    while not run.finished:
        run.save(tmp_path / "checkpoint")
        goal = run.step + 6
        run.advance(lambda goal=goal: run.step >= goal)
    assert run.result() == _whole(spec)


@KINDS
def test_a_run_may_be_interrupted_many_times(trial, tmp_path, kind):
    spec = trial(**kind, **SEVERAL)
    run = OngoingTrial(spec, threads=1)
    interruptions = 0
    while not run.finished:
        run.save(tmp_path / "checkpoint")
        run = _restored(spec, tmp_path / "checkpoint")
        goal = run.step + 5
        run.advance(lambda run=run, goal=goal: run.step >= goal)
        interruptions += 1
    assert interruptions > 5
    assert run.result() == _whole(spec)


@KINDS
def test_a_finished_run_can_be_saved_and_restored(trial, tmp_path, kind):
    spec = trial(**kind, **SEVERAL)
    run = _advanced(spec, 10**9)
    run.save(tmp_path / "checkpoint")
    again = _restored(spec, tmp_path / "checkpoint")
    assert again.finished
    assert again.result() == run.result()


@KINDS
def test_a_run_can_go_back_to_its_own_checkpoint(trial, tmp_path, kind):
    spec = trial(**kind, **SEVERAL)
    run = _advanced(spec, 9)
    run.save(tmp_path / "checkpoint")
    run.advance(lambda: run.step >= 30)
    run.restore(tmp_path / "checkpoint")
    assert run.step == 9
    run.advance()
    assert run.result() == _whole(spec)


def test_the_length_of_the_next_step_is_kept(trial, tmp_path):
    spec, path = trial(**RKC2, **SEVERAL), tmp_path / "checkpoint"
    lengths = []
    for step in (0, 1, 12, 25):
        _advanced(spec, step).save(path)
        lengths.append(checkpoint.load(path, spec.trial_id).method["h"])
        # Saved again without a step in between, it is still the same.
        _restored(spec, path).save(path)
        assert checkpoint.load(path, spec.trial_id).method["h"] == lengths[-1]
    # None is known before the first step; later it is what the error of the last one allows.
    assert lengths[0] < 0
    assert min(lengths[1:]) > 0
    assert len(set(lengths)) == 4


def test_a_run_that_diverged_or_ran_out_of_steps_can_be_restored(trial, tmp_path):
    for spec in (trial(5.0, **SEVERAL), trial(0.05, max_steps=3, **SEVERAL)):
        run = _advanced(spec, 10**9)
        assert run.result().crossings[-1].status != "reached"
        run.save(tmp_path / "checkpoint")
        assert _restored(spec, tmp_path / "checkpoint").result() == run.result()


def _flat(value):
    """The value with lists in place of dataclasses and tensors."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return [_flat(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return [_flat(one) for one in value] if isinstance(value, tuple) else value


def test_a_loaded_checkpoint_is_the_saved_one(trial, tmp_path):
    spec = trial(**SEVERAL)
    run = _advanced(spec, 25)
    run.save(tmp_path / "one")
    loaded = checkpoint.load(tmp_path / "one", spec.trial_id)
    checkpoint.save(tmp_path / "two", loaded)
    again = checkpoint.load(tmp_path / "two", spec.trial_id)
    assert _flat(loaded) == _flat(again)
    assert loaded.at.step == 25
    assert loaded.trial_id == spec.trial_id
    # Every seventh step, and where a threshold was crossed.
    crossed = {crossing.steps for crossing in loaded.recorded.crossings}
    assert len(crossed) >= 1
    assert {point.step for point in loaded.recorded.trajectory} == {0, 7, 14, 21} | crossed


def test_the_file_is_plain_safetensors(trial, tmp_path):
    spec = trial(**SEVERAL)
    _advanced(spec, 25).save(tmp_path / "checkpoint")
    with safe_open(tmp_path / "checkpoint", framework="np") as file:
        assert set(file.keys()) == {"theta", "previous", "eigenvectors", "trajectory"}
        assert file.get_tensor("theta").shape == (64 * 8 + 8 + 8 * 10 + 10,)
        assert file.get_tensor("theta").dtype == "float64"
        state = json.loads(file.metadata()["state"])
    assert state["step"] == 25
    assert state["trial_id"] == spec.trial_id


def test_without_a_checkpoint_the_run_stays_as_it_was(trial, tmp_path):
    run = OngoingTrial(trial(), threads=1)
    with pytest.raises(FileNotFoundError, match="nothing"):
        run.restore(tmp_path / "nothing")
    run.advance()
    assert run.result() == _whole(trial())


def _rewritten(path, change):
    """The same file with its tensors and metadata changed."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    state = json.loads(metadata["state"])
    change(tensors, state, metadata)
    save_file(tensors, path, metadata | {"state": json.dumps(state)})


DAMAGES = {
    "no trajectory": lambda tensors, state, metadata: tensors.pop("trajectory"),
    "no theta": lambda tensors, state, metadata: tensors.pop("theta"),
    "no step": lambda tensors, state, metadata: state.pop("step"),
    "a new field": lambda tensors, state, metadata: state.update(more=1),
    "a broken row": lambda tensors, state, metadata: state.update(crossings=[{"epsilon": 0.3}]),
    "another format": lambda tensors, state, metadata: metadata.update(format="999"),
    "no format": lambda tensors, state, metadata: metadata.pop("format"),
    "a column too few": lambda tensors, state, metadata: tensors.update(
        trajectory=torch.zeros(2, 7, dtype=torch.float64)
    ),
    "a column too many": lambda tensors, state, metadata: tensors.update(
        trajectory=torch.zeros(2, 15, dtype=torch.float64)
    ),
    "float32": lambda tensors, state, metadata: tensors.update(theta=tensors["theta"].float()),
    "short previous": lambda tensors, state, metadata: tensors.update(
        previous=tensors["previous"][:-1].clone()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_with_other_contents_is_refused_by_name(trial, tmp_path, damage):
    path = tmp_path / "checkpoint"
    path.write_bytes(_content(trial(), 25))
    _rewritten(path, DAMAGES[damage])
    _refused(trial(), path)


def _refused(spec, path, match=None):
    run = OngoingTrial(spec, threads=1)
    with pytest.raises(CheckpointError, match=match) as caught:
        run.restore(path)
    assert str(path) in str(caught.value)
    # Nothing of the file was taken up.
    run.advance()
    assert run.result() == _whole(spec)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 0.3, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused(trial, tmp_path, kept):
    path = tmp_path / "checkpoint"
    content = _content(trial(), 25)
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    _refused(trial(), path, "damaged")


@pytest.mark.parametrize("position", [0, 3, 7, 8, 20])
def test_a_damaged_header_is_refused(trial, tmp_path, position):
    path = tmp_path / "checkpoint"
    content = bytearray(_content(trial(), 25))
    content[position] ^= 0xFF
    path.write_bytes(content)
    _refused(trial(), path)


def test_a_checkpoint_of_another_trial_is_refused(trial, tmp_path):
    path = tmp_path / "checkpoint"
    other = trial(0.07)
    _advanced(other, 25).save(path)
    _refused(trial(), path, f"{other.trial_id}.*{trial().trial_id}")


def test_a_foreign_safetensors_file_is_refused(trial, tmp_path):
    path = tmp_path / "checkpoint"
    save_file({"weight": torch.zeros(3)}, path)
    _refused(trial(), path)


class _Payload:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_is_refused_and_never_run(trial, tmp_path, write):
    path, mark = tmp_path / "checkpoint", tmp_path / "was-run"
    with path.open("wb") as file:
        write(_Payload(mark), file)
    _refused(trial(), path, "damaged")
    assert not mark.exists()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_checkpoint(trial, tmp_path, monkeypatch, error):
    path, spec = tmp_path / "checkpoint", trial()
    run = _advanced(spec, 10)
    run.save(path)
    before = path.read_bytes()
    run.advance(lambda: run.step >= 20)

    def fail(tensors, temporary, metadata):
        temporary.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(type(error)):
        run.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert _restored(spec, path).step == 10
    # The run itself goes on unharmed.
    run.advance()
    assert run.result() == _whole(spec)


def test_a_folder_that_is_not_there_is_an_error(trial, tmp_path):
    with pytest.raises(Exception, match="No such file"):
        OngoingTrial(trial(), threads=1).save(tmp_path / "missing" / "checkpoint")


def test_an_older_checkpoint_loads_and_lacks_the_later_fields(trial, tmp_path):
    """Points had 8 numbers, and nothing was known of the losses on the way."""
    spec, path = trial(0.05, trajectory_every=7, epsilons=(0.2,)), tmp_path / "checkpoint"
    run = OngoingTrial(spec, threads=1)
    run.advance(lambda: run.step >= 30)
    run.save(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    state = json.loads(metadata["state"])
    del state["previous_loss"], state["loss_rises"], state["preconditioned_since_audit"]
    tensors["trajectory"] = tensors["trajectory"][:, :8].contiguous()
    save_file(tensors, path, {**metadata, "state": json.dumps(state)})
    resumed = OngoingTrial(spec, threads=1)
    resumed.restore(path)
    resumed.advance()
    whole = run_trial(spec, threads=1)
    assert resumed.result().crossings == whole.crossings
    for point, expected in zip(resumed.trajectory, whole.trajectory, strict=True):
        names = ("gradient_norm", "loss_rises", "realised_edge", "preconditioned_sharpness")
        later = dict.fromkeys(names)
        assert dataclasses.replace(point, **later) == dataclasses.replace(expected, **later)
    assert resumed.trajectory[0].gradient_norm is None
    assert resumed.trajectory[-1].realised_edge == whole.trajectory[-1].realised_edge
