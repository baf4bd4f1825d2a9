"""IBQ (``imagenet256_16384.ckpt``): taming's network, codes compared by dot product.

Paper: Shi et al., "IBQ", https://arxiv.org/abs/2412.02692.
"""

from __future__ import annotations

from vqcli.importers.base import AVERAGE
from vqcli.importers.taming import NETWORK, OTHERS, TamingImporter


class IbqImporter(TamingImporter):
    """IBQ: a VQGAN's layout with running averages beside the weights; the averages are taken."""

    HAS = (*NETWORK, AVERAGE)
    LACKS = OTHERS
    LICENCE = "Apache-2.0"
    METRIC = "dot"
