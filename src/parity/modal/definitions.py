"""The metadata of function handles, derived from the definition that the deploy sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modal_proto import api_pb2 as pb

# The formats that containers of older SDKs, which declare none, can read and write.
_INPUTS = (pb.DATA_FORMAT_PICKLE,)
_OUTPUTS = (pb.DATA_FORMAT_PICKLE, pb.DATA_FORMAT_GENERATOR_DONE)


def function_metadata(definition: pb.Function, app_id: str, function_id: str) -> pb.FunctionHandleMetadata:
    """Metadata of a function's handle. ``input_plane_url`` stays empty: the SDK then keeps to the control plane."""
    metadata = pb.FunctionHandleMetadata(
        function_name=definition.function_name,
        function_type=definition.function_type,
        app_id=app_id,
        definition_id=f"de-{function_id.removeprefix('fu-')}",
        is_method=definition.is_method,
        class_parameter_info=definition.class_parameter_info,
        function_schema=definition.function_schema,
        **_formats(definition.supported_input_formats, definition.supported_output_formats),
    )
    for name, method in definition.method_definitions.items():
        metadata.method_handle_metadata[name].CopyFrom(
            pb.FunctionHandleMetadata(
                function_name=method.function_name,
                function_type=method.function_type,
                app_id=app_id,
                is_method=True,
                use_method_name=name,
                definition_id=metadata.definition_id,
                function_schema=method.function_schema,
                **_formats(method.supported_input_formats, method.supported_output_formats),
            )
        )
    return metadata


def function_data(definition: pb.Function) -> pb.FunctionData:
    """SDKs from 1.5 read the definition from here and refuse a handle without a ranked function."""
    return pb.FunctionData(
        function_name=definition.function_name,
        module_name=definition.module_name,
        function_type=definition.function_type,
        timeout_secs=definition.timeout_secs,
        is_class=definition.is_class,
        ranked_functions=[pb.FunctionData.RankedFunction(rank=0, function=definition)],
    )


def _formats(inputs: Iterable[int], outputs: Iterable[int]) -> dict[str, Any]:
    return {
        "supported_input_formats": list(inputs) or list(_INPUTS),
        "supported_output_formats": list(outputs) or list(_OUTPUTS),
    }


# Options of `with_options` that change how the control plane treats a function; others need a real scheduler.
_SERVED_OPTIONS = frozenset(
    {"retry_policy", "concurrency_limit", "timeout_secs", "task_idle_timeout_secs", "target_concurrent_inputs",
     "max_concurrent_inputs"}
)  # fmt: skip


def with_options(definition: pb.Function, options: pb.FunctionOptions) -> pb.Function:
    """The definition with these options laid over it. Raises ValueError naming options that are not served."""
    given = {field.name for field, value in options.ListFields() if value}
    if given - _SERVED_OPTIONS:
        raise ValueError(f"the options {', '.join(sorted(given - _SERVED_OPTIONS))} are not served")
    changed = pb.Function()
    changed.CopyFrom(definition)
    for name in given:
        value = getattr(options, name)
        if name == "retry_policy":
            changed.retry_policy.CopyFrom(value)
        else:
            setattr(changed, name, value)
    return changed
