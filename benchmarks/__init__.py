"""Speed beside other clients; see docs/performance.md."""
