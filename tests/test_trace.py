# SPDX-License-Identifier: GPL-2.0-only
"""The trace's JSON: both ways, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reading import go

from kvm_ref.trace import At, TraceError, load

DATA = Path(__file__).parent / "data"


def sample() -> dict[str, Any]:
    made: dict[str, Any] = go("x86-svm", "load", fail="misc_register").trace.to_json()
    return made


def test_a_trace_is_read_back_as_it_was_written() -> None:
    """Nothing is lost or changed on the way through JSON, for the model and for a kernel's trace."""
    for data in (sample(), json.loads((DATA / "load_default.json").read_text(encoding="utf-8"))):
        again = load(json.dumps(data)).to_json()
        assert again["format"] == "kvm-ref-trace/1"
        for key in ("source", "machine", "params", "faults", "observed", "after", "log"):
            assert again[key] == data.get(key)
        assert [s["verbs"] for s in again["steps"]] == [s["verbs"] for s in data["steps"]]
        for a, b in zip(again["steps"], data["steps"], strict=True):
            pairs = list(zip(a["events"] or [], b["events"] or [], strict=True))
            assert all(x[k] == y.get(k) for x, y in pairs for k in x)
            assert (a["events"] is None) == (b["events"] is None)


def test_events_have_the_keys_of_the_format() -> None:
    """Each event says task, cpu, depth, kind and function; exits say a value."""
    events = sample()["steps"][0]["events"]
    assert all({"task", "cpu", "depth", "kind", "function"} <= e.keys() for e in events)
    assert all("value" in e for e in events if e["kind"] == "exit")
    assert {e["kind"] for e in events} <= {
        "enter", "exit", "inject", "goto", "lock", "unlock", "write", "warn",
    }  # fmt: skip


def test_unrecorded_steps_and_unknown_keys_are_taken() -> None:
    """events may be null; keys that a reader does not know are ignored."""
    data = sample() | {"colour": "blue"}
    data["steps"][0]["events"] = None
    again = load(json.dumps(data))
    assert again.steps[0].events is None
    assert again.to_json()["steps"][0]["events"] is None


def test_depth_and_nesting_agree() -> None:
    """An exit is at the depth of its enter, and no call is deeper than its caller by more than one."""
    open_calls: dict[tuple[str, int], list[str]] = {}
    for kind, at, function, _, _ in go("x86-svm", "load", "unload").trace.events():
        stack = open_calls.setdefault((at.task, at.cpu), [])
        if kind == "enter":
            assert at.depth == len(stack)
            stack.append(function)
        elif kind == "exit":
            assert stack.pop() == function
            assert at.depth == len(stack)
    assert not any(open_calls.values())


def test_a_place_names_itself() -> None:
    """For whoever debugs."""
    assert repr(At("modprobe", 2, 1)) == "modprobe@2+1"


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_trace_that_is_cut_off(kept: float) -> None:
    """A file that ends in the middle is called that, in one line."""
    text = json.dumps(sample())
    with pytest.raises(TraceError, match=r"^f\.json: .*(cut off|not JSON)") as caught:
        load(text[: int(len(text) * kept)], "f.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(format="kvm-ref-trace/9"), "expected 'kvm-ref-trace/1'"),
        (lambda d: d.pop("steps"), "key 'steps' is missing"),
        (lambda d: d["steps"][0].pop("results"), "key 'results' is missing"),
        (lambda d: d["steps"][0].update(results=[]), "1 verbs but 0 results"),
        (lambda d: d["steps"][0]["events"][0].pop("task"), "key 'task' is missing"),
        (lambda d: d["steps"][0]["events"][0].update(kind="jump"), "event of kind 'jump'"),
        (lambda d: d["steps"][0]["events"][0].update(args=3), "are no object"),
        (lambda d: d["steps"][0]["events"][0].update(cpu="x"), "malformed"),
        (lambda d: d.update(steps=5), "malformed"),
        (lambda d: d.update(source=None), "malformed"),
    ],
)
def test_a_malformed_trace(change: Any, says: str) -> None:
    """Each is refused in one line that names the file and what is wrong."""
    data = sample()
    change(data)
    with pytest.raises(TraceError, match=says) as caught:
        load(json.dumps(data), "f.json")
    assert str(caught.value).startswith("f.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "not json at all", '"kvm-ref-trace/1"'])
def test_no_trace_at_all(text: str) -> None:
    """Other files are refused too."""
    with pytest.raises(TraceError, match=r"f\.json"):
        load(text, "f.json")
