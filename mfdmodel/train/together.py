"""Training by several processes: what they tell each other so that they train one model on one joined batch.

Each process reads its share of the windows. Statistics of a mini-batch are those of the joined one: batch norms of the
network (`join_batch_norms`), and the correlations and networks of the penalty, which every process computes on the
joined latent (`joined`). Gradients are averaged (`average_gradients`). So N processes with batches of B make the steps
of one process with batches of N B, but for rounding and for what is drawn: each process draws its own dropout
(`seed_apart`), and all draw alike what the penalty asks for (`drawn_alike`).

Lightning's own strategy averages gradients as well, but waits for one backward pass a step: the game of two players
has more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn

from mfdstore.errors import ConfigError


def rank() -> int:
    """Number of this process; 0 where there is one alone."""
    return distributed.get_rank() if _several() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _several() else 1


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if _several():
        distributed.barrier()


@contextmanager
def training_together(device: torch.device) -> Iterator[torch.device]:
    """Meet the other processes that ``torchrun`` started, for as long as the block lasts.

    Parameters
    ----------
    device
        To compute on; of several GPUs each process takes the one of its number.

    Yields
    ------
    The device of this process.

    Raises
    ------
    ConfigError
        If there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield device
        return
    if device.type == "cuda":
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise ConfigError(
                "torchrun",
                found=f"process {number} of this machine, which has {torch.cuda.device_count()} GPUs",
                expected="a GPU for each process",
                remedy="Start fewer processes, or train on --device cpu.",
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def joined(latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the rows of all processes, the same on each of them.

    Parameters
    ----------
    latent
        By role, each ``(window, feature)``, as many windows in every process.

    Returns
    -------
    By role; gradients flow back to the process that a row is of, summed over those that used it.
    """
    if not _several():
        return dict(latent)
    return {role: _joined(features) for role, features in latent.items()}


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their means over the processes."""
    if not _several():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # one message in place of some hundred
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    parts = torch.split(flat, [each.numel() for each in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def sum_over_all(values: Tensor) -> Tensor:
    """Sum numbers over the processes."""
    if _several():
        distributed.all_reduce(values)
    return values


def decided_by_first(decision: bool) -> bool:
    """Do as the first process does, where clocks decide."""
    if not _several():
        return decision
    said = torch.tensor([float(decision and rank() == 0)])
    if distributed.get_backend() == "nccl":
        said = said.cuda()
    return bool(sum_over_all(said).item())


def seed_apart(seed: int, epoch: int) -> None:
    """Let each process but the first draw dropout by numbers of its own; the first goes on as if it were alone.

    By epoch, so that a state needs the first one's generator only.
    """
    if rank() > 0:
        torch.manual_seed(_mixed(seed, epoch, f"process {rank()}"))


@contextmanager
def drawn_alike(seed: int, step: int, purpose: str, *, device: torch.device) -> Iterator[None]:
    """Let all processes draw the same numbers for as long as the block lasts; one alone draws as ever.

    What each computes on the joined batch has to be the same: their adversaries are kept alike by nothing else.

    Parameters
    ----------
    seed, step, purpose
        What the numbers follow from.
    device
        Whose generator is put back behind the block, beside the processor's.
    """
    if not _several():
        yield
        return
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(_mixed(seed, step, purpose))
        yield


def _mixed(seed: int, number: int, purpose: str) -> int:
    digest = hashlib.blake2b(f"{seed} {number} {purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def join_batch_norms(model: nn.Module) -> None:
    """Let the batch norms of a model use the statistics of the joined batch; their numbers and names stay."""
    if not _several():
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            # in place, so that whoever holds the model keeps it
            object.__setattr__(module, "__class__", _JOINED[type(module)])


class _Joined(torch.autograd.Function):
    """Rows of all processes behind each other; a row's gradient is the sum of what all made of it."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous()
        distributed.all_reduce(whole)
        return whole.chunk(world_size())[rank()]


class _Mean(torch.autograd.Function):
    """Mean of a tensor over the processes; so is its gradient."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        mean = values.clone()
        distributed.all_reduce(mean)
        return mean / world_size()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].clone()
        distributed.all_reduce(whole)
        return whole / world_size()


def _mean_over_all(values: Tensor) -> Tensor:
    mean: Tensor = _Mean.apply(values) if _several() else values  # type: ignore[no-untyped-call]
    return mean


def _joined(rows: Tensor) -> Tensor:
    whole: Tensor = _Joined.apply(rows)  # type: ignore[no-untyped-call]
    return whole


class _JoinedStatistics(nn.modules.batchnorm._NormBase):
    """Batch norm whose statistics in training are those of all processes (torch's own knows GPUs alone)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        values = x.float()
        over = [axis for axis in range(x.dim()) if axis != 1]
        n = values.numel() // values.shape[1]
        # equally many in all processes: the mean of their means is that of all
        mean = _mean_over_all(values.mean(over))
        shape = [1, -1] + [1] * (x.dim() - 2)
        centred = values - mean.view(shape)
        variance = _mean_over_all(centred.square().mean(over))
        if self.running_mean is not None and self.running_var is not None:
            n_all = n * world_size()
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (n_all / (n_all - 1)), share)
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(x.dtype)


class _JoinedBatchNorm1d(_JoinedStatistics, nn.BatchNorm1d):
    pass


class _JoinedBatchNorm2d(_JoinedStatistics, nn.BatchNorm2d):
    pass


_JOINED: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.BatchNorm1d: _JoinedBatchNorm1d,
    nn.BatchNorm2d: _JoinedBatchNorm2d,
}


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
