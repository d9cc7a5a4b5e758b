"""Watch the arm in a browser: cameras, the arm and its chunk in 3D, why it holds; say, stop, resume.

Prints its address. It is reached from this machine only, unless --host says otherwise: then the address has a token.
"""

from __future__ import annotations

import argparse
import sys
import threading


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
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from smolvla_ros.nodes.view_node import ViewNode, watch
    from smolvla_ros.view.gate import Gate
    from smolvla_ros.view.page import Page
    from smolvla_ros.view.watched import Watched

    ended = threading.Event()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    watched = Watched()
    node = ViewNode(args.namespace, watched)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    spinning = threading.Thread(target=spin, name="view executor")
    local = args.host in ("127.0.0.1", "localhost", "::1")
    gate = page = None
    try:
        page = Page(args.host if local else "127.0.0.1", args.port if local else 0, node)
        gate = None if local else Gate(args.host, args.port, page.port)
        node.page = page
        node.show_shipped_robot()
        spinning.start()
        print("view: " + (f"http://{args.host}:{gate.port}/?token={gate.token}" if gate else
                          f"http://localhost:{page.port}"), flush=True)  # fmt: skip
        args.signals.kept = "the arm goes on without being watched"
        watch(node, watched, page, args.signals.check)
    except OSError as error:
        print(f"smolvla-ros view: cannot listen on {args.host}:{args.port}: {error}; another --port?", file=sys.stderr)
        return 1
    finally:
        ended.set()
        if spinning.ident is not None:
            spinning.join()
        if gate is not None:
            gate.close()
        if page is not None:
            page.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
