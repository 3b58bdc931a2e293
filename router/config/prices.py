"""Reads the price catalogue that the package ships."""

from __future__ import annotations

from importlib import resources

from router.catalog import Catalog, parse_catalog


def load_catalog() -> Catalog:
    """The pinned snapshot of litellm's price map; its sha256 is the price revision on every ledger line."""
    return parse_catalog(resources.files("router.data").joinpath("prices.json").read_bytes())
