from . import aws, engines, kafka, pipelines, tables  # noqa: F401
from .common import BUCKETS  # noqa: F401
