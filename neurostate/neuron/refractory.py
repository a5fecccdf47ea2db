"""The neurons that are refractory by default, under the names that brainpy.state has for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .._custom_types import QuantityLike, Size
from .._units import ms
from ._base import AbstractNeuron
from .adexif import AdExIF
from .adquaif import AdQuaIF
from .expif import ExpIF
from .gif import Gif
from .izhikevich import Izhikevich
from .lif import LIF
from .quaif import QuaIF


N = TypeVar("N", bound=AbstractNeuron[Any])


def _with_refractory_period(kind: type[N], name: str, default: QuantityLike) -> Callable[..., N]:
    neuron: Any = kind

    def make(size: Size, *args: Any, tau_ref: QuantityLike = default, **kwargs: Any) -> N:
        return neuron(size, *args, tau_ref=tau_ref, **kwargs)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""A [`neurostate.{kind.__name__}`][] with a refractory period: `tau_ref` is {default.mantissa} ms.

    It may be given otherwise. The other arguments are those of that class, which is also the type of the result.
    """
    return make


LIFRef = _with_refractory_period(LIF, "LIFRef", 5.0 * ms)
ExpIFRef = _with_refractory_period(ExpIF, "ExpIFRef", 1.7 * ms)
AdExIFRef = _with_refractory_period(AdExIF, "AdExIFRef", 1.7 * ms)
QuaIFRef = _with_refractory_period(QuaIF, "QuaIFRef", 1.7 * ms)
AdQuaIFRef = _with_refractory_period(AdQuaIF, "AdQuaIFRef", 1.7 * ms)
GifRef = _with_refractory_period(Gif, "GifRef", 1.7 * ms)
IzhikevichRef = _with_refractory_period(Izhikevich, "IzhikevichRef", 1.7 * ms)
