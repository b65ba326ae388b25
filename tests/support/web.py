"""A real web server of files in memory, with the faults that servers have; and proxies."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Web:
    """What is served, how it goes wrong, and what was asked for.

    Attributes:
        files: content by path, or by whole address for a server that is used as a proxy.
        breaks_off: bytes of an answer's body after which the connection is cut, for as many
            answers as there are numbers.
        busy: statuses and Retry-After headers of the first answers, which bring nothing.
        ranges: whether a part can be asked for.
        lengths: whether an answer says how long it is.
        asked: path and Range header of every request.
    """

    files: dict[str, bytes]
    breaks_off: list[int] = field(default_factory=list)
    busy: list[tuple[int, str | None]] = field(default_factory=list)
    ranges: bool = True
    lengths: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    """The files at ``web.address``, which ends in a slash, on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            web.asked.append((self.path, asked))
            if web.busy:
                status, wait = web.busy.pop(0)
                self.send_response(status)
                if wait is not None:
                    self.send_header("Retry-After", wait)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = web.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            begin = 0
            if asked is not None and web.ranges:
                begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                self.send_response(206)
                end = len(content)
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{end}")
            else:
                self.send_response(200)
            body = content[begin:]
            if web.lengths:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: web.breaks_off.pop(0)] if web.breaks_off else body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    web.address = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
