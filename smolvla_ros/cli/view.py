"""Watch the arm in a browser: cameras, the arm and its chunk in 3D, why it holds; say, stop, resume.

Prints its address. It is reached from this machine only, unless --host says otherwise: then the address has a token.
"""

from __future__ import annotations

import argparse
import signal
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
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from smolvla_ros.nodes.view_node import ViewNode, watch
    from smolvla_ros.view.gate import Gate
    from smolvla_ros.view.page import Page
    from smolvla_ros.view.watched import Watched

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    watched = Watched()
    node = ViewNode(args.namespace, watched)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        while not stop.is_set():
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
        watch(node, watched, page, stop)
        return 0
    except OSError as error:
        print(f"smolvla-ros view: cannot listen on {args.host}:{args.port}: {error}; another --port?", file=sys.stderr)
        return 1
    finally:
        stop.set()
        if spinning.ident is not None:
            spinning.join()
        if gate is not None:
            gate.close()
        if page is not None:
            page.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
