"""The training engine: DeepSpeed's pipeline engine with ZeRO-1, behind init / train / eval / save / load.

DeepSpeed is imported in this folder and nowhere else.
"""

import os
import sys

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed would warn that it guesses so

# DeepSpeed's autotuner imports MLflow if it can: a second and 150 MB for each rank, and of no use to it.
_mlflow = sys.modules.get("mlflow")
sys.modules["mlflow"] = None
try:
    import deepspeed.ops
    import deepspeed.runtime.compiler
finally:
    del sys.modules["mlflow"]
    if _mlflow is not None:
        sys.modules["mlflow"] = _mlflow

# DeepSpeed compiles its Muon optimizer whenever any optimizer is built; that loads torch's compiler, 1.4 s a rank.
deepspeed.runtime.compiler.compile = lambda *_, **__: lambda function: function

if not torch.cuda.is_available():
    # On CPUs DeepSpeed would compile a shared-memory C++ op at start, and die without ninja and a compiler.
    deepspeed.ops.__compatible_ops__ = {}
