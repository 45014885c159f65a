"""The training loop: right numbers, nothing lost, wrong use named."""

import math
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mtl_helpers.training as training
from mtl_helpers.balancing import Balance
from mtl_helpers.datasets import MultiTaskData
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import Task, classification, regression
from mtl_helpers.training import batches, evaluate, fit, load_checkpoint, make_optimizer

TASKS = [classification("kind", 3), regression("size")]


def make_data(n=50, seed=0):
    x = torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return MultiTaskData(x, {"kind": x[:, :3].argmax(1), "size": x.sum(1)})


def make_model(dropout=0.0, seed=0, width=8):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = nn.Sequential(*mlp(4, [width]), nn.Dropout(dropout))
        return HardSharing.linear(trunk, TASKS, features=width)


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_batches_deal_every_example_once():
    dealt = list(batches(10, 4, torch.Generator().manual_seed(0)))
    assert [len(b) for b in dealt] == [4, 4, 2]
    assert sorted(torch.cat(dealt).tolist()) == list(range(10))
    again = list(batches(10, 4, torch.Generator().manual_seed(0)))
    assert all(torch.equal(a, b) for a, b in zip(dealt, again, strict=True))
    assert not torch.equal(torch.cat(list(batches(10, 4))), torch.arange(10))
    assert [b.tolist() for b in batches(3, None)] == [[0, 1, 2]]


def test_fit_is_the_loop_one_would_write_by_hand():
    data, weights = make_data(), {"kind": 0.5, "size": 2.0}
    model, twin = make_model(), make_model()
    history = fit(model, TASKS, data, balance=weights, lr=0.01, epochs=3, batch_size=16, seed=5)

    stepper, order = torch.optim.Adam(twin.parameters(), lr=0.01), torch.Generator().manual_seed(5)
    for _ in range(3):
        seen = []
        for chosen in torch.randperm(50, generator=order).split(16):
            out = twin(data.inputs[chosen])
            kind = F.cross_entropy(out["kind"], data.targets["kind"][chosen])
            size = F.mse_loss(out["size"][:, 0], data.targets["size"][chosen])
            seen.append(torch.stack([kind, size]).detach() * len(chosen))
            stepper.zero_grad()
            (0.5 * kind + 2.0 * size).backward()
            stepper.step()
    torch.testing.assert_close(parameters(model), parameters(twin), rtol=1e-12, atol=1e-14)
    expected = torch.stack(seen).sum(0) / 50  # mean over examples: the last batch is short
    found = [history.train_losses[name][-1] for name in ("kind", "size")]
    assert found == pytest.approx(expected.tolist(), rel=1e-12)
    assert history.epochs == 3


def test_training_losses_are_means_over_labelled_examples():
    data = make_data(20)
    data.targets["size"][5:] = math.nan
    model = make_model()
    expected = F.mse_loss(model(data.inputs[:5])["size"][:, 0], data.targets["size"][:5]).item()
    history = fit(model, TASKS, data, lr=1e-12, epochs=1, batch_size=7)
    assert history.train_losses["size"][0] == pytest.approx(expected)


def test_training_learns():
    data, model = make_data(200), make_model()
    before = evaluate(model, TASKS, data)
    fit(model, TASKS, data, lr=0.01, epochs=30)
    after = evaluate(model, TASKS, data)
    assert after["kind"]["score"] > before["kind"]["score"] + 0.3
    assert after["size"]["score"] < 0.5 * before["size"]["score"]


def test_same_seed_same_result_and_the_callers_random_numbers_stay_untouched():
    data, found = make_data(), []
    torch.manual_seed(7)
    state = torch.get_rng_state()
    for seed in (1, 1, 2):
        model = make_model(dropout=0.5)
        fit(model, TASKS, data, epochs=2, seed=seed)
        found.append(parameters(model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluate_does_not_depend_on_the_batch_size_and_leaves_the_model_as_it_was():
    data, model = make_data(23), make_model(dropout=0.5).train()
    whole = evaluate(model, TASKS, data)
    assert evaluate(model, TASKS, data, batch_size=5) == {
        name: pytest.approx(values) for name, values in whole.items()
    }
    assert model.training
    output = model.eval()(data.inputs)["size"][:, 0]
    assert whole["size"]["loss"] == pytest.approx(F.mse_loss(output, data.targets["size"]).item())
    assert whole["size"]["score"] == pytest.approx(math.sqrt(whole["size"]["loss"]))


class Uncertain(Balance):
    """A balance with something to learn."""

    def __init__(self, names):
        super().__init__(names)
        self.log_variance = nn.Parameter(torch.zeros(len(names), dtype=torch.float64))

    def forward(self, losses, context=None):
        return (losses * torch.exp(-self.log_variance) + self.log_variance).sum()


def test_a_balances_parameters_reach_the_optimiser():
    balance = Uncertain(("kind", "size"))
    fit(make_model(), TASKS, make_data(), balance=balance, lr=0.01, epochs=2)
    assert (balance.log_variance.abs() > 1e-3).all()


def arguments(tmp_path, **more):
    return {"lr": 0.01, "batch_size": 16, "seed": 3, "checkpoint": tmp_path / "run.pt", **more}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_resumed_run_ends_as_the_uninterrupted_one(tmp_path, optimizer):
    data, valid = make_data(), make_data(30, seed=1)
    straight = make_model(dropout=0.3)
    balance = Uncertain(("kind", "size"))
    whole = fit(
        straight,
        TASKS,
        data,
        valid,
        epochs=6,
        optimizer=optimizer,
        balance=balance,
        lr=0.01,
        batch_size=16,
        seed=3,
    )
    for epochs in (2, 3, 6):  # three processes' worth; a new model and balance each time
        model, again = make_model(dropout=0.3, seed=9), Uncertain(("kind", "size"))
        if epochs == 2:
            model = make_model(dropout=0.3)
        history = fit(
            model,
            TASKS,
            data,
            valid,
            epochs=epochs,
            optimizer=optimizer,
            balance=again,
            **arguments(tmp_path),
        )
    assert history.resumed_from == 3
    assert torch.equal(parameters(model), parameters(straight))
    assert torch.equal(again.log_variance, balance.log_variance)
    assert history.train_losses == whole.train_losses
    assert history.valid_scores == whole.valid_scores
    assert history.best_epoch == whole.best_epoch


def test_killed_run_resumes_to_the_same_numbers(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        import mtl_helpers.training as training
        from tests.core.test_training import TASKS, arguments, make_data, make_model
        from pathlib import Path
        write = training.write_whole
        def dying(path, content):
            write(path, content)
            if training.load_checkpoint(path)["history"]["train_losses"]["kind"][3:]:
                os.kill(os.getpid(), signal.SIGKILL)
        training.write_whole = dying
        training.fit(make_model(0.3), TASKS, make_data(), epochs=6,
                     **arguments(Path(sys.argv[1])))
        """
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    model, straight = make_model(0.3), make_model(0.3)
    history = fit(model, TASKS, make_data(), epochs=6, **arguments(tmp_path))
    fit(straight, TASKS, make_data(), epochs=6, lr=0.01, batch_size=16, seed=3)
    assert history.resumed_from == 4
    assert torch.equal(parameters(model), parameters(straight))


def test_finished_run_is_not_trained_again(tmp_path):
    first = make_model()
    fit(first, TASKS, make_data(), epochs=2, **arguments(tmp_path))
    second = make_model(seed=1)
    assert fit(second, TASKS, make_data(), epochs=2, **arguments(tmp_path)).resumed_from == 2
    assert torch.equal(parameters(first), parameters(second))


def test_a_write_that_fails_keeps_the_checkpoint_before_it(tmp_path, monkeypatch):
    fit(make_model(), TASKS, make_data(), epochs=1, **arguments(tmp_path))
    before = (tmp_path / "run.pt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full|space"):
        fit(make_model(), TASKS, make_data(), epochs=2, **arguments(tmp_path))
    assert (tmp_path / "run.pt").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 9}, r"'trunk.1.weight' has shape \[8, 4, .*\], here \[9, 4, "),
        ({"lr": 0.02}, "its lr is 0.01, here it is 0.02"),
        ({"seed": 4}, "its seed is 3, here it is 4"),
        ({"balance": Uncertain(("kind", "size"))}, "its balance is .EqualWeights"),
        ({"balance": {"kind": 1.0, "size": 5.0}}, "its balance is .EqualWeights"),
        ({"batch_size": 10}, "its batch_size is 16, here it is 10"),
        (
            {"optimizer": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1), "lr": None},
            "its options",
        ),
        ({"tasks": [TASKS[0], Task("size", "mse", "mae", 1, False)]}, "its tasks is .*rmse"),
        ({"tasks": TASKS[:1]}, "its tasks is"),
        ({"optimizer": "sgd"}, "its optimizer is 'Adam', here it is 'SGD'"),
    ],
)
def test_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    fit(make_model(), TASKS, make_data(), epochs=1, **arguments(tmp_path))
    before = (tmp_path / "run.pt").read_bytes()
    change = dict(change)
    model, tasks = make_model(width=change.pop("width", 8)), change.pop("tasks", TASKS)
    with pytest.raises(ValueError, match=message):
        fit(model, tasks, make_data(), epochs=2, **arguments(tmp_path, **change))
    assert (tmp_path / "run.pt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_broken_or_foreign_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "run.pt"
    fit(make_model(), TASKS, make_data(), epochs=1, **arguments(tmp_path))
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(ValueError, match=r"run\.pt cannot be read as a checkpoint"):
        load_checkpoint(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"run\.pt is no checkpoint of mtl_helpers"):
        load_checkpoint(path)


def test_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"format": 1, "evil": Evil()}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(tmp_path / "run.pt")
    assert not (tmp_path / "owned").exists()
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "missing.pt")


def scripted(monkeypatch, losses, scores=None):
    """Let validation report these numbers, one an epoch."""
    numbers = iter(zip(losses, scores or losses, strict=True))

    def pretend(*_):
        loss, score = next(numbers)
        return {t.name: {"loss": loss, "score": score} for t in TASKS}

    monkeypatch.setattr(training, "evaluate", pretend)


def test_early_stopping_stops_and_gives_the_best_parameters_back(monkeypatch):
    scripted(monkeypatch, [3.0, 1.0, 2.0, 2.0, 0.0])
    model, twin = make_model(), make_model()
    history = fit(model, TASKS, make_data(), make_data(), epochs=5, patience=2)
    assert (history.epochs, history.best_epoch, history.stopped_early) == (4, 2, True)
    fit(twin, TASKS, make_data(), epochs=2)
    assert torch.equal(parameters(model), parameters(twin))


def test_without_patience_the_last_parameters_stay(monkeypatch):
    scripted(monkeypatch, [3.0, 1.0, 2.0])
    model, twin = make_model(), make_model()
    history = fit(model, TASKS, make_data(), make_data(), epochs=3)
    assert (history.epochs, history.best_epoch, history.stopped_early) == (3, 2, False)
    fit(twin, TASKS, make_data(), epochs=3)
    assert torch.equal(parameters(model), parameters(twin))


@pytest.mark.parametrize(("monitor", "best"), [("loss", 1), ("kind", 3), ("size", 2)])
def test_monitor_knows_each_metrics_direction(monkeypatch, monitor, best):
    scripted(monkeypatch, losses=[1.0, 2.0, 3.0], scores=[0.5, 0.2, 0.9])
    history = fit(make_model(), TASKS, make_data(), make_data(), epochs=3, monitor=monitor)
    assert history.best_epoch == best


def test_stopped_run_stays_stopped_when_resumed(tmp_path, monkeypatch):
    scripted(monkeypatch, [1.0, 2.0, 2.0])
    for _ in range(2):
        history = fit(
            make_model(),
            TASKS,
            make_data(),
            make_data(),
            epochs=9,
            patience=2,
            **arguments(tmp_path),
        )
    assert history.stopped_early
    assert (history.epochs, history.resumed_from) == (3, 3)


def test_best_epoch_survives_a_resume(tmp_path, monkeypatch):
    scripted(monkeypatch, [1.0, 2.0, 3.0])
    model, twin = make_model(), make_model()
    for epochs in (2, 3):
        history = fit(
            model, TASKS, make_data(), make_data(), epochs=epochs, patience=9, **arguments(tmp_path)
        )
    fit(twin, TASKS, make_data(), epochs=1, lr=0.01, batch_size=16, seed=3)
    assert history.best_epoch == 1
    assert torch.equal(parameters(model), parameters(twin))


def test_history_holds_validation_of_every_epoch():
    history = fit(make_model(), TASKS, make_data(), make_data(30, seed=1), epochs=2)
    assert {name: len(v) for name, v in history.valid_scores.items()} == {"kind": 2, "size": 2}
    assert {name: len(v) for name, v in history.valid_losses.items()} == {"kind": 2, "size": 2}


def test_batch_norm_statistics_move_in_training_only():
    trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)).double()
    model = HardSharing.linear(trunk, TASKS, features=8)
    fit(model, TASKS, make_data(), make_data(), epochs=2, batch_size=25)
    assert trunk[1].num_batches_tracked == 4


def test_that_a_checkpoint_can_be_read_back_is_tried_once_a_run(tmp_path, monkeypatch):
    tried, read = [], training.read_state
    monkeypatch.setattr(training, "read_state", lambda content: tried.append(1) or read(content))
    fit(make_model(), TASKS, make_data(), epochs=3, **arguments(tmp_path))
    assert len(tried) == 1


def test_a_diverging_run_names_task_and_epoch(tmp_path):
    data = make_data()
    data.targets["size"][:] *= 1e200
    with pytest.raises(FloatingPointError, match="'size'.* became (inf|nan) in epoch 1; lower"):
        fit(make_model(), TASKS, data, epochs=2, **arguments(tmp_path))
    assert not (tmp_path / "run.pt").exists()


def test_no_bar_is_drawn_where_nobody_looks(capfd, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    fit(make_model(), TASKS, make_data(), epochs=1)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("JPY_SESSION_NAME", "lesson.ipynb")
    fit(make_model(), TASKS, make_data(), epochs=1)
    assert "epoch" in capfd.readouterr().err
    fit(make_model(), TASKS, make_data(), epochs=1, progress=False)
    assert capfd.readouterr().err == ""


def test_the_bar_is_closed_when_training_stops_early(monkeypatch):
    class Bar(list):
        closed = False

        def set_postfix(self, _):
            assert not self.closed

        def close(self):
            self.closed = True

    bars = []
    monkeypatch.setattr(training, "_progress_bar", lambda e, *_: bars.append(Bar(e)) or bars[-1])
    scripted(monkeypatch, [3.0, 1.0, 2.0, 2.0, 2.0])
    history = fit(make_model(), TASKS, make_data(), make_data(), epochs=5, patience=2)
    assert history.stopped_early and [bar.closed for bar in bars] == [True]


def test_optimiser_by_name_or_by_function():
    weights = [nn.Parameter(torch.zeros(2))]
    made = make_optimizer("adamw", weights, 0.5)
    assert isinstance(made, torch.optim.AdamW)
    assert made.param_groups[0]["lr"] == 0.5
    own = make_optimizer(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), weights)
    assert own.param_groups[0]["momentum"] == 0.9
    assert own.param_groups[0]["lr"] == 0.1


def without(name):
    data = make_data()
    return MultiTaskData(data.inputs, {k: v for k, v in data.targets.items() if k != name})


def poisoned():
    data = make_data()
    data.inputs[3] = math.nan  # after the check that MultiTaskData made
    return data


class OneOutput(nn.Linear):
    """Forgets the dictionary."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; found 0"),
        ({"batch_size": 0}, "batch size 0"),
        ({"lr": -1.0}, "positive number; found -1.0"),
        ({"lr": math.nan}, "positive number; found nan"),
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'; use one of sgd, adam"),
        ({"patience": 2}, "needs a validation set"),
        ({"patience": 0, "valid": make_data()}, "at least 1"),
        ({"monitor": "accuracy"}, r"'loss' or one of \['kind', 'size'\]; found 'accuracy'"),
        ({"balance": {"kind": 1.0}}, r"without a weight: \['size'\]"),
        ({"train": without("size")}, "'size' is missing from the train targets"),
        ({"valid": without("kind")}, "'kind' is missing from the valid targets"),
        ({"train": make_data().to(dtype=torch.float32)}, "dtype is torch.float64.*float32"),
        (
            {
                "tasks": [*TASKS, regression("x")],
                "train": MultiTaskData(
                    make_data().inputs, {**make_data().targets, "x": make_data().targets["size"]}
                ),
            },
            r"missing \['x'\], found \['kind', 'size'\]",
        ),
        ({"model": OneOutput(4, 2).double()}, "must return a dictionary.*found Tensor"),
        ({"model": nn.Identity()}, "no parameters"),
        ({"model": HardSharing.linear(mlp(5, [3]), TASKS)}, r"cannot take train inputs.*\(N, 4\)"),
        (
            {"model": HardSharing.linear(mlp(4, [3], dtype=torch.float32), TASKS)},
            "dtype is torch.float32 .parameter 'trunk.1.weight'.",
        ),
        ({"valid": make_data().subset([])}, "valid data hold no examples"),
        (
            {
                "valid": MultiTaskData(
                    make_data().inputs,
                    {"kind": torch.full((50,), -100), "size": make_data().targets["size"]},
                )
            },
            "'kind' has no label at all in the valid data",
        ),
        ({"train": poisoned()}, "train inputs hold NaN"),
        ({"tasks": [classification("kind", 2), TASKS[1]]}, "label 2 at example .* outside 0..1"),
        ({"tasks": [classification("kind", 4), TASKS[1]]}, r"'kind'.*\(B, 4\)"),
    ],
)
def test_wrong_use_is_named_before_anything_is_trained(change, message):
    asked = {"model": make_model(), "tasks": TASKS, "train": make_data(), "epochs": 1, **change}
    with pytest.raises(ValueError, match=message):
        fit(asked.pop("model"), asked.pop("tasks"), asked.pop("train"), **asked)


def test_resuming_with_other_weights_or_other_data_is_refused(tmp_path):
    asked = arguments(tmp_path, balance={"kind": 1.0, "size": 0.5})
    fit(make_model(), TASKS, make_data(), epochs=1, **asked)
    with pytest.raises(ValueError, match=r"its weights is .*0\.5.*here it is .*5\.0"):
        fit(
            make_model(),
            TASKS,
            make_data(),
            epochs=2,
            **{**asked, "balance": {"kind": 1.0, "size": 5.0}},
        )
    with pytest.raises(ValueError, match="trained or validated on other data"):
        fit(make_model(), TASKS, make_data(seed=1), epochs=2, **asked)
    with pytest.raises(ValueError, match="trained or validated on other data"):
        fit(make_model(), TASKS, make_data(), make_data(), epochs=2, **asked)
    with pytest.raises(ValueError, match="its monitor is 'loss', here it is 'kind'"):
        fit(make_model(), TASKS, make_data(), epochs=2, monitor="kind", **asked)


def test_fewer_epochs_than_the_checkpoint_has_are_refused(tmp_path):
    fit(make_model(), TASKS, make_data(), epochs=3, **arguments(tmp_path))
    with pytest.raises(ValueError, match=r"run\.pt has 3 epochs, and epochs=2 are asked for"):
        fit(make_model(), TASKS, make_data(), epochs=2, **arguments(tmp_path))


def test_a_place_that_cannot_be_written_to_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    model, twin = make_model(), make_model()
    with pytest.raises(OSError):
        fit(model, TASKS, make_data(), epochs=1, checkpoint=tmp_path / "file" / "run.pt")
    assert torch.equal(parameters(model), parameters(twin))
    with pytest.raises(IsADirectoryError):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("number", [math.nan, -math.inf])
def test_validation_that_is_not_finite_names_the_task(monkeypatch, number):
    scripted(monkeypatch, [1.0, 1.0], [0.5, number])
    with pytest.raises(FloatingPointError, match=f"'kind': in epoch 2 .* the score {number}"):
        fit(make_model(), TASKS, make_data(), make_data(), epochs=3, patience=2)


def test_divergence_in_the_last_step_is_noticed(tmp_path):
    data = make_data()
    data.targets["size"][:] *= 1e4
    with pytest.raises(FloatingPointError, match="no longer finite after epoch 1"):
        fit(
            make_model(),
            TASKS,
            data,
            epochs=1,
            **arguments(tmp_path, lr=1e308, batch_size=None, optimizer="sgd"),
        )
    assert not (tmp_path / "run.pt").exists()


def test_tasks_may_come_from_a_generator():
    model = make_model()
    history = fit(model, (task for task in TASKS), make_data(), epochs=1)
    assert list(history.train_losses) == ["kind", "size"]
    assert list(evaluate(model, (task for task in TASKS), make_data())) == ["kind", "size"]


def test_evaluate_names_what_does_not_fit():
    with pytest.raises(ValueError, match="'size' is missing from the test targets"):
        evaluate(make_model(), TASKS, without("size"))
    with pytest.raises(ValueError, match="batch_size must be at least 1; found 0"):
        evaluate(make_model(), TASKS, make_data(), batch_size=0)


def test_dropout_is_on_in_training_even_when_the_model_comes_in_eval_mode():
    dropped, kept = make_model(0.5).eval(), make_model()
    fit(dropped, TASKS, make_data(), epochs=1)
    fit(kept, TASKS, make_data(), epochs=1)
    assert not torch.equal(parameters(dropped), parameters(kept))


def test_the_check_before_training_leaves_the_mode_as_it_was():
    model = make_model().eval()
    training.check_data(model, {t.name: t for t in TASKS}, make_data(), "train")
    assert not model.training


def test_the_seed_draws_the_dropout_masks():
    found = []
    for seed in (1, 2):
        model = make_model(0.5)
        fit(model, TASKS, make_data(), epochs=1, batch_size=None, seed=seed)
        found.append(parameters(model))
    assert not torch.equal(*found)


class Nosy(Balance):
    """Keeps what it was given."""

    def forward(self, losses, context=None):
        self.context = context
        return losses.sum()


def test_a_balance_is_told_about_the_model_and_its_outputs():
    balance, model = Nosy(("kind", "size")), make_model()
    fit(model, TASKS, make_data(), balance=balance, epochs=1)
    assert balance.context["model"] is model
    assert set(balance.context["outputs"]) == {"kind", "size"}


def test_a_resumed_run_that_may_go_on_is_not_called_stopped(tmp_path, monkeypatch):
    scripted(monkeypatch, [1.0, 2.0, 2.0])
    asked = arguments(tmp_path, patience=2)
    fit(make_model(), TASKS, make_data(), make_data(), epochs=9, **asked)
    history = fit(make_model(), TASKS, make_data(), make_data(), epochs=3, **asked)
    assert not history.stopped_early  # all three epochs were run
