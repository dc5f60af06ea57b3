"""The game of equations 3 and 4: adversaries look for dependence, the sequence model pays for what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from mfdmodel.config import RunConfig
from mfdmodel.model import SequenceModel
from mfdmodel.penalties.losses import cross_entropy, sequence_loss
from mfdmodel.penalties.penalty import Penalty
from mfdmodel.train.schedule import learning_rate_share
from mfdmodel.train.together import average_gradients, drawn_alike, joined, seed_apart, sum_over_all
from mfdstore.loader import Batch

_SUMMED: Final = ("train", "l_indep", "valid")


@dataclass(frozen=True)
class EpochMeans:
    """What an epoch's steps came to on average.

    Parameters
    ----------
    train_loss
        Cross entropy of the augmented training windows, in nats.
    l_indep
        Minus the penalty after the adversaries' step: with the adversarial one alone L_indep (equation 3), 0 or less.
        `None` for a model without subspaces.
    valid_loss
        Cross entropy of the validation windows at the epoch's end, in nats.
    """

    train_loss: float
    l_indep: float | None
    valid_loss: float


class Players(LightningModule):
    """The sequence model and its penalty, whose adversaries have an optimiser of their own.

    Parameters
    ----------
    model
        To be trained.
    config
        Of the run.
    n_steps
        Batches of an epoch.
    loss_weights
        Of the experiments in the cross entropy, shape ``(experiment,)``; `None` where all count alike.
    """

    def __init__(
        self, model: SequenceModel, config: RunConfig, *, n_steps: int, loss_weights: Tensor | None = None
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.config = config
        self.n_steps = n_steps
        self.penalty = Penalty(model.widths, config.model.penalty) if config.model.kind == "mfd" else None
        # made from configuration and labels: no part of a state
        self.register_buffer("loss_weights", loss_weights, persistent=False)
        self.loss_weights: Tensor | None
        self._sums = _Sums()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Make one optimiser a player: the sequence model's, then the adversaries' where there are any.

        Weight decay holds what maps sequence and metadata to logits. The numbers that each experiment has of its own,
        bias and signal-to-noise, are left: of an experiment in no loss, decay would be all that ever moved them.
        """
        training, penalty = self.config.training, self.config.model.penalty
        # held down as hard as a network, the linear baseline would lose and flatter what it is compared with
        decay = 0.0 if self.config.model.kind == "dinucleotides" else training.weight_decay
        own = [each for each in (self.model.bias, self.model.log_signal) if each is not None]
        shared = [each for each in self.model.parameters() if all(each is not one for one in own)]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                # in the order of the model's parameters, by which states number them
                [{"params": own, "weight_decay": 0.0}, {"params": shared, "weight_decay": decay}],
                lr=training.lr,
                amsgrad=training.amsgrad,
                fused=True,
            )
        ]
        if self.penalty is not None and self.penalty.has_adversaries:
            optimizers.append(
                torch.optim.Adam(
                    self.penalty.parameters(), lr=penalty.lr, amsgrad=penalty.amsgrad, fused=True
                )
            )
        return optimizers

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Play one round: the adversaries improve, then the sequence model does.

        Both see the same latent, so the trunk runs once; the adversaries' steps do not reach it. Where several
        processes train, each plays on the latent of all: their adversaries take the same steps.
        """
        sequence_optimizer, *adversary_optimizers = self._optimizers()
        self._set_learning_rates(sequence_optimizer, adversary_optimizers, batch_index)
        latent = self.model.latent(self._channels(batch))
        everywhere = joined(latent) if self.penalty is not None else latent
        step, seed = self._step(batch_index), self.config.training.seed

        with drawn_alike(seed, step, "adversaries", device=self.device):
            for optimizer in adversary_optimizers:
                for _ in range(self.config.model.penalty.steps):
                    optimizer.zero_grad()
                    self.manual_backward(self._penalty.adversary_loss(everywhere))
                    optimizer.step()

        entropy = self._entropy(self.model.logits(latent), batch)
        loss, dependence = entropy, None
        if self.penalty is not None:
            price = self.config.model.penalty.lambda_indep
            with torch.set_grad_enabled(price > 0), drawn_alike(seed, step, "model", device=self.device):
                dependence = self.penalty(everywhere)
            loss = sequence_loss(entropy, dependence, price)
        sequence_optimizer.zero_grad()
        self.manual_backward(loss)
        average_gradients(self.model.parameters())
        if self.config.training.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.training.gradient_clip)
        sequence_optimizer.step()
        self._sums.add_train(entropy, None if dependence is None else -dependence, len(batch))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add up the cross entropy of unaugmented windows, forward strand."""
        self._sums.add_valid(self._entropy(self.model(self._channels(batch)), batch), len(batch))

    def _channels(self, batch: Batch) -> Tensor:
        return batch.one_hot(
            torch.bfloat16 if self.config.training.precision == "bfloat16" else torch.float32
        )

    def _entropy(self, logits: Tensor, batch: Batch) -> Tensor:
        return cross_entropy(logits.float(), batch.labels(self.model.n_experiments), self.loss_weights)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's sums, and let each process draw its own dropout."""
        self._sums = _Sums()
        seed_apart(self.config.training.seed, self.current_epoch)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the state of a version whose optimiser had one group of parameters."""
        pairs = zip(checkpoint["optimizer_states"], self.configure_optimizers(), strict=True)
        checkpoint["optimizer_states"] = [grouped_by_decay(state, optimizer) for state, optimizer in pairs]

    def epoch_means(self) -> EpochMeans:
        """Average what the steps of this epoch gave."""
        return self._sums.means(self.device)

    @property
    def learning_rate(self) -> float:
        """Of the sequence model's last step."""
        return float(self._optimizers()[0].param_groups[0]["lr"])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch while it is compact; it is expanded on the device."""
        return batch.to(device)

    def _step(self, batch_index: int) -> int:
        """Count the steps before this one."""
        return self.current_epoch * self.n_steps + batch_index

    @property
    def _penalty(self) -> Penalty:
        assert self.penalty is not None
        return self.penalty

    def _optimizers(self) -> list[Any]:
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _set_learning_rates(
        self, sequence: torch.optim.Optimizer, adversaries: list[Any], batch_index: int
    ) -> None:
        """Let both players' rates follow one schedule.

        Were the sequence model's alone to fall, the adversaries would learn faster than it can give way: at the
        end of one_cycle on one chromosome the squared correlations rose from 4 to 75 and drowned the cross entropy.
        """
        training = self.config.training
        share = learning_rate_share(
            training.schedule,
            step=self._step(batch_index),
            n_steps=training.epochs * self.n_steps,
            warmup=training.warmup,
        )
        rates = [(sequence, training.lr)]
        rates += [(optimizer, self.config.model.penalty.lr) for optimizer in adversaries]
        for optimizer, peak in rates:
            for group in optimizer.param_groups:
                group["lr"] = peak * share


def grouped_by_decay(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Deal the one group of parameters in an earlier version's state to those of an optimiser; others stay.

    Parameters
    ----------
    state
        Of an optimiser, as saved.
    optimizer
        That is to take it up; it is left as it is.
    """
    (old, *rest), fresh = state["param_groups"], optimizer.state_dict()["param_groups"]
    if rest or len(fresh) == 1 or old["params"] != [number for group in fresh for number in group["params"]]:
        return dict(state)
    groups = [old | {"params": group["params"], "weight_decay": group["weight_decay"]} for group in fresh]
    return dict(state) | {"param_groups": groups}


class _Sums:
    """Sums over windows, kept on the device so that no step waits for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add_train(self, entropy: Tensor, l_indep: Tensor | None, n_windows: int) -> None:
        self._add("train", entropy, n_windows)
        if l_indep is not None:
            self._add("l_indep", l_indep, n_windows)

    def add_valid(self, entropy: Tensor, n_windows: int) -> None:
        self._add("valid", entropy, n_windows)

    def means(self, device: torch.device) -> EpochMeans:
        """Average over the windows of all processes, also of those that had none."""
        none = torch.zeros((), dtype=_exact(device), device=device)
        sums = torch.stack([self._sums.get(name, none) for name in _SUMMED])
        counts = torch.tensor([self._counts.get(name, 0) for name in _SUMMED]).to(sums)
        totals = sum_over_all(torch.stack([sums, counts])).T.tolist()
        train, l_indep, valid = (total / count if count else None for total, count in totals)
        assert train is not None  # of all processes one has windows
        assert valid is not None
        return EpochMeans(train, l_indep, valid)

    def _add(self, name: str, value: Tensor, n_windows: int) -> None:
        share = value.detach().to(_exact(value.device)) * n_windows
        self._sums[name] = self._sums[name] + share if name in self._sums else share
        self._counts[name] = self._counts.get(name, 0) + n_windows


def _exact(device: torch.device) -> torch.dtype:
    # mps knows no float64, and sums of a few thousand float32 are exact enough there
    return torch.float32 if device.type == "mps" else torch.float64
