"""The token in front of the view, over real sockets."""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from smolvla_ros.view.gate import COOKIE, Gate, admits


@pytest.fixture
def gate():
    """A gate in front of a small web server."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the page")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    gate = Gate("127.0.0.1", 0, server.server_port)
    yield gate
    gate.close()
    server.shutdown()
    server.server_close()
    thread.join()


def get(gate: Gate, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/assets/index.js"])
def test_without_the_token_nothing_is_passed_on(gate, path):
    answer = get(gate, path)
    assert answer.status == 403
    assert b"the page" not in answer.read()


def test_a_wrong_cookie_does_not_open(gate):
    assert get(gate, "/", Cookie=f"{COOKIE}=wrong").status == 403


def test_the_address_with_the_token_leaves_a_cookie_that_opens(gate):
    first = get(gate, f"/?token={gate.token}")
    assert (first.status, first.headers["Location"]) == (303, "/")
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    second = get(gate, "/", Cookie=cookie)
    assert (second.status, second.read()) == (200, b"the page")


@pytest.mark.parametrize("head", [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nCookie: \xff;;=\r\n\r\n"])
def test_malformed_requests_are_refused(head):
    assert admits(head, "secret") == (False, False)


def test_a_connection_that_says_nothing_does_not_keep_others_waiting(gate):
    with socket.create_connection(("127.0.0.1", gate.port)):
        assert get(gate, "/").status == 403


def test_a_port_that_is_taken_is_told(gate):
    with pytest.raises(OSError, match="address already in use"):
        Gate("127.0.0.1", gate.port, 1)
