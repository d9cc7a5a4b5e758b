"""Runs a node in a process of its own, from the start to an orderly end.

rclpy's own signal handlers shut the context down at once, so that nothing could be published any more; here a signal
only raises a flag, the node is deactivated first (the safety action), and a second Ctrl-C during the teardown changes
nothing. The same happens if the executor fails: the node goes down in order, and the exit code is 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread
from typing import Any

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from smolvla_ros.log_folder import ensure_log_folder

from .lifecycle import ManagedNode
from .stop_signals import StopSignals

_SPIN_PERIOD_S = 0.1
_LEAVE_TIMEOUT_S = 1.0


def run_node(
    node_class: Callable[[], ManagedNode[Any]],
    args: list[str] | None = None,
    executor_class: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Runs a node in the calling thread until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after either signal, 1 after a failure that no callback contains, or of the start if the
        parameter `exit_on_failed_start` is true.
    """
    signals = StopSignals()
    ensure_log_folder()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = node_class()
    executor = executor_class()
    executor.add_node(node)
    try:
        # Loading a policy takes seconds.
        goes_on = node.bring_up(configuring=signals.calling(lambda: _leave(node, executor)))
        while goes_on and not signals.requested:
            # Not spin_once: it returns after each callback, and to begin anew costs more than most callbacks.
            executor.spin_until_future_complete(Future(), timeout_sec=_SPIN_PERIOD_S)
    except Exception as error:  # past every callback: in rclpy, or in what it calls
        node.boundary.report("the executor, which ends the node", error)
    finally:
        node.bring_down()
        _destroy(node, executor)
    return 0 if signals.requested else 1


def _destroy(node: ManagedNode[Any], executor: Executor) -> None:
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()


def _leave(node: ManagedNode[Any], executor: Executor) -> None:
    """Ends the process out of a signal handler, with code 0, while the node is being configured: nothing runs yet.

    In a thread of its own, because the main thread may hold a lock of rclpy.
    """
    node.get_logger().info("told to stop while starting")
    destruction = Thread(target=_destroy, args=(node, executor), daemon=True)
    destruction.start()
    destruction.join(_LEAVE_TIMEOUT_S)
    os._exit(0)
