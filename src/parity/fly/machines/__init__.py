"""Machines: their states, what runs them (containers or processes), their checks, releases and logs."""
