"""An iterator whose items are made ahead of their use by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

AHEAD = 4
"""Items made ahead of their use."""


def prefetch(make: Callable[[], Iterator], ahead: int = AHEAD) -> Iterator:
    """Iterate over `make()` in a thread that is up to `ahead` items ahead of the consumer.

    Errors of the thread are raised in the consumer. Closing or deleting the iterator ends the thread.
    """
    ready: queue.Queue = queue.Queue(ahead)
    stopped = threading.Event()

    def offer(kind, item=None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, item), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work():
        try:
            for item in make():
                if not offer("item", item):
                    return
            offer("end")
        except BaseException as error:  # raised in the consumer
            offer("error", error)

    def consume():
        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            while (entry := ready.get())[0] == "item":
                yield entry[1]
            if entry[0] == "error":
                raise entry[1]
        finally:
            stopped.set()
            thread.join()

    return consume()
