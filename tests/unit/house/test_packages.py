"""A module does not hide a name of its package: importing it would put itself in the name's place."""

import importlib
import pkgutil
from types import ModuleType

import pipelines


def test_no_module_has_the_name_of_something_else_in_its_package() -> None:
    packages = [
        found.name for found in pkgutil.walk_packages(pipelines.__path__, "pipelines.") if found.ispkg
    ]
    assert "pipelines.cli" in packages
    for name in packages:
        package = importlib.import_module(name)
        for found in pkgutil.iter_modules(package.__path__):
            there = vars(package).get(found.name)
            own = getattr(there, "__module__", None) == f"{name}.{found.name}"
            assert there is None or own or isinstance(there, ModuleType), f"{name}.{found.name} hides {there}"
