from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from sklearn.linear_model import LogisticRegression

from extend import data
from extend.backbone import Backbone, FlaxBackbone, extract
from extend.data import Samples
from extend.heads import LinearHead, Link
from extend.heads.links import SIGMOID, SOFTMAX
from extend.memory import Fisher
from extend.models import MLP, ResNet
from extend.training import Anchors, TrainedBackbone, Training, train_backbone
from extend.training.batches import Batches
from tests.conftest import blobs, spec


def mlp() -> Backbone:
    return FlaxBackbone.from_nnx(MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0)), 3, spec(5))


def samples(spread: float = 0.6) -> Samples:
    x, y = blobs(3, 60, 5, spread=spread)
    return data.read((x, y, ("a", "b", "c")), spec(5))


def run(
    backbone: Backbone, rows: Samples, how: Training, k: int = 3, link: Link = SOFTMAX, **options: Any
) -> TrainedBackbone:
    head = LinearHead.of(np.zeros((backbone.feature_dim, k)), np.zeros(k), link=link)
    return train_backbone(backbone, head, rows, how, **options)


def right(backbone: Backbone, learnt: TrainedBackbone, rows: Samples) -> float:
    scores = learnt.head.scores(extract(backbone.with_network(learnt.network), rows).features)
    return float((scores.argmax(axis=1) == rows.labels).mean())


def test_the_head_alone_is_logistic_regression() -> None:
    backbone, rows = mlp(), samples(1.5)
    how = Training("none", epochs=500, batch_size=180, head_learning_rate=0.05, weight_decay=0, balanced=False)
    learnt = run(backbone, rows, how)
    x = extract(backbone, rows).features
    reference = LogisticRegression(C=np.inf, max_iter=5000).fit(x, rows.labels)
    scores = learnt.head.scores(x)
    ours = (np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(180), rows.labels]).mean()
    theirs = -np.log(reference.predict_proba(x)[np.arange(180), rows.labels]).mean()
    assert learnt.network == {} and ours == pytest.approx(theirs, abs=0.01)


@pytest.mark.parametrize(
    "how",
    [
        Training(epochs=25, batch_size=32, learning_rate=1e-2, head_learning_rate=0.02),
        Training(epochs=25, batch_size=32, learning_rate=3e-2, head_learning_rate=0.02, lora=2),
        Training(epochs=25, batch_size=32, learning_rate=1e-2, head_learning_rate=0.02, mixed_precision=True),
        Training(epochs=25, batch_size=32, learning_rate=1e-2, head_learning_rate=0.02, select="layers.2"),
    ],
)
def test_every_way_of_moving_learns(how: Training) -> None:
    backbone, rows = mlp(), samples()
    if how.select != "all":
        how = replace(how, select=backbone.trainable[-1])
    learnt = run(backbone, rows, how)
    assert right(backbone, learnt, rows) > 0.9
    moved = {
        name for name, value in learnt.network.items() if not np.array_equal(value, backbone.params["network"][name])
    }
    assert moved == (set(backbone.trainable) if how.select == "all" and not how.lora else set(learnt.network))
    assert all(value.dtype == np.float32 for value in learnt.network.values())


def test_mixed_precision_rounds_the_network_alone() -> None:
    how = Training(epochs=2, batch_size=32, learning_rate=1e-3)
    whole, half = (run(mlp(), samples(), replace(how, mixed_precision=mixed)) for mixed in (False, True))
    name = next(iter(whole.network))
    assert not np.array_equal(whole.network[name], half.network[name])
    assert np.allclose(whole.network[name], half.network[name], atol=0.01)


def drawn(how: Training, rows: Samples, steps: int = 20) -> list[Any]:
    batch = Batches(mlp(), how, rows, np.arange(len(rows)), rows.labels, steps)
    return [batch(epoch, number) for epoch in range(2) for number in range(steps)]


def test_balanced_batches_have_every_class_alike() -> None:
    rows = samples()
    few = rows.take(np.concatenate([np.arange(60), np.arange(60, 70), np.arange(120, 125)]))
    counts = {
        balanced: np.bincount(np.concatenate([b["target"] for b in drawn(Training(balanced=balanced), few)]))
        for balanced in (True, False)
    }
    assert np.ptp(counts[True]) <= 2
    assert np.allclose(counts[False] / counts[False].sum(), [0.8, 10 / 75, 5 / 75], atol=0.01)


def test_pictures_are_varied_where_asked() -> None:
    rng = np.random.default_rng(0)
    image = data.Image(8, 8, 3)
    backbone = FlaxBackbone.from_nnx(ResNet(2, depth=8, width=4, rngs=nnx.Rngs(0)), 2, image)
    rows = data.read((rng.integers(0, 255, (20, 8, 8, 3), np.uint8), np.arange(20) % 2, ("a", "b")), image)
    plain = {leaf.tobytes() for leaf in image.normalise(rows.inputs)}
    mirrored = {leaf.tobytes() for leaf in image.normalise(rows.inputs[:, :, ::-1])}
    for how, low, high in ((Training(), 1, 1), (Training(flip=True), 0.3, 0.7), (Training(padding=2), 0, 0.3)):
        batch = Batches(backbone, replace(how, batch_size=20), rows, np.arange(20), rows.labels, 1)
        made = [np.asarray(one) for epoch in range(10) for one in batch(epoch, 0)["x"]]
        assert low <= np.mean([one.tobytes() in plain for one in made]) <= high
        assert how.padding or all(one.tobytes() in plain | mirrored for one in made)


def test_draws_of_several_labels_are_of_old_classes_as_before_and_of_no_new_one() -> None:
    backbone, rows = mlp(), samples()
    x = extract(backbone, rows).features
    kernel, bias = np.zeros((8, 3), np.float32), np.array([0.0, 1.0, 1.0], np.float32)
    kernel[:, :2] = np.random.default_rng(0).normal(size=(8, 2)) / 8
    how = Training("none", epochs=200, batch_size=60, head_learning_rate=0.05, weight_decay=0)
    old = rows.labels < 2
    head = LinearHead.of(kernel, bias, link=SIGMOID)
    learnt = train_backbone(backbone, head, rows.take(~old), how, old=2, draws=(x[old], rows.labels[old]))
    before, now = (1 / (1 + np.exp(-one.scores(x[old]))) for one in (head, learnt.head))
    assert np.abs(now - before)[:, :2].mean() < 0.03 and now[:, 2].mean() < 0.1
    assert (learnt.head.scores(x[~old])[:, 2] > 0).mean() > 0.9


def test_the_same_seed_gives_the_same_bits() -> None:
    one, two = (run(mlp(), samples(), Training(epochs=2, batch_size=32), seed=3) for _ in range(2))
    assert all(np.array_equal(one.network[name], two.network[name]) for name in one.network)


def pictures() -> tuple[Backbone, Samples]:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    x = (rng.normal(size=(80, 8, 8, 3)) + 2 * y[:, None, None, None] + 3).astype(np.float32)
    backbone = FlaxBackbone.from_nnx(ResNet(2, depth=8, width=4, rngs=nnx.Rngs(0)), 2, spec(8, 8, 3))
    return backbone, data.read((x, y, ("a", "b")), spec(8, 8, 3))


def test_statistics_stay_or_move() -> None:
    backbone, rows = pictures()
    still = run(backbone, rows, Training(epochs=2, batch_size=20), 2)
    moved = run(backbone, rows, Training(epochs=2, batch_size=20, frozen_statistics=False), 2)
    assert not any(name.endswith((".mean", ".var")) for name in still.network)
    statistics = [name for name in moved.network if name.endswith((".mean", ".var"))]
    assert len(statistics) == 14
    assert all(not np.array_equal(moved.network[n], backbone.params["network"][n]) for n in statistics)


def test_every_dropout_layer_draws_its_own_noise() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.one, self.two = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
            self.out = nnx.Linear(400, 3, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.out(jnp.concatenate([self.one(x), self.two(x)], axis=1))

    backbone = FlaxBackbone.from_nnx(Net(nnx.Rngs(0)), 3, spec(200))
    x = np.ones((2, 200), np.float32)
    drawn = [np.asarray(backbone.apply_in_training(backbone.params, x, jax.random.key(k))[0]) for k in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert 0.3 < (drawn[0][:, :200] == drawn[0][:, 200:]).mean() < 0.7


def test_statistics_of_a_linen_model() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
            x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(6)(x))
            x = nn.Dropout(0.2, deterministic=not train)(nn.relu(x))
            return nn.Dense(3, name="out")(x)

    model = Net()
    backbone = FlaxBackbone.from_linen(model, model.init(jax.random.key(0), np.zeros((1, 5))), 3, spec(5))
    learnt = run(
        backbone,
        samples(),
        Training(epochs=20, batch_size=32, learning_rate=1e-2, head_learning_rate=0.05, frozen_statistics=False),
    )
    assert right(backbone, learnt, samples()) > 0.9
    name = "batch_stats.BatchNorm_0.mean"
    before = extract(backbone, samples()).features
    assert not np.array_equal(learnt.network[name], backbone.params["network"][name]) and before.shape == (180, 6)


@pytest.mark.parametrize("anchors", [Anchors(features=30.0), Anchors(distillation=30.0)])
def test_anchors_hold_what_they_are_for(anchors: Anchors) -> None:
    backbone, rows = mlp(), samples()
    how = Training(epochs=10, batch_size=32, learning_rate=3e-3)
    begun = run(backbone, rows, Training("none", epochs=50, batch_size=60, head_learning_rate=0.02))
    new = replace(rows, labels=np.full(180, 2))

    def change(anchors: Anchors) -> float:
        learnt = train_backbone(backbone, begun.head, new, how, old=2, anchors=anchors)
        before = extract(backbone, rows).features
        after = extract(backbone.with_network(learnt.network), rows).features
        if anchors.features:
            return float(((after - before) ** 2).mean())
        old = [h.head.scores(f) for f, h in ((before, begun), (after, learnt))]
        p = [np.exp(s[:, :2]) / np.exp(s[:, :2]).sum(axis=1, keepdims=True) for s in old]
        return float(np.abs(p[0] - p[1]).mean())

    free = replace(anchors, features=1e-9 if anchors.features else 0.0, distillation=0.0)
    assert change(anchors) < 0.5 * change(free)


def test_ewc_holds_the_parameters_that_matter() -> None:
    backbone, rows = mlp(), samples()
    held, loose = backbone.trainable[:2], backbone.trainable[2:]
    shape = backbone.params["network"]
    values = {name: np.full(np.shape(shape[name]), 1e4 if name in held else 0.0, np.float32) for name in shape}
    anchors = Anchors(ewc=1.0, fisher=Fisher(1, values))
    learnt = run(backbone, rows, Training(epochs=5, batch_size=32, learning_rate=3e-3), anchors=anchors)
    moves = {name: float(np.abs(value - shape[name]).max()) for name, value in learnt.network.items()}
    assert max(moves[name] for name in held) < 0.2 * max(moves[name] for name in loose)


def test_draws_train_the_head_alone() -> None:
    backbone, rows = mlp(), samples()
    x = extract(backbone, rows).features
    old, new = rows.labels < 2, rows.take(rows.labels == 2)
    how = Training("none", epochs=60, batch_size=30, head_learning_rate=0.05)
    learnt = run(backbone, new, how, draws=(x[old], rows.labels[old]))
    assert (learnt.head.scores(x).argmax(axis=1) == rows.labels).mean() > 0.9


def test_samples_of_the_same_content_have_several_labels() -> None:
    x, _ = blobs(2, 40, 5)
    both = (x[:40] + x[40:]) / 2
    rows = data.read({"a": np.concatenate([x[:40], both]), "b": np.concatenate([x[40:], both])}, spec(5))
    learnt = run(
        mlp(),
        rows,
        Training(epochs=60, batch_size=40, learning_rate=1e-2, head_learning_rate=0.02),
        2,
        link=SIGMOID,
    )
    moved = mlp().with_network(learnt.network)
    scores = learnt.head.scores(extract(moved, data.unlabelled(both, spec(5))).features)
    assert (scores > 0).mean() > 0.9


def test_what_cannot_be(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="padding and flip are for pictures"):
        run(mlp(), samples(), Training(flip=True))
    with pytest.raises(ValueError, match="expected epochs >= 1"):
        Training(epochs=0)
    with pytest.raises(ValueError, match="learning_rate > 0"):
        Training(learning_rate=-1.0)
    with pytest.raises(ValueError, match="patience is 0"):
        Training(patience=0)


def test_a_rate_that_diverges_ends_with_the_last_good_state() -> None:
    import optax

    how = Training(epochs=30, batch_size=60, optimiser=optax.sgd(1e25))
    learnt = run(mlp(), samples(), how)
    assert "not finite at step" in learnt.outcome.stopped
    assert all(np.isfinite(value).all() for value in learnt.network.values())


def test_a_folder_lets_it_go_on(tmp_path: Any) -> None:
    how = Training(epochs=3, batch_size=32, state=str(tmp_path / "state"))
    one = run(mlp(), samples(), how)
    two = run(mlp(), samples(), how)
    assert two.outcome.steps == one.outcome.steps
    assert all(np.array_equal(one.network[name], two.network[name]) for name in one.network)
    with pytest.raises(ValueError, match="another training"):
        run(mlp(), samples(), replace(how, learning_rate=1e-5))
    with pytest.raises(ValueError, match="another training"):
        run(mlp(), samples(), how, link=SIGMOID)


def test_a_folder_knows_its_optimiser(tmp_path: Any) -> None:
    import optax

    how = Training(epochs=1, batch_size=90, state=str(tmp_path / "state"), optimiser=optax.sgd(0.1))
    run(mlp(), samples(), how)
    assert run(mlp(), samples(), replace(how, optimiser=optax.sgd(0.1))).outcome.steps == 2
    clipped = optax.chain(optax.clip(1.0), optax.sgd(0.1))
    for other in (optax.sgd(0.5), optax.sgd(optax.cosine_decay_schedule(0.1, 50)), optax.sgd(lambda _: 0.1), clipped):
        with pytest.raises(ValueError, match="another training"):
            run(mlp(), samples(), replace(how, optimiser=other))
