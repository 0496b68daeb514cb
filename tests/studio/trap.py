"""A module that no studio may import."""

raise AssertionError("the studio imported what a run folder names")
