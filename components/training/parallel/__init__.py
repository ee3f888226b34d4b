"""Tensor and sequence parallelism as local-tensor torch modules that know only their process group.

The scheme is Megatron's: Shoeybi et al. 2019 (tensor parallelism) and Korthikanti et al. 2022 (sequence
parallelism), with which Meditron was trained.
"""
