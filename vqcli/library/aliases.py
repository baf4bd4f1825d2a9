"""Short names of published models: where their files lie, and what they must be. A table, no code.

An alias names a file; a recipe of the same or a similar name trains a model of its own.
"""

from __future__ import annotations

from vqcli.library.alias import Published

LLAMAGEN, FVQ, SIMVQ = "FoundationVision/LlamaGen", "yfChang/FVQ", "youngsheen/SimVQ"
VAR = "FoundationVision/var"
MIT, APACHE = "MIT", "Apache-2.0"

DEFAULT = "llamagen-vq16"
"""The tokenizer of who names none."""
GENERATOR = "llamagen-b-256"
"""The generator of who names none."""

ALIASES: dict[str, Published] = {
    "llamagen-vq16": Published(
        LLAMAGEN,
        "vq_ds16_c2i.pt",
        sha256="109aa8afb2cf3761eec23cdc8644154cb498f5ab7eef2a35264d25e5e0499f7d",
        importer="llamagen",
        codes=16_384,
        width=8,
        licence=MIT,
        system="LlamaGen",
        what="LlamaGen VQ, a token for 16x16 pixels, ImageNet 256x256",
    ),
    "llamagen-vq8": Published(
        LLAMAGEN,
        "vq_ds8_c2i.pt",
        sha256="c70d2966ec012f378793214ff0755087e7c5fe6f035b469995143325dca4a4e3",
        importer="llamagen",
        codes=16_384,
        width=8,
        downsample=8,
        licence=MIT,
        system="LlamaGen",
        what="LlamaGen VQ, a token for 8x8 pixels, ImageNet 256x256",
    ),
    "fvq-16k": Published(
        FVQ,
        "fvq2vq/fvq2vqgan_16384_ep120.pt",
        sha256="ae1c267ffd7321c78c456b78a2b25a562f1d7f6432ffd740e546d26197886a5c",
        bytes=304_694_398,
        importer="llamagen",
        codes=16_384,
        system="FVQ",
        what="FVQ, baked, 120 epochs of ImageNet 256x256",
    ),
    "fvq-16k-ep40": Published(
        FVQ,
        "fvq2vq/fvq2vqgan_16384_ep40.pt",
        sha256="242663388a524327c669a5584ab3a5c0ef9292491c1058150405391cbc283c0c",
        bytes=304_691_266,
        importer="llamagen",
        codes=16_384,
        system="FVQ",
        what="FVQ, baked, 40 epochs of ImageNet 256x256",
    ),
    "fvq-65k-ep40": Published(
        FVQ,
        "fvq2vq/fvq2vqgan_65536_ep40.pt",
        sha256="17dd465b12a8e1b5eaeb0565fb291208d5964c0d7b7272390c32370f72bd29bc",
        bytes=355_021_806,
        importer="llamagen",
        codes=65_536,
        system="FVQ",
        what="FVQ, baked, 40 epochs of ImageNet 256x256",
    ),
    "fvq-262k": Published(
        FVQ,
        "fvq2vq/fvq2vqgan_262144_ep120.pt",
        sha256="06d306aefb1918fce3d94e18d4b91b5032b64e7ba87973f3bacdfa77e3cbe821",
        bytes=556_349_158,
        importer="llamagen",
        codes=262_144,
        system="FVQ",
        what="FVQ, baked, 120 epochs of ImageNet 256x256",
    ),
    "fvq-262k-ep40": Published(
        FVQ,
        "fvq2vq/fvq2vqgan_262144_ep40.pt",
        sha256="5092619949b92d672ca5a033ad2c29b7bcbfd43fa9a477e4599f0da983158d5d",
        bytes=556_348_746,
        importer="llamagen",
        codes=262_144,
        system="FVQ",
        what="FVQ, baked, 40 epochs of ImageNet 256x256",
    ),
    **{
        name: Published(
            VAR,
            "vae_ch160v4096z32.pth",
            importer="var",
            codes=4_096,
            width=32,
            size=size,
            scales=scales,
            licence=MIT,
            system="VAR",
            what=f"VAR's multi-scale tokenizer, ImageNet {size}x{size}",
        )
        for name, size, scales in (
            ("var-vae", 256, (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)),
            ("var-vae-512", 512, (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)),
        )
    },
    **{
        f"simvq-{size}": Published(
            SIMVQ,
            f"vq_log/simvq_{size}/size128/epoch=49-step=250250.ckpt",
            importer="simvq",
            codes=codes,
            width=128,
            downsample=8,
            size=128,
            licence=MIT,
            system="SimVQ",
            what="SimVQ, a token for 8x8 pixels, ImageNet 128x128",
        )
        for size, codes in {"1k": 1_024, "8k": 8_192, "65k": 65_536, "262k": 262_144}.items()
    },
    **{
        f"ibq-{size}": Published(
            f"TencentARC/IBQ-Tokenizer-{codes}",
            f"imagenet256_{codes}.ckpt",
            importer="ibq",
            codes=codes,
            licence=APACHE,
            system="IBQ",
            what="IBQ, ImageNet 256x256",
        )
        for size, codes in {"1k": 1_024, "8k": 8_192, "16k": 16_384, "262k": 262_144}.items()
    },
    **{
        f"ibq-{size}-pretrain": Published(
            f"TencentARC/IBQ-Tokenizer-{codes}-Pretrain",
            f"IBQ_pretrain_{codes}.ckpt",
            importer="ibq",
            codes=codes,
            licence=APACHE,
            system="IBQ",
            what="IBQ, some 200 million images, 256x256",
        )
        for size, codes in {"16k": 16_384, "262k": 262_144}.items()
    },
    **{
        f"open-magvit2-{side}": Published(
            f"TencentARC/Open-MAGVIT2-Tokenizer-{side}-resolution",
            f"imagenet_{side}_L.ckpt",
            importer="open_magvit2",
            codes=262_144,
            width=18,
            downsample=side // 16,
            size=side,
            licence=APACHE,
            system="Open-MAGVIT2",
            what=f"Open-MAGVIT2, ImageNet {side}x{side}",
        )
        for side in (128, 256)
    },
    **{
        f"open-magvit2-{size}-pretrain": Published(
            f"TencentARC/Open-MAGVIT2-Tokenizer-{codes}-Pretrain",
            f"pretrain256_{codes}.ckpt",
            importer="open_magvit2",
            codes=codes,
            width=codes.bit_length() - 1,
            licence=APACHE,
            system="Open-MAGVIT2",
            what="Open-MAGVIT2, pre-trained, 256x256",
        )
        for size, codes in {"16k": 16_384, "262k": 262_144}.items()
    },
    "vqgan-f16-1024": Published(
        "thomwolf/vqgan_imagenet_f16_1024",
        "pytorch_model.bin",
        importer="taming",
        codes=1_024,
        system="VQGAN",
        what="taming-transformers' VQGAN, ImageNet 256x256; a copy of others",
    ),
    "vqgan-f16-16384-cc3m": Published(
        "boris/vqgan_f16_16384",
        importer="taming",
        codes=16_384,
        system="VQGAN",
        what="taming-transformers' VQGAN, trained on with CC3M and YFCC",
    ),
    "taming-vq-f16-1024": Published(
        "xvjiarui/taming-vq-f16-n1024",
        importer="diffusers",
        codes=1_024,
        system="VQGAN",
        what="taming-transformers' VQGAN as diffusers' VQModel; a copy of others",
    ),
    "vq-diffusion-ithq": Published(
        "microsoft/vq-diffusion-ithq",
        "vqvae",
        importer="diffusers",
        codes=4_096,
        width=128,
        downsample=8,
        licence=MIT,
        system="VQ-Diffusion",
        what="VQ-Diffusion's VQModel, a token for 8x8 pixels",
    ),
    "ldm-celebahq-vq": Published(
        "CompVis/ldm-celebahq-256",
        "vqvae",
        importer="diffusers",
        codes=8_192,
        width=3,
        downsample=4,
        system="Latent diffusion",
        what="latent diffusion's VQModel of faces, a token for 4x4 pixels",
    ),
    **{
        f"sd-vae-ft-{how}": Published(
            f"stabilityai/sd-vae-ft-{how}",
            importer="diffusers_kl",
            width=4,
            downsample=8,
            system="Stable Diffusion",
            what=f"Stable Diffusion's autoencoder, fine-tuned ({how}): DiT's and SiT's latents, no codes",
        )
        for how in ("mse", "ema")
    },
    **{
        f"llamagen-{size}-{side}": Published(
            LLAMAGEN,
            f"c2i_{size.upper()}_{side}.pt",
            importer="llamagen_gpt",
            kind="generator",
            codes=16_384,
            width=8,
            size=side,
            tokenizer="llamagen-vq16",
            licence=MIT,
            system="LlamaGen",
            what=f"LlamaGen GPT-{size.upper()}, {parameters} parameters, ImageNet {side}x{side}",
        )
        for size, side, parameters in (
            ("b", 256, "111 million"),
            ("b", 384, "111 million"),
            ("l", 256, "343 million"),
            ("l", 384, "343 million"),
            ("xl", 384, "775 million"),
            ("xxl", 384, "1.4 billion"),
            ("3b", 384, "3.1 billion"),
        )
    },
    **{
        f"var-{depth}": Published(
            VAR,
            f"var_{depth}.pth",
            importer="var_generator",
            kind="generator",
            codes=4_096,
            width=32,
            tokenizer="var-vae",
            licence=MIT,
            system="VAR",
            what=f"VAR-{depth}, {parameters} parameters, ImageNet 256x256",
        )
        for depth, parameters in (
            ("d16", "310 million"),
            ("d20", "601 million"),
            ("d24", "1.0 billion"),
            ("d30", "2.0 billion"),
        )
    },
    "var-d36-512": Published(
        VAR,
        "var_d36.pth",
        importer="var_generator",
        kind="generator",
        codes=4_096,
        width=32,
        size=512,
        tokenizer="var-vae-512",
        licence=MIT,
        system="VAR",
        what="VAR-d36-s, 2.4 billion parameters, ImageNet 512x512",
    ),
}
