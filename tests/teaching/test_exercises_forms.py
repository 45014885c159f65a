"""Answers brought into a form that can be compared, and dictionaries with a reason per entry."""

import pytest
import torch

from mtl_helpers.teaching.exercises.answers import draws
from mtl_helpers.teaching.exercises.forms import (
    named_parts,
    normals,
    number_type,
    stops,
    with_gradient,
)
from mtl_helpers.teaching.exercises.reasons import numbers_fit, words_fit
from mtl_helpers.teaching.exercises.values import AnswerError, NotAttemptedError


def test_shapes_become_normal_numbers_and_the_rest_stays():
    first, second = draws(normals((4, 3), 0.6, (3,)), count=2)
    assert [first[0].shape, first[2].shape] == [(4, 3), (3,)] and first[1] == 0.6
    assert first[0].dtype == torch.float64 and not torch.equal(first[0], second[0])


def test_parts_get_names_when_their_number_fits():
    assert named_parts(lambda: (1, 2), "a", "b")() == {"a": 1, "b": 2}
    assert named_parts(lambda: (1, 2, 3), "a", "b")() == (1, 2, 3)
    assert named_parts("no function", "a") == "no function"


def test_a_value_comes_with_its_gradient():
    output, target = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0])
    found = with_gradient(lambda o, t: (o**2).sum())(output, target)
    assert found["value"] == 5 and found["gradient"].tolist() == [2, 4]
    with pytest.raises(AnswerError, match="no gradient at all"):
        with_gradient(lambda o, t: 0.0)(output, target)


def test_number_types_and_stops():
    assert number_type([[1, 2]]) == torch.int64 and number_type("a") is None

    def fails(x):
        return 1 / x

    def empty(x):
        raise NotAttemptedError

    assert stops(fails, (0,)) and not stops(fails, (2,))
    with pytest.raises(NotAttemptedError):
        stops(empty, (0,))


WORDS = {"a": ("fine", "it exists"), "b": ("cheating", "it looked")}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"a": " Fine ", "b": "cheating"}, None),
        ({"a": "fine", "b": "fine"}, "situation b is 'cheating': it looked."),
        ({"a": "good", "b": "fine"}, "situation a: 'good' is none of fine, cheating."),
        ({"a": "fine"}, "give one of fine, cheating for each of a, b."),
        (3, "give one of fine, cheating for each of a, b."),
    ],
)
def test_words(answer, told):
    assert words_fit(answer, WORDS, ("fine", "cheating")) == told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"sum": 5, "pair": (1, 2.0)}, None),
        ({"sum": torch.tensor(5.01), "pair": [1, 2]}, None),
        ({"sum": 6, "pair": [1, 2]}, "sum: 6 found. Add them."),
        ({"sum": 5, "pair": [2, 1]}, "pair: [2, 1] found. In order."),
        ({}, "give an answer for each of: sum, pair."),
    ],
)
def test_numbers(answer, told):
    assert numbers_fit(answer, {"sum": (5.0, "add them"), "pair": ((1.0, 2.0), "in order")}) == told
