"""Real environments: seeded simulators as a vector environment, scripted experts, collection over processes, rendering.

A task's name chooses the simulator (`tasks.simulator_of`), and no simulator is imported before it is needed.
"""
