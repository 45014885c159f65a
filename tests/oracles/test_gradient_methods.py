"""Gradient methods against other people's code, over random draws in float64."""

import itertools

import cvxpy as cp
import numpy as np
import torch
import torchjd.aggregation as peer
from conflictfree.grad_operator import IMTLGOperator, PCGradOperator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torchjd.linalg import QuadprogProjector

from mtl_helpers.balancing import gradients
from mtl_helpers.balancing.gradients import METHODS, gramian

F64 = torch.float64
tasks = st.sampled_from([2, 3, 8])
seeds = st.integers(0, 2**31)


def draw(count, seed, size=20):
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randn(count, 1, generator=rng, dtype=F64).exp()
    return lengths * torch.randn(count, size, generator=rng, dtype=F64)


def same(ours, theirs, rtol=1e-6):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol * float(theirs.abs().max()))


@given(tasks, seeds)
def test_closed_forms_are_torchjds(count, seed):
    grads = draw(count, seed)
    same(gradients.sum_(grads), peer.Sum()(grads))
    same(gradients.imtl_g(grads), peer.IMTLG()(grads))
    same(gradients.aligned_mtl(grads), peer.AlignedMTL()(grads))


@given(tasks, seeds)
def test_upgrad_is_torchjds(count, seed):
    grads = draw(count, seed)
    exact = QuadprogProjector(norm_eps=0.0, reg_eps=1e-12)
    same(gradients.upgrad(grads), peer.UPGrad(projector=exact)(grads))


@given(seeds)
def test_mgda_of_two_tasks_is_torchjds(seed):
    """At three tasks and more torchjd's Frank-Wolfe stops too early to be an oracle."""
    grads = draw(2, seed)
    same(gradients.mgda(grads), peer.MGDA(epsilon=1e-12, max_iters=1000)(grads))


@settings(max_examples=30)
@given(tasks, seeds, st.sampled_from([0.1, 0.5, 0.9]))
def test_cagrad_is_at_least_as_good_as_torchjds(count, seed, c):
    """Theirs is exact to the square root of its solver's tolerance; the dual value decides."""
    grads = draw(count, seed)
    gram, mean = gramian(grads), np.full(count, 1 / count)
    theirs = peer.CAGrad(c=c, norm_eps=1e-12)(grads)
    torch.testing.assert_close(
        gradients.cagrad(grads, c=c), theirs, rtol=1e-2, atol=1e-3 * float(theirs.abs().max())
    )
    radius = c * np.sqrt(mean @ gram @ mean)

    def worst_gain(direction):
        return float((grads @ direction).min())

    ours = gradients.cagrad(grads, c=c)
    assert float((ours - grads.mean(0)).norm()) <= radius * (1 + 1e-9)
    assert worst_gain(ours) >= worst_gain(theirs) - 1e-6 * float(gram.max())


@settings(max_examples=30)
@given(seeds, st.sampled_from([0.1, 0.5, 0.9]))
def test_cagrad_of_two_tasks_minimises_its_dual(seed, c):
    grads = draw(2, seed)
    gram, mean = gramian(grads), np.full(2, 0.5)
    radius = c * np.sqrt(mean @ gram @ mean)

    def dual(share):
        w = np.array([share, 1 - share])
        return w @ gram @ mean + radius * np.sqrt(w @ gram @ w)

    away = gradients.cagrad_weights(gram, c) - mean
    found = dual(away[0] / away.sum())
    assert found <= min(map(dual, np.linspace(0, 1, 1001))) + 1e-9 * gram.max()


@settings(max_examples=40)
@given(
    st.sampled_from([2, 3, 5]),
    st.sampled_from([2, 3, 20]),
    seeds,
    st.sampled_from([0.1, 0.4, 0.8, 1.0, 1.5]),
    st.sampled_from(["random", "one zero", "two zeros", "cancelling"]),
)
def test_cagrad_solves_the_papers_problem_where_gradients_are_zero_or_cancel(
    count, size, seed, c, kind
):
    """Where the best mixture is 0, torchjd leaves the paper's ball: a cone solver judges."""
    grads = draw(count, seed, size)
    if kind == "cancelling":
        grads[1] = -2 * grads[0]
    elif kind != "random":
        grads[: 1 if kind == "one zero" else 2] = 0
    ours, mean = gradients.cagrad(grads, c=c).numpy(), grads.mean(0).numpy()
    unit = float(grads.norm(dim=1).max()) or 1.0
    d, gain = cp.Variable(size), cp.Variable()
    inside = cp.norm(d - mean / unit) <= c * np.linalg.norm(mean / unit)
    cp.Problem(cp.Maximize(gain), [grads.numpy() / unit @ d >= gain, inside]).solve(cp.CLARABEL)
    assert np.linalg.norm(ours - mean) <= c * np.linalg.norm(mean) * (1 + 1e-6) + 1e-9 * unit
    assert (grads.numpy() @ ours).min() / unit**2 >= gain.value - 1e-6


@given(st.sampled_from([1, 2, 7]), seeds, st.sampled_from([0.1, 0.4, 1.0]))
def test_cagrad_with_a_task_without_a_gradient_is_the_mean_if_that_harms_nobody(count, seed, c):
    grads = draw(count, seed)
    grads = grads * (grads @ grads.sum(0)).sign()[:, None]
    grads = torch.cat([grads, torch.zeros(1, 20, dtype=F64)])
    if (grads @ grads.mean(0) >= 0).all():
        same(gradients.cagrad(grads, c=c), grads.mean(0))
    two = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=F64)
    assert gradients.cagrad(two, c=c).tolist() == [0.5, 0.0]
    mirrored = [gradients.cagrad(two + torch.tensor([[0, e], [0, 0]]), c=c) for e in (1e-7, -1e-7)]
    torch.testing.assert_close(sum(mirrored) / 2, torch.tensor([0.5, 0.0], dtype=F64))


@settings(max_examples=30)
@given(tasks, seeds)
def test_fairgrad_is_torchjds(count, seed):
    grads = draw(count, seed)
    same(gradients.fairgrad(grads, alpha=2.0), peer.FairGrad(alpha=2.0)(grads), rtol=1e-5)


@settings(max_examples=20)
@given(tasks, seeds)
def test_nash_mtl_minimises_its_convex_problem(count, seed):
    grads = draw(count, seed)
    gram = gramian(grads)
    lengths = np.sqrt(np.diagonal(gram))
    cosines = gram / np.outer(lengths, lengths)

    def height(logs):
        x = np.exp(logs)
        return x @ cosines @ x / 2 - logs.sum(), x * (cosines @ x) - 1

    found = minimize(height, np.zeros(count), jac=True, method="BFGS", options={"gtol": 1e-10})
    same(gradients.nash_mtl(grads), torch.as_tensor(np.exp(found.x) / lengths) @ grads)


@given(tasks, seeds)
def test_pcgrad_is_torchjds_in_the_same_orders(count, seed):
    grads = draw(count, seed)
    torch.manual_seed(seed)
    theirs = peer.PCGrad()(grads)
    torch.manual_seed(seed)
    same(gradients.pcgrad(grads), theirs)


def test_every_order_of_pcgrad_is_reached_and_right():
    """The peer draws its orders itself: over many draws it gives what ours gives by enumeration."""
    grads = draw(3, 1, size=4)
    orders = itertools.product([[1, 2], [2, 1]], [[0, 2], [2, 0]], [[0, 1], [1, 0]])
    ours = torch.stack([gradients.pcgrad(grads, orders=order) for order in orders])
    torch.manual_seed(0)
    theirs = torch.stack([peer.PCGrad()(grads) for _ in range(100)])
    apart = torch.cdist(ours, theirs)
    assert apart.min(0).values.max() < 1e-9
    assert apart.min(1).values.max() < 1e-9


@given(tasks, seeds)
def test_gradvac_is_torchjds_in_the_same_orders(count, seed):
    vaccine = peer.GradVac(beta=0.3, eps=0.0)
    targets, rng = torch.zeros(count, count, dtype=F64), torch.Generator()
    for step in range(4):
        grads = draw(count, seed + step)
        torch.manual_seed(step)
        theirs = vaccine(grads)
        rng.manual_seed(step)
        orders = []
        for k in range(count):
            others = [j for j in range(count) if j != k]
            orders.append([others[i] for i in torch.randperm(count - 1, generator=rng)])
        same(gradients.gradvac(grads, targets=targets, beta=0.3, orders=orders), theirs)


@given(tasks, seeds)
def test_graddrop_is_torchjds_with_the_same_draws(count, seed):
    grads = draw(count, seed)
    torch.manual_seed(seed)
    theirs = peer.GradDrop()(grads)
    torch.manual_seed(seed)
    draws = torch.rand(grads.shape[1], dtype=F64)
    same(gradients.graddrop(grads, draws=draws), theirs)


@given(tasks, seeds)
def test_pcgrad_in_ascending_order_and_imtl_g_are_conflictfrees(count, seed):
    grads = draw(count, seed)
    ascending = [range(count)] * count
    same(gradients.pcgrad(grads, orders=ascending), PCGradOperator().calculate_gradient(grads))
    same(gradients.imtl_g(grads), IMTLGOperator().calculate_gradient(grads), rtol=1e-5)


def test_every_method_was_compared():
    compared = {"sum", "imtl_g", "aligned_mtl", "upgrad", "mgda", "cagrad", "fairgrad", "nash_mtl"}
    assert compared | {"pcgrad", "gradvac", "graddrop"} == set(METHODS)
