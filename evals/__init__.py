"""Trains, calibrates and judges the quality model; may import the gateway's package, never the reverse."""
