from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl_helpers.teaching.exercises import (
    KINDS,
    NotAttemptedError,
    Verdict,
    compare,
    draws,
    exercise,
    exercises_of,
    same,
)
from mtl_helpers.teaching.exercises import core as exercises_core

AVERAGED = "you averaged over tasks; the formula sums."
DOUBLED = "you counted every task twice."


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})


def make(check, number="98.1", **changes):
    described = {"kind": "fill one line", "difficulty": 1, "minutes": 3} | changes
    return exercise(number, "The joint loss", **described)(check)


@pytest.fixture
def joint_loss():
    def joint_loss(answer):
        return compare(
            answer,
            lambda losses: losses.sum(),
            cases=[(torch.tensor([1.0, 3.0]),), *draws(lambda g: (torch.rand(4, generator=g),))],
            slips={
                AVERAGED: lambda losses: losses.mean(),
                DOUBLED: lambda losses: 2 * losses.sum(),
            },
        )

    return make(joint_loss, right="the joint loss is the sum.")


def test_a_right_answer_is_told_the_point(joint_loss):
    verdict = joint_loss(lambda losses: losses.sum())
    assert verdict.status == "right"
    assert repr(verdict) == "Exercise 98.1 · right: the joint loss is the sum."


@pytest.mark.parametrize(
    ("answer", "message"),
    [(lambda x: x.mean(), AVERAGED), (lambda x: x.sum() * 2, DOUBLED)],
)
def test_each_slip_has_its_own_message(joint_loss, answer, message):
    verdict = joint_loss(answer)
    assert (verdict.status, verdict.message) == ("wrong", message)
    assert repr(verdict) == f"Exercise 98.1 · not yet: {message}"


def test_another_wrong_answer_is_shown_on_the_small_case_without_the_formula(joint_loss):
    verdict = joint_loss(lambda losses: losses.prod())
    assert verdict.status == "wrong"
    assert verdict.message == "with losses = [1, 3] your answer is off: 3 found, 4 expected."


def test_a_constant_that_fits_the_small_case_does_not_pass(joint_loss):
    verdict = joint_loss(lambda losses: torch.tensor(4.0))
    assert verdict.status == "wrong"
    assert verdict.message.startswith("right on the small case, but with losses = [")


def test_a_wrong_shape_is_said(joint_loss):
    assert "shape [2] found, shape [] expected" in joint_loss(lambda losses: losses).message


def test_the_result_instead_of_the_function_is_said(joint_loss):
    assert "without brackets" in joint_loss(torch.tensor(4.0)).message


def raises_not_implemented(losses):
    raise NotImplementedError


def uses_a_blank(losses):
    total = ...
    return total * losses


@pytest.mark.parametrize(
    "stub",
    [
        None,
        ...,
        lambda losses: ...,
        lambda losses: {"left": 1.0, "right": ...},
        lambda losses: (1.0, None),
        lambda losses: torch.stack([losses, ...]),
        lambda losses: losses + ...,
        raises_not_implemented,
        uses_a_blank,
    ],
)
def test_an_untouched_stub_is_not_attempted(joint_loss, stub):
    verdict = joint_loss(stub)
    assert verdict.status == "not attempted"
    assert repr(verdict).startswith("Exercise 98.1 · not attempted yet: ")


def test_a_function_that_gives_nothing_back_is_told_so(joint_loss):
    verdict = joint_loss(lambda losses: None)
    assert verdict.status == "wrong"
    assert "gave nothing back with losses = " in verdict.message
    assert "begin with 'return'" in verdict.message


def test_what_pytorch_cannot_do_is_no_blank(joint_loss):
    verdict = joint_loss(lambda losses: (losses > 0).mean())
    assert verdict.status == "wrong"
    assert "could not infer output dtype" in verdict.message


def test_a_module_without_forward_is_not_attempted():
    check = make(lambda model: same(model(torch.ones(1)), torch.ones(1)))
    assert check(nn.Module()).status == "not attempted"


def test_one_blank_among_several_answers_is_not_attempted():
    check = make(lambda first, second: same(first + second, 3))
    assert check(1, ...).status == "not attempted"
    assert check(1, second=None).status == "not attempted"
    assert check(1, second=2).status == "right"
    assert check(1, second=3).status == "wrong"


def test_an_exception_is_named_with_what_was_passed_in(joint_loss):
    def answer(losses):
        return losses[7]

    message = joint_loss(answer).message
    assert message.startswith("your function raised IndexError: index 7 is out of bounds")
    assert message.endswith("with losses = [1, 3].")
    assert "\n" not in message


def test_an_error_of_torch_about_a_type_is_not_a_stub(joint_loss):
    def answer(losses):
        raise NotImplementedError("\"add\" not implemented for 'Half'")

    assert joint_loss(answer).status == "wrong"


def test_a_wrong_number_of_arguments_is_said(joint_loss):
    verdict = joint_loss(lambda: 1)
    assert verdict.status == "wrong"
    assert "TypeError" in verdict.message


def test_an_error_of_the_check_itself_does_not_reach_the_learner():
    verdict = make(lambda answer: answer.no_such_thing)(3.0)
    assert verdict.status == "wrong"
    assert verdict.message.startswith("the check could not use your answer (AttributeError: ")
    assert make(lambda a, b: None)(1).status == "wrong"


def test_messages_carry_no_address_and_stay_short(joint_loss):
    def answer(losses):
        raise ValueError(f"{object()} " + "word\n" * 200)

    message = joint_loss(answer).message
    assert " at 0x" not in message
    assert len(message) < 260


def test_the_check_leaves_the_random_state_alone():
    check = make(lambda answer: same(answer(), answer()))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, second = check(lambda: torch.rand(1)), check(lambda: torch.rand(1))
    assert torch.equal(torch.rand(2), expected)
    assert first == second
    assert first.status == "wrong"


def test_an_answer_that_changes_its_argument_is_compared_fairly(joint_loss):
    def answer(losses):
        losses *= 2
        return losses.sum()

    assert joint_loss(answer).message == DOUBLED


def test_a_comparison_on_one_case_is_refused():
    with pytest.raises(ValueError, match="second case"):
        compare(abs, abs, cases=[(1,)])


def test_html_says_it_in_words_and_escapes():
    shown = Verdict("98.1", "wrong", "w < 0 & falling")._repr_html_()
    assert "✗ not yet" in shown
    assert "w &lt; 0 &amp; falling" in shown


@pytest.mark.parametrize(
    "changes",
    [{"number": "0.1"}, {"kind": "quiz"}, {"difficulty": 4}, {"minutes": 0}],
)
def test_an_exercise_out_of_form_is_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        make(lambda answer: None, **changes)


def test_exercises_are_found_in_order_and_a_number_is_used_once():
    def check(answer):
        return None

    for position in (10, 2, 1):
        make(check, f"98.{position}")
    make(lambda answer: None, "97.1")
    assert list(exercises_of("98")) == ["98.1", "98.2", "98.10"]
    assert exercises_of("99") == {}
    make(check, "98.1")  # the same check again, as after a reload
    with pytest.raises(ValueError, match=r"98\.1"):
        make(lambda answer: None, "98.1")


def test_the_heading_is_the_one_in_the_notebook():
    made = make(lambda answer: None, difficulty=2, kind=KINDS[3])
    assert made.heading == "### Exercise 98.1 · The joint loss ●●○ · 3 min · bug hunt"


@pytest.mark.parametrize(
    ("found", "expected", "text"),
    [
        (2, 4.0, "2 found, 4 expected"),
        (True, False, "1 found, 0 expected"),
        ("Left ", "right", "'Left ' found, 'right' expected"),
        (torch.zeros(2, 2), torch.eye(2), "2 of 4 numbers differ; at [0, 0]: 0 found, 1 expected"),
        ([1.0, 2.0], torch.ones(3), "shape [2] found, shape [3] expected"),
        ({"a": 1}, {"a": 2}, "for 'a': 1 found, 2 expected"),
        ({"a": 1}, {"b": 1}, "{'a': 1} found, {'b': 1} expected"),
        ((1, "x"), (1, "y"), "part 2: 'x' found, 'y' expected"),
        ((1, "x"), (1, "x", 2), "a tuple found, a tuple expected"),
        ("two", 2, "'two' found, 2 expected"),
        (2, "two", "2 found, 'two' expected"),
        (float("nan"), 1, "nan found, 1 expected"),
        (1.000002, 1.0, "1.000002 found, 1 expected"),
    ],
)
def test_differences_are_said(found, expected, text):
    assert same(found, expected) == text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (4, torch.tensor(4.0)),
        (torch.tensor(4.0, requires_grad=True), 4),
        ([1, 2], torch.tensor([1, 2])),
        ("Left", " left"),
        ({"a": (1, "x")}, {"a": [1, "x"]}),
        (float("nan"), float("nan")),
    ],
)
def test_equal_answers_in_another_dress_are_the_same(found, expected):
    assert same(found, expected) is None


@pytest.mark.parametrize("blank", [None, ..., [1, ...], {"a": None}])
def test_a_blank_is_not_compared(blank):
    with pytest.raises(NotAttemptedError):
        same(blank, 1)


@given(st.floats(-1e6, 1e6), st.floats(-8, -4))
def test_the_tolerance_is_absolute_below_one_and_relative_above(value, exponent):
    tol = 10**exponent
    room = tol * max(1.0, abs(value))
    assert same(value + 0.9 * room, value, tol) is None
    assert re.fullmatch(r"\S+ found, \S+ expected", same(value + 2.1 * room, value, tol))


def test_draws_are_many_and_the_same_every_time():
    def one(generator):
        return (torch.rand(3, generator=generator),)

    first, again = draws(one), draws(one)
    assert len(first) == 5
    assert all(torch.equal(a, b) for (a,), (b,) in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(first[0][0], draws(one, seed=1)[0][0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.3333"),
        (torch.arange(8) / 3, "[0, 0.3333, 0.6667, 1, 1.333, 1.667, 2, 2.333]"),
        (torch.zeros(9), "numbers of shape [9]"),
        (torch.zeros(2, 2), "numbers of shape [2, 2]"),
        ({"left": 1.0}, "{'left': 1}"),
        (True, "True"),
        ("left", "'left'"),
        (nn.Linear(1, 1), "a Linear"),
    ],
)
def test_what_was_passed_in_is_written_shortly(value, text):
    check = make(lambda answer: answer(value))
    assert check(lambda x: 1 / 0).message.endswith(f"division by zero with x = {text}.")


def test_two_cases_are_enough():
    assert compare(abs, abs, cases=[(1,), (-2,)]) is None


def test_a_call_that_does_not_fit_is_written_all_the_same(joint_loss):
    assert joint_loss(lambda: 1).message.endswith("with [1, 3].")
