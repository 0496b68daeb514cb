"""What a run found: `report.json` for programs, `report.html` for people."""
