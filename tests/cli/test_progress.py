"""What is seen of long work: a bar on terminals, lines elsewhere."""

import io

from rich.console import Console

from vqcli.cli.bars import RichProgress
from vqcli.cli.progress import PlainProgress


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def plain():
    stream, clock = io.StringIO(), Clock()
    return PlainProgress(stream, clock), stream, clock


def work(progress, clock, seconds, every=1.0, speak=0):
    for second in range(seconds):
        clock.now += every
        progress.advance()
        if speak and not (second + 1) % speak:
            progress.say(f"step {second + 1}")


def test_silent_work_says_every_few_seconds_how_far_it_is():
    progress, stream, clock = plain()
    progress.start("encode", 20, "images")
    work(progress, clock, 20)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "encode: 0/20 images", "encode: 5/20 images", "encode: 10/20 images", "encode: 15/20 images",
        "encode: 20/20 images", "encode: 20/20 images",
    ]  # fmt: skip
    assert lines[-1].endswith(" in 0:20")


def test_work_that_speaks_is_left_to_it_unless_it_is_silent_for_a_minute():
    progress, stream, clock = plain()
    progress.start("train", 300, "steps")
    work(progress, clock, 90, speak=30)
    work(progress, clock, 70)
    lines = stream.getvalue().splitlines()
    spoken = lines.index("step 30")
    assert [line.split(",")[0] for line in lines[spoken:]] == [
        "step 30", "step 60", "step 90", "train: 150/300 steps",
    ]  # fmt: skip


def test_on_a_terminal_what_is_said_stands_above_the_bar():
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=100, color_system=None))
    progress.start("train", 2, "steps")
    progress.advance()
    progress.say("step 1/2  loss 0.5")
    progress.close()
    text = stream.getvalue()
    assert "step 1/2  loss 0.5" in text
    assert "1/2 steps" in text[text.index("loss 0.5") :]
