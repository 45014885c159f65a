"""Whatever an answer does, its check gives a verdict, and leaves everything as it was."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import hostile
import numpy as np
import pytest
import torch

from mtl_helpers.teaching.exercises import compare, exercise
from mtl_helpers.teaching.exercises import core as exercises_core
from mtl_helpers.teaching.exercises.guard import Surroundings


@pytest.fixture(autouse=True)
def interrupts_arrive():
    """A shell starts a job in the background with interrupts ignored; these tests send some."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def total(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})

    @exercise("98.1", "The sum", kind="fill one line", difficulty=1, minutes=1, right="it sums.")
    def total(answer):
        cases = [(torch.tensor([1.0, 3.0]),), (torch.tensor([0.5, 0.25]),)]
        return compare(answer, lambda losses: losses.sum(), cases)

    return total


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("exit", "your function raised SystemExit: 3 with args"),
        ("interrupt", "your function raised KeyboardInterrupt with args"),
        ("generator exit", "your function raised GeneratorExit with args"),
        ("bare", "your function raised Bare: bare with args"),
        ("no text", "your function raised NoTextError, whose text cannot be read with args"),
        ("exit in the text", "your function raised ExitTextError, whose text cannot be read"),
        ("recursion", "your function raised RecursionError: it calls itself without end"),
        ("stop", "your function raised StopIteration with args"),
        ("generator", "a generator found, 4 expected"),
        ("address", "your function raised ValueError: <object object> with args"),
    ],
)
def test_an_exit_is_a_message(total, answer, text):
    verdict = total(hostile.FUNCTIONS[answer])
    assert verdict.status == "wrong"
    assert text in verdict.message
    assert total(hostile.FUNCTIONS[answer]) == verdict


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("raises", "your function raised RuntimeError: no with ["),
        ("exits", "your function raised SystemExit: bye with ["),
        ("no class", "the check could not use your answer (RuntimeError: no class)."),
        ("callable object", "-77.25 found, 4 expected"),
        ("itself", "the check could not use your answer (RecursionError: it calls itself"),
    ],
)
def test_an_object_that_refuses_everything_is_a_message(total, answer, text):
    odd = hostile.VALUES | {"callable object": hostile.Callable()}
    message = total(odd[answer]).message
    odd.clear()  # or pytest would try to write it
    assert text in message


def test_an_exit_outside_the_learners_function_is_a_message(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})
    check = exercise("98.1", "x", kind="fill one line", difficulty=1, minutes=1)(
        lambda answer: answer.value
    )

    class Odd:
        @property
        def value(self):
            raise SystemExit("here")

    assert check(Odd()).message == "the check could not use your answer (SystemExit: here)."


def test_a_message_is_cut_where_it_gets_long(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})
    check = exercise("98.1", "x", kind="fill one line", difficulty=1, minutes=1)(
        lambda answer: f"{object()}" + "word " * 999
    )
    message = check(1).message
    assert len(message) == 900
    assert message.endswith("…")
    assert " at 0x" not in message


def test_even_a_failure_while_the_verdict_is_written_is_a_verdict(total, monkeypatch):
    monkeypatch.setattr(exercises_core, "open_place", lambda own: 1 / 0)
    verdict = total(lambda losses: 1.0)
    assert verdict.message == "the check could not use your answer (ZeroDivisionError: " + (
        "division by zero)."
    )


# ------------------------------------------------------------------------------ a real Ctrl-C


def press():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        time.sleep(0.001)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
def test_a_real_interrupt_comes_through(total):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        total(lambda losses: press())
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
def test_a_real_interrupt_comes_through_an_answer_that_swallows_it(total):
    def swallows(losses):
        try:
            press()
        except BaseException:
            return losses.sum()

    with pytest.raises(KeyboardInterrupt):
        total(swallows)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
def test_a_real_interrupt_in_the_check_itself_comes_through(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})
    check = exercise("98.1", "x", kind="fill one line", difficulty=1, minutes=1)(
        lambda answer: press()
    )
    with pytest.raises(KeyboardInterrupt):
        check(1)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process there")
def test_a_real_interrupt_stops_a_check_that_would_go_on(monkeypatch):
    monkeypatch.setattr(exercises_core, "_REGISTRY", {})
    went_on = []

    def check(answer):
        with contextlib.suppress(Exception):
            answer()
        went_on.append(True)

    with pytest.raises(KeyboardInterrupt):
        exercise("98.1", "x", kind="fill one line", difficulty=1, minutes=1)(check)(lambda: press())
    assert not went_on


def test_the_handler_of_the_signal_is_put_back_after_an_answer_changed_it(total):
    before = signal.getsignal(signal.SIGINT)

    def changes(losses):
        signal.signal(signal.SIGINT, lambda *a: None)
        return losses.sum()

    assert total(changes).status == "right"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_ignored(total):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert total(lambda losses: losses.sum()).status == "right"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_check_answers_in_another_thread(total):
    found = []

    def run():
        found.append(total(lambda losses: losses.sum()))
        found.append(total(hostile.FUNCTIONS["interrupt"]))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [verdict.status for verdict in found] == ["right", "wrong"]


# ------------------------------------------------------------------------------ surroundings


def settings():
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        np.geterr(),
        sys.stdout,
        sys.getrecursionlimit(),
        os.getcwd(),
        list(warnings.filters),
        torch.rand,
        torch.Tensor.sum,
        sum,
    )


def gradients_off(losses):
    torch.set_grad_enabled(False)
    return losses.sum()


def half_precision(losses):
    torch.set_default_dtype(torch.float16)
    return losses.sum()


def another_device(losses):
    found = losses.sum()
    torch.set_default_device("meta")
    return found


def other_functions(losses):
    found = losses.sum()
    torch.rand = torch.Tensor.sum = None
    torch.something_new = 1
    return found


def walks_away(losses):
    os.chdir("/")
    return losses.sum()


def all_quiet(losses):
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(5000)
    sys.stdout = None
    return losses.sum()


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (gradients_off, "Your code changed whether gradients are recorded; the check put it back."),
        (half_precision, "Your code changed the default number type; the check put it back."),
        (another_device, "Your code changed the default device; the check put it back."),
        (other_functions, "changed the function torch.Tensor.sum, the function torch.rand; the"),
        (walks_away, "Your code changed the working folder; the check put it back."),
        (all_quiet, ""),
    ],
)
def test_what_an_answer_changes_is_put_back_and_said(total, answer, note, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = settings()
    verdict = total(answer)
    assert settings() == before
    assert verdict.status == "right"
    assert verdict.message.startswith("it sums.")
    assert note in verdict.message
    assert ("Your code" in verdict.message) == bool(note)
    if hasattr(torch, "something_new"):
        del torch.something_new


def test_a_replaced_comparison_does_not_make_an_answer_right(total):
    verdict = total(hostile.FUNCTIONS["patches"])
    assert verdict.status == "wrong"
    assert "-77.25 found, 4 expected" in verdict.message
    assert "the function torch.isclose" in verdict.message


def test_a_setting_is_back_before_the_check_goes_on(total):
    assert "nan" not in total(half_precision).message
    assert total(lambda losses: half_precision(losses) + 1).status == "wrong"


def test_an_error_on_the_way_still_puts_everything_back(total):
    def fails(losses):
        gradients_off(losses)
        raise ValueError("late")

    assert "ValueError: late" in total(fails).message
    assert torch.is_grad_enabled()


def test_another_default_device_is_kept():
    torch.set_default_device("meta")
    try:
        around = Surroundings()
        torch.set_default_device("cpu")
        around.put_back()
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


def test_a_folder_that_is_gone_is_left(total, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def gone(losses):
        (tmp_path / "inner").mkdir()
        os.chdir(tmp_path / "inner")
        os.rmdir(tmp_path / "inner")
        return losses.sum()

    verdict = total(gone)
    assert "the working folder" in verdict.message
    assert os.getcwd() == str(tmp_path)


def test_a_value_that_cannot_be_compared_hides_no_change():
    around = Surroundings()
    kept = torch.add
    torch.add = hostile.Raises()
    around.put_back()
    assert torch.add is kept
    assert around.changed == {"the function torch.add"}
    assert around.note().startswith(" (Your code changed the function torch.add")


def test_what_the_first_optimiser_of_a_process_wraps_is_no_change():
    code = (
        "import torch\n"
        "from mtl_helpers.teaching.exercises.guard import Surroundings\n"
        "around, before = Surroundings(), torch.manual_seed\n"
        "torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)\n"
        "around.put_back()\n"
        "print(sorted(around.changed))\n"
        "torch.manual_seed = lambda seed: None\n"
        "around.put_back()\n"
        "print(sorted(around.changed))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['the function torch.manual_seed']"]
