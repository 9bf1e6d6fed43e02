"""`parity up` puts the exact image back; `parity status` says what runs."""

import pytest

from parity.stack import dev
from parity.stack.dev import dev_lines, leave_dev
from parity.stack.errors import NotRunning

ON = {
    "on": True,
    "sources": ["src/app"],
    "debug": False,
    "changed": ["src/app/main.py"],
    "seconds": 1.2,
    "problem": "Machine m1 does not start\nSyntaxError",
    "functions_problem": "",
}


class Admin:
    """The stand-in's answers, and what it was asked."""

    def __init__(self, *, on: bool) -> None:
        self.on, self.asked = on, [""][:0]

    def __call__(self, _url: str, method: str, path: str, body: object = None) -> dict[str, object]:
        self.asked.append(f"{method} {path} {body}")
        return {"on": self.on}


def test_the_image_is_put_back_where_the_working_tree_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    admin, said = Admin(on=True), [""][:0]
    monkeypatch.setattr(dev, "ask", admin)
    leave_dev("http://admin", said.append)
    assert admin.asked == ["GET /fly/dev None", "PUT /fly/dev {'on': False}"]
    assert "replaced by the image" in said[0]


def test_an_image_that_runs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(on=False)
    monkeypatch.setattr(dev, "ask", admin)
    leave_dev("http://admin", print)
    assert admin.asked == ["GET /fly/dev None"]


def test_a_stack_that_does_not_answer_runs_no_working_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> dict[str, object]:
        raise NotRunning("nothing answers")

    monkeypatch.setattr(dev, "ask", ask)
    leave_dev("http://admin", print)


def test_status_says_that_it_is_not_the_image_and_shows_a_mistake() -> None:
    lines = dev_lines(ON)
    assert "NOT the image" in lines[0]
    assert lines[1] == "last change: src/app/main.py, answering after 1.2 s"
    assert lines[2:] == ["Machine m1 does not start", "SyntaxError"]
    assert "a debugger can attach" in dev_lines({**ON, "debug": True})[1]
    assert dev_lines({"on": False}) == []
