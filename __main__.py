"""The Pulumi program, as a table of contents. The name of the stack says what is deployed."""

import pulumi

from stacks import config, local

DEPLOY = {"local": local.deploy}

stack = pulumi.get_stack()
deploy = DEPLOY[config.kind(stack, DEPLOY)]
home = config.home()

for name, value in deploy(config.settings(home), home, stack).items():
    pulumi.export(name, value)
