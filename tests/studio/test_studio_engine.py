"""Between the engine's thread and the pages: the newest frame counts, and nothing that is told is lost."""

import asyncio
import threading

import pytest

from burnish.errors import InputError
from burnish.studio.engine import Engine, Viewer
from burnish.studio.folders import Folders


def test_the_oldest_frames_are_dropped():
    async def look():
        viewer = Viewer()

        def write():
            viewer.show(b"first")
            viewer.tell({"type": "a"})
            viewer.show(b"second")
            viewer.tell({"type": "b"})
            viewer.show(b"third")

        writer = threading.Thread(target=write)
        writer.start()
        writer.join()
        await asyncio.sleep(0.01)
        told, frame = await viewer.next()
        assert frame == b"third"
        assert [each["type"] for each in told] == ["a", "b"]
        viewer.show(b"of another run")
        viewer.tell({"type": "opened"})
        viewer.show(b"of this one")
        await asyncio.sleep(0.01)
        assert await viewer.next() == ([{"type": "opened"}], b"of this one")

    asyncio.run(look())


def test_errors_are_the_callers_and_the_thread_goes_on(tmp_path):
    async def look():
        engine = Engine(Folders([tmp_path]), tmp_path / "out", 1)
        began = threading.Event()
        engine.start(None, began.set)
        threads = {await engine.call(threading.get_ident) for _ in range(3)}
        assert len(threads) == 1 and threading.get_ident() not in threads and began.is_set()

        def wrong():
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await engine.call(wrong)
        with pytest.raises(InputError, match="no such run"):
            await engine.call(lambda: engine.opened("nothing"))
        assert await engine.call(lambda: 7) == 7 and engine.ready
        engine.stop()

    asyncio.run(look())
