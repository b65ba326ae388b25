"""Official dataset files: what they are, how they get here, and whether they are what they were."""

from orchestrator.data.download import DownloadError
from orchestrator.data.fetch import Fetched, fetch
from orchestrator.data.official import OFFICIAL, CheckedFile, anything_there, check

__all__ = [
    "OFFICIAL",
    "CheckedFile",
    "DownloadError",
    "Fetched",
    "anything_there",
    "check",
    "fetch",
]
