"""Names of tensors in the published files of I3D, and their names in `core.inception`. No torch."""

from reelmill.extractors.weights.checkpoints import Layout

_I3D_STEM = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
_I3D_BLOCKS = tuple(f"Mixed_{block}" for block in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"))
_I3D_BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}
_I3D_UNITS = {
    **{name.lower(): name for name in _I3D_STEM},
    **{f"{b.lower()}.{theirs}": f"{b}.{ours}" for b in _I3D_BLOCKS for theirs, ours in _I3D_BRANCHES.items()},
}

I3D_TENSORFLOW: Layout = {"logits.conv3d": None}
"""Files with TensorFlow's names, which our network has as well."""
I3D_BRANCHES: Layout = {
    **{f"{theirs}.conv3d": f"{ours}.conv3d" for theirs, ours in _I3D_UNITS.items()},
    **{f"{theirs}.batch3d": f"{ours}.bn" for theirs, ours in _I3D_UNITS.items()},
    "conv3d_0c_1x1.conv3d": None,
}
I3D_EITHER: Layout = {**I3D_TENSORFLOW, **I3D_BRANCHES}
"""Files with either names; no name means different things in the two."""
