"""The Pulumi programs under the real engine, on a real Docker engine."""
