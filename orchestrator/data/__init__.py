"""Official dataset files: their checksums, downloading them, and checking those that are there."""

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
