"""Scripts that tests start in processes of their own are not imported as tests."""

collect_ignore_glob = ["killed_*.py", "killing.py"]
