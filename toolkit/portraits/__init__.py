"""Synthetic people: clips of faces that do not exist, made from portraits, for training small models.

Heavy modules are imported only when one of their names is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "Camera": "camera",
    "PeopleConfig": "making",
    "Portrait": "portrait",
    "SyntheticPeople": "people",
    "list_portraits": "listing",
    "load_portraits": "portrait",
    "make_people": "making",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
