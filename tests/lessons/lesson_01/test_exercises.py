"""The checks of lesson 01: right answers that look unusual, and wrong ones that look right."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from mtl_helpers.lessons.lesson_01 import exercises as check
from mtl_helpers.metrics import paired_interval
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import regression


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Named(nn.Module):
    """Heads in a dictionary, outputs by name."""

    def __init__(self, inputs, width, counters):
        super().__init__()
        self.trunk = mlp(inputs, [width, width])
        self.heads = nn.ModuleDict({f"c{k}": nn.Linear(width, 1) for k in range(counters)})

    def forward(self, x):
        z = self.trunk(x)
        return {name: head(z) for name, head in self.heads.items()}


def relu_list(inputs, width, counters):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(inputs, width), nn.Linear(width, width)
            self.heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(counters))

        def forward(self, x):
            z = self.two(self.one(x).relu()).relu()
            return torch.cat([head(z) for head in self.heads], 1)

    return Net()


def single(kind):
    return lambda i, w, c: nn.Sequential(
        nn.Linear(i, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU(), nn.Linear(w, c)
    ).to(kind)


def by_package(inputs, width, counters):
    tasks = [regression(f"c{k}") for k in range(counters)]
    return HardSharing.linear(mlp(inputs, [width, width]), tasks)


def by_ttest(alone, together):
    return tuple(
        k
        for k in reversed(list(alone))
        if stats.ttest_rel(together[k], alone[k], alternative="greater").pvalue < 0.025
    )


def interval_by_scipy(ours, theirs):
    differences = np.subtract(ours, theirs)
    low, high = stats.t.interval(0.95, len(ours) - 1, differences.mean(), stats.sem(differences))
    return torch.tensor((high - low) / 2, dtype=torch.float32)


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.shared_network, Named),
        (check.shared_network, relu_list),
        (check.shared_network, by_package),
        (check.shared_network, single(torch.float32)),
        (check.shared_network, single(torch.float64)),
        (check.half_width, interval_by_scipy),
        (check.who_loses, by_ttest),
        (check.who_loses, lambda a, t: {k for k in a if paired_interval(t[k], a[k]).low > 0}),
        (
            check.who_loses,
            lambda a, t: np.array([k for k in a if paired_interval(t[k], a[k]).low > 0]),
        ),
        (check.saving, lambda s, h, k: torch.tensor((k - 1) * s / (k * (s + h)))),
        (
            check.mean_gain,
            lambda m, s, u: (
                100 * np.mean([(1 if u[k] else -1) * (m[k] / s[k] - 1) for k in sorted(m)])
            ),
        ),
    ],
)
def test_right_answers_are_right(ask, answer):
    verdict = ask(answer)
    assert verdict.status == "right", str(verdict)


def test_other_spellings_of_the_settings():
    names = ["multi_task", "Multi label", "transfer learning", "META-LEARNING"]
    names += ["co\u2011training", "single-task", "multitask", "multi-task"]
    assert check.which(dict(zip("ABCDEFGH", names, strict=True))).status == "right"


def test_losers_beyond_chance_are_asked_for_by_name():
    def ninety(alone, together):
        return [
            k
            for k in alone
            if stats.ttest_rel(together[k], alone[k], alternative="greater").pvalue < 0.05
        ]

    def by_place(alone, together):
        pairs = zip(alone.items(), together.values(), strict=True)
        return [k for (k, a), t in pairs if paired_interval(t, a).low > 0]

    assert check.who_loses(ninety).status == check.who_loses(by_place).status == "wrong"


@pytest.mark.parametrize("layers", [(nn.Identity, nn.ReLU, nn.Identity),
                                    (nn.ReLU, nn.Tanh, nn.Identity), (nn.ReLU, nn.ReLU, nn.ReLU),
                                    (nn.LeakyReLU, nn.ReLU, nn.Identity)])  # fmt: skip
def test_both_layers_and_no_head_are_followed_by_a_relu(layers):
    one, two, last = layers
    net = lambda i, w, c: nn.Sequential(  # noqa: E731
        nn.Linear(i, w), one(), nn.Linear(w, w), two(), nn.Linear(w, c), last()
    )
    assert "in another way" in str(check.shared_network(net))


def test_a_detached_table_learns_nothing():
    class Cut(Named):
        def forward(self, x):
            return {name: output.detach() for name, output in super().forward(x).items()}

    assert "no gradient" in str(check.shared_network(Cut))


def test_delta_m_finds_tasks_by_name():
    def by_place(multi, single, higher_is_better):
        rows = zip(multi.values(), single.values(), higher_is_better.values(), strict=True)
        return 100 * np.mean([(1 if up else -1) * (m - s) / s for m, s, up in rows])

    assert "by name" in str(check.mean_gain(by_place))


def test_a_network_that_is_no_module_or_gives_too_little():
    assert "an nn.Module" in str(check.shared_network(lambda i, w, c: [nn.Linear(i, c)]))
    assert "no parameters" in str(check.shared_network(lambda i, w, c: nn.Flatten()))
    assert "itself" in str(check.shared_network(nn.Linear(3, 2).weight))
    assert "nothing back" in str(check.shared_network(lambda i, w, c: None))
    assert check.shared_network(lambda i, w, c: ...).status == "not attempted"
