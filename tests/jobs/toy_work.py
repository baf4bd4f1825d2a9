"""A job of two phases over ``jobs.sharded``, run by tests in their own process and as two."""

import os
import sys
import time
from pathlib import Path

import torch.distributed as dist

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.plans import Plan
from vqcli.jobs.sharded import Engine, Work
from vqcli.types import silent

UNSAID = "salt"


class Squares(Work[int]):
    """Shard k is k * k, in a file; they come to their sum."""

    what, unit = "square", "numbers"

    def __init__(self, folder, shards, fails=(), log=None):
        self.folder, self.shards, self.fails, self.log = folder, shards, fails, log

    def size(self, k):
        return 2

    def done(self, k):
        return self.file(k).is_file()

    def do(self, shards, progress):
        for k in shards:
            if self.log:
                self.log(k)
            if k in self.fails:
                raise self.fails[k]
            files.write_text(self.file(k), f"{k * k}")
            progress.advance(2)

    def finish(self):
        return sum(int(self.file(k).read_text()) for k in range(self.shards))

    def file(self, k):
        return self.folder / f"square-{k}"


class Agreed(Work[int]):
    """One number that all processes find together: the sum of what each adds."""

    what, shards, together = "agree", 1, True

    def __init__(self, folder, start):
        self.folder, self.start = folder, start

    def size(self, k):
        return 1

    def done(self, k):
        return (self.folder / "agreed").is_file()

    def do(self, shards, progress):
        told = [self.start]
        if dist.is_initialized():
            told = [None] * dist.get_world_size()
            dist.all_gather_object(told, self.start)
        for _ in shards:
            if not dist.is_initialized() or dist.get_rank() == 0:
                files.write_text(self.folder / "agreed", str(sum(told) // len(told)))

    def finish(self):
        return int((self.folder / "agreed").read_text())


def clear(folder):
    for path in folder.glob("*"):
        if path.name.startswith(("square-", "agreed")):
            path.unlink()


def plan(shards, **more):
    """The plan of the job with so many shards."""
    values = {"format": 1, "work": {"shards": shards, UNSAID: "a"} | more}
    return Plan(values, clear, holds="other numbers", unsaid=(UNSAID,), otherwise="other salt")


def job(folder, shards, work=None, *, force=False, progress=silent, check=lambda: None, **more):
    """Both phases under one lock; what they came to."""
    engine = Engine("cpu")
    with engine.taking(folder, lambda: plan(shards, **more), check, force=force):
        total = engine.run(work or Squares(folder, shards), progress)
        return total, engine.run(Agreed(folder, total), progress)


class Slow(Squares):
    """Takes its time before every shard."""

    def do(self, shards, progress):
        for k in shards:
            time.sleep(0.02)
            super().do([k], progress)


def work_of(rank, how, folder):
    """The squares of one of two processes, of which one fails in some way."""
    work = Squares(folder, 6)
    if how == "fails" and rank == 1:
        work.fails = {3: VqcliError("shard 3 cannot be", hint="leave it out", reason="damaged")}
    elif how == "breaks" and rank == 1:
        work.fails = {1: ZeroDivisionError("of its own")}
    elif how == "last":
        work.finish = lambda: 1 // 0
    elif how == "early":  # while the first process has much to do
        work = Slow(folder, 2000) if rank == 0 else Squares(folder, 2000, {1: VqcliError("early")})
    return work


def main():
    """One of two processes: writes into a folder what it came to in each way."""
    top, rank, told = Path(sys.argv[1]), int(os.environ["RANK"]), {}
    for how in sys.argv[2:]:
        work = work_of(rank, how, top / how)
        try:
            told[how] = job(top / how, work.shards, work)
        except Exception as e:
            told[how] = [f"{type(e).__name__}: {e}", getattr(e, "hint", "")]
    files.write_json(top / f"told-{rank}.json", told)


if __name__ == "__main__":
    main()
