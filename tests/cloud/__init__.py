"""The `cloud` stack's machine, started for real from what is rendered for it, and attacked."""
