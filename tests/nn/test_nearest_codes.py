"""Nearest-code search against brute force. Shape letters: N vectors, K codes, D width."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vqcli.nn import fast, nearest
from vqcli.nn.nearest import nearest_codes


@pytest.fixture(params=["never", "always"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test goes both ways."""
    monkeypatch.setenv(fast.ENVIRONMENT, request.param)
    return request.param


def random_pair(n: int, k: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)


def exact_costs(z_nd: Tensor, codes_kd: Tensor, metric: str) -> Tensor:
    z, e = z_nd.double(), codes_kd.double()
    return -z @ e.T if metric == "dot" else (z[:, None] - e).square().sum(-1)


def assert_closest(tokens_n: Tensor, z_nd: Tensor, codes_kd: Tensor, metric: str = "l2") -> None:
    """Each token is the brute-force one in float64, or a near-tie of it; near-ties are rare."""
    costs_nk = exact_costs(z_nd, codes_kd, metric)
    best_n = costs_nk.min(1).values
    excess_n = costs_nk.gather(1, tokens_n[:, None]).squeeze(1) - best_n
    assert (excess_n <= 1e-5 * (1 + best_n.abs())).all()
    assert (excess_n > 0).float().mean() < 0.01


@pytest.mark.parametrize("metric", ["l2", "dot"])
@pytest.mark.parametrize(
    ("n", "k", "d"), [(1, 1, 1), (300, 63, 4), (257, 64, 8), (70, 4097, 8), (600, 9000, 3), (40, 500, 200)]
)
def test_agrees_with_brute_force(n: int, k: int, d: int, metric: nearest.Metric) -> None:
    z_nd, codes_kd = random_pair(n, k, d)
    tokens_n = nearest_codes(z_nd, codes_kd, metric)
    assert tokens_n.dtype == torch.int64
    assert_closest(tokens_n, z_nd, codes_kd, metric)


@pytest.mark.parametrize("memory", [1, 20_000, 300_000])
def test_tokens_do_not_depend_on_the_blocks(memory: int) -> None:
    z_nd, codes_kd = random_pair(150, 1000, 8)
    z_nd, codes_kd = (z_nd * 4).round(), (codes_kd * 4).round()  # whole numbers: every sum is exact
    assert torch.equal(nearest_codes(z_nd, codes_kd, memory=memory), nearest_codes(z_nd, codes_kd))


@pytest.mark.parametrize("metric", ["l2", "dot"])
def test_ties_go_to_the_lowest_index(metric: nearest.Metric) -> None:
    z_nd, codes_kd = random_pair(50, 100, 6)
    z_nd, codes_kd = (z_nd * 2).round(), (codes_kd * 2).round()
    copies = codes_kd.repeat(100, 1)  # within one group, across groups, across blocks
    want_n = exact_costs(z_nd, codes_kd, metric).argmin(1)
    assert torch.equal(nearest_codes(z_nd, copies, metric), want_n)
    assert torch.equal(nearest_codes(z_nd, torch.zeros(5000, 6), metric), torch.zeros(50, dtype=torch.int64))


def test_other_devices_merge_alike() -> None:
    costs_kn = torch.randint(0, 9, (3 * nearest.GROUP, 40)).float()
    results = []
    for merge in (nearest._merge, nearest._merge_grouped):
        best_n, tokens_n = torch.full((40,), 3.0), torch.full((40,), 7)
        merge(costs_kn, 1000, best_n, tokens_n)
        results.append((best_n, tokens_n))
    (best_a, tokens_a), (best_b, tokens_b) = results
    assert torch.equal(best_a, best_b)
    assert torch.equal(tokens_a, tokens_b)


def test_no_vectors() -> None:
    assert nearest_codes(torch.zeros(0, 4), torch.zeros(9, 4)).shape == (0,)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="width 4"):
        nearest_codes(torch.zeros(2, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match="width 4"):
        nearest_codes(torch.zeros(2, 4), torch.zeros(0, 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_broken_vectors_get_a_token_and_leave_others_alone(value: float) -> None:
    z_nd, codes_kd = random_pair(300, 5000, 4)
    whole = nearest_codes(z_nd, codes_kd)
    z_nd[7, 2] = value
    tokens_n = nearest_codes(z_nd, codes_kd)
    assert 0 <= tokens_n[7] < 5000
    assert torch.equal(tokens_n[8:], whole[8:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_computes_in_float32_whatever_the_input(dtype: torch.dtype) -> None:
    z_nd, codes_kd = random_pair(100, 300, 8)
    z_nd, codes_kd = z_nd.to(dtype), codes_kd.to(dtype)
    want_n = nearest_codes(z_nd.float(), codes_kd.float())
    assert torch.equal(nearest_codes(z_nd, codes_kd), want_n)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest_codes(z_nd, codes_kd), want_n)


def test_gradient_stays_out() -> None:
    z_nd, codes_kd = random_pair(10, 20, 4)
    assert not nearest_codes(z_nd.requires_grad_(), codes_kd.requires_grad_()).requires_grad


class LiveBytes(TorchDispatchMode):
    """Most bytes that were alive at once in storages that operations made."""

    def __init__(self, given: list[Tensor]) -> None:
        super().__init__()
        self.given, self.alive, self.peak = {x.data_ptr() for x in given}, {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in self.given:
                storage = x.untyped_storage()
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: pair for key, pair in self.alive.items() if not pair[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return out


@pytest.mark.parametrize(("n", "k", "d"), [(30_000, 64, 8), (5_000, 20_000, 8), (20, 3_000, 300)])
@pytest.mark.parametrize("memory", [1 << 19, 1 << 21])
def test_memory_is_bounded(n: int, k: int, d: int, memory: int) -> None:
    z_nd, codes_kd = random_pair(n, k, d)
    with LiveBytes([z_nd, codes_kd]) as live:
        nearest_codes(z_nd, codes_kd, memory=memory)
    assert memory / 20 < live.peak - 8 * n <= memory


def test_the_compiled_search_gives_the_tokens_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for n, k, d in [
        (1000, 4096, 8),
        (513, 70_000, 16),
        (100, 5000, 31),
        (77, 300, 1),
        (200, 4500, 32),
        (203, 5003, 64),
    ]:
        z_nd, codes_kd = random_pair(n, k, d, seed=d)
        z_nd, codes_kd = (z_nd * 8).round(), (codes_kd * 8).round()  # whole numbers: every sum is exact
        found = []
        for name in ("never", "always"):
            monkeypatch.setenv(fast.ENVIRONMENT, name)
            found.append(nearest_codes(z_nd, codes_kd))
        assert torch.equal(*found)


def test_threads_share_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcli.nn import nearest_compiled

    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(nearest_compiled, "THREADED", 1 << 22)
    z_nd, codes_kd = random_pair(1001, 6000, 8)
    assert_closest(nearest_codes(z_nd, codes_kd), z_nd, codes_kd)


def test_a_gpu_gets_room_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the published size takes hundreds of launches, not thousands."""
    assert nearest.budget(torch.device("cpu")) == nearest.MEMORY == 64 << 20
    for gibibytes, rounds in [(80, 112), (24, 384), (2, 2200)]:
        about = SimpleNamespace(total_memory=gibibytes << 30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, about=about: about)
        memory = nearest.budget(torch.device("cuda:0"))
        assert memory == max(64 << 20, (gibibytes << 30) // 64)
        k, n = nearest.block_sizes(32768, 262144, 256, memory, "cuda")
        assert -(-262144 // k) * -(-32768 // n) <= rounds


def test_which_way_depends_on_the_codes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fast.ENVIRONMENT)
    assert fast.compiles()
    cpu = torch.device("cpu")
    assert nearest.way(1024, 32, cpu) == "numba"
    assert nearest.way(1024, 33, cpu) == "torch+numba"
    assert nearest.way(1023, 8, cpu) == nearest.way(1023, 33, cpu) == "torch"
    monkeypatch.setattr(fast, "_has", lambda module: False)
    for device in (cpu, torch.device("cuda:0")):
        assert nearest.way(1024, 32, device) == "torch"
