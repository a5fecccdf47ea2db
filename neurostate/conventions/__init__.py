r"""The neurons of other libraries, step by step: the same spikes, potentials and gradients.

The libraries mean different things by one step of a leaky integrate-and-fire neuron. Each function here takes the
arguments that the original takes and gives a neuron that makes its steps; `brainpy.state` makes those of
[`neurostate.LIF`][] and [`neurostate.ALIF`][] under the same arguments. $S$ is the spike function, $\theta$ the
threshold, $V$ the old and $V'$ the new potential, $x$ the input, and $k$ is $\Delta t / \tau$.

| original | here | $H(0)$ | step without reset | step of the reset |
|---|---|---|---|---|
| snnTorch `Leaky`, `"subtract"` | `snntorch_leaky` | 0 | $\beta V + x$ | next, after decay, detached |
| snnTorch `Leaky`, `"zero"` | `snntorch_leaky` | 0 | $\beta V + x$ | next, before decay, detached |
| snnTorch `Synaptic` | `snntorch_synaptic` | 0 | $\beta V + g'$, $g' = \alpha g + x$ | next, after decay, detached |
| both, `reset_delay=False` | the same | 0 | the same | same |
| Norse `LIFBoxCell` | `norse_lif_box` | 0 | $V + k\,(x + v_\text{leak} - V)$ | same |
| Norse `LIFCell` | `norse_lif` | 0 | so for $g' = (1 - k_\text{syn})\,g + x$ | same |
| SpikingJelly `LIFNode` | `spikingjelly_lif` | 1 | $V + (x - (V - v_\text{reset})) / \tau$ | same, `detach_reset` |
| with `decay_input=False` | the same | 1 | $V - (V - v_\text{reset}) / \tau + x$ | same, `detach_reset` |
| SpikingJelly `IFNode` | `spikingjelly_if` | 1 | $V + x$ | same, `detach_reset` |
| Spyx `LIF` | `spyx_lif` | 0 | $\beta V + x$ | next, after decay |
| Spyx `CuBaLIF` | `spyx_cuba_lif` | 0 | $\beta V + g'$, $g' = \alpha g + x$ | next, before decay |
| brainpy.state | `ns.LIF`, `ns.ALIF` | 1 | $V_\infty + (V - V_\infty)\,e^{-k}$ | next, before decay |

"Next" means that a potential above $\theta$ at the start of a step is reset in that step. Unless detached, the gradient
goes through the reset.

Where they clash, silently:

- **What comes out.** Spyx puts out $S(V - \theta)$, the spike of the potential before the input; all others that of
  $V'$: a network of Spyx neurons is one step later per layer.
- **What the state holds.** With a reset in the same step, `V` after a spike is the reset potential; with one in the
  next step it is the potential that crossed the threshold.
- **The size of the input.** Norse, SpikingJelly by default and brainpy.state scale it by $k$ (or $1 - e^{-k}$), the
  others add it: the same weights are up to $\tau / \Delta t$ times as strong.
- **The gradient of a hard reset.** Norse, SpikingJelly and snnTorch have that of $(1 - s)\,V + s\,V_\text{reset}$: `V`
  before the spike is forgotten. brainpy.state and `ns.LIF` let the gradient through $V$ as if nothing was reset.
- **The spike function's argument.** brainpy.state and `ns.LIF` divide $V - \theta$ by $\theta - V_\text{reset}$; the
  others do not.
- **Names.** `ATan(alpha)` of SpikingJelly, `atan(alpha)` of snnTorch and `Arctan(alpha)` are one function, the
  `arctan(k)` of Spyx is another, [`neurostate.conventions.spyx_arctan`][]. `fast_sigmoid(slope)` of snnTorch and
  `superspike(k)` of Spyx are `InvSquareGrad`. The `alpha` of `"super"` in Norse 1.1.0 has no effect: its slope is
  `InvSquareGrad(1.0)`.

All but the last row are a [`neurostate.conventions.DiscreteLIF`][], whose fields are these conventions.
[`neurostate.conventions.exact_tau`][], [`neurostate.conventions.decay_to_tau`][] and
[`neurostate.conventions.tau_to_decay`][] convert between factors per step and time constants: `ns.LIF(n,
tau=exact_tau(tau, dt), spk_reset="hard", spk_fun=InvSquareGrad(1.0, h0=0))` spikes as Norse's `LIFBoxCell` does.
"""

from .discrete_lif import DiscreteLIF as DiscreteLIF
from .discrete_lif import DiscreteLIFState as DiscreteLIFState
from .factors import decay_to_tau as decay_to_tau
from .factors import exact_tau as exact_tau
from .factors import tau_to_decay as tau_to_decay
from .presets import norse_lif as norse_lif
from .presets import norse_lif_box as norse_lif_box
from .presets import snntorch_leaky as snntorch_leaky
from .presets import snntorch_synaptic as snntorch_synaptic
from .presets import spikingjelly_if as spikingjelly_if
from .presets import spikingjelly_lif as spikingjelly_lif
from .presets import spyx_arctan as spyx_arctan
from .presets import spyx_cuba_lif as spyx_cuba_lif
from .presets import spyx_lif as spyx_lif
