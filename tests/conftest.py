"""Contract tests run over the parts of ``$VQCLI_PLUGINS`` too: docs/extending.md."""

from vqcli.plugins import allow, named_in_environment

allow(*named_in_environment())
