"""The driver's side: one process a peer, asked by lines of JSON; whatever goes wrong there is a `PeerError` here."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent


class PeerError(Exception):
    """A peer failed, ended or does not answer; the message is what the results say."""


class Peer:
    """A module of contestants, running.

    Parameters
    ----------
    module
        Its name in this package.
    python
        That runs it.
    folder
        Of the exchange; what the process says on stderr is there too.
    own
        Whether it runs in this project's environment, and so finds this project's packages as we do.
    """

    def __init__(self, module: str, python: Path, folder: Path, *, own: bool) -> None:
        self.module = module
        self.folder = folder
        self.log = folder / f"{module}.log"
        inherited = os.environ.get("PYTHONPATH", "") if own else ""
        said = {"PYTHONPATH": os.pathsep.join(filter(None, [str(BENCHMARKS), inherited]))}
        if not own:  # settings and caches of other projects go where they are thrown away
            said["HOME"] = str(folder)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(python), "-m", f"peers.{module}", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | said,
                cwd=folder,
                start_new_session=True,
            )
        self.answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def tell(self, question: dict[str, Any]) -> None:
        """Send a question; `hear` waits for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError) as error:  # a ValueError: it was closed here
            raise PeerError(self._last_word("ended")) from error

    def hear(self, timeout: float) -> dict[str, Any]:
        """Wait so many seconds for the answer to the question told."""
        try:
            line = self.answers.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise PeerError(f"no answer within {timeout:.0f} s") from None
        if line is None:
            raise PeerError(self._last_word("ended"))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(self._without_paths(answer["error"]))
        return answer

    def ask(self, question: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        self.tell(question)
        return self.hear(timeout)

    def _last_word(self, what: str) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return self._without_paths(f"{what}: {said[-1]}" if said else what)

    def _without_paths(self, text: str) -> str:
        return " ".join(text.replace(str(self.folder), "").split())[:200].replace("|", "/")

    def close(self) -> None:
        """End the process and its workers."""
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.stdin.close()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
