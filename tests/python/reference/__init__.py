"""What docs/metrics.md and docs/json.md say, compared with what icepack prints. `check_reference.py` runs it."""
