"""Device and precision of networks. Both are settings; `auto` chooses by the machine."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from reelmill.storage.errors import InputError

Precision = Literal["float32", "bfloat16"]


def choose_device(name: str = "auto") -> torch.device:
    """`auto` (the first CUDA device, else the CPU), `cpu`, `cuda` or `cuda:<n>`.

    Raises InputError for another name, or a device that this machine does not have: there is no silent fallback to the
    CPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (":" in name and not index.isdecimal())):
        raise InputError(f"device {name!r}: give auto, cpu, cuda or cuda:<n>")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r}: torch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices here; "
            "give device: cpu, or check the driver with nvidia-smi"
        )
    return torch.device("cuda", int(index or 0)) if kind == "cuda" else torch.device("cpu")


def native_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 in hardware; elsewhere it is emulated and slower than float32.

    CUDA: compute capability 8.0 and above. CPU: AVX-512 BF16 or AMX (x86), BF16 (ARM).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto` (bfloat16 where it is native, else float32), `float32` or `bfloat16`.

    The precision is part of the spec, so features of the two are never mixed. Raises InputError for another name.
    """
    if name == "auto":
        return "bfloat16" if native_bfloat16(device) else "float32"
    if name == "float32":
        return "float32"
    if name == "bfloat16":
        return "bfloat16"
    raise InputError(f"precision {name!r}: give auto, float32 or bfloat16")


def repeatable() -> AbstractContextManager[None]:
    """A context with fixed cuDNN algorithms and without TF32, so that float32 in a spec means float32. It changes
    nothing on the CPU."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def check_compiler(device: torch.device) -> None:
    """Raise InputError unless torch.compile works on this machine: tried on a small function, which takes seconds."""
    try:
        torch.compile(torch.nn.functional.relu, dynamic=False)(torch.zeros(8, device=device))
    except Exception as error:  # whatever the compilers and what drives them raise
        needs = "Triton and a C compiler (gcc)" if device.type == "cuda" else "a C++ compiler (g++)"
        raise InputError(
            f"compile: torch.compile does not work here ({str(error).strip().splitlines()[0]}). It needs {needs} and "
            "the headers of Python (python3-dev); install them, or set compile: false"
        ) from error
