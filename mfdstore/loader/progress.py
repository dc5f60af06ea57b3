"""How far the processes of a run are in an epoch: what a state keeps, and what may go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from mfdstore.errors import ConfigError
from mfdstore.sampler.dealing import Stretches, as_lists, count, deal, from_lists, left_behind

_VERSION: Final = 1


@dataclass(frozen=True)
class Progress:
    """A place in an epoch, the same for all processes.

    Parameters
    ----------
    epoch
        Counted from 0.
    batches
        That each process was given before.
    left
        Positions of the epoch's order that nobody was given before.
    """

    epoch: int
    batches: int
    left: Stretches

    def share(self, *, rank: int, world_size: int, in_turns: bool) -> Stretches:
        """Deal what is left to one process."""
        return deal(self.left, rank=rank, world_size=world_size, in_turns=in_turns)

    def behind(self, n_batches: int, *, batch_size: int, world_size: int, in_turns: bool) -> Progress:
        """Give the place behind so many further batches of each process."""
        if n_batches == 0:
            return self
        left = left_behind(self.left, n_batches * batch_size, world_size=world_size, in_turns=in_turns)
        return Progress(self.epoch, self.batches + n_batches, left)

    def n_batches(
        self, *, batch_size: int, rank: int, world_size: int, drop_last: bool, pad: bool, in_turns: bool
    ) -> int:
        """Count the batches that a process gets of what is left."""
        n_left = count(self.left)
        if drop_last:
            return n_left // world_size // batch_size  # of the process whose share is smallest
        if pad:
            return ceil(n_left / (world_size * batch_size))  # of the one whose share is largest
        return ceil(count(self.share(rank=rank, world_size=world_size, in_turns=in_turns)) / batch_size)

    def to_state(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Write as what JSON and torch can keep.

        Parameters
        ----------
        order
            What the positions are of: only a loader of the same may go on.
        """
        return {
            "version": _VERSION,
            "epoch": self.epoch,
            "batches": self.batches,
            "left": as_lists(self.left),
            "order": dict(order),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], order: Mapping[str, Any], n_positions: int) -> Progress:
        """Read a state back.

        Raises
        ------
        ConfigError
            If it is no state, or that of a loader whose epochs have another order.
        """
        try:
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']!r}")
            kept = dict(state["order"])
            epoch, batches = state["epoch"], state["batches"]
            if not (isinstance(epoch, int) and isinstance(batches, int) and epoch >= 0 and batches >= 0):
                raise ValueError(f"epoch {epoch!r} and {batches!r} batches")
            differing = [name for name in order if kept.get(name) != order[name]]
            left = () if differing else from_lists(state["left"], n_positions)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                "state of the loader",
                found=f"one that cannot be read ({error})",
                expected="what state_dict() gave",
                remedy="Begin the epoch anew, with set_epoch().",
            ) from error
        if differing:
            name = differing[0]
            raise ConfigError(
                "state of the loader",
                found=f"one of {name} {kept.get(name)!r}",
                expected=f"{name} {order[name]!r}, that of this loader: else windows would be read twice or not at all",
                remedy="Make the loader as it was made for the state, or begin the epoch anew, with set_epoch().",
            )
        return cls(epoch, batches, left)
