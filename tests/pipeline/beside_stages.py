"""Bodies of stages for workers, which import them by name."""

import importlib
import multiprocessing
import os
import signal
import time

import torch

from burnish.errors import InputError
from burnish.storage import write_json

KEPT = []


def add(context, number, *, parts=(), **more):
    """The sum of a number and of what earlier stages found, and which process found it."""
    found = number + sum(read(part) for part in parts)
    write_json(context.folder / "number.json", {"number": found})
    context.record("pid", os.getpid())
    context.record("threads_here", torch.get_num_threads())


def meet(context, number, place):
    """Ends when the other one has begun, too: only side by side."""
    mine, other = (os.path.join(place, name) for name in (str(number), str(1 - number)))
    open(mine, "w").close()
    limit = time.monotonic() + 120
    while not os.path.exists(other):
        assert time.monotonic() < limit, "the other one never began"
        time.sleep(0.01)
    add(context, number)


def refuse(context, number):
    """An error for the user."""
    raise InputError("number.json: found nothing, expected something")


def fail(context, number):
    """A mistake of the body's own."""
    return {}[number]


class Nowhere:
    """What no worker can read: it is of a module that is not there."""

    def __reduce__(self):
        return importlib.import_module, ("nowhere_but_here",)


def die_once(context, number, marker):
    """The first attempt is killed."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    add(context, number)


def read(folder):
    import json

    return json.loads((folder / "number.json").read_text())["number"]


def slowly(context, number, seconds, *, parts=()):
    """Takes its time."""
    time.sleep(seconds)
    add(context, number, parts=parts)


def wait_for(context, number, begun, go):
    """Says on which of Ray's nodes it first began, and ends when it may."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    context.record("node", node)
    if not os.path.exists(begun):
        with open(begun, "w") as file:
            file.write(f"{node} {os.getpid()}")
    limit = time.monotonic() + 120
    while not os.path.exists(go):
        assert time.monotonic() < limit, "nobody said go"
        time.sleep(0.05)
    add(context, number)


def with_a_lock(seconds):
    """Hold a semaphore, as a progress bar does, for so long."""
    lock = multiprocessing.RLock()
    with lock:
        time.sleep(seconds)
    KEPT.append(lock)


def divide(context, numbers):
    """Its pieces are done by a cluster's workers."""
    assert context.spread is not None
    found = context.spread.run(doubled, {f"n{number}": number for number in numbers})
    context.record("workers", sorted({each["pid"] for each in found.values()}))
    write_json(context.folder / "number.json", {"number": sum(each["number"] for each in found.values())})


def doubled(number):
    """A piece."""
    return {"number": 2 * number, "pid": os.getpid()}
