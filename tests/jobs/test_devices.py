import platform
import resource

import pytest
import torch

from vqcli.jobs.devices import passes, working_device


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_stays_with_a_process_that_works_on_a_cpu() -> None:
    assert working_device("cpu") == torch.device("cpu")
    for _ in range(12):  # aligned blocks are fitted together at first
        torch.ones(16 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(16 << 20)  # 64 MiB: 16,384 pages each
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1000


def test_few_large_images_pass_a_cpu_together() -> None:
    def sizes(count: int, size: tuple[int, int], device: str) -> list[int]:
        return [len(range(count)[some]) for some in passes(count, size, torch.device(device))]

    assert sizes(9, (128, 128), "cpu") == [4, 4, 1]
    assert sizes(3, (2048, 1024), "cpu") == [1, 1, 1]
    assert sizes(60, (32, 32), "cpu") == [60]
    assert sizes(200, (32, 32), "cuda") == sizes(200, (256, 256), "cuda") == [200]
    assert sizes(0, (256, 256), "cuda") == []
