"""IBQ (``imagenet256_16384.ckpt``): taming's network, deeper, codes compared by dot product.

Paper: Shi et al., "IBQ", https://arxiv.org/abs/2412.02692.
"""

from __future__ import annotations

from vqcli.importers.taming import DEEPER, NETWORK, OTHERS, TamingImporter


class IbqImporter(TamingImporter):
    """IBQ: a VQGAN's layout with four blocks a level, with running averages or without."""

    HAS = (*NETWORK, DEEPER)
    LACKS = OTHERS
    LICENCE = "Apache-2.0"
    METRIC = "dot"
