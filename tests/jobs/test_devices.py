import platform
import resource

import pytest
import torch

from vqcli.jobs.devices import working_device


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_stays_with_a_process_that_works_on_a_cpu() -> None:
    assert working_device("cpu") == torch.device("cpu")
    for _ in range(12):  # aligned blocks are fitted together at first
        torch.ones(16 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(16 << 20)  # 64 MiB: 16,384 pages each
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000
