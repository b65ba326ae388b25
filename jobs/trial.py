"""A trial from its θ0 to its rows, in one call."""

from __future__ import annotations

from jobs.records import TrialResult
from jobs.spec import NAMES, Trial
from jobs.starts import started


def run_trial(
    trial: Trial, *, device: str = "cpu", threads: int | None = None, progress: bool = False
) -> TrialResult:
    """Run a trial to its end, here and now.

    Args:
        trial: what to compute.
        device: a torch device.
        threads: CPU threads; None leaves torch's own number.
        progress: show steps, loss and the next threshold, in a terminal or a notebook.

    Raises:
        DatasetError: the dataset is not there, or too small.
        NoStartError: it is to begin at a state that its parent never reaches.
    """
    ongoing = started(trial, device=device, threads=threads)
    if not progress:
        ongoing.advance()
        return ongoing.result()
    # In a notebook its import looks for widgets, and warns where there are none.
    from tqdm.auto import tqdm

    eta = trial.learning_rate
    name = NAMES[trial.kind] if eta is None else f"{NAMES[trial.kind]} at η = {eta:g}"
    # The steps until the end are not known: a bar would promise them.
    with tqdm(desc=name, unit=" steps") as bar:

        def show() -> bool:
            bar.update(ongoing.step - bar.n)
            epsilon = next(iter(ongoing.pending), None)
            bar.set_postfix(loss=ongoing.at.loss, epsilon=epsilon, refresh=False)
            return False

        ongoing.advance(show)
        show()
    return ongoing.result()
