"""What the ClickHouse test image adds to a Debian root: its entrypoint and its base config."""
