"""One file per published system, reading like its method section; and what they share."""
