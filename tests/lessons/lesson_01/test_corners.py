"""The street corners: data as the networks see them, training, rivals, and the studies' rows."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from mtl_helpers.datasets.base import MultiTaskData
from mtl_helpers.datasets.footsteps import read_footsteps
from mtl_helpers.lessons.lesson_01 import corners
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import regression
from mtl_helpers.training import fit

QUICK = {
    "widths": [4],
    "learning_rates": [0.01],
    "weight_decays": [0.1],
    "steps": 4,
    "record_every": 2,
    "tuning_seeds": [100],
}


@pytest.fixture(scope="module")
def raw():
    return corners.city(0, 10, "plain")


def test_targets_are_standardised_by_their_training_labels(raw):
    data, moments = corners.standardised(raw)
    for name, target in data.train.targets.items():
        known = target[~target.isnan()]
        assert abs(known.mean()) < 1e-12 and abs(known.std() - 1) < 1e-12
        old = raw.train.targets[name][~raw.train.targets[name].isnan()]
        assert moments[name] == pytest.approx((old.mean().item(), old.std().item()))
    table = torch.stack(list(data.test.targets.values()), 1)
    back = torch.stack(list(raw.test.targets.values()), 1)
    torch.testing.assert_close(corners.in_old_unit(table, moments), back, equal_nan=True)


def test_a_group_keeps_the_rows_that_label_it(raw):
    names = [corners.COUNTERS[3], corners.COUNTERS[7]]
    part = corners.group(raw, names).train
    assert list(part.targets) == ["own", "partner_1"] and len(part) == 20
    for task, name in zip(part.targets, names, strict=True):
        ours, theirs = part.targets[task], raw.train.targets[name]
        assert ours[~ours.isnan()].tolist() == theirs[~theirs.isnan()].tolist()


def test_shuffled_partners_keep_their_numbers_and_lose_their_hours(raw):
    names = [corners.COUNTERS[3], corners.COUNTERS[7]]
    plain, mixed = corners.group(raw, names), corners.group(raw, names, shuffled=1)
    for part in ("train", "valid"):
        first, second = getattr(plain, part).targets, getattr(mixed, part).targets
        assert torch.equal(first["own"].nan_to_num(), second["own"].nan_to_num())
        was, now = first["partner_1"].nan_to_num(), second["partner_1"].nan_to_num()
        assert not torch.equal(was, now) and torch.equal(was.sort()[0], now.sort()[0])
    ours, theirs = plain.test.targets["partner_1"], mixed.test.targets["partner_1"]
    assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())


def test_stacked_networks_learn_what_one_alone_learns():
    found = corners.separate([4], 10, "plain", [0, 1], lr=0.01, weight_decay=0.1, steps=5)
    data = corners.standardised(corners.group(corners.city(1, 10, "plain"), [corners.COUNTERS[2]]))[
        0
    ]
    task = [regression("own")]
    torch.manual_seed(22)  # network 20 * 1 + 2
    model = HardSharing.linear(mlp(11, [4]), task)
    steps = {"optimizer": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)}
    fit(model, task, data.train, epochs=5, batch_size=None, seed=22, **steps)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.results.state(22)[name], value, rtol=1e-9, atol=1e-12)


def test_networks_can_begin_with_given_trunks():
    trunks = [mlp(11, [4]).state_dict() for _ in range(20)]
    found = corners.separate(
        [4], 10, "plain", [0], trunks=trunks, lr=1e-12, weight_decay=0.0, steps=1
    )
    for number in (0, 7, 19):
        for name, value in trunks[number].items():
            ours = found.results.state(number)[f"trunk.{name}"]
            torch.testing.assert_close(ours, value, rtol=0, atol=1e-9)


def test_errors_are_in_the_unit_of_the_logarithm():
    found = corners.together([4], 10, "plain", [0], lr=0.01, weight_decay=0.1, steps=2)
    test = corners.city(0, 10, "plain").test
    errors = corners.rmse(found.predict(0, test.inputs), test)
    ours = torch.stack([found.errors(name) for name in corners.COUNTERS], 1)[0]
    torch.testing.assert_close(errors, ours)


def test_tuning_takes_the_smallest_validation_loss():
    asked = []

    class Curves:
        def __init__(self, lr):
            self.steps = torch.tensor([0, 2, 4])
            self.losses = {"own": torch.tensor([[9.0, lr, lr + 1]]),
                           "partner_1": torch.tensor([[9.0, 5.0, 1 - lr]])}  # fmt: skip

    def train(lr, weight_decay, steps, record_every):
        asked.append((lr, weight_decay, steps, record_every))
        results = type("Results", (), {"curves": Curves(lr + weight_decay)})
        return type("Found", (), {"results": results})

    grid = {**QUICK, "learning_rates": [0.3, 0.1], "weight_decays": [0.2, 0.0]}
    chosen = corners.tuned(train, grid, "own")
    assert chosen == {"lr": 0.1, "weight_decay": 0.0, "steps": 2}
    assert corners.tuned(train, grid)["steps"] == 4  # the mean over both tasks
    assert len(asked) == 8 and asked[0][2:] == (4, 2)


def test_each_label_is_listed_once(raw):
    x, counter, y = corners.labels(raw.train)
    assert x.shape == (200, 11) and np.bincount(counter).tolist() == [10] * 20
    names = list(raw.train.targets)
    for row in (0, 57, 199):
        target = raw.train.targets[names[counter[row]]]
        assert target[row] == y[row]


def test_the_linear_rivals_are_ridge_regressions(raw):
    data = corners.standardised(raw)[0]
    x, counter, y = corners.labels(data.train)
    test = data.test.inputs[:50].numpy()
    found = corners.linear_rival(data, 3.0)(test)
    expected = Ridge(3.0).fit(x[counter == 4], y[counter == 4]).predict(test)
    np.testing.assert_allclose(found[:, 4], expected)
    pooled = corners.pooled_linear_rival(data, 3.0)(test)
    np.testing.assert_allclose(pooled[:, 4], Ridge(3.0).fit(x, y).predict(test))
    assert (pooled == pooled[:, :1]).all()


def test_pooled_trees_know_the_counter(raw):
    data = corners.standardised(raw)[0]
    found = corners.pooled_trees_rival(data, 1)(data.test.inputs[:5].numpy())
    assert found.shape == (5, 20) and len(np.unique(found[0])) > 10


def test_one_kernel_without_a_part_of_its_own_is_pooled_kernel_ridge(raw, monkeypatch):
    data = corners.standardised(raw)[0]
    x, _, y = corners.labels(data.train)
    test = data.test.inputs[:50].numpy()
    monkeypatch.setattr(corners, "OWN_KERNEL", 0.0)
    pooled = corners.kernel_shared_rival(data, (0.3, 1.0, 2.0, 4.0))(test)
    lengths = np.array([1.0] * 2 + [2.0] * 7 + [4.0] * 2)  # of hour, weekday and season
    expected = KernelRidge(alpha=0.3, kernel="rbf", gamma=0.5).fit(x / lengths, y)
    np.testing.assert_allclose(pooled[:, 7], expected.predict(test / lengths))
    monkeypatch.setattr(corners, "OWN_KERNEL", 1e9)  # almost only its own labels count
    found = corners.kernel_shared_rival(data, (0.3 * 1e9, 1.0, 2.0, 4.0))(test)
    own = corners.kernel_rival(data, (0.3, 1.0, 2.0, 4.0))(test)
    np.testing.assert_allclose(found, own, rtol=1e-4, atol=1e-6)


def test_new_heads_stand_on_the_trunks_they_are_given(raw):
    data = corners.standardised(raw)[0]
    x, counter, y = corners.labels(data.train)
    trunks = [mlp(11, [4]) for _ in range(20)]
    train = corners.new_heads({"widths": [4]}, "plain", lambda _: [t.state_dict() for t in trunks])
    test = data.test.inputs[:5]
    found = train(0, data, 3.0)(test.numpy())
    with torch.no_grad():
        features, asked = trunks[4](torch.from_numpy(x)).numpy(), trunks[4](test).numpy()
    expected = Ridge(3.0).fit(features[counter == 4], y[counter == 4]).predict(asked)
    np.testing.assert_allclose(found[:, 4], expected)


def test_a_rival_is_tuned_and_answers_in_the_old_unit():
    fit = lambda seed, data, strength: corners.pooled_linear_rival(data, strength)  # noqa: E731
    predict, chosen = corners.rival(fit, [1e9, 3.0], QUICK, "plain")
    assert chosen == {"strength": 3.0}  # the other one predicts the mean for all hours
    test = corners.city(0, 50, "plain").test
    assert 0.6 < corners.rmse(predict(0, test.inputs), test).mean() < 1.0


def test_missing_hours_do_not_count():
    part = MultiTaskData(torch.zeros(3, 1), {"a": torch.tensor([1.0, float("nan"), 3.0])})
    torch.testing.assert_close(corners.rmse(torch.zeros(3, 1), part), torch.tensor([5.0]).sqrt())
    assert corners.errors_of(part, {"a": torch.zeros(3)}).tolist() == pytest.approx([5**0.5])


def test_partners_are_what_they_are_called():
    own, table = corners.COUNTERS[5], read_footsteps()
    far = table.distances()[table.counters.index(own)]
    metres = lambda names: [float(far[table.counters.index(name)]) for name in names]  # noqa: E731
    others = sorted(metres([c for c in corners.COUNTERS if c != own]))
    assert metres(corners.partners(own, "nearest", 3, 0)) == others[:3]
    assert metres(corners.partners(own, "farthest", 3, 0)) == others[:-4:-1]
    like = corners.likeness()[5]
    alike = [float(like[corners.COUNTERS.index(c)]) for c in corners.partners(own, "alike", 19, 0)]
    assert alike == sorted(alike, reverse=True) and len(alike) == 19
    assert corners.partners(own, "unlike", 19, 0) == corners.partners(own, "alike", 19, 0)[::-1]
    drawn = [corners.partners(own, "random", 3, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and own not in drawn[0]


def test_likeness_is_a_correlation():
    like = corners.likeness()
    assert torch.equal(like, like.T) and (like.diagonal() == 1).all() and like.abs().max() <= 1
    table = read_footsteps()
    year = table.day.astype("datetime64[Y]").astype(int) + 1970 == 2022
    values = table.counts[torch.from_numpy(year)].log1p().numpy()
    pair = values[:, [table.counters.index(corners.COUNTERS[k]) for k in (0, 9)]]
    pair = pair[~np.isnan(pair).any(1)]
    assert float(like[0, 9]) == pytest.approx(np.corrcoef(pair.T)[0, 1])


def test_one_counter_and_its_unit(raw):
    name = corners.COUNTERS[1]
    part = corners.one_counter(raw.train, name)
    assert len(part) == 10 and not part.targets[name].isnan().any()
    said = corners.in_logs({"arm": {"a": torch.tensor([1.0])}}, {"a": (3.0, 2.0)})
    assert said["arm"]["a"].tolist() == [5.0]


def test_rows_of_the_street_corners():
    fine = {k: QUICK[k] for k in ("learning_rates", "weight_decays", "steps", "record_every")}
    quick = {
        **QUICK,
        "arms": {"good": ["separate", "together", "fine-tuned", "linear, pooled"]},
        "fine_tuning": fine,
    }
    rows = corners.street_corners(quick, [0, 3])
    assert [(row["arm"], row["seed"]) for row in rows[:3]] == [
        ("separate", 0), ("separate", 3), ("together", 0),
    ]  # fmt: skip
    assert len(rows) == 8 and len(rows[0]["by_counter_next_year"]) == 20
    for row in rows:
        assert row["rmse"] == pytest.approx(np.mean(row["by_counter"]), abs=1e-3)
        assert row["rmse"] != row["rmse_next_year"]


def test_rows_of_the_other_studies():
    both = {**QUICK, "inputs": "plain", "arms": ["together"], "hours": [10], "layer_widths": [3]}
    (row,) = corners.both_ways(both, [0])
    assert row["tuned"]["steps"] in (2, 4) and (row["hours"], row["width"]) == (10, 3)
    groups = corners.in_groups({**QUICK, "inputs": "plain", "sizes": [20, 10]}, [0])
    assert [row["size"] for row in groups] == [20, 10]
    settings = [
        {"name": "alone", "partners": 0},
        {"name": "mixed", "partners": 1, "shuffled": True},
        {"name": "light", "partners": 1, "own_weight": 0.001},
    ]
    company = corners.with_partners({**QUICK, "inputs": "plain", "settings": settings}, [0])
    assert [row["setting"] for row in company] == ["alone", "mixed", "light"]
    assert len(company[0]["by_counter"]) == 20
