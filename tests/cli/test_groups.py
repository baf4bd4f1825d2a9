import dataclasses
import inspect
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from vqcli.cli import build_codebook, evaluate, generate, groups, importing, tokens, train
from vqcli.cli.app import COMMANDS, speaking
from vqcli.cli.groups import Before, Group, expanded
from vqcli.cli.options import option
from vqcli.cli.output import Out

LENGTH = 60
"""Lines of a command at most."""


@dataclasses.dataclass
class Cake:
    flour: int
    eggs: int = 3
    oven: float = 180.0
    iced: bool = False


CAKE = Group(
    Cake,
    {
        "flour": Annotated[int, option("--flour", help="Grams.")],
        "eggs": Annotated[int, typer.Option("--eggs", min=1, help="Fresh ones.")],
        "oven": Annotated[float | None, option("--oven", help="Degrees.")],
        "iced": Annotated[bool, option("--iced", help="On top.")],
    },
)


def bake(
    out: Out,
    cake: Annotated[Cake, CAKE],
    name: Annotated[str, option("--name", help="Of the cake."), Before("oven")] = "",
    guests: Annotated[int, option("--guests", help="Hungry ones."), Before("oven")] = 1,
) -> None:
    out.result([dataclasses.asdict(cake), name, guests], "done")


def baked(*arguments):
    app = typer.Typer(rich_markup_mode=None)
    app.command()(speaking(bake))
    return CliRunner().invoke(app, [*arguments, "--json"])


def test_a_group_becomes_flags_in_their_order_with_the_defaults_of_the_class():
    parameters, found = expanded(bake)
    assert [each.name for each in parameters] == ["flour", "eggs", "name", "guests", "oven", "iced"]
    assert found == {"cake": CAKE}
    defaults = {each.name: each.default for each in parameters}
    assert defaults["flour"] is inspect.Parameter.empty
    assert (defaults["eggs"], defaults["oven"], defaults["iced"]) == (3, None, False)


def test_the_object_is_made_of_what_was_given():
    given = baked("--flour", "250", "--oven", "200", "--iced", "--guests", "4")
    cake = '{"flour": 250, "eggs": 3, "oven": 200.0, "iced": true}'
    assert "".join(given.stdout.split()) == "".join(f'[{cake}, "", 4]'.split())
    assert '"oven": 180.0' in baked("--flour", "1").stdout
    missing = baked()
    assert (missing.exit_code, "--flour" in missing.output) == (2, True)
    assert baked("--flour", "1", "--eggs", "0").exit_code == 2


@pytest.mark.parametrize(
    ("group", "without", "beside"),
    [
        (tokens.ENCODED, set(), set()),
        (tokens.DECODING, set(), set()),
        (groups.COUNTED, {"model", "augment", "crop_range", "latents", "keep"}, set()),
        (build_codebook.FEATURES, set(), set()),
        (evaluate.ASKED, {"save_every", "few_images"}, set()),
        (generate.ASKED, set(), set(generate.SAMPLING)),
        (train.ASKED, set(), set(train.KEYS)),
        (importing.UNTOLD, {"settings", "tokenizer", "bring"}, set()),
    ],
)
def test_a_field_of_a_job_has_its_flag(group, without, beside):
    fields = {field.name for field in dataclasses.fields(group.kind)}
    assert fields - set(group.flags) == without
    assert set(group.flags) - fields == beside


@pytest.mark.parametrize("command", [function for _, _, function in COMMANDS], ids=lambda each: each.__name__)
def test_a_command_is_short(command):
    assert len(inspect.getsource(command).splitlines()) <= LENGTH


def test_flags_that_are_keys_of_the_recipe():
    options = train.ASKED.make(
        resume=False,
        settings=["training.steps=3"],
        data="[a]*.png",
        seed=7,
        precision="bf16",
        compile=True,
        init="",
        device="cpu",
    )
    assert options.settings == [
        "training.steps=3",
        "init=",
        'data.source="[a]*.png"',
        "seed=7",
        'training.precision="bf16"',
        "training.compile=true",
    ]
    assert (options.device, options.recipe, options.resume) == ("cpu", None, False)


def test_what_is_said_of_sampling_goes_there():
    made = generate.ASKED.make(classes=["1"], cfg=2.0, top_k=0, count=3)
    assert (made.sampling, made.count) == ({"cfg": 2.0, "top_k": 0}, 3)
