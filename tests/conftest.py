"""Fixtures that several test files share, and what may run beside what."""

import pytest
from hypothesis import settings
from operate_support import bench, operate_place, operate_redis, operate_zygote

__all__ = ["bench", "operate_place", "operate_redis", "operate_zygote"]


# No test of properties claims a time: on a busy machine an example may take as long as it takes.
settings.register_profile("rooney", deadline=None)
settings.load_profile("rooney")


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 3 --dist loadgroup`: a file is one process's, tests/system is one machine's, and starts first."""
    items.sort(key=lambda item: "system" not in item.path.parts)
    for item in items:
        group = "system" if "system" in item.path.parts else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
