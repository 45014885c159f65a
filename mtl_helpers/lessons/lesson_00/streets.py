"""The footsteps of lesson 00: twenty pedestrian counters, each a task with 50 labelled hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl_helpers.datasets.footsteps import footsteps, read_footsteps


@dataclass(frozen=True, eq=False)
class Streets:
    """A few labelled hours for each of K counters, and all the other hours of the year.

    Attributes:
        counters: their names.
        hours: which hour it was, for each label, [N, 11].
        people: log(1 + people), standardised per counter by its labels, [N, K]; ``nan`` where an
            hour is not labelled for a counter.
        test_hours: the hours of the year, [T, 11].
        test_people: log(1 + people) in them, [T, K]; ``nan`` where a counter did not count, or has
            a label.
        when: their points of time, ``datetime64[h]`` [T].
        mean: of each counter's labels, [K].
        sd: their standard deviation, [K].
    """

    counters: tuple[str, ...]
    hours: Tensor
    people: Tensor
    test_hours: Tensor
    test_people: Tensor
    when: np.ndarray
    mean: Tensor
    sd: Tensor

    def only(self, counter: int) -> tuple[Tensor, Tensor]:
        """Give the labels of one counter alone: hours [n, 11] and people [n, 1]."""
        own = ~self.people[:, counter].isnan()
        return self.hours[own], self.people[own, counter : counter + 1]

    def logarithm(self, predicted: Tensor) -> Tensor:
        """Undo the standardising: predictions [T, K] as log(1 + people)."""
        return predicted * self.sd + self.mean

    def errors(self, predicted: Tensor) -> Tensor:
        """Give the root of the mean squared error of the logarithm, for each counter, [K].

        Args:
            predicted: standardised, as in ``people``, for all test hours, [T, K].
        """
        squared = (self.logarithm(predicted) - self.test_people).square()
        return squared.nanmean(0).sqrt()


def few_hours(seed: int = 0, hours: int = 50) -> Streets:
    """Draw the labelled hours of the 20 counters that count through all of 2023.

    Args:
        seed: for the draw.
        hours: labelled hours of each counter.
    """
    data = footsteps(hours, seed=seed)
    people, test = (torch.stack(list(part.targets.values()), 1) for part in (data.train, data.test))
    columns = [column[~column.isnan()] for column in people.T]
    mean = torch.stack([column.mean() for column in columns])
    sd = torch.stack([column.std() for column in columns])
    table, names = read_footsteps(), tuple(data.train.targets)
    counted = ~table.counts[:, [table.counters.index(name) for name in names]].isnan().all(1)
    of_2023 = table.day.astype("datetime64[Y]").astype(int) + 1970 == 2023
    when = table.hours[of_2023 & counted.numpy()]
    return Streets(
        counters=names,
        hours=data.train.inputs,
        people=(people - mean) / sd,
        test_hours=data.test.inputs,
        test_people=test,
        when=when,
        mean=mean,
        sd=sd,
    )
