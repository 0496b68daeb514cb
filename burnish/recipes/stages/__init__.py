"""The bodies of stages that published systems share."""
