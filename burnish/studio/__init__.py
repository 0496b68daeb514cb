"""The studio: a page on which to look at runs and data, and to act inside a world model, beside the simulator.

The server answers pages and small questions (`server`); everything that takes PyTorch or a simulator is done by the one
thread of the `engine`. Nothing here trains, and nothing in a run folder is changed.
"""
