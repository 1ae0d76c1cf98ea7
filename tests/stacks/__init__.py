"""The Pulumi programs under Pulumi's mocks: what they declare, and what they must never."""
