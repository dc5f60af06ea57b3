"""The options of a loader: what is out of range or makes no sense together is refused."""

from __future__ import annotations

from mfdstore.errors import ConfigError
from mfdstore.loader.content import Content
from mfdstore.loader.epoch import STRANDS
from mfdstore.loader.stream import StreamData
from mfdstore.sampler.order import SHUFFLES, Shuffle


def check_numbers(*options: tuple[str, int, int]) -> None:
    """Refuse numbers that are too small; an option is its name, the number, and the least.

    Raises
    ------
    ConfigError
        If one is.
    """
    for name, value, least in options:
        if value < least:
            raise ConfigError(
                name, found=str(value), expected=f"at least {least}", remedy="Give another number."
            )


def check_words(strand: str, *, drop_last: bool, pad: bool) -> None:
    """Refuse a strand that is none, and ends that are both left out and filled up.

    Raises
    ------
    ConfigError
        If so.
    """
    if strand not in STRANDS:
        raise ConfigError(
            "strand", found=repr(strand), expected=f"one of {', '.join(STRANDS)}", remedy="Choose one."
        )
    if drop_last and pad:
        raise ConfigError(
            "drop_last, pad",
            found="both",
            expected="one: what does not fill a batch is left out, or filled up",
            remedy="Leave drop_last to training and pad to evaluation.",
        )


def check_batches(n_batches: int, batch_size: int, n_windows: int, n_processes: int) -> None:
    """Refuse batches so large that no process gets one.

    Raises
    ------
    ConfigError
        If they are.
    """
    if n_batches == 0:
        raise ConfigError(
            "batch_size",
            found=f"{batch_size} windows a batch, {n_processes} processes",
            expected=f"at least one batch of the {n_windows} windows for each process",
            remedy="Take smaller batches or fewer processes.",
        )


def choose_shuffle(shuffle: bool | Shuffle, data: Content) -> Shuffle:
    """Take the shuffling that is asked for, or that suits the mode.

    Raises
    ------
    ConfigError
        If there is no such one, or the mode cannot give it.
    """
    streamed = isinstance(data, StreamData)
    if isinstance(shuffle, bool):
        return "none" if not shuffle else "blocks" if streamed else "full"
    if shuffle not in SHUFFLES or (shuffle == "full" and streamed):
        raise ConfigError(
            "shuffle",
            found=repr(shuffle),
            expected='True, False, "blocks"' if streamed else f"True, False, or one of {', '.join(SHUFFLES)}",
            remedy='A store that is streamed cannot be read window by window; hold it in RAM for "full".'
            if streamed
            else "Choose one.",
        )
    return shuffle
