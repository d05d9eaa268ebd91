"""A web server on this computer that hands out the archives a test makes."""

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from divseg.segment.stardist.models import Registered


class Site:
    """What the server hands out, by path, and the paths that were asked for."""

    def __init__(self):
        self.files = {}
        self.asked = []
        self.cut_short = 0
        handler = type("Handler", (_Handler,), {"site": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.root = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def offer(self, name, files, **entry):
        """Put an archive of these files on the server; return its entry for a registry."""
        data = archive(files)
        self.files[f"/{name}.zip"] = data
        known = {"ndim": 2, "channels": 1, "about": "made by a test", "licence": "CC0-1.0"}
        known |= {"url": f"{self.root}/{name}.zip", "sha256": hashlib.sha256(data).hexdigest()}
        return Registered(name, **{**known, **entry})


class _Handler(BaseHTTPRequestHandler):
    site = None

    def do_GET(self):
        self.site.asked.append(self.path)
        data = self.site.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) - self.site.cut_short])

    def log_message(self, *words):
        pass


def archive(files):
    """Make a zip archive of (name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files:
            bundle.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


@pytest.fixture
def make_archive():
    return archive
