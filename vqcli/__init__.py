"""vqcli: train, run and measure vector-quantized image tokenizers.

What stands in ``__all__`` is imported on first use: ``import vqcli`` itself imports neither torch nor numpy.
"""

TYPE_CHECKING = False  # its own module takes a tenth of a second, in which a signal would be a traceback

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vqcli.door.classifier import ClassifierModel
    from vqcli.door.generator import GeneratorModel
    from vqcli.door.load import load
    from vqcli.door.results import Classified, GeneratedPictures, ImageTokens, Pictures
    from vqcli.door.tokenizer import TokenizerModel
    from vqcli.door.tokens import TokenSet, read_tokens
    from vqcli.door.usage import usage
    from vqcli.errors import BadImage, Interrupted, VqcliError
    from vqcli.importers.options import ImportOptions
    from vqcli.jobs.build_codebook import build_codebook
    from vqcli.jobs.classify import classify as classify_images
    from vqcli.jobs.decode import decode as decode_tokens
    from vqcli.jobs.encode import encode as encode_images
    from vqcli.jobs.evaluation.evaluate import evaluate
    from vqcli.jobs.evaluation.options import EvaluateOptions
    from vqcli.jobs.generate import generate as generate_images
    from vqcli.jobs.generate_tokens import generate_tokens
    from vqcli.jobs.options import (
        ClassifyOptions,
        CodebookOptions,
        DecodeOptions,
        FeatureOptions,
        GenerateOptions,
        ImageOptions,
        PruneOptions,
        TrainOptions,
    )
    from vqcli.jobs.prune import prune
    from vqcli.jobs.pull import pull
    from vqcli.jobs.push import pack, push
    from vqcli.jobs.reconstruct import reconstruct as reconstruct_images
    from vqcli.jobs.train import train
    from vqcli.library.find import import_file as import_model
    from vqcli.plugins import allow as allow_plugins

_LAZY = {
    "load": "vqcli.door.load:load",
    "TokenizerModel": "vqcli.door.tokenizer:TokenizerModel",
    "ClassifierModel": "vqcli.door.classifier:ClassifierModel",
    "Classified": "vqcli.door.results:Classified",
    "GeneratorModel": "vqcli.door.generator:GeneratorModel",
    "Pictures": "vqcli.door.results:Pictures",
    "GeneratedPictures": "vqcli.door.results:GeneratedPictures",
    "ImageTokens": "vqcli.door.results:ImageTokens",
    "TokenSet": "vqcli.door.tokens:TokenSet",
    "read_tokens": "vqcli.door.tokens:read_tokens",
    "usage": "vqcli.door.usage:usage",
    "train": "vqcli.jobs.train:train",
    "TrainOptions": "vqcli.jobs.options:TrainOptions",
    "encode_images": "vqcli.jobs.encode:encode",
    "ImageOptions": "vqcli.jobs.options:ImageOptions",
    "decode_tokens": "vqcli.jobs.decode:decode",
    "reconstruct_images": "vqcli.jobs.reconstruct:reconstruct",
    "DecodeOptions": "vqcli.jobs.options:DecodeOptions",
    "classify_images": "vqcli.jobs.classify:classify",
    "ClassifyOptions": "vqcli.jobs.options:ClassifyOptions",
    "generate_images": "vqcli.jobs.generate:generate",
    "generate_tokens": "vqcli.jobs.generate_tokens:generate_tokens",
    "GenerateOptions": "vqcli.jobs.options:GenerateOptions",
    "evaluate": "vqcli.jobs.evaluation.evaluate:evaluate",
    "EvaluateOptions": "vqcli.jobs.evaluation.options:EvaluateOptions",
    "build_codebook": "vqcli.jobs.build_codebook:build_codebook",
    "CodebookOptions": "vqcli.jobs.options:CodebookOptions",
    "FeatureOptions": "vqcli.jobs.options:FeatureOptions",
    "prune": "vqcli.jobs.prune:prune",
    "PruneOptions": "vqcli.jobs.options:PruneOptions",
    "import_model": "vqcli.library.find:import_file",
    "ImportOptions": "vqcli.importers.options:ImportOptions",
    "pull": "vqcli.jobs.pull:pull",
    "pack": "vqcli.jobs.push:pack",
    "push": "vqcli.jobs.push:push",
    "allow_plugins": "vqcli.plugins:allow",
    "BadImage": "vqcli.errors:BadImage",
    "Interrupted": "vqcli.errors:Interrupted",
    "VqcliError": "vqcli.errors:VqcliError",
}
"""Where each public name lies; the imports above tell type checkers the same."""

__all__ = [
    "BadImage",
    "Classified",
    "ClassifierModel",
    "ClassifyOptions",
    "CodebookOptions",
    "DecodeOptions",
    "EvaluateOptions",
    "FeatureOptions",
    "GenerateOptions",
    "GeneratedPictures",
    "GeneratorModel",
    "ImageOptions",
    "ImageTokens",
    "ImportOptions",
    "Interrupted",
    "Pictures",
    "PruneOptions",
    "TokenSet",
    "TokenizerModel",
    "TrainOptions",
    "VqcliError",
    "__version__",
    "allow_plugins",
    "build_codebook",
    "classify_images",
    "decode_tokens",
    "encode_images",
    "evaluate",
    "generate_images",
    "generate_tokens",
    "import_model",
    "load",
    "pack",
    "prune",
    "pull",
    "push",
    "read_tokens",
    "reconstruct_images",
    "train",
    "usage",
]

if not TYPE_CHECKING:  # a type checker should see the names above alone

    def __getattr__(name: str) -> object:
        """A public name, imported when it is first asked for."""
        if name not in _LAZY:
            raise AttributeError(f"module 'vqcli' has no attribute '{name}'")
        from vqcli.parts import attribute

        found = globals()[name] = attribute(_LAZY[name])
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
