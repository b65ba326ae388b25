"""One page of a run to read and to hand on: a file without any network, made from tables alone."""

from orchestrator.report.page.page import PAGE_TEXTS, page_of, write_page

__all__ = ["PAGE_TEXTS", "page_of", "write_page"]
