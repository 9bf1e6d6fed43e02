"""Promotion: from a receipt of the checks to the very same image running on Fly, or back to the one before."""
