"""The paper's claims as statements that the tables of a run bear out, refute or leave open."""

from orchestrator.claims.evidence import Evidence, gather
from orchestrator.claims.experiments import CLAIMS, Claim, Verdict, judge

__all__ = ["CLAIMS", "Claim", "Evidence", "Verdict", "gather", "judge"]
