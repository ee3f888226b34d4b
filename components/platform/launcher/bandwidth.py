"""Measures all-reduce bus bandwidth, on each rank: `python -m components.platform.launcher.bandwidth --minimum GB/S`.

With NCCL where there are GPUs, with gloo otherwise. Exit code 1 where it is below the minimum.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import torch
import torch.distributed as dist

GPU_BYTES, CPU_BYTES = 2**30, 2**23  # large enough that latency does not count
WARM_UP, REPETITIONS = 5, 20


def bus_bandwidth(size: int, seconds: float, ranks: int) -> float:
    """Bus bandwidth of an all-reduce in GB/s (1e9 bytes), the measure that does not depend on the number of ranks.

    Each byte crosses the slowest link 2 (n - 1) / n times, whatever the algorithm (nccl-tests, PERFORMANCE.md).

    Args:
        size: bytes that each rank reduces.
        seconds: time of one operation.
        ranks: that take part.
    """
    return size / seconds * 2 * (ranks - 1) / ranks / 1e9


def measure(size: int, device: torch.device) -> float:
    """Bus bandwidth in GB/s of an all-reduce of `size` bytes over all ranks; the slowest rank's."""
    tensor = torch.zeros(size // 4, device=device)
    for _ in range(WARM_UP):
        dist.all_reduce(tensor)
    _finish(device)
    dist.barrier()
    start = time.perf_counter()
    for _ in range(REPETITIONS):
        dist.all_reduce(tensor)
    _finish(device)
    seconds = torch.tensor([(time.perf_counter() - start) / REPETITIONS], dtype=torch.float64, device=device)
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    return bus_bandwidth(size, seconds.item(), dist.get_world_size())


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description="one rank of a measurement; start it with torchrun")
    parser.add_argument("--minimum", type=float, required=True, help="GB/s (1e9 bytes) below which it fails")
    minimum = parser.parse_args().minimum
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    bandwidth = measure(GPU_BYTES if device.type == "cuda" else CPU_BYTES, device)
    is_main, ranks = dist.get_rank() == 0, dist.get_world_size()
    dist.destroy_process_group()
    if is_main:
        print(f"all-reduce over {ranks} ranks: {bandwidth:.3g} GB/s of bus bandwidth", flush=True)
    if is_main and bandwidth < minimum:
        sys.exit(
            f"the network is too slow: {bandwidth:.3g} GB/s of all-reduce bus bandwidth over {ranks} ranks, below "
            f"launcher.min_bus_bandwidth_gb_per_second={minimum:g}. See docs/launcher.md for what to check"
        )


if __name__ == "__main__":
    main()
