"""Training with checkpoints, for the zoo's transformers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

Loss = Callable[[np.random.Generator], paddle.Tensor]


def fit(
    net: nn.Layer,
    loss: Loss,
    score: Callable[[], float],
    *,
    steps: int,
    rate: float,
    checkpoint: Path,
    report: int = 500,
    decay: float = 0.05,
) -> None:
    """Train a network in place with AdamW under a linear warm-up and a cosine decay.

    Each step's random numbers depend on the step alone, so a run that was interrupted goes on from its last checkpoint
    as if it had never stopped.

    Args:
        net: The network; left in evaluation mode.
        loss: Draws a batch with the given generator and returns the network's loss on it.
        score: Accuracy on held-out samples, called with the network in evaluation mode.
        steps: How many batches to learn from.
        rate: Peak learning rate, reached after a twentieth of the steps.
        checkpoint: File for the state of an unfinished run, removed at the end.
        report: After how many steps to print the loss and the score, and to write a checkpoint.
        decay: Weight decay of all parameters but vectors (biases, normalisations).
    """
    cosine = paddle.optimizer.lr.CosineAnnealingDecay(rate, steps - steps // 20)
    schedule = paddle.optimizer.lr.LinearWarmup(cosine, steps // 20, 0.0, rate)
    matrices = {p.name for p in net.parameters() if p.ndim > 1}
    optimiser = paddle.optimizer.AdamW(
        schedule,
        parameters=net.parameters(),
        weight_decay=decay,
        apply_decay_param_fun=matrices.__contains__,
        grad_clip=nn.ClipGradByGlobalNorm(1.0),
    )
    done = 0
    if checkpoint.exists():
        state = paddle.load(str(checkpoint))
        done = int(state["done"])
        net.set_state_dict(state["net"])
        optimiser.set_state_dict(state["optimiser"])
        print(f"going on after step {done}", flush=True)
    losses: list[float] = []
    start = time.perf_counter()
    net.train()
    for step in range(done, steps):
        value = loss(np.random.default_rng((0, step)))
        value.backward()
        optimiser.step()
        optimiser.clear_grad()
        schedule.step()
        losses.append(float(value))
        if (step + 1) % report == 0 or step + 1 == steps:
            net.eval()
            seconds = time.perf_counter() - start
            print(f"step {step + 1}: loss {np.mean(losses):.3f}, held-out {score():.2%}, {seconds:.0f} s", flush=True)
            net.train()
            losses.clear()
            state = {"done": step + 1, "net": net.state_dict(), "optimiser": optimiser.state_dict()}
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            paddle.save(state, str(checkpoint))
    net.eval()
    checkpoint.unlink(missing_ok=True)


def save_weights(net: nn.Layer, path: Path) -> None:
    """Write the weights as an `.npz` file that any version of Paddle can take them from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: value.numpy() for name, value in net.state_dict().items()})


def load_weights(net: nn.Layer, path: Path) -> None:
    """Put weights that `save_weights` wrote into a network, and set it to evaluation mode."""
    with np.load(path) as values:
        missing, unexpected = net.set_state_dict(dict(values))
    if missing or unexpected:
        raise ValueError(f"{path} does not fit the network: {missing} missing, {unexpected} unexpected")
    net.eval()
