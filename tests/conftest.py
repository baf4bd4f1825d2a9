"""Contract tests run over the parts of ``$VQCLI_PLUGINS`` too: docs/extending.md."""

import signal

from vqcli.plugins import allow, named_in_environment

allow(*named_in_environment())
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, commands that tests start ignore it too
