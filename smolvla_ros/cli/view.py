"""Watch the arm in a browser: cameras, the arm and its chunk in 3D, why it holds; say, stop, resume.

    smolvla-ros view
    smolvla-ros view --namespace left --port 8081
    smolvla-ros view --host 0.0.0.0         from a phone or another machine; the address has a token

Prints its address. It is reached from this machine only, unless --host says otherwise: then the address has a token.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `view`."""
    parser.add_argument("--namespace", default="", help="namespace of the arm")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: reachable from the "
                        "network, with a token in the address (default: 127.0.0.1)")  # fmt: skip
    parser.add_argument("--port", type=int, default=8080, help="default: 8080; 0: any that is free")


def run(args: argparse.Namespace) -> int:
    """Serves the view until Ctrl-C; 1 if the port cannot be used."""
    with args.signals.deferred():
        return _serve(args)


def _serve(args: argparse.Namespace) -> int:
    from smolvla_ros.client import ArmClient
    from smolvla_ros.nodes.view_node import ViewNode, watch
    from smolvla_ros.view.gate import Gate
    from smolvla_ros.view.page import Page
    from smolvla_ros.view.watched import Watched

    watched = Watched()
    local = args.host in ("127.0.0.1", "localhost", "::1")
    with ArmClient("view_node", args.namespace) as client, ExitStack() as ended:
        node = ViewNode(client, watched)
        try:
            page = Page(args.host if local else "127.0.0.1", args.port if local else 0, node)
            ended.callback(page.close)
            gate = None if local else Gate(args.host, args.port, page.port)
        except OSError as error:
            where = f"{args.host}:{args.port}"
            print(f"smolvla-ros view: cannot listen on {where}: {error}; another --port?", file=sys.stderr)
            return 1
        if gate is not None:
            ended.callback(gate.close)
        node.page = page
        print("view: " + (f"http://{args.host}:{gate.port}/?token={gate.token}" if gate else
                          f"http://localhost:{page.port}"), flush=True)  # fmt: skip
        args.signals.kept = "the arm goes on without being watched"
        watch(node, watched, page, args.signals.check)
