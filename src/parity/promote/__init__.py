"""Promotion: deploy the image that a receipt of the checks names to Fly, and roll back if that fails.

``runner`` takes the steps in order, ``acts`` does each step, ``commands`` builds the command lines.
"""
