"""The command ``eos``: one thin function a command."""

from orchestrator.cli.app import main

__all__ = ["main"]
