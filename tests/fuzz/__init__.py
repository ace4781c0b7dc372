"""Random cases: few and always the same ones in CI, many new ones in the profile `nightly`."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings

Test = TypeVar("Test", bound=Callable)


def cases(count: int) -> Callable[[Test], Test]:
    """So many cases in CI, and 120 times as many by `--hypothesis-profile nightly`."""
    scale = settings().max_examples // settings.get_profile("ci").max_examples
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count * scale, suppress_health_check=slow)
