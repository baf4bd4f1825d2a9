"""What the environment says of connections: proxies, certificates, the Hub's address."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

SECURE = ("https_proxy", "HTTPS_PROXY")
ALL = (*SECURE, "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
SOCKS = ("socks5", "socks5h")


def hub_trouble(environment: Mapping[str, str] = os.environ) -> str:
    """Which variable keeps the Hub's client from its work, and why: a clause, empty where none does."""
    hub = environment.get("HF_ENDPOINT", "")
    if hub and not hub.lower().startswith(("http://", "https://")):
        return "HF_ENDPOINT names no address that begins with https://"
    socks = "" if find_spec("socksio") else "which takes another package: pip install socksio"
    return trouble(ALL, socks, environment)


def trouble(proxies: Sequence[str], no_socks: str, environment: Mapping[str, str] = os.environ) -> str:
    """Which variable makes connections impossible, and why: a clause, empty where none does.

    ``no_socks`` says why no SOCKS proxy can be used, or nothing.
    """
    for name in proxies:
        if (value := environment.get(name, "")) and (why := _no_proxy(value, no_socks)):
            return f"{name} {why}"
    if (file := environment.get("SSL_CERT_FILE")) and not Path(file).is_file():
        return f"SSL_CERT_FILE names {file}, which is no file"
    folders = environment.get("SSL_CERT_DIR", "")
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        return f"SSL_CERT_DIR names {folders}, which is no folder"
    return ""


def _no_proxy(value: str, no_socks: str) -> str:
    """Why an address is none of a proxy; it is not shown, since it may hold a password."""
    scheme, there, rest = value.partition("://")
    if there and scheme.lower() in SOCKS:
        if no_socks:
            return f"names a {scheme} proxy, {no_socks}"
    elif there and scheme.lower() not in ("http", "https"):
        return f"names a {scheme} proxy: known are http://, https:// and socks5://"
    try:
        parts = urlsplit(f"http://{rest if there else value}")
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    return "" if whole else "names no proxy: http://HOST:PORT is expected"


def proxy_of(host: str, environment: Mapping[str, str] = os.environ) -> str:
    """The variable whose proxy stands before a host's https address; empty where none does."""
    named = next((name for name in ALL[:4] if environment.get(name)), "")
    return "" if named and proxy_bypass(host) else named
