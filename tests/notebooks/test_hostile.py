"""Every exercise of every lesson, given what nobody should hand in.

Nothing may be raised, nothing accepted, nothing left changed, and the same must be said twice.
"""

from __future__ import annotations

import inspect
import random
import re
import warnings

import hostile
import hygiene
import numpy as np
import pytest
import torch
from test_exercises import EXERCISES, read, scene

from mtl_helpers.teaching.exercises import Verdict, exercises_of
from mtl_helpers.teaching.exercises.values import numbers

LESSONS = sorted({number.split(".")[0] for _, number in EXERCISES})
CHECKS = {n: check for lesson in LESSONS for n, check in exercises_of(lesson).items()}
ODD = list((hostile.VALUES | {f"a function: {k}": v for k, v in hostile.FUNCTIONS.items()}).items())
SLOW = {"02.4"}  # trains once for each planted slip
GIVEN = {"table": {(0, 0): torch.tensor([1.0, 2.0]), (0, 1): torch.tensor([3.0, 4.0])}}


@pytest.fixture(autouse=True)
def _quiet(capsys):
    torch.set_default_dtype(torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    capsys.readouterr()


def state():
    """What an answer must not be able to change."""
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.isclose,
        torch.rand,
    )


def judged(check, *answers):
    verdict = check(*answers)
    assert isinstance(verdict, Verdict)
    assert verdict.message.strip()
    assert "\n" not in verdict.message
    assert not re.search(r"0x[0-9a-f]{4}", verdict.message)
    assert len(verdict.message) < 1200
    assert verdict._repr_html_()
    return verdict


def arguments(check, value):
    """The odd value for each of the learner's answers, and what the notebook gives as it is."""
    names = inspect.signature(check.check).parameters
    return [GIVEN[name] if name in check.given else value for name in names]


def test_there_are_enough_odd_things():
    assert len(hostile.VALUES) >= 60
    assert len(hostile.FUNCTIONS) >= 60
    assert set(CHECKS) == {number for _, number in EXERCISES}


@pytest.mark.parametrize("number", CHECKS)
def test_nothing_odd_is_accepted_or_raises(number):
    check = CHECKS[number]
    odd = ODD[::4] if number in SLOW else ODD
    before = state()
    said = {name: judged(check, *arguments(check, value)) for name, value in odd}
    assert {name for name, verdict in said.items() if verdict.status == "right"} == set()
    assert state() == before
    for name, value in odd[::7]:
        assert judged(check, *arguments(check, value)) == said[name]


def replaced(value, odd):
    """The answer with each of its places replaced by something odd, one after the other."""
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list | tuple):
        parts = list(enumerate(value))
    else:
        yield odd
        return
    for key, part in parts[:3]:
        for new in replaced(part, odd):
            changed = dict(value) if isinstance(value, dict) else list(value)
            changed[key] = new
            yield changed


@pytest.mark.parametrize(("name", "number"), EXERCISES)
def test_odd_things_inside_a_right_answer_do_not_escape(name, number, monkeypatch):
    """The check of the solution is asked again with odd places in what the solution gave."""
    parts = {part: hygiene.source(c) for _, part, c in hygiene.exercise_cells(read(name))[number]}
    given = []
    kind = type(CHECKS[number])
    real = kind.__call__

    def noted(self, *answers, **named):
        given.append(answers)
        return real(self, *answers, **named)

    monkeypatch.setattr(kind, "__call__", noted)
    assert (
        scene(name).attempt(hygiene.python_blocks(parts["solution"])[0], parts["check"]).status
        == "right"
    )
    monkeypatch.setattr(kind, "__call__", real)
    (answers,) = given
    before = state()
    for place, answer in enumerate(answers):
        if callable(answer) or (place and CHECKS[number].given):
            continue
        for odd in hostile.VALUES.values():
            for changed in replaced(answer, odd):
                others = [*answers[:place], changed, *answers[place + 1 :]]
                verdict = judged(CHECKS[number], *others)
                assert verdict.status != "right" or numbers(odd) is not None
    assert state() == before
