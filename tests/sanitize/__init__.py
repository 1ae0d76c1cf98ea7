"""Whether the rules of sanitization hold."""
