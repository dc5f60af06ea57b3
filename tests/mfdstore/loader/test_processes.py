"""Several processes: forks, spawned ones, those of torch.distributed; killed, and gone on with by others."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfdstore.loader import Loader, RamData
from mfdstore.store import Store
from tests.mfdstore.loader.programs import Programs, Running
from tests.mfdstore.loader.watching import everything

OPTIONS: dict[str, Any] = {"batch_size": 16, "positions": 90, "strand": "random", "shuffle": "blocks"}


# processes that begin anew


def codes_of(store: Store, mode: Literal["ram", "stream"], answers: Any) -> None:
    codes, _, window = everything(Loader(store, mode=mode, **OPTIONS))
    answers.put((codes.numpy().tobytes(), window.tolist()))


@pytest.mark.slow
def test_loader__reads_in_processes_that_begin_anew(store: Any) -> None:
    codes, _, window = everything(Loader(store, **OPTIONS))
    running = []
    for method, mode in (("spawn", "stream"), ("forkserver", "ram")):
        context: Any = multiprocessing.get_context(method)
        answers = context.SimpleQueue()
        process = context.Process(target=codes_of, args=(store, mode, answers))
        process.start()
        running.append((process, answers))
    for process, answers in running:
        assert answers.get() == (codes.numpy().tobytes(), window.tolist())
        process.join()
        assert process.exitcode == 0
        process.close()


# forks

FORKS = """
import json, time
from mfdstore.errors import ConfigError
path, mode, threads, begun = sys.argv[1:]
loader = Loader(Store(path), batch_size=16, positions=90, mode=mode, threads=int(threads), shuffle="blocks")
said = []
for _ in range(5):
    iterator = iter(loader)
    if begun == "yes":
        next(iterator)
    back, forth = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            next(iterator)
        except ConfigError as error:
            os.write(forth, f"{pid == 0} {error}".encode())
        del iterator
        os._exit(0)  # as multiprocessing does
    os.close(forth)
    deadline = time.monotonic() + 10
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.005)
    said.append(os.read(back, 2000).decode())
    # the one that made it is none the worse for it
    assert sum(map(len, iterator)) == (300 - 16 if begun == "yes" else 300)
print(json.dumps(said))
"""


@pytest.mark.parametrize(("mode", "threads"), [("ram", 3), ("stream", 3), ("stream", 0)])
@pytest.mark.parametrize("begun", ["yes", "no"])
def test_loader__is_refused_in_a_fork(
    programs: Programs, store: Any, mode: str, threads: int, begun: str
) -> None:
    running = programs.start(FORKS, store.path, mode, threads, begun)
    for said in running.result():
        assert said.startswith("True loader: found use in process ")
        assert f"a fork of process {running.pid} that made it" in said
        assert 'num_workers=0, or multiprocessing_context="spawn" or "forkserver"' in said


WORKERS = """
from torch.utils.data import DataLoader
from mfdstore.loader import BatchDataset
path, mode = sys.argv[1:]
loader = Loader(Store(path), batch_size=16, positions=90, mode=mode)
next(iter(loader))
for batch in DataLoader(
    BatchDataset(loader), batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=20
):
    pass
"""


@pytest.mark.parametrize("mode", ["ram", "stream"])
def test_data_loader__passes_on_what_a_fork_is_told(programs: Programs, store: Any, mode: str) -> None:
    running = programs.start(WORKERS, store.path, mode)
    assert running.wait() == 1
    assert 'multiprocessing_context="spawn" or "forkserver"' in running.err
    assert f"a fork of process {running.pid} that made it" in running.err


# processes that read one epoch together

RANK = """
import json, time
path, mode, options, place, state, kept_at = sys.argv[1:]
options, (rank, world_size, meeting) = json.loads(options), json.loads(place)
if world_size > 1:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size
    )
loader = Loader(Store(path), positions=60, mode=mode, seed=5, **options)
if state != "none":
    with open(state) as file:
        loader.load_state_dict(json.load(file))
for number, batch in enumerate(loader):
    print(json.dumps(batch.window.tolist()), flush=True)
    if number + 1 == int(kept_at):
        print(json.dumps({"state": loader.state_dict()}), flush=True)
    if int(kept_at) and number >= int(kept_at):
        time.sleep(0.5)  # to be killed amid the epoch
print(json.dumps({"end": len(loader)}), flush=True)
if world_size > 1:
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


class Run:
    """Processes of one run."""

    def __init__(
        self,
        programs: Programs,
        path: Path,
        folder: Path,
        n: int,
        options: dict[str, Any],
        *,
        state: Any = None,
        kept_at: int = 0,
    ) -> None:
        name = f"{n}_{len(list(folder.iterdir()))}"
        kept = folder / f"{name}.json"
        if state is not None:
            kept.write_text(json.dumps(state), encoding="utf-8")
        mode = "ram" if options["shuffle"] == "full" else "stream"
        self.running: list[Running] = [
            programs.start(
                RANK,
                path,
                mode,
                json.dumps(options),
                json.dumps([rank, n, str(folder / f"{name}.meeting")]),
                "none" if state is None else kept,
                kept_at,
            )
            for rank in range(n)
        ]

    def batches(self) -> list[list[list[int]]]:
        """Rows of each batch of each process, when all have ended."""
        for running in self.running:
            assert running.wait() == 0, running.err
        return [self.so_far(running) for running in self.running]

    @staticmethod
    def so_far(running: Running) -> list[list[int]]:
        lines = map(json.loads, running.out.splitlines())
        return [line for line in lines if isinstance(line, list)]


def flat(batches: list[list[list[int]]]) -> list[int]:
    return [row for of_one in batches for batch in of_one for row in batch if row != -1]


@pytest.mark.parametrize("shuffle", ["full", "blocks"])
@pytest.mark.parametrize("rest", ["kept", "pad", "drop_last"])
def test_processes__read_each_window_once(
    programs: Programs, store: Any, tmp_path: Path, shuffle: str, rest: str
) -> None:
    options: dict[str, Any] = {"batch_size": 21, "shuffle": shuffle, "block": 16, "pool": 64}
    if rest != "kept":
        options[rest] = True
    batches = Run(programs, store.path, tmp_path, 2, options).batches()
    rows = flat(batches)
    assert len(set(rows)) == len(rows)
    if rest == "drop_last":
        assert [len(of_one) for of_one in batches] == [7, 7]
        assert {len(batch) for of_one in batches for batch in of_one} == {21}
        assert set(rows) <= set(range(300))
    else:
        assert sorted(rows) == list(range(300))
    if rest == "pad":
        assert {len(batch) for of_one in batches for batch in of_one} == {21}
        assert [len(of_one) for of_one in batches] == [8, 8]
    assert min(len(of_one) for of_one in batches) >= 7


@pytest.mark.parametrize("shuffle", ["full", "blocks"])
def test_processes__that_are_killed_are_gone_on_with_by_others(
    programs: Programs, store: Any, tmp_path: Path, shuffle: str
) -> None:
    options = {"batch_size": 13, "shuffle": shuffle, "block": 16, "pool": 64}
    run = Run(programs, store.path, tmp_path, 2, options, kept_at=4)
    states = [json.loads(running.line(4))["state"] for running in run.running]
    for running in run.running:
        running.line(5)  # it goes on for a while, which is lost
        running.signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert states[0] == states[1]
    before = flat([run.so_far(running)[:4] for running in run.running])
    assert len(set(before)) == 2 * 4 * 13
    for n in (3, 1):
        batches = Run(programs, store.path, tmp_path, n, options, state=states[n % 2]).batches()
        assert len(batches) == n
        assert all(batches)
        assert sorted(before + flat(batches)) == list(range(300))


def dealt(left: list[int], rank: int, world_size: int, shuffle: str) -> list[int]:
    """Deal what is left to one process, as docs/loading.md says."""
    if shuffle == "full":
        return left[rank::world_size]
    return left[rank * len(left) // world_size : (rank + 1) * len(left) // world_size]


@pytest.fixture(scope="module")
def held(store: Any) -> RamData:
    return RamData(store)


@settings(max_examples=60)
@given(
    shuffle=st.sampled_from(["full", "blocks", "none"]),
    stages=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 9)), min_size=1, max_size=4
    ),
    last=st.tuples(st.integers(1, 5), st.integers(1, 40)),
    ending=st.sampled_from(["kept", "pad", "drop_last"]),
    n_windows=st.integers(60, 300),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_state__is_gone_on_with_by_any_processes_again_and_again(
    store: Any,
    held: RamData,
    shuffle: Literal["full", "blocks", "none"],
    stages: list[tuple[int, int, int]],
    last: tuple[int, int],
    ending: str,
    n_windows: int,
    epoch: int,
    seed: int,
) -> None:
    rows = np.arange(300)[300 - n_windows :]
    options: dict[str, Any] = {
        "rows": rows,
        "positions": 1,
        "shuffle": shuffle,
        "block": 16,
        "pool": 48,
        "seed": seed,
        "data": held,
        "threads": 0,
    }
    one = Loader(store, batch_size=n_windows, **options)
    one.set_epoch(epoch)
    left = everything(one)[2].tolist()
    state: Any = None
    read: list[int] = []

    def loaders(world_size: int, batch_size: int, **more: Any) -> list[Loader]:
        made = [
            Loader(store, batch_size=batch_size, rank=rank, world_size=world_size, **more, **options)
            for rank in range(world_size)
        ]
        for loader in made:
            loader.set_epoch(epoch)
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
        return made

    for world_size, batch_size, n_batches in stages:
        n_batches = min(n_batches, (len(left) // world_size - 1) // batch_size)
        if n_batches < 0:
            continue
        shares = [dealt(left, rank, world_size, shuffle) for rank in range(world_size)]
        states = []
        for loader, share in zip(loaders(world_size, batch_size), shares, strict=True):
            iterator = iter(loader)
            given_now = [row for _ in range(n_batches) for row in next(iterator).window.tolist()]
            assert given_now == share[: n_batches * batch_size]
            read += given_now
            states.append(loader.state_dict())
        assert all(one == states[0] for one in states)
        state = states[-1]
        gone = set(read)
        left = [row for row in left if row not in gone]
    world_size, batch_size = last
    if ending == "drop_last" and len(left) < world_size * batch_size:
        return
    more = {} if ending == "kept" else {ending: True}
    n_batches = 0
    for rank, loader in enumerate(loaders(world_size, batch_size, **more)):
        share = dealt(left, rank, world_size, shuffle)
        batches = [batch.window.tolist() for batch in loader]
        rest = [row for batch in batches for row in batch if row != -1]
        if ending == "drop_last":
            assert {len(batch) for batch in batches} == {batch_size}
            assert rest == share[: len(rest)]
            assert len(share) - len(rest) <= batch_size
        else:
            assert rest == share
        if ending == "pad":
            assert {len(batch) for batch in batches} <= {batch_size}
        if ending != "kept":
            assert rank == 0 or len(batches) == n_batches
        n_batches = len(batches)
        read += rest
        # the epoch behind it is whole again
        assert loader.state_dict()["epoch"] == epoch + 1
        assert sum(int(batch.mask.sum()) for batch in loader) >= n_windows // world_size - batch_size
    assert len(set(read)) == len(read)
    if ending != "drop_last":
        assert sorted(read) == rows.tolist()
