"""What tests of evaluations share."""

from vqcli.jobs.evaluation.options import EvaluateOptions

CHEAP = ("psnr", "ssim", "usage")
"""What needs no network."""


class Stopper:
    """A progress that stops the work when so many items are done."""

    def __init__(self, after: int) -> None:
        self.left, self.begun = after, []

    def start(self, what, total, unit, done=0):
        self.begun.append((what, total, done))

    def advance(self, n=1):
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt

    def show(self, **numbers): ...

    def say(self, text): ...


def options(target, images="demo:11", metrics=CHEAP, **other):
    given = {"device": "cpu", "num_workers": 0, "batch_size": 4, "save_every": 0}
    given |= {"random_networks": True, "few_images": True}
    return EvaluateOptions(str(target), str(images) if images else None, metrics=metrics, **(given | other))
