"""What each system is called by: its settings under the names of its presets, and its `RECIPE`."""
