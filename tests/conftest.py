"""Fixtures that several test files share."""

from operate_support import bench, operate_place, operate_redis, operate_zygote

__all__ = ["bench", "operate_place", "operate_redis", "operate_zygote"]
