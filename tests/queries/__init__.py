"""The questions in queries/, asked of real programs and answered by the tests' own arithmetic."""
