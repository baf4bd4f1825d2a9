"""Names of weights in published layouts, as rules from ours to theirs."""

from __future__ import annotations

Rules = list[tuple[str, str]]
"""Our names to theirs, applied one after the other."""

ENDS: Rules = [
    (r"^(..coder)\.stem\.", r"\1.conv_in."),
    (r"^(..coder)\.norm\.", r"\1.norm_out."),
    (r"^(..coder)\.head\.", r"\1.conv_out."),
    (r"\.skip\.", ".nin_shortcut."),
    (r"^(..coder\..*)\.out\.", r"\1.proj_out."),
]
TAMING: Rules = [
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.down.\1.downsample.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.up.\1.upsample.conv."),
    (r"^encoder\.levels\.(\d)\.res\.", r"encoder.down.\1.block."),
    (r"^decoder\.levels\.(\d)\.res\.", r"decoder.up.\1.block."),
    (r"^encoder\.levels\.", "encoder.down."),
    (r"^decoder\.levels\.", "decoder.up."),
    (r"^(..coder\.mid)\.0\.", r"\1.block_1."),
    (r"^(..coder\.mid)\.1\.", r"\1.attn_1."),
    (r"^(..coder\.mid)\.2\.", r"\1.block_2."),
    *ENDS,
]
IMPROVED: Rules = [
    (r"^decoder\.levels\.(\d)\.adapt\.", r"decoder.adaptive.\1."),
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.down.\1.downsample."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.up.\1.upsample.conv1."),
    (r"^encoder\.levels\.(\d)\.res\.", r"encoder.down.\1.block."),
    (r"^decoder\.levels\.(\d)\.res\.", r"decoder.up.\1.block."),
    (r"^(..coder)\.mid\.", r"\1.mid_block."),
    *ENDS,
]
LLAMAGEN: Rules = [
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.conv_blocks.\1.downsample.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.conv_blocks.\1.upsample.conv."),
    (r"^(..coder)\.levels\.", r"\1.conv_blocks."),
    *ENDS,
]
DIFFUSERS: Rules = [
    (r"^encoder\.levels\.(\d)\.resize\.", r"encoder.down_blocks.\1.downsamplers.0.conv."),
    (r"^decoder\.levels\.(\d)\.resize\.", r"decoder.up_blocks.\1.upsamplers.0.conv."),
    (r"(attn\.\d|mid\.1)\.norm\.", r"\1.group_norm."),
    (r"(attn\.\d|mid\.1)\.([qkv])\.", r"\1.to_\2."),
    (r"(attn\.\d|mid\.1)\.out\.", r"\1.to_out.0."),
    (r"\.res\.", ".resnets."),
    (r"\.attn\.", ".attentions."),
    (r"^encoder\.levels\.", "encoder.down_blocks."),
    (r"^decoder\.levels\.", "decoder.up_blocks."),
    (r"^(..coder)\.mid\.0\.", r"\1.mid_block.resnets.0."),
    (r"^(..coder)\.mid\.1\.", r"\1.mid_block.attentions.0."),
    (r"^(..coder)\.mid\.2\.", r"\1.mid_block.resnets.1."),
    (r"\.skip\.", ".conv_shortcut."),
    (r"^(..coder)\.stem\.", r"\1.conv_in."),
    (r"^(..coder)\.norm\.", r"\1.conv_norm_out."),
    (r"^(..coder)\.head\.", r"\1.conv_out."),
]
TABLE: Rules = [(r"^quantizer\.codebook\.weight$", "quantize.embedding.weight")]
BRIDGE: Rules = [
    (r"^quantizer\.codebook\.base$", "quantize.embedding.weight"),
    (r"^quantizer\.codebook\.map\.0\.", "quantize.qbridge.linear."),
    (r"^quantizer\.codebook\.bridge\.", "quantize.qbridge."),
    (r"qbridge\.compress\.", "qbridge.x_embedder.proj."),
    (r"qbridge\.recover\.", "qbridge.final_layer.linear."),
    (r"qbridge\.modulation\.", "qbridge.final_layer.adaLN_modulation.1."),
    (r"(qbridge\.blocks\.\d)\.modulation\.", r"\1.adaLN_modulation.1."),
    (r"qbridge\.condition$", "qbridge.y_embedder.embedding_table.weight"),
    (r"(qbridge\.blocks\.\d)\.qkv\.", r"\1.attn.qkv."),
    (r"(qbridge\.blocks\.\d)\.out\.", r"\1.attn.proj."),
    (r"(qbridge\.blocks\.\d)\.(fc[12])\.", r"\1.mlp.\2."),
]
PROJECTOR: Rules = [
    (r"^quantizer\.codebook\.base$", "tok_embeddings.weight"),
    (r"^quantizer\.codebook\.weight$", "tok_embeddings.weight"),
    (r"^quantizer\.codebook\.map\.", "codebook_projection."),
]
LINEAR: Rules = [*PROJECTOR, (r"^codebook_projection\.0\.", "codebook_projection.")]
SIMVQ: Rules = [
    (r"^quantizer\.codebook\.base$", "quantize.embedding.weight"),
    (r"^quantizer\.codebook\.map\.0\.", "quantize.embedding_proj."),
]
GUMBEL: Rules = [
    (r"^quantizer\.codebook\.weight$", "quantize.embed.weight"),
    (r"^quantizer\.proj\.", "quantize.proj."),
]
VAR: Rules = [*TABLE, (r"^quantizer\.phi\.", "quantize.quant_resi.qresi_ls.")]
