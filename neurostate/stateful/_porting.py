"""The public names of brainstate 0.6, of brainpy.state's `Dynamics`, and the modules of braintools: what they are here.

For a name that is missing here, the modules, `StateRef` and `nn.Module` say by `answer` what to use instead. The whole
table is `notebooks/porting.md`.
"""

from __future__ import annotations

import sys
from opcode import opmap
from types import ModuleType
from typing import NoReturn


def _as(answer: str, names: str) -> dict[str, str]:
    """The same answer for several names; `{}` in it stands for the name."""
    return {name: answer.replace("{}", name) for name in names.split()}


_HOOKS = (
    "A hook would run once in a trace, not at each step. Call what is to happen where the value is written, with "
    "`jax.debug.callback`, or from `neurostate.nn.Dynamics.add_after_update`."
)
_BEHAVIOURS = "Call the function beside `neurostate.environ.set`, or read `neurostate.environ.get` where it is needed."
_PROGRAMS = "Take the program from `neurostate.transform.make_jaxpr`; it prints itself, and XLA optimises it."
_VMAP = (
    "Use `neurostate.transform.{}` with the axes of states declared in `in_states` and `out_states`: none is guessed "
    "from a value."
)
_DEVICES = "Use `neurostate.transform.shard_map`, or `neurostate.transform.jit` on arrays that are sharded."
_NO_SAMPLER = "`jax.random` has no such sampler: draw with `numpy.random.Generator.{}` and pass the numbers in."
_LAYER = "Use `neurostate.nn.Layer` with `equinox.nn.{}`."
_CHANNELS = "Use `neurostate.nn.Layer` with `equinox.nn.{}`, which has the channels first."
_BIJECTOR = (
    "Give `neurostate.Optimizer` the bounds, `constraints={path: bijector}`, with a bijector of `neurostate.train`, or "
    "apply one to a `neurostate.ParamState` where it is read."
)
_PENALTY = "Add the penalty to the loss, over the values of `neurostate.nn.Module.parameters`."
_METRIC = (
    "Compute it from the outputs of `neurostate.transform.for_loop`, such as with `neurostate.metrics`, or count in a "
    "`neurostate.LongTermState`."
)
_WEIGHT = "Compute the weight from a `neurostate.ParamState` in the `update` of a `neurostate.nn.Module` of your own."
_SPARSE = "Use `neurostate.connect.EventSparse`, with edges such as those of `neurostate.connect.fixed_outdegree`."
_WHERE = "Write it with `jax.numpy.where`."
_BEFORE, _AFTER = "neurostate.nn.Dynamics.add_before_update", "neurostate.nn.Dynamics.add_after_update"
_LEVELS = "A use outside its trace is a `neurostate.TraceContextError` by itself: there is nothing to check or count."

# What a name is here: "" the same; "~..." the same with a remark; one word, the new spelling; else what to use instead.
TABLE: dict[str, dict[str, str]] = {
    "": {
        **_as("", "BatchAxisError BatchState DelayState HiddenState LongTermState ParamState ShortTermState State"),
        **_as("", "TraceContextError catch_new_states environ nn random transform typing"),
        **_as("neurostate.NeurostateError", "BrainStateError"),
        **_as("types.SimpleNamespace", "FakeState"),
        **_as(
            "A unit and a path belong to one variable: use a `neurostate.HiddenState` for each.",
            "HiddenGroupState HiddenTreeState",
        ),
        **_as(_HOOKS, "GlobalHookRegistry Hook HookCancellationError HookConfig HookContext HookError HookManager"),
        **_as(_HOOKS, "HookExecutionError HookHandle HookRegistrationError HookWarning InitHookContext"),
        **_as(_HOOKS, "MutableWriteHookContext ReadHookContext RestoreHookContext WriteHookContext clear_state_hooks"),
        **_as(_HOOKS, "has_state_hooks list_state_hooks register_state_hook unregister_state_hook"),
        "StateDictManager": "Hold references in a `dict`, as `neurostate.nn.Module.states` gives them.",
        "StateTraceStack": "Use `neurostate.transform.StateFinder`, or `neurostate.functionalize`.",
        "TreefyState": "Use `neurostate.functionalize`, which gives the values as a pytree.",
        "check_state_jax_tracer": "It is always checked: see `neurostate.TraceContextError`.",
        "check_state_value_tree": "Write with `neurostate.State.restore_value`, which checks the structure.",
        "maybe_state": "Ask with `isinstance`, and read `neurostate.State.value`.",
        **_as("neurostate.transform", "augment compile"),
        **_as("jax.nn", "functional"),
        **_as("Use `neurostate.nn.Layer`, which takes layers of Equinox.", "interop"),
    },
    "transform": {
        **_as("", "ProgressBar StateFinder bounded_while_loop check check_error checkify checkpoint debug_nan"),
        **_as("", "checkpointed_for_loop checkpointed_scan cond eval_shape for_loop fwd_grad grad hessian ifelse"),
        **_as("", "jacfwd jacobian jacrev jit jit_error_if jvp map named_scope remat scan shard_map switch"),
        **_as("", "make_jaxpr vector_grad vjp vmap vmap_new_states while_loop"),
        **_as("neurostate.transform.grad", "GradientTransform"),
        **_as("neurostate.transform.vmap", "StatefulMapping"),
        **_as("neurostate.transform.named_scope", "named_call"),
        **_as("neurostate.transform.debug_nan", "debug_nan_if"),
        **_as("neurostate.functionalize", "StatefulFunction"),
        **_as("jax.experimental.checkify.{}", "all_checks automatic_checks div_checks float_checks index_checks"),
        **_as("jax.experimental.checkify.{}", "nan_checks user_checks"),
        "breakpoint_if": "Use `jax.debug.breakpoint` in a branch of `neurostate.transform.cond`.",
        "in_new_state_probe": "Nothing is probed: `neurostate.transform.vmap_new_states` runs its function once.",
        "unvmap": "Use `jax.lax.pmax` or `jax.lax.psum` over the `axis_name` of `neurostate.transform.vmap`.",
        "vmap2": _VMAP.replace("{}", "vmap"),
        "vmap2_new_states": "Use `neurostate.transform.vmap_new_states`.",
        **_as(_DEVICES, "pmap2 pmap2_new_states"),
        **_as(_PROGRAMS, "algebraic_simplification common_subexpression_elimination constant_fold copy_propagation"),
        **_as(_PROGRAMS, "dead_code_elimination draw draw_dot_graph eqns_to_closed_jaxpr eqns_to_jaxpr inline_jit"),
        **_as(_PROGRAMS, "fn_to_python_code jaxpr_to_python_code optimize_jaxpr register_prim_handler view_pydot"),
    },
    "nn": {
        **_as("", "AvgPool1d AvgPool2d Conv1d Conv2d Delay Dropout DropoutFixed Dynamics Flatten GRUCell LSTMCell"),
        **_as("", "LayerNorm Linear MaxPool1d MaxPool2d Module Sequential assign_state_values call_all_fns"),
        **_as("", "call_order exp_euler_step init_all_states reset_all_states vmap_init_all_states"),
        **_as("", "vmap_reset_all_states MGUCell ValinaRNNCell"),
        "RNNCell": "~The plain cell; the base class of cells is `neurostate.nn.Module`.",
        **_as("neurostate.nn.LSTMCell", "URLSTMCell"),
        **_as("neurostate.init", "init"),
        **_as("neurostate.nn.Linear", "AllToAll EventLinear"),
        **_as("neurostate.nn.Dropout", "AlphaDropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout"),
        **_as("neurostate.LongTermState", "MetricState"),
        **_as("neurostate.environ.context", "EnvironContext"),
        **_as("neurostate.nn.Module", "ElementWiseBlock"),
        **_as("neurostate.nn.Delay", "StateWithDelay"),
        **_as("neurostate.nn.Delay.access", "DelayAccess"),
        **_as("neurostate.nn.Dynamics.prefetch", "Prefetch init_maybe_prefetch"),
        **_as("neurostate.nn.Dynamics.prefetch_delay", "PrefetchDelay PrefetchDelayAt"),
        **_as("neurostate.nn.Dynamics.output_delay", "OutputDelayAt"),
        "InterpolationRegistry": "`neurostate.nn.Delay` has `interpolation='linear'` and `'nearest'`.",
        **_as("dict", "HiData"),
        **_as("optax.clip_by_global_norm", "clip_grad_norm"),
        "count_parameters": "Add up `neurostate.State.numel` over `neurostate.nn.Module.parameters`.",
        "vmap_call_all_fns": "Use `neurostate.transform.vmap_new_states` on `neurostate.nn.call_all_fns`.",
        **_as("Use `neurostate.transform.vmap` with `in_states=module`.", "Map Vmap"),
        **_as(f"Use `{_BEFORE}` with a hook whose attribute `{{}}` is true.", "receive_update_input"),
        **_as(f"Use `{_AFTER}` with a hook whose attribute `{{}}` is true.", "not_receive_update_output"),
        **_as(f"`{_BEFORE}` does so by itself.", "not_receive_update_input"),
        **_as(f"`{_AFTER}` does so by itself.", "receive_update_output"),
        **_as(_BIJECTOR, "AffineT ChainT ClipT ExpT IdentityT LogT MaskedT NegSoftplusT NegativeT OrderedT Param"),
        **_as(_BIJECTOR, "PositiveT PowerT ReluT ScaledSigmoidT SigmoidT SimplexT SoftplusT SoftsignT TanhT"),
        **_as(_BIJECTOR, "Transform UnitVectorT"),
        "Const": "Keep a plain array, or a `neurostate.LongTermState`.",
        **_as(_PENALTY, "BetaReg CauchyReg ChainedReg DirichletReg ElasticNetReg EntropyReg ExponentialReg"),
        **_as(_PENALTY, "GammaReg GaussianReg GroupLassoReg HorseshoeReg HuberReg InverseGammaReg L1Reg L2Reg"),
        **_as(_PENALTY, "LogNormalReg LogUniformReg MaxNormReg OrthogonalReg Regularization SpectralNormReg"),
        **_as(_PENALTY, "SpikeAndSlabReg StudentTReg TotalVariationReg UniformReg"),
        **_as(_METRIC, "AccuracyMetric AverageMetric ConfusionMatrix F1ScoreMetric Metric MultiMetric"),
        **_as(_METRIC, "PrecisionMetric RecallMetric WelfordMetric"),
        **_as(_WEIGHT, "LoRA OneToOne ScaledWSConv1d ScaledWSConv2d ScaledWSConv3d ScaledWSLinear SignedWLinear"),
        **_as(_WEIGHT, "weight_standardization"),
        **_as(_SPARSE, "EventFixedNumConn EventFixedProb FixedNumConn SparseLinear"),
        **_as(_LAYER, "Embedding Identity PReLU RMSNorm"),
        **_as(_CHANNELS, "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AvgPool3d Conv3d"),
        **_as(_CHANNELS, "AdaptiveMaxPool2d AdaptiveMaxPool3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"),
        **_as(_CHANNELS, "GroupNorm MaxPool3d"),
        **_as(
            "Use `neurostate.nn.LayerNorm`, or keep running averages in a `neurostate.LongTermState`.",
            "BatchNorm0d BatchNorm1d BatchNorm2d BatchNorm3d",
        ),
        **_as("jax.lax.reduce_window", "LPPool1d LPPool2d LPPool3d"),
        **_as("Use `jax.numpy.ndarray.at` with the places of the maxima.", "MaxUnpool1d MaxUnpool2d MaxUnpool3d"),
        **_as("jax.numpy.pad", "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d"),
        **_as("jax.numpy.pad", "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d"),
        **_as("jax.numpy.pad", "ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d"),
        **_as("jax.numpy.reshape", "Unflatten"),
        **_as(_WHERE, "Hardshrink RReLU Softshrink Tanhshrink Threshold"),
        **_as(_WHERE, "hard_shrink prelu rrelu soft_shrink tanh_shrink"),
        **_as("Use `jax.nn.softmax` of the negative.", "Softmin softmin"),
        **_as("Use `jax.numpy.logical_and`, `jax.numpy.logical_or` and the like.", "SpikeBitwise"),
        **_as("jax.nn.{}", "celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid"),
        **_as("jax.nn.{}", "log_softmax logsumexp mish one_hot relu relu6 selu sigmoid silu soft_sign softmax"),
        **_as("jax.nn.{}", "softplus sparse_plus sparse_sigmoid squareplus standardize swish tanh"),
        **{
            name: f"jax.nn.{function}"
            for name, function in zip(
                "CELU ELU GELU GLU Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish ReLU ReLU6 SELU "
                "SiLU Sigmoid Softmax Softmax2d Softplus Softsign Tanh".split(),
                "celu elu gelu glu hard_sigmoid hard_swish hard_tanh leaky_relu log_sigmoid log_softmax mish relu "
                "relu6 selu silu sigmoid softmax softmax softplus soft_sign tanh".split(),
                strict=True,
            )
        },
    },
    "nn.Module": {
        **_as("", "init_state name reset_state update"),
        **_as("~A dict by path; `children` of brainstate gives the modules alone.", "children"),
        **_as("~A dict by path; `parameters` of brainstate gives the references alone.", "parameters"),
        **_as(
            "~The paths are strings, such as `'layer.V'`; a filter takes the place of `allowed_hierarchy`.",
            "nodes states",
        ),
        "check_valid_context": _LEVELS,
        "desc": "functools.partial",
        **_as("Set it in `__init__`, or derive from `neurostate.nn.Dynamics`, which has it.", "in_size out_size"),
        "init_all_states": "neurostate.nn.init_all_states",
        **_as("neurostate.nn.Module.nodes", "modules named_modules"),
        "named_children": "neurostate.nn.Module.children",
        "named_parameters": "neurostate.nn.Module.parameters",
        "state_trees": "neurostate.nn.Module.states",
        **_as(_BIJECTOR, "named_param_modules param_modules param_precompute"),
        "reg_loss": _PENALTY,
        **_as("Any attribute will do that `neurostate.nn.Module` does not own.", "graph_invisible_attrs"),
        **_as("A module's identity counts, never its fields: see `neurostate.nn.Module`.", "non_hashable_params"),
    },
    "nn.Dynamics": {
        **_as("", "add_after_update add_before_update after_updates before_updates varshape"),
        **_as("", "add_current_input add_delta_input sum_current_inputs sum_delta_inputs get_input"),
        **_as("", "prefetch prefetch_delay output_delay"),
        "align_pre": f"Use `{_AFTER}` with the other module.",
        **_as("neurostate.nn.Dynamics.get_input", "current_inputs delta_inputs"),
        **_as("Look in the dict after_updates: see `neurostate.nn.Dynamics`.", "get_after_update has_after_update"),
        **_as("Look in the dict before_updates: see `neurostate.nn.Dynamics`.", "get_before_update has_before_update"),
    },
    "State": {
        **_as("", "add_tag copy copy_from name numel replace restore_value value value_call"),
        "tag": "neurostate.State.tags",
        "init": "Pass the value of `neurostate.init.param` to `neurostate.State`.",
        "check_if_deleted": "Reading says so: `neurostate.StateLostError`.",
        **_as(_LEVELS, "check_valid_trace decrease_stack_level increase_stack_level stack_level"),
        **_as("Errors name the reference by its path from a `neurostate.nn.Module`.", "raise_error_with_source_info"),
        **_as("Errors name the reference by its path from a `neurostate.nn.Module`.", "source_info"),
        **_as(_HOOKS, "clear_hooks has_hooks hooks list_hooks register_hook temporary_hook unregister_hook"),
        **_as("Use `neurostate.functionalize`, which gives the values as a pytree.", "to_state_ref update_from_ref"),
    },
    "environ": {
        **_as("", "DEFAULT_PRECISION DT FIT HOST_DEVICE_COUNT I PLATFORM PRECISION SUPPORTED_PLATFORMS T all"),
        **_as("", "SUPPORTED_PRECISIONS context dctype dftype ditype dutype get get_dt get_host_device_count"),
        **_as("", "get_platform get_precision pop reset set set_host_device_count set_platform set_precision"),
        **_as("", "tolerance"),
        "EnvironmentState": "There is one environment: use `neurostate.environ.context` for a block of a thread.",
        "JIT_ERROR_CHECK": "`neurostate.transform.jit_error_if` always checks.",
        **_as(_BEHAVIOURS, "list_registered_behaviors register_default_behavior unregister_default_behavior"),
    },
    "random": {
        **_as("", "DEFAULT RandomState bernoulli beta binomial categorical chisquare choice clone_rng default_rng"),
        **_as("", "dirichlet exponential f gamma geometric get_key get_key_data gumbel laplace loggamma logistic"),
        **_as("", "lognormal maxwell multinomial multivariate_normal negative_binomial noncentral_chisquare"),
        **_as("", "noncentral_f normal orthogonal pareto permutation poisson power rand rand_like randint"),
        **_as("", "randint_like randn randn_like random random_integers random_sample ranf rayleigh sample seed"),
        **_as("", "seed_context set_key shuffle split_key split_keys standard_cauchy standard_exponential"),
        **_as("", "standard_gamma standard_normal standard_t t triangular truncated_normal uniform wald weibull"),
        **_as("", "weibull_min"),
        **_as(_NO_SAMPLER, "hypergeometric logseries vonmises zipf"),
        "restore_key": "Use `neurostate.random.seed_context`, or `neurostate.random.get_key` and `set_key`.",
        "self_assign_multi_keys": "Each lane of `neurostate.transform.vmap` draws from a key of its own.",
    },
    "typing": {
        **_as("", "Array ArrayLike Axes DType DTypeLike Filter PyTree SeedOrKey Shape Size"),
        "Key": "~A random key; a part of a path is a `str`.",
        **_as("neurostate.typing.Filter", "FilterLiteral"),
        **_as("neurostate.typing.DTypeLike", "SupportsDType"),
        **_as("neurostate.filters.Predicate", "Predicate"),
        **_as("str", "PathParts"),
        **_as("object", "Missing"),
        **_as("typing.TypeVar", "K"),
    },
    "graph": {
        **_as("neurostate.nn.Module", "Node register_graph_node_type"),
        **_as("neurostate.nn.Module.nodes", "iter_node nodes"),
        **_as("neurostate.nn.Module.states", "iter_leaf pop_states states"),
        **_as("neurostate.nn.assign_state_values", "update_states"),
        **_as("copy.deepcopy", "clone"),
        **_as("neurostate.functionalize", "GraphDef NodeEdge NodeSpec NodeStates PytreeEdge RefMap StateEdge Static"),
        **_as("neurostate.functionalize", "StateLeafEdge StaticEdge flatten graph_to_tree graphdef merge_context"),
        **_as("neurostate.functionalize", "split_context tree_to_graph treefy_merge treefy_split treefy_states"),
        **_as("neurostate.functionalize", "unflatten"),
    },
    "mixin": {
        **_as("neurostate.environ.context", "Batching JointMode Mode Training"),
        **_as("neurostate.nn.Module", "Mixin"),
        **_as("typing.Protocol", "JointTypes"),
        **_as("typing.Union", "OneOfTypes"),
        **_as("functools.partial", "ParamDesc ParamDescriber"),
    },
    "util": {
        **_as("neurostate.filters.{}", "All Any Everything Not Nothing OfType PathContains WithTag"),
        **_as("neurostate.filters.as_predicate", "to_predicate"),
        **_as("neurostate.TraceContextError", "StateJaxTracer"),
        **_as("dict", "DictManager DotDict FlattedDict FrozenDict NestedDict copy flat_mapping flatten_dict freeze"),
        **_as("dict", "merge_dicts nest_mapping pop unflatten_dict unfreeze"),
        **_as("equinox.Module", "PyTreeNode dataclass field is_dataclass"),
        **_as("equinox.tree_pformat", "MappingReprMixin PrettyAttr PrettyDict PrettyList PrettyMapping PrettyObject"),
        **_as("equinox.tree_pformat", "PrettyRepr PrettyType ReprOptions ReprSummary format_array_like format_bytes"),
        **_as("equinox.tree_pformat", "get_repr_options pretty_format pretty_repr pretty_repr_object repr_options"),
        **_as("equinox.tree_pformat", "set_repr_options yield_unique_pretty_repr_items"),
        **_as("functools.lru_cache", "BoundedCache"),
        **_as("jax.clear_caches", "clear_buffer_memory"),
        **_as("jax.debug.breakpoint", "breakpoint_if"),
        **_as("isinstance", "is_instance_eval not_instance_eval"),
        **_as("itertools.count", "get_unique_name"),
        **_as("round", "split_total"),
    },
}
for _space in ("graph", "mixin", "util"):
    TABLE[""][_space] = "Its names are elsewhere: " + ", ".join(f"`{x}`" for x in dict.fromkeys(TABLE[_space].values()))


# The modules of braintools that are not here under their names.
BRAINTOOLS: dict[str, str] = {
    "cogtask": "Write the trials as arrays; `notebooks/07_learning_over_long_times.ipynb` has a task.",
    "conn": "neurostate.connect",
    "input": "neurostate.source",
    "metric": "Losses are in `neurostate.losses`, accuracies and spike train distances in `neurostate.metrics`.",
    "optim": "Use `neurostate.Optimizer` with a transformation of Optax: `Optimizer(optax.adam(1e-3), params)`.",
    "quad": "neurostate.integrate",
    "spike": "neurostate.encode",
    "trainer": "Use `neurostate.train.fit`.",
    "visualize": "Draw the records with Matplotlib.",
}


def answer(space: str, name: str) -> str | None:
    """What to say to someone who looks for a name of brainstate or braintools where it is missing."""
    said = TABLE[space].get(name) or (BRAINTOOLS.get(name) if space == "" else None)
    if not said or said.startswith("~"):
        return None
    owner = f"neurostate.{space}" if space else "neurostate"
    return f"{owner} has no {name!r}. {said}" if " " in said else f"{owner} has no {name!r}: use `{said}`."


def explain_missing(module: ModuleType, space: str) -> None:
    """Lets a module answer for its missing names, also in `from module import name`."""

    def __getattr__(name: str) -> NoReturn:
        text = answer(space, name)
        if text is None:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module)
        caller = sys._getframe(1)
        if caller.f_code.co_code[caller.f_lasti] == opmap["IMPORT_FROM"]:
            raise ImportError(text)  # Python would put a text of its own in place of that of an AttributeError
        raise AttributeError(text)

    vars(module)["__getattr__"] = __getattr__
