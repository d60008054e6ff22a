"""Witnesses: devices, people and prices of a simulated building, written without a line of the product's own code."""
