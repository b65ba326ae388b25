"""Cluster profiles: what they mean, and the sentence for each that cannot be used."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest

from orchestrator.slurm.profile import Profile, limit_seconds, load_profile, parse_profile
from orchestrator.sweep import SweepError

PROFILES = Path(__file__).parents[3] / "configs" / "clusters"
LEAST = "cpus_per_node: 4\n"


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("time: 1:30:00", 5400),  # YAML 1.1 reads 5400 here, which SLURM would take for minutes
        ("time: '1:30:00'", 5400),
        ("time: 3:20", 200),  # and 200 here
        ("time: 90", 5400),
        ("time: 010", 600),  # and 8 here
        ("time: 1-12", 129_600),
    ],
)
def test_a_time_is_what_stands_in_the_file(line: str, seconds: float) -> None:
    assert parse_profile(LEAST + line).seconds == seconds


def test_names_are_text_however_yaml_would_read_them() -> None:
    profile = parse_profile(
        LEAST + "account: 0123\npartition: on\nmemory_per_node: 0\nextra: {nice: 0100, hold: true}"
    )
    assert (profile.account, profile.partition, profile.memory_per_node) == ("0123", "on", "0")
    assert profile.extra == {"nice": "0100", "hold": True}


def test_what_is_left_out_or_null_is_left_to_the_site() -> None:
    assert parse_profile(LEAST) == parse_profile(LEAST + "account: null\nqos: ~\ntime:")
    assert parse_profile(LEAST).account is None


def test_a_profile_travels_in_a_pickle() -> None:
    profile = load_profile(PROFILES / "example.yaml")
    assert pickle.loads(pickle.dumps(profile)) == profile


def test_the_example_has_every_key_and_the_loopback_one_is_valid() -> None:
    text = (PROFILES / "example.yaml").read_text()
    assert [key for key in Profile.model_fields if f"\n{key}:" not in text] == []
    assert load_profile(PROFILES / "loopback.yaml").interface == "lo"


WRONG = {
    "partitoin: main": "partitoin is not a known key; did you mean partition?",
    "nodes: 0": "nodes is 0; it must be a whole number of at least 1, the nodes of each job",
    "nodes: true": "nodes is true; it must be a whole number of at least 1",
    "gpus_per_node: -1": "gpus_per_node is -1; it must be a whole number of at least 0",
    "cpus_per_node: 1.5": "cpus_per_node is 1.5; it must be a whole number of at least 1",
    "memory_per_node: 64 gigs": "memory_per_node is '64 gigs'; it must be memory as SLURM takes it",
    "time: 1h": "time is '1h'; it must be a time limit as SLURM takes it: minutes, MM:SS,",
    "temp_root: scratch": "temp_root is 'scratch'; it must be an absolute path of at most 40 bytes",
    "temp_root: /" + "s" * 40: "on a disk of the node itself, such as /tmp",
    "interface: eth 0": "interface is 'eth 0'; it must be the name of a network interface",
    "setup: module load x": "setup is 'module load x'; it must be a list of shell lines",
    "extra: [a]": "extra is ['a']; it must be a block of sbatch options",
    "extra: {n: 4}": "extra has the key 'n'; it must be the long name of an sbatch option",
    "extra: {array: 0-9}": "extra.array is '0-9'; it must be left out: jobs share a run",
    "extra: {ntasks_per_node: 2}": "extra.ntasks_per_node is '2'; it must be left out",
    "extra: {gres: 'gpu:2'}": "extra.gres is 'gpu:2'; it must be left out: the profile has the key "
    "gpus_per_node for it",
    "extra: {output: x.log}": "extra.output is 'x.log'; it must be left out",
    "extra: {hold: false}": "extra.hold is false; it must be one line of text, or true",
    'extra: {comment: "a\\n#SBATCH --uid=0"}': "it must be one line of text, or true",
    'account: "a\\nb"': "account is 'a\\nb'; it must be the account that pays for the jobs",
    "max_timeouts: -1": "max_timeouts is -1; it must be a whole number of at least 0",
    "stop_seconds_before_end: 70000": "it must be a whole number from 1 to 65535",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_profile_is_one_sentence(line: str) -> None:
    text = line if line.startswith("cpus_per_node") else LEAST + line
    with pytest.raises(SweepError) as caught:
        parse_profile(text)
    assert WRONG[line] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_or_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"^cpus_per_node is missing; it must be a whole number"):
        parse_profile("nodes: 2")
    with pytest.raises(SweepError, match=r"the cluster profile '.*no.yaml' does not exist"):
        load_profile(tmp_path / "no.yaml")


def test_the_lines_for_the_shell_are_left_to_the_shell() -> None:
    line = '[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || source ${HOME}/venv/bin/activate'
    assert parse_profile(f"cpus_per_node: 1\nsetup: ['{line}']").setup == (line,)
    with pytest.raises(SweepError, match=r"partition is '\$\{X\}'; it must be a plain value"):
        parse_profile("cpus_per_node: 1\npartition: ${X}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * 60),
        ("1:30", 90),
        ("1:30:00", 5400),
        ("01:30:00", 5400),
        ("1-0", 86_400),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
        ("-1", math.inf),
        ("0", math.inf),
    ],
)
def test_every_form_of_slurm_is_read(text: str, seconds: float) -> None:
    assert limit_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "1:2:3:4", "1-", "-5", "1.5", "1-2-3", "1_000", "0x10"])
def test_what_slurm_does_not_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="D-HH"):
        limit_seconds(text)


def test_minutes_are_rounded_up_as_slurm_does() -> None:
    assert parse_profile("cpus_per_node: 1\ntime: '1:30'").minutes == 2
    assert parse_profile("cpus_per_node: 1\ntime: UNLIMITED").minutes is None
