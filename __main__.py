"""The Pulumi program, as a table of contents. The name of the stack says what is deployed."""

import pulumi

from stacks import config

stack = pulumi.get_stack()
if config.kind(stack) == "cloud":
    from stacks import cloud  # a provider takes a while to load: only the one that is needed

    outputs = cloud.deploy(config.cloud_settings(), stack)
else:
    from stacks import local

    home = config.home()
    outputs = local.deploy(config.settings(home), home, stack)
for name, value in outputs.items():
    pulumi.export(name, value)
