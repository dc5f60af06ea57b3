"""One of several processes that train together: commands of mfdmodel one by one, then what the processes tell."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from cli.mfdmodel_app import app
from mfdmodel.train.players import _Sums
from mfdmodel.train.together import drawn_alike, rank, seed_apart, training_together


def tell() -> dict[str, object]:
    """What this process draws, and the means of an epoch in which the first process alone validated."""
    device = torch.device("cpu")
    with training_together(device):
        torch.manual_seed(7)
        seed_apart(7, 0)
        before = torch.rand(3).tolist()
        with drawn_alike(7, 0, "test", device=device):
            alike = torch.rand(3).tolist()
        after = torch.rand(3).tolist()
        sums = _Sums()
        sums.add_train(torch.tensor(1.0 + rank()), None, 10 + 20 * rank())
        if rank() == 0:
            sums.add_valid(torch.tensor(0.25), 5)
        means = sums.means(device)
    return {"before": before, "alike": alike, "after": after, "means": [means.train_loss, means.valid_loss]}


if __name__ == "__main__":
    port, folder, *commands = sys.argv[1:]
    for number, command in enumerate(commands):
        os.environ["MASTER_PORT"] = str(int(port) + number)
        app(json.loads(command), standalone_mode=False)
    os.environ["MASTER_PORT"] = str(int(port) + len(commands))
    told = tell()
    Path(folder, f"told{os.environ['RANK']}.json").write_text(json.dumps(told))
