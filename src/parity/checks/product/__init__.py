"""Checks that use this product's own API; everything else in ``parity.checks`` knows only its two files."""
