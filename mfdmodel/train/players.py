"""The game of equations 3 and 4: adversaries look for dependence, the sequence model pays for what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from mfdmodel.config import RunConfig
from mfdmodel.model import SequenceModel
from mfdmodel.penalties.losses import cross_entropy, sequence_loss
from mfdmodel.penalties.penalty import Penalty
from mfdmodel.train.schedule import learning_rate_share
from mfdmodel.train.together import average_gradients, joined, sum_over_all
from mfdstore.loader import Batch


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
        """Make one optimiser a player: the sequence model's, then the adversaries' where there are any."""
        training, penalty = self.config.training, self.config.model.penalty
        # held down as hard as a network, the linear baseline would lose and flatter what it is compared with
        linear = self.config.model.kind == "dinucleotides"
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                self.model.parameters(),
                lr=training.lr,
                weight_decay=0.0 if linear else training.weight_decay,
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

        for optimizer in adversary_optimizers:
            for _ in range(self.config.model.penalty.steps):
                optimizer.zero_grad()
                self.manual_backward(self._penalty.adversary_loss(everywhere))
                optimizer.step()

        entropy = self._entropy(self.model.logits(latent), batch)
        loss, dependence = entropy, None
        if self.penalty is not None:
            price = self.config.model.penalty.lambda_indep
            with torch.set_grad_enabled(price > 0):
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
        """Forget the last epoch's sums."""
        self._sums = _Sums()

    def epoch_means(self) -> EpochMeans:
        """Average what the steps of this epoch gave."""
        return self._sums.means()

    @property
    def learning_rate(self) -> float:
        """Of the sequence model's last step."""
        return float(self._optimizers()[0].param_groups[0]["lr"])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch while it is compact; it is expanded on the device."""
        return batch.to(device)

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
            step=self.current_epoch * self.n_steps + batch_index,
            n_steps=training.epochs * self.n_steps,
            warmup=training.warmup,
        )
        rates = [(sequence, training.lr)]
        rates += [(optimizer, self.config.model.penalty.lr) for optimizer in adversaries]
        for optimizer, peak in rates:
            for group in optimizer.param_groups:
                group["lr"] = peak * share


class _Sums:
    """Sums over windows, kept on the device so that no step waits for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._means: dict[str, float] = {}

    def add_train(self, entropy: Tensor, l_indep: Tensor | None, n_windows: int) -> None:
        self._add("train", entropy, n_windows)
        if l_indep is not None:
            self._add("l_indep", l_indep, n_windows)

    def add_valid(self, entropy: Tensor, n_windows: int) -> None:
        self._add("valid", entropy, n_windows)

    def means(self) -> EpochMeans:
        """Average over the windows of all processes."""
        for name in sorted(self._sums):
            both = torch.stack([self._sums[name], torch.full_like(self._sums[name], self._counts[name])])
            total, count = sum_over_all(both).tolist()
            self._means[name] = total / count
        return EpochMeans(
            self._means["train"],
            self._means.get("l_indep"),
            self._means["valid"],
        )

    def _add(self, name: str, value: Tensor, n_windows: int) -> None:
        # mps knows no float64, and sums of a few thousand float32 are exact enough there
        dtype = torch.float32 if value.device.type == "mps" else torch.float64
        share = value.detach().to(dtype) * n_windows
        self._sums[name] = self._sums[name] + share if name in self._sums else share
        self._counts[name] = self._counts.get(name, 0) + n_windows
