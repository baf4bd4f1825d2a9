"""Triton's search: on a GPU (marker ``gpu``); without one through its interpreter, in a process of its own.

Shape letters: N vectors, K codes, D width.
"""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.nn.test_nearest_codes import assert_closest, exact_costs, random_pair
from vqcli.nn import fast, nearest
from vqcli.nn.nearest import nearest_codes

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda:0")
FORMS = ("fp32", "bf16x3")
METRICS = ("l2", "dot")


def on_device(test):
    if INTERPRETED:
        return test
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")(test))


def fused(form: nearest.Way, z_nd: Tensor, codes_kd: Tensor, metric: nearest.Metric = "l2") -> Tensor:
    from vqcli.nn.nearest_fused import search

    tokens_n = torch.empty(len(z_nd), dtype=torch.int64, device=DEVICE)
    search(form, z_nd.to(DEVICE), codes_kd.to(DEVICE), metric, 1 << 20, tokens_n)
    return tokens_n.cpu()


def whole_pair(n: int, k: int, d: int) -> tuple[Tensor, Tensor]:
    """Whole numbers, so that every sum is exact in float32; each code is there three times."""
    z_nd, codes_kd = random_pair(n, k, d)
    return (z_nd * 8).round(), (codes_kd * 8).round().repeat(3, 1)


@pytest.mark.skipif(INTERPRETED, reason="is the process of its own")
def test_through_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


@on_device
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("n", "k", "d"), [(1, 1, 1), (200, 63, 4), (65, 64, 8), (70, 1025, 16), (20, 130, 256), (9, 70, 300)]
)
def test_agrees_with_brute_force(n: int, k: int, d: int, metric: nearest.Metric, form: nearest.Way) -> None:
    z_nd, codes_kd = random_pair(n, k, d)
    assert_closest(fused(form, z_nd, codes_kd, metric), z_nd, codes_kd, metric)


@on_device
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("programs", [1, 3, 1000])
def test_gives_the_tokens_of_the_blocks(
    programs: int, metric: nearest.Metric, form: nearest.Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many programs share a vector: ties go to the lowest index, in a tile and across shares."""
    from vqcli.nn import nearest_fused

    monkeypatch.setattr(nearest_fused, "_programs", lambda device: programs)
    monkeypatch.setenv(fast.ENVIRONMENT, "never")
    z_nd, codes_kd = whole_pair(140, 90, 5)
    want_n = nearest_codes(z_nd, codes_kd, metric)
    assert torch.equal(want_n, exact_costs(z_nd, codes_kd, metric).argmin(1))
    assert torch.equal(fused(form, z_nd, codes_kd, metric), want_n)


@on_device
@pytest.mark.parametrize("form", FORMS)
def test_costs_of_zero_tie_whatever_their_sign(form: nearest.Way) -> None:
    z_nd, codes_kd = torch.tensor([[1.0], [-1.0]]), torch.zeros(400, 1)
    codes_kd[200:] = -0.0
    assert torch.equal(fused(form, z_nd, codes_kd, "dot"), torch.zeros(2, dtype=torch.int64))


@on_device
def test_near_ties_are_searched_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes a unit apart, which three products do not always tell, though float32 is exact."""
    from vqcli.nn import nearest_fused

    generator = torch.Generator().manual_seed(0)
    z_nd, base_kd = (torch.randint(-1000, 1000, (x, 3), generator=generator).float() for x in (300, 20))
    codes_kd = base_kd.repeat(20, 1) + torch.randint(-1, 2, (400, 3), generator=generator)
    want_n = exact_costs(z_nd, codes_kd, "l2").argmin(1)
    assert torch.equal(fused("bf16x3", z_nd, codes_kd), want_n)
    monkeypatch.setattr(nearest_fused, "MARGIN", 0.0)
    assert not torch.equal(fused("bf16x3", z_nd, codes_kd), want_n)


@on_device
def test_only_near_ties_are_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcli.nn import nearest_fused

    launch, counts = nearest_fused._launch, []

    def counted(*args, some=None, **kwargs):
        counts.append(None if some is None else int(some[1]))
        launch(*args, some=some, **kwargs)

    monkeypatch.setattr(nearest_fused, "_launch", counted)
    z_nd, codes_kd = random_pair(300, 500, 8)
    fused("bf16x3", z_nd, codes_kd)
    assert counts[0] is None
    assert counts[1] < 6
    fused("bf16x3", z_nd, codes_kd.repeat(2, 1))  # every best code has an equal
    assert counts[3] == 300


@on_device
@pytest.mark.parametrize("form", FORMS)
def test_any_strides_and_types(form: nearest.Way) -> None:
    z_nd, codes_kd = whole_pair(50, 70, 6)
    want_n = exact_costs(z_nd, codes_kd, "l2").argmin(1)
    by_column = z_nd.t().contiguous().t(), codes_kd.repeat_interleave(2, 1)[:, ::2]
    assert not any(x.is_contiguous() for x in by_column)
    assert torch.equal(fused(form, *by_column), want_n)
    one = z_nd[:1].expand(50, 6)
    assert torch.equal(fused(form, one, codes_kd), want_n[:1].expand(50))
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        assert torch.equal(fused(form, z_nd.to(kind), codes_kd.to(kind)), want_n)


@on_device
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, in the interpreter
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_broken_vectors_get_a_token_and_leave_others_alone(value: float, form: nearest.Way) -> None:
    z_nd, codes_kd = whole_pair(70, 50, 4)
    want_n = exact_costs(z_nd, codes_kd, "l2").argmin(1)
    z_nd[7, 2] = value
    tokens_n = fused(form, z_nd, codes_kd)
    assert 0 <= tokens_n[7] < len(codes_kd)
    assert torch.equal(tokens_n[8:], want_n[8:])


class Seen(TorchDispatchMode):
    """Names of operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@on_device
@pytest.mark.parametrize("form", FORMS)
def test_nothing_waits_for_the_device(form: nearest.Way) -> None:
    from vqcli.nn.nearest_fused import search

    z_nd, codes_kd = (x.to(DEVICE) for x in random_pair(100, 70, 4))
    with Seen() as seen:
        search(form, z_nd, codes_kd, "l2", 1 << 20, torch.empty(100, dtype=torch.int64, device=DEVICE))
    assert "full_like" in seen.names
    assert not seen.names & {"_local_scalar_dense", "nonzero", "index", "masked_select"}


@on_device
@pytest.mark.parametrize("form", FORMS)
def test_is_a_way_of_the_search(form: nearest.Way, monkeypatch: pytest.MonkeyPatch) -> None:
    z_nd, codes_kd = (x.to(DEVICE) for x in whole_pair(150, 40, 4))
    want_n = exact_costs(z_nd, codes_kd, "l2").argmin(1)
    monkeypatch.setattr(nearest, "way", lambda *args: form)
    for memory in (None, 10_000):
        assert torch.equal(nearest_codes(z_nd, codes_kd, memory=memory), want_n)
    assert nearest_codes(z_nd[:0], codes_kd).shape == (0,)


@on_device
def test_is_tried_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcli.nn import nearest_fused

    tried = nearest_fused.trouble.__wrapped__
    assert tried(DEVICE) is None
    with monkeypatch.context() as patched:
        patched.setattr(nearest_fused, "_cost", lambda keys_n: 0 * keys_n + keys_n.argmax())
        patched.setattr(nearest_fused, "NONE", 5 - 2**62)
        assert tried(DEVICE) == "the fp32 form found other codes than float64"
    monkeypatch.delattr(nearest_fused, "_launch")
    assert "_launch" in tried(DEVICE)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize(
    ("form", "capability", "multiply"),
    [("fp32", 80, "fma.rn.f32"), ("bf16x3", 80, "mma.sync"), ("bf16x3", 90, "wgmma.mma_async")],
)
def test_is_compiled_for_gpus(form: nearest.Way, capability: int, multiply: str) -> None:
    """Without one: the products are those that were meant, and registers suffice."""
    import triton.language as tl
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vqcli.nn.nearest_fused import _kernel, tile

    side, names = tile(form, 256), _kernel.arg_names
    fixed = {"D": 256, "L2": True, "SPLIT": form == "bf16x3", "SHORT": tl.bfloat16, "SOME": False}
    fixed |= {"N": side.n, "K": side.k, "B": side.d, "z_column": 1, "e_column": 1}
    kinds = {"z_ptr": "*fp32", "e_ptr": "*fp32"} | dict.fromkeys(fixed, "constexpr")
    kinds = {name: kinds.get(name, "*i64" if name.endswith("_ptr") else "i32") for name in names}
    source = ASTSource(_kernel, kinds, {(names.index(name),): value for name, value in fixed.items()})
    options = {"num_warps": side.warps, "enable_fp_fusion": True}
    made = compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert multiply in made.asm["ptx"]
    assert ".bf16.bf16" in made.asm["ptx"] if form == "bf16x3" else "mma" not in made.asm["ptx"]
    assert "tf32" not in made.asm["ptx"]
    assert made.metadata.shared <= 99 << 10


def test_which_way_a_gpu_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcli.nn import nearest_fused

    gpu = torch.device("cuda:0")
    monkeypatch.delenv(fast.ENVIRONMENT, raising=False)
    monkeypatch.setattr(nearest_fused, "trouble", lambda device: None)
    assert nearest.way(64, 8, gpu) == "torch"
    monkeypatch.setenv(fast.ENVIRONMENT, "always")
    for capability, wide in [((9, 0), "bf16x3"), ((8, 9), "fp32")]:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, is_it=capability: is_it)
        assert [nearest.way(64, d, gpu) for d in (64, 65)] == ["fp32", wide]
    monkeypatch.setattr(nearest_fused, "trouble", lambda device: "no compiler")
    assert nearest.way(64, 8, gpu) == "torch"


def test_doctor_says_why_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcli.jobs import doctor
    from vqcli.nn import nearest_fused

    monkeypatch.setenv(fast.ENVIRONMENT, "always")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(nearest_fused, "trouble", lambda device: None)
    assert doctor._search()[0]["cuda:0"] == {8: "fp32", 64: "fp32", 256: "bf16x3"}
    assert not doctor._search()[1]
    monkeypatch.setattr(nearest_fused, "trouble", lambda device: "no compiler")
    ways, problems = doctor._search()
    assert ways["cuda:0"] == {8: "torch", 64: "torch", 256: "torch"}
    assert problems[0].message == "no Triton kernel on cuda:0: no compiler"
