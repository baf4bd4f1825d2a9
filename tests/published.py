"""What was published of each system, as numbers to compare recipes with: papers and their official code.

https://arxiv.org/abs/2012.09841, 2406.11837, 2406.06525, 2411.02038, 2412.02692, 2409.04410, 2509.10140.
Keys are those of the recipes, a section's name first.
"""

from __future__ import annotations

ADAM = {
    "optimizer.name": "adam",
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0,
    "optimizer.lr_batch": None,
}


def images(pixel, eps=1e-10):
    """A pixel loss and LPIPS on VGG's features, its dropout on."""
    lpips = {"weight": 1, "net": "vgg", "eps": eps, "dropout": 0.5}
    names = {"losses": (pixel, "perceptual"), f"losses.{pixel}.weight": 1}
    return names | {f"losses.perceptual.{key}": value for key, value in lpips.items()}


def game(weight, layers, disc_start, *, loss="hinge", adaptive=False, own=1, lecam=0):
    """A PatchGAN that is trained and heard from one and the same step, at the tokenizer's rate and schedule.

    The schedule of VQGAN-LC's, IBQ's and Open-MAGVIT2's discriminators was not to be found.
    """
    discriminator = {"name": "patchgan", "layers": layers, "channels": 64, "norm": "batch"}
    steps = {"disc_start": disc_start, "disc_warmup": 0, "ramp": 0}
    kinds = {"generator_loss": loss, "discriminator_loss": "hinge", "adaptive": adaptive, "lecam": lecam}
    rest = {"weight": weight, "discriminator_weight": own, "optimizer": None, "schedule": None}
    return {f"adversarial.discriminator.{key}": value for key, value in discriminator.items()} | {
        f"adversarial.{key}": value for key, value in (steps | kinds | rest).items()
    }


TAMING_1024 = game(0.8, 3, 0, adaptive=True)
TAMING_16384 = game(0.75, 2, 0, adaptive=True)
TAMING = (
    ADAM
    | images("l1")
    | {
        "data.size": 256,
        "data.augment": "crop",
        "optimizer.lr": 4.5e-6,
        "optimizer.lr_batch": 1,
        "optimizer.betas": (0.5, 0.9),
        "optimizer.clip": 0,
        "schedule.decay": "constant",
        "schedule.warmup": 0,
        "training.precision": "fp32",
        "training.average": None,
    }
)
LC = (
    TAMING
    | images("l1", eps=1e-7)
    | game(0.1, 2, 50_000, adaptive=True)
    | {
        "optimizer.lr": 5e-4,
        "optimizer.lr_batch": None,
        "optimizer.eps": 1e-7,
        "schedule.decay": "cosine",
        "schedule.warmup": "5 epochs",
        "schedule.start": 0,
        "schedule.hold": 0,
        "schedule.floor": 0,
        "training.steps": "100 epochs",
        "training.batch_size": 2048,
    }
)
LLAMAGEN = (
    ADAM
    | images("l2")
    | game(0.5, 3, 20_000, own=0.5)
    | {
        "data.size": 256,
        "data.augment": "crop-flip",
        "optimizer.lr": 1e-4,
        "optimizer.betas": (0.9, 0.95),
        "optimizer.clip": 1,
        "schedule.decay": "constant",
        "schedule.warmup": 0,
        "training.steps": "40 epochs",
        "training.batch_size": 128,
        "training.precision": "bf16",
        "training.average": None,
    }
)
ANNEALED = LLAMAGEN | {
    "optimizer.lr_batch": 128,
    "schedule.decay": "linear",
    "schedule.warmup": "4 epochs",
    "schedule.start": 0.005,
    "schedule.hold": 0.3,
    "schedule.floor": 0.01,
}
SIMVQ = (
    TAMING
    | game(0.1, 3, 0, loss="non_saturating")
    | {
        "data.size": 128,
        "optimizer.lr": 1e-4,
        "optimizer.lr_batch": None,
        "training.steps": "50 epochs",
        "training.batch_size": 256,
        "training.precision": "fp16",
        "training.average": 0.999,
    }
)
DROPS = SIMVQ | {"data.size": 256, "schedule.decay": "drops", "adversarial.lecam": 0.05}
IBQ = DROPS | {"training.steps": "330 epochs", "schedule.drops": ("250 epochs", "300 epochs")}
MAGVIT = DROPS | {"training.steps": "270 epochs", "schedule.drops": ("200 epochs", "250 epochs")}


def network(channels, multipliers, res_blocks, z_channels, quant_conv=1):
    """A convolutional network with attention at its lowest level."""
    return {
        "tokenizer.name": "conv",
        "tokenizer.channels": channels,
        "tokenizer.multipliers": multipliers,
        "tokenizer.res_blocks": res_blocks,
        "tokenizer.z_channels": z_channels,
        "tokenizer.attention_levels": (len(multipliers) - 1,),
        "tokenizer.quant_conv": quant_conv,
    }


def improved(multipliers, res_blocks, adaptive):
    return {
        "tokenizer.name": "improved",
        "tokenizer.channels": 128,
        "tokenizer.multipliers": multipliers,
        "tokenizer.res_blocks": res_blocks,
        "tokenizer.adaptive": adaptive,
    }


def part(kind, name, **options):
    return {f"tokenizer.{kind}.{key}": value for key, value in {"name": name, **options}.items()}


def book(name, size, width, **options):
    return part("codebook", name, size=size, width=width, **options)


def quantizer(name, codebook_weight, commitment_weight, **options):
    weights = {"codebook_weight": codebook_weight, "commitment_weight": commitment_weight}
    return part("quantizer", name, **weights, **options)


VQ8, VQ16 = network(128, (1, 2, 2, 4), 2, 256), network(128, (1, 1, 2, 2, 4), 2, 256)
RES4 = network(128, (1, 1, 2, 2, 4), 4, 256)
VAR = network(160, (1, 1, 2, 2, 4), 2, 32, quant_conv=3)
SIMVQ_NET, MAGVIT_NET = improved((1, 2, 2, 4), 2, False), improved((1, 1, 2, 2, 4), 4, True)

L2 = {"metric": "l2", "entropy_weight": 0, "gradient": "straight_through"}
LEGACY, CLASSIC = quantizer("nearest", 0.25, 1, **L2), quantizer("nearest", 1, 0.25, **L2)
SCALED = quantizer("nearest", 0.033, 0.1, **L2)
COSINE = CLASSIC | {"tokenizer.quantizer.metric": "cosine"}
PROPAGATION = quantizer(
    "index_propagation", 0.25, 1, soft_weight=1, entropy_weight=0.05, entropy_temperature=0.01
)
RESIDUAL = quantizer("residual", 1, 0.25, depth=4)
MULTISCALE = quantizer("multiscale", 1, 0.25, scales=(1, 2, 3, 4, 5, 6, 8, 10, 13, 16), phis=4, phi_ratio=0.5)
LOOKUP_FREE = part(
    "quantizer", "nearest", commitment_weight=0.25, entropy_weight=0.1, entropy_temperature=0.01
)
FINITE = part("quantizer", "nearest", commitment_weight=0, entropy_weight=0)
AVERAGING = part("quantizer", "nearest", commitment_weight=0.1, metric="l2", entropy_weight=0)

PROJECTED = {"train_base": False, "hidden": ()}
LC_MAP = PROJECTED | {"base": "features.safetensors", "base_width": 768, "map_init": "normal"}
SIMVQ_MAP = PROJECTED | {"base": "gaussian", "base_width": 128, "map_init": "torch"}
L4, L8 = ({"hidden": 256, "patch": patch, "depth": 2, "blocks": "plain"} for patch in (4, 8))
AVERAGES = {"decay": 0.99, "eps": 1e-5, "kmeans": 0}


PUBLISHED = {  # what is missing of a system was not to be found, and is chosen in its recipe
    "vqgan-f16-1024": VQ16 | TAMING | TAMING_1024 | LEGACY | book("learned", 1024, 256, init="uniform"),
    "vqgan-f16-16384": VQ16 | TAMING | TAMING_16384 | LEGACY | book("learned", 16_384, 256, init="uniform"),
    "vqgan-gumbel-f8": network(128, (1, 1, 2, 4), 2, 256)
    | TAMING
    | part("quantizer", "gumbel", kl_weight=1e-8)
    | book("learned", 8192, 256),
    "vqgan-ema": VQ16 | LC | AVERAGING | book("ema", 16_384, 256, revive_below=0, **AVERAGES),
    "vqgan-fc": VQ16 | LC | SCALED | book("learned", 16_384, 8, init="uniform"),
    "vqgan-lc-100k": VQ16 | LC | SCALED | book("projected", 100_000, 8, **LC_MAP),
    "llamagen-vq16": VQ16 | LLAMAGEN | COSINE | book("learned", 16_384, 8, init="unit"),
    "llamagen-vq8": VQ8 | LLAMAGEN | COSINE | book("learned", 16_384, 8, init="unit"),
    "simvq-65k": SIMVQ_NET | SIMVQ | CLASSIC | book("projected", 65_536, 128, **SIMVQ_MAP),
    "ibq-16k": RES4 | IBQ | PROPAGATION | book("learned", 16_384, 256, init="standard"),
    "ibq-262k": RES4 | IBQ | PROPAGATION | book("learned", 262_144, 256, init="standard"),
    "open-magvit2": MAGVIT_NET | MAGVIT | LOOKUP_FREE | part("codebook", "sign", bits=18, first_bit="lowest"),
    "fsq-64k": FINITE | part("codebook", "levels", levels=(8, 8, 8, 5, 5, 5)),
    "rq-vae": part("quantizer", "residual", depth=4)
    | book("ema", 16_384, 256, revive_below=1, **AVERAGES)
    | {"training.steps": "50 epochs"},
    "var-tokenizer": VAR | MULTISCALE | book("learned", 4096, 32),
    "fvq-16k": VQ16 | ANNEALED | CLASSIC | book("bridged", 16_384, 256, **L4),
    "fvq-65k": VQ16 | ANNEALED | CLASSIC | book("bridged", 65_536, 256, **L8),
    "fvq-262k": VQ16 | ANNEALED | CLASSIC | book("bridged", 262_144, 256, **L8),
    "fvq-rq": RESIDUAL | part("codebook", "bridged") | {"training.steps": "10 epochs"},
    "fvq-var": VAR | MULTISCALE | book("bridged", 4096, 32, patch=2, blocks="modulated", init="standard"),
}

FOLLOWED = {
    "vqgan-gumbel-f8": "vqgan-f16-16384",
    "rq-vae": "llamagen-vq16",
    "var-tokenizer": "llamagen-vq16",
    "fvq-rq": "fvq-16k",
    "fvq-var": "fvq-16k",
    "fsq-64k": "simvq-65k",
}
"""Whose training a recipe has where its own system's was not to be found."""

VQ16_USERS = ("vqgan-f16-1024", "vqgan-f16-16384", "vqgan-ema", "vqgan-fc", "vqgan-lc-100k", "llamagen-vq16")
ENCODER_DECODER = {
    **dict.fromkeys((*VQ16_USERS, "fvq-16k", "fvq-65k", "fvq-262k", "fvq-rq"), (29_298_176, 42_449_795)),
    **dict.fromkeys(("ibq-16k", "ibq-262k"), (46_752_256, 59_903_875)),
    "llamagen-vq8": (28_559_232, 41_415_171),
    "rq-vae": (41_101_312, 58_974_595),
    "simvq-65k": (24_282_496, 39_851_907),
}
"""Parameters."""
TOTAL = {"llamagen-vq16": 71_883_403, "vqgan-fc": 71_883_403, "vqgan-f16-16384": 76_073_859}
"""Parameters of a whole tokenizer."""
BRIDGES = {"fvq-16k": 3_153_664, "fvq-65k": 9_457_408, "fvq-262k": 9_457_408, "fvq-rq": 3_153_664}
"""Parameters of the bridge."""

SMALL = {
    "vqgan-cifar10": "vqgan-f16-16384",
    "vqgan-gumbel-cifar10": "vqgan-gumbel-f8",
    "vqgan-ema-cifar10": "vqgan-ema",
    "vqgan-fc-cifar10": "vqgan-fc",
    "vqgan-lc-cifar10": "vqgan-lc-100k",
    "llamagen-cifar10": "llamagen-vq16",
    "simvq-cifar10": "simvq-65k",
    "ibq-cifar10": "ibq-16k",
    "open-magvit2-cifar10": "open-magvit2",
    "fsq-cifar10": "fsq-64k",
    "rq-vae-cifar10": "rq-vae",
    "var-tokenizer-cifar10": "var-tokenizer",
    "fvq-cifar10": "fvq-16k",
    "fvq-262k-cifar10": "fvq-262k",
    "fvq-rq-cifar10": "fvq-rq",
    "fvq-var-cifar10": "fvq-var",
}
"""Small recipes, and whose systems they are."""

GPT = {
    "generator.name": "gpt",
    "generator.classes": 1000,
    "generator.token_dropout": 0.1,
    "generator.residual_dropout": 0.1,
    "generator.ffn_dropout": 0.1,
    "generator.attention_dropout": 0.0,
    "generator.class_dropout": 0.1,
    "generator.drop_path": 0.0,
    "optimizer.name": "adamw",
    "optimizer.lr": 1e-4,
    "optimizer.lr_batch": 256,
    "optimizer.betas": (0.9, 0.95),
    "optimizer.weight_decay": 0.05,
    "optimizer.clip": 1.0,
    "schedule.warmup": 0,
    "training.precision": "bf16",
    "training.average": None,
}
LLAMAGEN_GPT = GPT | {"schedule.decay": "constant", "training.batch_size": 256, "training.compile": True}
FVQ_GPT = GPT | {
    "schedule.decay": "linear",
    "schedule.hold": 0.05,
    "schedule.floor": 0.01,
    "training.compile": False,
}
PUBLISHED |= {
    "gpt-b": LLAMAGEN_GPT | {"training.steps": "300 epochs", "generator.sampling.cfg": 2.0},
    "gpt-l": LLAMAGEN_GPT | {"training.steps": "300 epochs", "generator.sampling.cfg": 1.75},
    "gpt-xl": LLAMAGEN_GPT | {"training.steps": "50 epochs", "generator.sampling.cfg": 1.75},
    "gpt-l-fvq": FVQ_GPT | {"training.steps": "300 epochs", "training.batch_size": 2048},
    "gpt-xl-fvq": FVQ_GPT | {"training.steps": "350 epochs", "training.batch_size": 1024},
}
VAR_GENERATOR = {
    "generator.name": "var",
    "generator.classes": 1000,
    "generator.attention": "cosine",
    "generator.class_dropout": 0.1,
    "generator.progressive": 0,
    "generator.sampling.cfg": 1.5,
    "generator.sampling.top_k": 900,
    "generator.sampling.top_p": 0.96,
    "optimizer.name": "adamw",
    "optimizer.lr_batch": 256,
    "optimizer.betas": (0.9, 0.95),
    "optimizer.weight_decay": 0.05,
    "optimizer.clip": 2.0,
    "schedule.decay": "linear",
    "schedule.start": 0.005,
    "schedule.hold": 0.05,
    "training.average": None,
}


def var_generator(layers, batch, epochs, lr, gates, floor, decay_end, adaln="separate"):
    return VAR_GENERATOR | {
        "generator.layers": layers,
        "generator.heads": layers,
        "generator.width": 64 * layers,
        "generator.drop_path": 0.1 * layers / 24,
        "generator.gate_start": gates,
        "generator.adaln": adaln,
        "optimizer.lr": lr,
        "optimizer.weight_decay_end": decay_end,
        "schedule.warmup": f"{epochs // 50} epochs",
        "schedule.floor": floor,
        "training.steps": f"{epochs} epochs",
        "training.batch_size": batch,
    }


PUBLISHED |= {
    "var-d16": var_generator(16, 768, 200, 1e-4, 1e-3, 0.1, None),
    "var-d20": var_generator(20, 768, 250, 1e-4, 1e-3, 0.1, None),
    "var-d24": var_generator(24, 768, 350, 8e-5, 1e-4, 0.01, None),
    "var-d30": var_generator(30, 1024, 350, 8e-5, 1e-5, 0.01, 0.08),
    "var-d36-s": var_generator(36, 768, 350, 8e-5, 5e-6, 0.01, 0.08, "shared"),
    "var-d16-fvq": VAR_GENERATOR,
}
FOLLOWED["var-d16-fvq"] = "var-d16"
TOTAL |= {
    "gpt-b": 110_888_448,
    "gpt-l": 342_910_976,
    "gpt-xl": 774_699_520,
    "gpt-l-fvq": 342_910_976,
    "gpt-xl-fvq": 774_699_520,
    "var-d16": 310_283_520,
    "var-d16-fvq": 310_283_520,
    "var-d20": 600_917_136,
    "var-d24": 1_033_399_360,
    "var-d30": 2_010_020_356,
    "var-d36-s": 2_353_893_904,
}

PUBLISHED["classify-vit-b"] = {  # He et al., MAE, https://arxiv.org/abs/2111.06377, table 9
    "classifier.layers": 12,
    "classifier.heads": 12,
    "classifier.width": 768,
    "classifier.mixup": 0.8,
    "classifier.label_smoothing": 0.1,
    "classifier.drop_path": 0.1,
    "classifier.pool": "mean",
    "optimizer.name": "adamw",
    "optimizer.lr": 5e-4,
    "optimizer.lr_batch": 256,
    "optimizer.weight_decay": 0.05,
    "optimizer.betas": (0.9, 0.999),
    "optimizer.layer_decay": 0.65,
    "schedule.decay": "cosine",
    "schedule.warmup": "5 epochs",
    "training.steps": "100 epochs",
    "training.batch_size": 1024,
}
TOTAL["classify-vit-b"] = 85_831_912
