"""What kinds of models there are: one row each, and nothing else asks which kind a model is. No torch here.

A new kind is a row and files of its own. Targets are ``"module:attribute"``, imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Kind:
    """What all of vqcli must know of a kind of model."""

    section: str
    """The key of ``config.json`` that holds its network's configuration."""
    load: str
    """``(folder, device)`` -> the module, ready for use."""
    describe: str
    """``(folder, reference)`` -> a dataclass of what the folder tells, whose ``rows()`` are for people."""
    door: str
    """``(module, folder, options)`` -> what ``vqcli.load`` gives."""
    commands: str
    """The commands that take it, in words."""
    use: str
    """What is done with it first: a command, before its ``-m MODEL``, or with ``{model}`` in its place."""
    card: str
    """How to use it from the Hub, for its card: ``{repository}``, and ``{apart}`` for the flag that names its
    tokenizer where that is not in its folder."""
    tag: str = ""
    """What it is for, as the Hub calls it; of kinds that work on tokens."""
    on_tokens: bool = False
    """Whether it works on the tokens or latents of a tokenizer, which lies in its folder or is found by
    ``library.open.generator_tokenizer``."""
    convert: str = ""
    """``(importer, state, options, path)`` -> what a published file becomes; empty where none is read."""
    evaluate: str = ""
    """``(folder, asked)`` -> what ``vqcli evaluate`` measures; empty where it measures nothing of it."""

    def line(self, model: object) -> str:
        """What is typed first with such a model: ``vqcli encode IMAGES -o tokens.npy -m runs/demo``."""
        named = "{model}" in self.use
        return f"vqcli {self.use.replace('{model}', str(model)) if named else f'{self.use} -m {model}'}"


KINDS: dict[str, Kind] = {
    "tokenizer": Kind(
        section="tokenizer",
        load="vqcli.checkpoint.tokenizer:load_tokenizer",
        describe="vqcli.jobs.tokenizer_info:describe_tokenizer",
        door="vqcli.door.tokenizer:TokenizerModel",
        commands="encode, decode, reconstruct, evaluate and usage-report",
        use="encode IMAGES -o tokens.npy",
        card="""## Use

    vqcli encode IMAGES -o tokens.npy -m {repository}
    vqcli decode tokens.npy -o images/ -m {repository}

```python
import vqcli

tokenizer = vqcli.load("{repository}")
encoded = tokenizer.encode("photo.jpg")  # encoded.tokens is a numpy array
pictures = tokenizer.decode(encoded).images
```
""",
        convert="vqcli.library.import_tokenizer:from_file",
        evaluate="vqcli.jobs.evaluation.target:tokenizer_target",
    ),
    "generator": Kind(
        section="generator",
        load="vqcli.checkpoint.generator:load_generator",
        describe="vqcli.jobs.generator_info:describe_generator",
        door="vqcli.door.generator:GeneratorModel",
        commands="generate",
        use="generate --prompt-class 0",
        card="""## Use

    vqcli generate --prompt-class 0 -o images/ -m {repository}{apart}

```python
import vqcli

generator = vqcli.load("{repository}")
pictures = generator.generate(classes=0, count=8).images
```
""",
        tag="image-generation",
        on_tokens=True,
        convert="vqcli.library.import_generator:from_file",
        evaluate="vqcli.jobs.evaluation.target:generator_target",
    ),
    "classifier": Kind(
        section="classifier",
        load="vqcli.checkpoint.classifier:load_classifier",
        describe="vqcli.jobs.classifier_info:describe_classifier",
        door="vqcli.door.classifier:ClassifierModel",
        commands="classify and evaluate",
        use="classify {model} IMAGES",
        card="""## Use

    vqcli classify {repository} IMAGES -o predictions.csv{apart}

```python
import vqcli

classifier = vqcli.load("{repository}")
found = classifier.classify("photo.jpg")
print(found.names[0], found.probabilities[0])  # likeliest first
```
""",
        tag="image-classification",
        on_tokens=True,
        evaluate="vqcli.jobs.evaluation.classes:classifier_target",
    ),
}
"""By the ``kind`` of ``config.json``."""

AUTOENCODER = replace(
    KINDS["tokenizer"],
    commands="encode --latents, reconstruct and evaluate",
    use="encode IMAGES -o latents/ --latents float16",
    card="""## Use

    vqcli encode IMAGES -o latents/ --latents float16 -m {repository}
    vqcli evaluate {repository} --images IMAGES --metrics psnr,ssim
""",
)
"""Of a tokenizer without a codebook: it makes latents, and no tokens."""


def any_kind() -> str:
    """``no tokenizer, no generator and no classifier``: what a folder of no kind holds."""
    *first, last = (f"no {name}" for name in KINDS)
    return f"{', '.join(first)} and {last}"
