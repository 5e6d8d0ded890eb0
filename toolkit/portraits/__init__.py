"""Made people: clips of faces that nobody has, from portraits that the user names, to train small models on.

Nothing heavy is imported until a name is used.
"""

from toolkit.lazy import lazy_names

_HOMES = {
    "Camera": "camera",
    "MadePeople": "people",
    "PeopleConfig": "making",
    "Portrait": "portrait",
    "list_portraits": "listing",
    "load_portraits": "portrait",
    "make_people": "making",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
