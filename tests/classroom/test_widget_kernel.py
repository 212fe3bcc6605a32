"""Widgets in a real kernel that is spoken to as by a browser: values queue, it is interrupted, cells run again."""

import time
from pathlib import Path
from queue import Empty

import pytest
from jupyter_client.manager import start_new_kernel

TOY = """
import gc, time
from pgnotes.classroom.live import Dear, Live, Slider

def draw(fig):
    ax = fig.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 10))
    (dot,) = ax.plot([], [], "o")
    return [dot], lambda x: dot.set_data([x], [x])

def run(x):
    for i in range(steps):
        time.sleep(0.01)
        yield i / steps

def numbers(x, dear=None):
    seen.append(x)
    time.sleep(0.2)
    return x

def toy():
    controls = (Slider("x", "x", 0.0, 10.0, 0.5, 1.0),)
    return Live(numbers, draw, controls, 1.0, (("one", {}),), "A dot.", dear=Dear("Run", run))

Live.static = Live.png
seen, steps = [], 1000
widget = toy()
ui = widget.make()
button = next(part for row in ui.children[:2] for part in row.children if part.__class__.__name__ == "Button")
"""


class Frontend:
    """What a browser does: runs cells, which may have ids, and sends to widgets."""

    def __init__(self, client):
        self.client = client

    def send(self, kind, content, **metadata):
        """A message on the shell channel; returns its id, and does not wait."""
        message = self.client.session.msg(kind, content, metadata=metadata)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def until(self, message, done):
        """Messages on the page that belong to this one, up to the first of which `done` is true."""
        seen, ends = [], time.monotonic() + 60
        while time.monotonic() < ends:
            heard = self.client.get_iopub_msg(timeout=60)
            if heard["parent_header"].get("msg_id") == message:
                seen.append(heard["content"])
                if done(heard["content"]):
                    return seen
        raise Empty

    def run(self, code, **metadata):
        """Run a cell; returns the value of its last line as text."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.send("execute_request", content, **metadata)
        outputs = self.until(message, lambda content: content.get("execution_state") == "idle")
        wrong = [content for content in outputs if "traceback" in content]
        assert not wrong, "\n".join(wrong[0]["traceback"])
        results = [content["data"] for content in outputs if "execution_count" in content and "data" in content]
        return results[0]["text/plain"] if results else None

    def tell(self, model, **data):
        """Send to a widget; returns the message's id."""
        return self.send("comm_msg", {"comm_id": model.strip("'"), "data": data})


@pytest.fixture(scope="module")
def frontend():
    manager, client = start_new_kernel(cwd=Path(__file__).parents[2])
    frontend = Frontend(client)
    frontend.run(TOY)
    frontend.interrupt = manager.interrupt_kernel
    yield frontend
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_values_that_queue_end_at_the_newest_one(frontend):
    """A redraw takes 0.2 s here, and three values arrive at once."""
    model = frontend.run("seen.clear(); widget.handles['x'].model_id")
    for value in (2.0, 5.0, 9.0):
        last = frontend.tell(model, method="update", state={"value": value}, buffer_paths=[])
    frontend.until(last, lambda content: content.get("execution_state") == "idle")
    assert frontend.run("seen") == "[2.0, 5.0, 9.0]"
    assert frontend.run("widget.settings['x'], widget.picture.value == widget.png(x=9.0)") == "(9.0, True)"


def test_the_kernels_interrupt_stops_what_is_dear(frontend):
    before = frontend.run("before = widget.picture.value; len(before)")
    pressed = frontend.tell(frontend.run("button.model_id"), method="custom", content={"event": "click"})
    frontend.until(pressed, lambda content: content.get("data", {}).get("state", {}).get("value", 0) > 0.02)  # the bar
    frontend.interrupt()
    heard = frontend.until(pressed, lambda content: content.get("execution_state") == "idle")
    assert not any("traceback" in content for content in heard)
    assert "stopped at" in frontend.run("widget.fault.value")
    assert frontend.run("widget.bar.layout.visibility, widget.picture.value == before") == "('hidden', True)"
    assert int(before) > 0


def test_a_cell_that_runs_again_closes_what_it_showed(frontend):
    alive = "gc.collect(); sum(type(thing) is Live for thing in gc.get_objects())"
    before = int(frontend.run(alive))
    for cell in ("a", "b", "a", "a", "a"):
        frontend.run("toy().show()", cellId=cell)
    assert int(frontend.run(alive)) == before + 2, "one for each of the two cells"
    assert int(frontend.run("toy().show()\n" + alive, cellId="c")) == before + 3
