"""Real environments: seeded Meta-World as a vector environment, scripted experts, collection over processes, rendering.

Nothing here imports torch, so that worker processes start quickly.
"""
