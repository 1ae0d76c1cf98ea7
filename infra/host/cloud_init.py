"""cloud-init's user-data: what a new machine needs before it can fetch everything else.

Small and stable, because a change of it is a change of the machine; what changes from day to day is
in the bundle (infra/host/bundle.py).
"""

from __future__ import annotations

from infra.host.names import Names
from infra.settings import Settings


def user_data(settings: Settings, names: Names) -> str:
    """The value of the metadata key `user-data`."""
    del settings, names
    return "#cloud-config\n{}\n"
