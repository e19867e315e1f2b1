"""A front-end on the wire: real HTTP and XML-RPC, with answers that a test lays down."""

import http.server
import threading
import xmlrpc.client
from xmlrpc.client import Fault

import pytest

from oned.cli.command import exit_code


class Refusal:
    """An answer that says no."""

    def __init__(self, text, code=0x2000, number=-1):
        self.array = [False, text, code, number, -1]


class FrontEnd:
    """Answers each call with what ``answers`` has for its method, and remembers the calls."""

    def __init__(self):
        self.answers = {}
        self.calls = []
        self.raw = None
        front_end = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = front_end.answer(body)
                self.send_response(200 if answer else 503)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}/RPC2"

    def answer(self, body):
        if self.raw is not None:
            return self.raw
        parameters, method = xmlrpc.client.loads(body)
        self.calls.append((method, *parameters))
        answer = self.answers.get(method, Fault(-506, f"Method '{method}' not defined"))
        if callable(answer):
            answer = answer(*parameters[1:])
        if isinstance(answer, Fault):
            return xmlrpc.client.dumps(answer).encode()
        array = answer.array if isinstance(answer, Refusal) else [True, answer, 0]
        return xmlrpc.client.dumps((array,), methodresponse=True).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def front_end():
    server = FrontEnd()
    yield server
    server.close()


@pytest.fixture
def refusal():
    return Refusal


class Result:
    """What a command left behind."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a program as oneadmin in an empty home directory."""
    for variable in ("ONE_XMLRPC", "ONE_AUTH", "ONE_XMLRPC_TIMEOUT", "ONE_LOCATION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".one").mkdir()
    (tmp_path / ".one" / "one_auth").write_text("oneadmin:secret\n")

    def run(program, *arguments, **options):
        code = exit_code(program, program.name, [str(item) for item in arguments], **options)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
