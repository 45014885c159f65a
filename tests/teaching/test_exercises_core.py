from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl_helpers.teaching.exercises import (
    KINDS,
    NotAttemptedError,
    Verdict,
    as_numbers,
    blanks,
    compare,
    draws,
    exercise,
    exercises_of,
    said_yes,
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


def only_dots(losses): ...


def only_blanks(losses):
    """A stub with a docstring.

    And more of it.
    """
    left = ...
    right = ...
    return left, right


class OnlyBlanks(nn.Module):
    def __init__(self):
        super().__init__()
        ...

    def forward(self, x):
        return ...


@pytest.mark.parametrize(
    "stub",
    [
        None,
        ...,
        [..., ...],
        {"left": ..., "right": [..., None]},
        lambda losses: ...,
        lambda losses: (..., ...),
        only_dots,
        only_blanks,
        raises_not_implemented,
    ],
)
def test_an_untouched_stub_is_not_attempted(joint_loss, stub):
    verdict = joint_loss(stub)
    assert verdict.status == "not attempted"
    assert repr(verdict).startswith("Exercise 98.1 · not attempted yet: fill in the cell above")


def half_done(losses):
    left = losses.sum()

    right = ...  # the other one
    return left + right


def not_reached(losses):
    if losses.sum() < 0:
        return ...
    return losses.mean()


def as_a_mask(losses):
    mask = ...
    return 3 * losses[mask].sum()


def ends_open(losses):
    losses = losses.sum() + 1
    ...


def inside(losses):
    class Net(nn.Module):
        def forward(self, x):
            return ...

    return Net()(losses)


def several(losses):
    return losses.sum() + ..., ...


def late(losses):
    a = losses + 1
    b = a + 1
    c = b + 1
    d = c + 1
    e = d + 1
    f = e + 1
    g = f + 1
    print(g)
    return ...


OPEN = {
    half_done: "the third line of `half_done` is still open (`right = ...`).",
    uses_a_blank: "the first line of `uses_a_blank` is still open (`total = ...`).",
    not_reached: "the second line of `not_reached` is still open (`return ...`).",
    as_a_mask: "the first line of `as_a_mask` is still open (`mask = ...`).",
    ends_open: "the second line of `ends_open` is still open (`...`).",
    inside: "the third line of `inside` is still open (`return ...`).",
    several: "the first line of `several` is still open (`return losses.sum() + ..., ...`).",
    late: "the 9th line of `late` is still open (`return ...`).",
}


@pytest.mark.parametrize("answer", OPEN, ids=lambda answer: answer.__name__)
def test_a_function_that_is_half_filled_names_the_open_line(joint_loss, answer):
    verdict = joint_loss(answer)
    assert verdict.status == "unfinished"
    assert repr(verdict) == f"Exercise 98.1 · not finished yet: {OPEN[answer]}"


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (lambda losses: losses + ..., "your lambda is still open"),
        (lambda losses: {"left": 1.0, "right": ...}, "your lambda is still open"),
        (lambda losses: (losses.sum(), None), "gives back is still empty at `[1]`"),
        (lambda losses: torch.stack([losses, ...]), "your lambda is still open"),
    ],
)  # fmt: skip
def test_other_blanks_are_named(joint_loss, answer, place):
    verdict = joint_loss(answer)
    assert verdict.status == "unfinished"
    assert place in verdict.message


def test_a_line_is_named_without_its_text_and_an_index_is_no_blank(joint_loss):
    names = {}
    code = """
def filled(losses):
    total = losses[..., 0] + losses[1:, ...].sum() + losses[...].sum()
    return total, total[..., None]
def half(losses):
    total = losses.sum()
    other = ...
    return total, other
"""
    exec(compile(code, "<no text>", "exec"), names)
    assert joint_loss(names["filled"]).status == "wrong"
    message = joint_loss(names["half"]).message
    assert message == "the second line of `half` is still open."


def test_without_columns_in_the_code_every_dot_counts():
    class Nowhere:
        lineno = end_lineno = 1
        col_offset = end_col_offset = None

    assert not blanks._within(Nowhere, Nowhere)


def test_a_bound_method_is_half_filled_as_its_function(joint_loss):
    class Mine:
        def total(self, losses):
            share = losses.sum()
            return share * ...

    message = joint_loss(Mine().total).message
    assert message == "the second line of `Mine.total` is still open (`return share * ...`)."


def test_a_class_that_is_half_filled_names_the_open_line():
    check = make(lambda answer: same(answer()(torch.ones(1)), torch.ones(1)))

    class Begun(OnlyBlanks):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            ...
            return ...

    assert check(OnlyBlanks).status == "not attempted"
    line = "the first line of `Begun.forward` is still open (`...`)"
    assert check(Begun).message == f"{line}; 1 more place is open."
    assert check(OnlyBlanks()).status == "unfinished"


def test_a_part_of_the_data_that_is_empty_is_named():
    check = make(lambda first, second=0: None)
    weights = {"left": 1.0, "right": ..., "both": [1, [2, ...]]}
    globals()["learners_weights"] = weights
    message = check(weights).message
    del globals()["learners_weights"]
    assert message == "`learners_weights['right']` is still empty; 1 more place is open."
    assert check([1, ..., ..., ...]).message == (
        "`[1]` in your answer is still empty; 2 more places are open."
    )
    assert (
        check(second=[...], first=[5]).message == "`[0]` in part 2 of your answer is still empty."
    )
    assert check([5], ...).message == "part 2 of your answer is still empty."
    assert check([5], ..., 3).message == "part 2 of your answer is still empty."


def test_what_the_notebook_gives_is_not_asked_for():
    check = make(lambda answer, table: None, given=["table"])
    assert check([..., ...], {"table": 1}).status == "not attempted"
    assert check([1, ...], {"table": 1}).message == "`[1]` in your answer is still empty."


def with_given_lines(losses):
    total = losses.sum()
    share = ...
    return total * share, ...


def test_a_stub_with_given_lines_says_how_many_blanks_it_has(joint_loss):
    asked = make(joint_loss.check, "98.2", blanks=2)
    assert asked(with_given_lines).status == "not attempted"
    assert asked(half_done).status == "unfinished"
    assert joint_loss(with_given_lines).status == "unfinished"


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


def test_one_blank_among_several_answers_is_not_finished():
    check = make(lambda first, second: same(first + second, 3))
    assert check(1, ...).status == "unfinished"
    assert check(1, second=None).status == "unfinished"
    assert check(..., ...).status == "not attempted"
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


def test_html_has_a_border_whose_colour_says_it_again():
    shown = {s: Verdict("98.1", s, "m")._repr_html_() for s in exercises_core._STATUS}
    borders = {s: re.search("border-left: 6px solid (#[0-9A-F]{6});", h) for s, h in shown.items()}
    assert all(borders.values())
    colours = {status: found.group(1) for status, found in borders.items()}
    assert len({colours["right"], colours["wrong"], colours["not attempted"]}) == 3
    for status, text in shown.items():
        assert exercises_core._STATUS[status] in text


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
        ([1.0, 2.0], torch.ones(3), "shape [2] found, shape [3] expected ([1, 2] instead of "
         "[1, 1, 1])"),
        (torch.ones(99), torch.ones(3), "shape [99] found, shape [3] expected"),
        ({"a": 1}, {"a": 2}, "for 'a': 1 found, 2 expected"),
        ({"a": 1}, {"b": 1}, "{'a': 1} found, {'b': 1} expected"),
        ((1, "x"), (1, "y"), "part 2: 'x' found, 'y' expected"),
        ((1, "x"), (1, "x", 2), "(1, 'x') found, (1, 'x', 2) expected"),
        ("2/5", 0.4, "'2/5' is text; write the number without quotation marks"),
        ([1, "0.4"], torch.ones(2), "'0.4' is text; write the number without quotation marks"),
        ({"a": "40%"}, {"a": 1}, "for 'a': '40%' is text; write the number without quotation "
         "marks"),
        ({"a": "4"}, 1.0, "'4' is text; write the number without quotation marks"),
        ("1/0", 1.0, "'1/0' found, 1 expected"),
        ("yes", False, "True found, False expected"),
        ("maybe", True, "'maybe' found, True expected"),
        (True, "no", "True found, 'no' expected"),
        (2, "no", "2 found, 'no' expected"),
        (10**400, 1.0, "a whole number of about 400 digits found, 1 expected"),
        (1 + 2j, 1.0, "1+2j found, 1+0j expected"),
        (torch.ones(2, device="meta"), torch.ones(2), "a Tensor of shape [2] without values "
         "(device 'meta') found, [1, 1] expected"),
        (torch.eye(2).to_sparse(), torch.ones(2, 2), "2 of 4 numbers differ; at [0, 1]: 0 found, 1 "
         "expected"),
        (torch.tensor([True]), torch.tensor([False]), "1 found, 0 expected"),
        ([], [1], "shape [0] found, shape [1] expected ([] instead of [1])"),
        (torch.tensor([1 / 3]).half(), [1 / 3], "0.3332519531 found, 0.3333333333 expected, "
         "because torch.float16 keeps so few digits; compute in float64"),
        (torch.tensor([0.3]).half(), [1 / 3], "0.3 found, 0.3333 expected"),
        (np.array([object(), 1]), [1, 2], "a ndarray of shape [2] found, [1, 2] expected"),
        (iter([1]), [1], "a list_iterator found, [1] expected"),
        (torch.float32, torch.float64, "torch.float32 found, torch.float64 expected"),
        ((torch.ones(2), torch.ones(2)), (torch.ones(2), torch.zeros(2)), "part 2: 2 of 2 numbers "
         "differ; at [0]: 1 found, 0 expected"),
        ("two", 2, "'two' found, 2 expected"),
        (2, "two", "2 found, 'two' expected"),
        (float("nan"), 1, "nan found, 1 expected"),
        (1.000002, 1.0, "1.000002 found, 1 expected"),
    ],
)  # fmt: skip
def test_differences_are_said(found, expected, text):
    assert same(found, expected) == text


class Column:
    """As a pandas Series: an array with an index of its own."""

    def __array__(self, dtype=None, copy=None):
        return np.array([1.0, 2.0])

    def __len__(self):
        return 2

    def __getitem__(self, key):
        raise KeyError(key)


class EqualsAll:
    def __eq__(self, other):
        return True

    __hash__ = None


class Unequal:
    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


@pytest.mark.parametrize("found", [EqualsAll(), Unequal(), [EqualsAll()]])
@pytest.mark.parametrize("expected", [1, "left", [1], {"a": 1}, torch.ones(1), nn.ReLU])
def test_an_equality_of_its_own_does_not_count(found, expected):
    assert same(found, expected).endswith("expected")


def test_float32_is_given_the_room_it_needs_and_no_more():
    third = torch.tensor([1 / 3], dtype=torch.float32)
    assert same(third, [1 / 3], tol=1e-12) is None
    assert same([third.numpy()[0]], [1 / 3], tol=1e-12) is None
    assert same(third.double(), [1 / 3], tol=1e-12) is not None
    assert same(third * 1.0001, [1 / 3], tol=1e-12) is not None


def test_an_equality_that_raises_is_a_difference():
    assert same(Unequal(), Unequal()) == "an Unequal found, an Unequal expected"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (4, torch.tensor(4.0)),
        (torch.tensor(4.0, requires_grad=True), 4),
        ([1, 2], torch.tensor([1, 2])),
        ("Left", " left"),
        ({"a": (1, "x")}, {"a": [1, "x"]}),
        (float("nan"), float("nan")),
        ("yes", True),
        ("False", False),
        (1, "yes"),
        (torch.tensor(False), "no"),
        (np.bool_(True), True),
        (range(3), [0, 1, 2]),
        ([torch.ones(2), torch.zeros(2)], torch.tensor([[1.0, 1.0], [0.0, 0.0]])),
        (torch.ones(2, 2), [torch.ones(2), torch.ones(2)]),
        ([np.float32(1 / 3)], [1 / 3]),
        (np.array([1, 2], dtype=object), [1, 2]),
        (torch.tensor([1 / 3], dtype=torch.float32), torch.tensor([1 / 3], dtype=torch.float64)),
        (1 + 0j, 1.0),
        (torch.tensor([1 + 2j]), [1 + 2j]),
        (torch.eye(2).to_sparse(), torch.eye(2)),
        (Fraction(1, 4), 0.25),
        (Decimal("0.25"), 0.25),
        (Column(), [1.0, 2.0]),
        ([], torch.empty(0)),
        (torch.float64, torch.float64),
        (None.__class__, type(None)),
        (10**400, 10**400),
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


BATCH = (torch.tensor([[1.0, 2.0], [3.0, 4.5]]), torch.tensor([0, 1]))
LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.3333"),
        (8192.0, "8192"),
        (123456, "123456"),
        (2**62, "4.612e+18"),
        (-0.0, "0"),
        (float("inf"), "inf"),
        (torch.arange(8) / 3, "[0, 0.3333, 0.6667, 1, 1.333, 1.667, 2, 2.333]"),
        (torch.zeros(9), "numbers of shape [9]"),
        (torch.zeros(2, 2), "[[0, 0], [0, 0]]"),
        (torch.eye(6), str(torch.eye(6).int().tolist())),
        (torch.eye(7), "numbers of shape [7, 7]"),
        (torch.ones(1, 2, 2), "[[[1, 1], [1, 1]]]"),
        (torch.ones(5, 2, 2), "numbers of shape [5, 2, 2]"),
        (torch.tensor([True, False]), "[True, False]"),
        (np.array([1.5, 2]), "[1.5, 2]"),
        (torch.tensor([1 + 2j]), "[1+2j]"),
        (torch.tensor([]), "[]"),
        ((), "[]"),
        ([BATCH, BATCH], "[([[1, 2], [3, 4.5]], [0, 1]), ([[1, 2], [3, 4.5]], [0, 1])]"),
        ([BATCH] * 9, "a list of 9"),
        ([[0, 2], [1], []], "[[0, 2], [1], []]"),
        ({"left": 1.0}, "{'left': 1}"),
        ({("a", 1): [1, 2]}, "{('a', 1): [1, 2]}"),
        ({k: k for k in range(9)}, "a dict of 9"),
        (True, "True"),
        (None, "None"),
        (..., "..."),
        ("left", "'left'"),
        ("word " * 99, repr("word " * 11 + "word…")),
        (nn.Linear(1, 1), "a Linear"),
        (torch.device("cpu"), "cpu"),
        (torch.ones(2, device="meta"), "a Tensor of shape [2] without values (device 'meta')"),
        (np.array(["a"]), "a ndarray of shape [1]"),
        (abs, "a builtin_function_or_method"),
        (10**400 + 1, "a whole number of about 400 digits"),
        (LOOP, "a list of 1"),
    ],
)
def test_what_was_passed_in_is_written_shortly(value, text):
    check = make(lambda answer: answer(value))
    message = check(lambda x: 1 / 0).message
    if value is LOOP:
        assert message.count("[") < 200
    else:
        assert message.endswith(f"division by zero with x = {text}.")


def test_many_inputs_are_written_with_the_longest_as_shapes():
    table = torch.full((6, 6), 0.12345)
    check = make(lambda answer: answer(table, table[:2], [BATCH] * 8, *"abcdefgh"))
    message = check(lambda first, second, third, *rest: 1 / 0).message
    assert "first = numbers of shape [6, 6]" in message
    assert "second = [[0.1235, 0.1235" in message
    assert "rest = ('a', 'b'" in message
    assert len(message) < 600


def test_inputs_that_cannot_be_written_any_shorter_are_left():
    words = ["word " * 12] * 9
    values = make(lambda answer: answer(*words), "98.3")(lambda *values: 1 / 0)
    assert "with values = a tuple of 9." in values.message
    apart = make(lambda answer: answer(*words), "98.4")(lambda a, b, c, d, e, f, g, h, i: 1 / 0)
    assert "a = 'word word" in apart.message


def test_two_cases_are_enough():
    assert compare(abs, abs, cases=[(1,), (-2,)]) is None


def test_a_call_that_does_not_fit_is_written_all_the_same(joint_loss):
    assert joint_loss(lambda: 1).message.endswith("with [1, 3].")


def test_a_slip_that_raises_does_not_agree():
    def raises(losses):
        raise SystemExit if len(losses) > 2 else ValueError

    slips = {"the slip that raises": raises, "the honest slip": lambda losses: losses.mean()}
    cases = [(torch.tensor([1.0, 3.0]),), (torch.ones(2) * 2,)]
    message = compare(lambda x: x.mean(), lambda losses: losses.sum(), cases, slips)
    assert message == "the honest slip"


@pytest.mark.parametrize("yes", [True, 1, 1.0, "yes", " Yes", "True", "y", np.bool_(True)])
def test_a_yes_is_a_yes(yes):
    assert said_yes(yes) is True
    assert said_yes(torch.tensor(1)) is True


@pytest.mark.parametrize("no", [False, 0, 0.0, "no", "NO ", "false", "n", torch.tensor(False)])
def test_a_no_is_a_no(no):
    assert said_yes(no) is False


@pytest.mark.parametrize("neither", [2, "maybe", None, [True], torch.ones(2), float("nan"), {}])
def test_neither_is_neither(neither):
    assert said_yes(neither) is None


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        ((1, 2), (3, 4)),
        np.array([[1, 2], [3, 4]], dtype=np.float32),
        torch.tensor([[1, 2], [3, 4]]),
        [torch.tensor([1.0, 2.0], requires_grad=True), np.array([3, 4])],
        torch.tensor([[1 + 0j, 2], [3, 4]]),
    ],
)
def test_data_become_numbers_from_any_form(value):
    found = as_numbers(value, shape=(2, 2))
    assert found.dtype == torch.float64
    assert not found.requires_grad
    assert found.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("2/5", "slope: '2/5' is text; write the number without quotation marks."),
        ([1, ["0.4"]], "slope: '0.4' is text; write the number without quotation marks."),
        ("left", "slope: numbers are needed; found 'left'."),
        ([[1], [1, 2]], "slope: numbers are needed; found [[1], [1, 2]]."),
        ([1, 10**400], "slope: a number is too large to compute with."),
        (1j, "slope: real numbers are needed; found complex ones."),
        ([1.0, float("inf")], "slope holds nan or infinity; give finite numbers."),
        ([1.0], "slope must have shape [2]; found [1]."),
        (nn.ReLU(), "slope: numbers are needed; found a ReLU."),
    ],
)
def test_data_that_are_no_numbers_are_told_why(value, sentence):
    check = make(lambda answer: as_numbers(answer, "slope", shape=(2,) if value == [1.0] else None))
    verdict = check(value)
    assert (verdict.status, verdict.message) == ("wrong", sentence)


def test_nan_is_refused_unless_it_is_allowed():
    assert as_numbers([1.0, float("nan")], finite=False).isnan().tolist() == [False, True]


def test_data_with_a_blank_are_not_attempted():
    with pytest.raises(NotAttemptedError):
        as_numbers([1, ...])
