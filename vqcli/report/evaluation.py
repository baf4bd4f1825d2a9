"""An evaluation as one HTML page beside its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vqcli.escapes import html

STYLE = """
body{margin:0;background:#f6f7f9;color:#1c2230;font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 56px}
h1{font-size:26px;margin:0 0 16px;overflow-wrap:anywhere}
table{border-collapse:collapse;background:#fff;width:100%}
td{padding:5px 14px;border-bottom:1px solid #e3e6ec;vertical-align:top;overflow-wrap:anywhere}
td:first-child{color:#667085;white-space:nowrap}
figure{margin:24px 0 0}img{max-width:100%;image-rendering:pixelated}figcaption{color:#667085}
.warning{border-left:4px solid #c62828;background:#fff;padding:8px 14px;margin:0 0 16px}
@media(prefers-color-scheme:dark){body{background:#12151c;color:#e8eaf0}table,.warning{background:#1a1f2a}
td{border-color:#2b3241}td:first-child,figcaption{color:#98a2b3}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' file:"


def evaluation_page(
    title: str, rows: Sequence[tuple[str, str]], pictures: Mapping[str, str], warning: str = ""
) -> str:
    """A page with a table of ``rows``, and pictures by the names of their files, each with what it shows."""
    table = "".join(f"<tr><td>{html(name)}</td><td>{html(value)}</td></tr>" for name, value in rows)
    figures = "".join(
        f'<figure><img src="{html(name)}" alt=""><figcaption>{html(what)}</figcaption></figure>'
        for name, what in pictures.items()
    )
    told = f'<p class="warning">{html(warning)}</p>' if warning else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        f"<h1>{html(title)}</h1>{told}<table>{table}</table>{figures}</main></body></html>\n"
    )
