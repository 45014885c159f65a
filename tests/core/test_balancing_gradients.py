"""Gradient methods: what each promises, by hand, by optimality and by its properties."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtl_helpers.balancing import gradients
from mtl_helpers.balancing.gradients import METHODS, graddrop, gradvac, gramian, pcgrad

F64 = torch.float64
SEEDED = {"pcgrad", "gradvac", "graddrop"}  # draw their orders or signs
AVERAGED = {"mgda", "upgrad", "imtl_g", "aligned_mtl"}  # of one task's gradient they give itself
KEEPS_ALL = {"mgda", "upgrad", "nash_mtl", "fairgrad"}  # never make a task worse
shapes = st.tuples(st.sampled_from([2, 3, 8]), st.integers(1, 12), st.integers(0, 2**31))


def draw(tasks, size, seed, spread=1.0):
    rng = torch.Generator().manual_seed(seed)
    lengths = (spread * torch.randn(tasks, 1, generator=rng, dtype=F64)).exp()
    return lengths * torch.randn(tasks, size, generator=rng, dtype=F64)


def apply(name, grads):
    options = {"generator": torch.Generator().manual_seed(0)} if name in SEEDED else {}
    return METHODS[name](grads, **options)


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


# ------------------------------------------------------------------------------------- by hand


def test_three_gradients_by_hand():
    grads = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=F64)
    sum_of_both = torch.tensor([3.0, 4.0], dtype=F64)
    torch.testing.assert_close(apply("sum", grads), sum_of_both)
    torch.testing.assert_close(apply("pcgrad", grads), sum_of_both)
    torch.testing.assert_close(apply("gradvac", grads), sum_of_both)
    torch.testing.assert_close(apply("upgrad", grads), sum_of_both / 2)
    # weights 16/25 and 9/25: both products with d are d·d
    torch.testing.assert_close(apply("mgda", grads), torch.tensor([48 / 25, 36 / 25], dtype=F64))
    # weights 4/7 and 3/7: the bisector
    torch.testing.assert_close(apply("imtl_g", grads), torch.tensor([12 / 7, 12 / 7], dtype=F64))
    # unit gradients
    torch.testing.assert_close(apply("nash_mtl", grads), torch.ones(2, dtype=F64))
    # components 3 and 4, both made 3 long, then averaged
    torch.testing.assert_close(apply("aligned_mtl", grads), torch.full((2,), 1.5, dtype=F64))
    # w = 9^(-2/3) and 16^(-2/3), from 9 w = w^(-1/2)
    wanted = torch.tensor([3 * 9 ** (-2 / 3), 4 * 16 ** (-2 / 3)], dtype=F64)
    torch.testing.assert_close(apply("fairgrad", grads), wanted)


def test_pcgrad_takes_off_the_conflict():
    grads = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=F64)
    # g1 - (g1·g2 / g2·g2) g2 = (1/2, 1/2), g2 - (g2·g1 / g1·g1) g1 = (0, 1)
    torch.testing.assert_close(pcgrad(grads), torch.tensor([0.5, 1.5], dtype=F64))


def test_pcgrad_depends_on_the_order_from_three_tasks_on():
    grads = draw(3, 2, 5)
    ways = [
        pcgrad(grads, orders=[a, b, c])
        for a, b, c in itertools.product([[1, 2], [2, 1]], [[0, 2], [2, 0]], [[0, 1], [1, 0]])
    ]
    assert len({tuple(w.tolist()) for w in ways}) > 1
    assert len({tuple(pcgrad(draw(2, 3, 5)).tolist()) for _ in range(8)}) == 1


def test_orders_are_drawn_anew_and_from_the_generator_given():
    grads = draw(4, 2, 3)

    def several(seed):
        rng = torch.Generator().manual_seed(seed)
        return [tuple(pcgrad(grads, generator=rng).tolist()) for _ in range(12)]

    assert several(0) == several(0)
    assert len(set(several(0))) > 1
    everyone_first = [
        tuple(pcgrad(grads, orders=[o] * 4).tolist()) for o in itertools.permutations(range(4))
    ]
    torch.manual_seed(1)
    drawn = {tuple(pcgrad(grads).tolist()) for _ in range(200)}
    assert len(drawn) > len(set(everyone_first))  # each task has an order of its own


def test_graddrop_by_hand():
    grads = torch.tensor([[2.0, -1.0, 3.0, 0.0], [-1.0, -2.0, 1.0, 0.0]], dtype=F64)
    # shares of positive gradient: 2/3, 0, 1, undefined
    low = graddrop(grads, draws=torch.full((4,), 0.6, dtype=F64))
    high = graddrop(grads, draws=torch.full((4,), 0.7, dtype=F64))
    assert low.tolist() == [2, -3, 4, 0]
    assert high.tolist() == [-1, -3, 4, 0]
    leaky = graddrop(grads, draws=torch.full((4,), 0.6, dtype=F64), leak=0.25)
    torch.testing.assert_close(leaky, 0.25 * grads.sum(0) + 0.75 * low)


def test_graddrop_picks_a_sign_as_often_as_its_share():
    grads = torch.tensor([[3.0], [-1.0]]).expand(2, 20_000)
    picked = graddrop(grads, generator=torch.Generator().manual_seed(0))
    assert set(picked.unique().tolist()) == {-1.0, 3.0}
    assert float((picked > 0).double().mean()) == pytest.approx(0.75, abs=0.01)


def test_gradvac_turns_to_the_target_and_moves_it():
    grads = draw(2, 5, 1)
    before = cosine(*grads)
    targets = torch.full((2, 2), 0.8, dtype=F64)
    weights = gradients.gradvac_weights(gramian(grads), [[1], []], targets.numpy(), beta=0.25)
    turned = torch.as_tensor(weights) @ grads - grads[1]  # task 1 was left alone
    assert cosine(turned, grads[1]) == pytest.approx(0.8)
    assert targets[0, 1].item() == pytest.approx(0.75 * 0.8 + 0.25 * before)
    assert targets[1, 0] == 0.8


@given(shapes)
def test_gradvac_starts_as_pcgrad(shape):
    grads = draw(*shape)
    orders = [list(range(shape[0]))] * shape[0]
    kept = torch.zeros(shape[0], shape[0], dtype=F64)
    torch.testing.assert_close(
        gradvac(grads, orders=orders, targets=kept, beta=0.0), pcgrad(grads, orders=orders)
    )
    assert not kept.any()


# ------------------------------------------------------------------------------- optimality


@given(shapes)
def test_mgda_gives_the_shortest_vector_of_the_hull(shape):
    grads = draw(*shape)
    weights = gradients.mgda_weights(gramian(grads))
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    products = gramian(grads) @ weights
    assert (products >= weights @ products - 1e-9 * np.abs(gramian(grads)).max()).all()


@given(st.integers(1, 9), st.integers(0, 2**31))
def test_mgda_of_two_tasks_is_the_closed_form(size, seed):
    a, b = grads = draw(2, size, seed)
    share = float(((b - a) @ b / (b - a).square().sum()).clamp(0, 1))
    assert gradients.mgda_weights(gramian(grads)) == pytest.approx([share, 1 - share], abs=1e-7)


@given(shapes)
def test_upgrad_projects_each_gradient_onto_the_dual_cone(shape):
    grads = draw(*shape)
    gram = gramian(grads)
    size, total = np.abs(gram).max(), np.zeros(len(gram))
    for k in range(len(gram)):
        x = gradients._nonnegative_least_squares(
            gradients._points(gram), -gradients._points(gram)[:, k]
        )
        v = np.eye(len(gram))[k] + x
        slope = gram @ v  # the projection's products with all gradients
        assert (slope >= -1e-8 * size).all()
        assert np.abs(x * slope).max() <= 1e-8 * size * max(1, np.abs(v).max())
        total += v / len(gram)
    torch.testing.assert_close(
        apply("upgrad", grads), gradients.combine(total, gram, grads), rtol=1e-6, atol=1e-9
    )


@given(shapes, st.sampled_from([0.1, 0.5, 0.9]))
def test_cagrad_makes_its_worst_tasks_equal_on_the_rim_of_the_ball(shape, c):
    gram = gramian(draw(*shape))
    tasks, mean = len(gram), np.full(len(gram), 1 / len(gram))
    weights = gradients.cagrad_weights(gram, c)
    away, radius = weights - mean, c * math.sqrt(mean @ gram @ mean)
    assert away.min() >= -1e-9
    if math.sqrt(max(away @ gram @ away, 0)) < 0.999 * radius:  # the hull holds 0
        nearest = gradients.mgda_weights(gram)
        assert nearest @ gram @ nearest < 1e-9 * gram.max()
        assert (gram @ weights).min() >= -1e-7 * gram.max()
        return
    assert math.sqrt(away @ gram @ away) == pytest.approx(radius, rel=1e-6)
    products = gram @ weights
    on = away / away.sum()
    assert (products - products.min()) @ on <= 1e-7 * np.abs(products).max() * tasks


@given(shapes, st.sampled_from([0.5, 1.0, 2.0, 5.0]))
@example((8, 5, 4862), 5.0)  # the last steps gain less than the rounding of the height
def test_fairgrad_solves_its_equation(shape, alpha):
    gram = gramian(draw(*shape))
    weights = gradients.fairgrad_weights(gram, alpha)
    if not weights.any():
        unit = gram / np.sqrt(np.outer(np.diagonal(gram), np.diagonal(gram)))
        nearest = gradients.mgda_weights(unit)
        assert nearest @ unit @ nearest < 1e-9
        return
    assert weights.min() > 0
    assert gram @ weights * weights ** (1 / alpha) == pytest.approx(1, rel=1e-5)


@given(shapes)
def test_nash_mtl_is_fairgrad_of_one_and_its_length_is_fixed(shape):
    grads = draw(*shape)
    direction = apply("nash_mtl", grads)
    torch.testing.assert_close(direction, gradients.fairgrad(grads, alpha=1.0))
    if direction.any():
        assert direction.norm().item() == pytest.approx(math.sqrt(shape[0]), rel=1e-6)


def test_nash_mtl_solves_strong_conflicts_too():
    """A peer's cone solver stops at weights that solve nothing in some of such cases."""
    solved = 0
    for seed in range(200):
        a, b = draw(2, 5, seed)
        grads = torch.stack([a, -a + 0.02 * b * a.norm() / b.norm()])
        gram = gramian(grads)
        weights = gradients.nash_mtl_weights(gram)
        solved += bool(np.allclose(gram @ weights * weights, 1, atol=1e-6))
    assert solved == 200


@given(st.sampled_from([2, 3, 8]), st.integers(0, 2**31))
def test_imtl_g_has_one_angle_with_all(tasks, seed):
    grads = draw(tasks, 12, seed)
    direction = apply("imtl_g", grads)
    products = grads @ direction / grads.norm(dim=1)
    torch.testing.assert_close(products, products[:1].expand(tasks), rtol=1e-6, atol=1e-9)
    weights = gradients.imtl_g_weights(gramian(grads))
    assert weights.sum() == pytest.approx(1)


@given(st.sampled_from([2, 3, 8]), st.integers(0, 2**31))
def test_aligned_mtl_makes_components_equally_long(tasks, seed):
    grads = draw(tasks, 12, seed)
    left, sizes, right = torch.linalg.svd(grads, full_matrices=False)
    wanted = sizes.min() * (left @ right).mean(0)
    torch.testing.assert_close(apply("aligned_mtl", grads), wanted, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("name", sorted(KEEPS_ALL))
@given(shapes)
def test_no_task_is_made_worse(name, shape):
    grads = draw(*shape)
    direction = apply(name, grads)
    size = grads.norm(dim=1) * direction.norm()
    assert (grads @ direction >= -1e-7 * size).all()


@pytest.mark.parametrize("spread", [100.0, 1e4])
def test_upgrad_keeps_a_task_that_is_dominated(spread):
    """With a peer's default regularisation a gradient 100 times shorter is often made worse."""
    for seed in range(100):
        grads = draw(2, 6, seed)
        grads = torch.stack([grads[0] * spread, grads[1]])
        direction = apply("upgrad", grads)
        assert (grads @ direction >= -1e-9 * grads.norm(dim=1) * direction.norm()).all()


@pytest.mark.parametrize("name", sorted(set(METHODS) - SEEDED))
@given(shapes, st.randoms(use_true_random=False))
def test_the_order_of_tasks_does_not_matter(name, shape, random):
    tasks = shape[0]
    grads = draw(tasks, shape[1] + tasks, shape[2], spread=0.5)
    order = random.sample(range(tasks), tasks)
    torch.testing.assert_close(apply(name, grads[order]), apply(name, grads), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["nash_mtl", "imtl_g"])
@given(shapes, st.floats(0.01, 100))
def test_the_direction_does_not_depend_on_a_tasks_scale(name, shape, scale):
    grads = draw(shape[0], shape[1] + shape[0], shape[2])
    other = torch.cat([grads[:1] * scale, grads[1:]])
    found = cosine(apply(name, grads), apply(name, other))
    if name == "imtl_g":  # weights that sum to 1 may turn uphill: see below
        found = abs(found)
    assert found == pytest.approx(1, abs=1e-6)


def test_imtl_g_may_turn_uphill_for_all_tasks():
    grads = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 0.1]], dtype=F64)
    grads = torch.cat([grads, torch.tensor([[0.0], [0.0], [0.01]], dtype=F64)], dim=1)
    assert (grads @ apply("imtl_g", grads) < 0).all()


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("size", [1, 7])
def test_one_task_gets_a_positive_multiple_of_its_gradient(name, size):
    grads = draw(1, size, 3)
    length = grads.norm().item()
    multiple = {"cagrad": 1.4, "nash_mtl": 1 / length, "fairgrad": length ** (-4 / 3)}
    torch.testing.assert_close(apply(name, grads), multiple.get(name, 1.0) * grads[0])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_identical_gradients_give_a_positive_multiple(name):
    grads = draw(1, 6, 4).expand(3, 6)
    direction = apply(name, grads)
    assert cosine(direction, grads[0]) == pytest.approx(1)
    if name in AVERAGED - {"aligned_mtl"}:
        torch.testing.assert_close(direction, grads[0])


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("tasks", [1, 2, 40])
def test_zero_gradients_give_zero(name, tasks):
    assert apply(name, torch.zeros(tasks, 5)).tolist() == [0] * 5


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"graddrop"}))
def test_opposite_gradients_give_zero(name):
    g = draw(1, 5, 6)
    assert apply(name, torch.cat([g, -g])).tolist() == [0] * 5


@pytest.mark.parametrize("name", ["mgda", "upgrad", "nash_mtl", "fairgrad", "pcgrad", "imtl_g"])
def test_opposite_gradients_of_two_lengths_give_zero(name):
    g = draw(1, 5, 6)
    assert apply(name, torch.cat([g, -3 * g])).tolist() == [0] * 5


@pytest.mark.parametrize("name", ["sum", "nash_mtl", "fairgrad", "imtl_g", "upgrad", "aligned_mtl"])
def test_a_task_without_a_gradient_does_not_turn_the_direction(name):
    grads = draw(3, 5, 7)
    more = torch.cat([grads, torch.zeros(1, 5, dtype=F64)])
    assert cosine(apply(name, more), apply(name, grads)) == pytest.approx(1)


@pytest.mark.parametrize("name", ["nash_mtl", "fairgrad", "imtl_g", "pcgrad", "upgrad", "gradvac"])
def test_a_task_without_a_gradient_has_no_say(name):
    grads = draw(2, 5, 2)
    more = torch.cat([grads, torch.zeros(1, 5, dtype=F64)])
    wanted = apply(name, grads) * (2 / 3 if name == "upgrad" else 1)
    torch.testing.assert_close(apply(name, more), wanted)
    assert apply("mgda", more).tolist() == [0] * 5


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@settings(max_examples=30)
@given(
    st.sampled_from([1, 2, 3, 40]),
    st.integers(1, 50),
    st.sampled_from([1e-8, 1.0, 1e8]),
    st.sampled_from(["random", "same", "opposite", "imbalanced", "one zero"]),
    st.integers(0, 2**31),
)
def test_every_answer_is_finite(name, dtype, tasks, size, scale, kind, seed):
    grads = draw(tasks, size, seed)
    if kind == "same":
        grads = grads[:1].expand(tasks, size)
    elif kind == "opposite":
        grads = torch.cat([grads[:1], -grads[:1].expand(tasks - 1, size)])
    elif kind == "imbalanced":
        grads = grads * torch.logspace(0, 6, tasks, dtype=F64)[:, None]
    elif kind == "one zero":
        grads = grads.clone()
        grads[-1] = 0
    grads = (scale * grads).to(dtype)
    before = grads.clone()
    direction = apply(name, grads)
    assert direction.shape == (size,)
    assert direction.dtype == dtype
    assert torch.isfinite(direction).all()
    assert torch.equal(grads, before)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_scale_of_all_gradients_changes_the_length_alone(name, dtype, scale):
    grads = draw(3, 20, 8).to(dtype)
    one, other = apply(name, grads), apply(name, grads * scale)
    assert cosine(one.double(), other.double()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"sum", "graddrop", "fairgrad"}))
@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_products_beyond_float32_are_mended(name, scale):
    grads = draw(3, 20, 8).float()
    one, other = apply(name, grads), apply(name, grads * scale)
    assert cosine(one.double(), other.double()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_half_types_work(name, dtype):
    grads = draw(3, 20, 8).to(dtype)
    direction = apply(name, grads)
    assert direction.dtype == dtype
    assert cosine(direction.double(), apply(name, grads.double())) == pytest.approx(
        1, abs=1 if name == "graddrop" else 0.01
    )


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_direction_carries_no_graph(name):
    assert not apply(name, draw(2, 4, 0).requires_grad_()).requires_grad


def test_rounding_is_given_as_zero():
    g = torch.full((1, 3), 0.1)
    nearly = torch.cat([g, -g * (1 + 1e-7)])
    assert apply("mgda", nearly).tolist() == [0] * 3
    turned = nearly.double() + torch.tensor([[0.0, 0.0, 1e-5], [0.0, 0.0, 0.0]])
    assert apply("mgda", turned).any()


# ----------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize(
    "grads",
    [torch.zeros(3), torch.zeros(0, 3), torch.zeros(3, 0), torch.zeros(2, 2, dtype=torch.long)],
)
def test_what_is_no_matrix_of_gradients_is_refused(name, grads):
    with pytest.raises(ValueError, match=r"matrix \[tasks, parameters\].*found shape"):
        METHODS[name](grads)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"sum", "graddrop"}))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_named(name, bad):
    grads = draw(3, 4, 0)
    grads[1, 2] = bad
    with pytest.raises(FloatingPointError, match="task number 1"):
        METHODS[name](grads)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: gradients.cagrad(g, c=-0.1), "c must be .* found -0.1"),
        (lambda g: gradients.cagrad(g, c=math.nan), "found nan"),
        (lambda g: gradients.fairgrad(g, alpha=0.0), "alpha must be a positive.*found 0.0"),
        (lambda g: gradvac(g, beta=1.1), "beta must lie.*found 1.1"),
        (lambda g: gradvac(g, targets=torch.zeros(3, 3).double()), r"\(2, 2\).*found \(3, 3\)"),
        (lambda g: gradvac(g, targets=torch.zeros(2, 2).float()), "float64.*found.*float32"),
        (lambda g: graddrop(g, leak=2.0), "leak must lie.*found 2.0"),
        (lambda g: graddrop(g, draws=torch.zeros(3)), r"\(4,\); found \(3,\)"),
        (lambda g: pcgrad(g, orders=[[1]]), "needs 2 rows"),
        (lambda g: pcgrad(g, orders=[[1], [1]]), "0 to 1 in some order; found"),
        (lambda g: pcgrad(g, orders=[[1], [0, 2]]), "0 to 1 in some order; found"),
    ],
)
def test_settings_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(draw(2, 4, 0))


def test_functions_say_who_they_are():
    for name, method in METHODS.items():
        assert method.__name__.rstrip("_") == name
        assert "Source" in method.__doc__ or name == "sum"


def test_aligned_mtl_leaves_out_what_is_no_more_than_rounding():
    """At most the largest eigenvalue times K times 2.3e-16, as torchjd does."""
    below, above = (gradients.aligned_mtl_weights(np.diag([1.0, tiny])) for tiny in (3e-16, 6e-16))
    assert below[1] == 0 and above[1] > 0
