"""An embedded, strict, fault-injecting OSS for demos and tests."""
