import numpy as np
import pytest
import torch

from vqcli.config import parse
from vqcli.errors import VqcliError
from vqcli.metrics.inception_score import InceptionScore
from vqcli.nn.inception import InceptionFeatures

N, CLASSES = 137, 11


def logits(n=N, seed=0):
    """In the order of classes: where they are not shuffled, a part of the set has few of them."""
    generator = torch.Generator().manual_seed(seed)
    peaks = 6.0 * torch.nn.functional.one_hot(torch.arange(n) * CLASSES // n, CLASSES)
    return peaks + torch.randn(n, CLASSES, generator=generator)


def features(rows):
    none = torch.empty(len(rows), 0)
    return InceptionFeatures(none, none, rows)


def built(**options):
    metric = InceptionScore(InceptionScore.Config(**options))
    metric.expect(N)
    return metric


def show(metric, rows, indices=None, size=10):
    for batch in torch.arange(len(rows)).split(size) if indices is None else indices.split(size):
        metric.observe("sample", batch.numpy(), features(rows[batch]))
    return metric


def slow(rows, bounds):
    """Mean and standard deviation of the scores of slices, image after image."""
    scores = []
    for start, end in bounds:
        p = rows[start:end].double().softmax(1).numpy()
        divergences = [sum(x * np.log(x / q) for x, q in zip(one, p.mean(0))) for one in p]
        scores.append(np.exp(np.mean(divergences)))
    return {"inception_score": np.mean(scores), "inception_score_std": np.std(scores)}


def tenths(n=N, parts=10):
    return [(i * n // parts, (i + 1) * n // parts) for i in range(parts)]


@pytest.mark.parametrize("options", [{}, {"seed": 0}, {"splits": 4, "seed": 0}])
def test_as_torch_fidelity_computes_it(options):
    shuffled = logits()[np.random.RandomState(options.get("seed", 2020)).permutation(N)]
    exact = slow(shuffled, tenths(parts=options.get("splits", 10)))
    assert show(built(**options), logits()).result() == pytest.approx(exact, rel=1e-12)


def test_as_adm_computes_it():
    # The last part is smaller, and counts as much.
    exact = slow(logits(), [(0, 50), (50, 100), (100, 137)])
    assert show(built(chunk=50), logits()).result() == pytest.approx(exact, rel=1e-12)
    shuffled = logits()[np.random.RandomState(0).permutation(N)]
    exact = slow(shuffled, [(0, 50), (50, 100), (100, 137)])
    found = show(built(chunk=50, seed=0), logits()).result()
    assert found == pytest.approx(exact, rel=1e-12)
    assert found["inception_score"] > 1.5 * show(built(chunk=50), logits()).result()["inception_score"]


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all")
@pytest.mark.filterwarnings("ignore:std")
@pytest.mark.parametrize("splits", [1, 5])
def test_against_torchmetrics(splits):
    from torchmetrics.image.inception import InceptionScore as Oracle

    rows = logits(150)
    oracle = Oracle(feature=torch.nn.Identity(), splits=splits)
    oracle.update(rows)
    torch.manual_seed(3)
    (mean, _), order = oracle.compute(), torch.randperm(150, generator=torch.Generator().manual_seed(3))
    ours = InceptionScore(InceptionScore.Config(splits=splits, seed=None))
    ours.expect(150)
    assert show(ours, rows[order]).result()["inception_score"] == pytest.approx(mean.item(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"chunk": 50}])
def test_order_batches_and_processes_do_not_matter(options):
    exact = show(built(**options), logits()).result()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    for size in (1, 33, N):
        assert show(built(**options), logits(), order, size).result() == pytest.approx(exact, rel=1e-12)
    merged = built(**options)
    for rank in range(3):
        merged.merge(show(built(**options), logits(), order[rank::3]).state())
    merged.merge(built(**options).state())
    assert merged.result() == pytest.approx(exact, rel=1e-12)


def test_an_unusable_image_leaves_its_part_smaller():
    kept = torch.tensor([i for i in range(N) if i not in (3, 60)])
    p = logits()
    parts = [p[[i for i in range(a, b) if i in kept]] for a, b in tenths()]
    whole = torch.cat(parts)
    ends = np.cumsum([len(part) for part in parts])
    exact = slow(whole, list(zip([0, *ends], ends)))
    assert show(built(seed=None), p, kept).result() == pytest.approx(exact, rel=1e-12)


def test_bounds_of_the_score():
    same = built(splits=1)
    assert same.result() == {}
    show(same, logits()[:1].repeat(N, 1))
    assert same.result() == {"inception_score": pytest.approx(1)}  # one part has no deviation
    sure = InceptionScore(InceptionScore.Config(splits=1))
    sure.expect(4 * CLASSES)
    show(sure, 1e4 * torch.eye(CLASSES).repeat(4, 1))  # probabilities of exactly 0
    assert sure.result() == {"inception_score": pytest.approx(CLASSES)}


def test_fewer_images_than_parts():
    few = InceptionScore(InceptionScore.Config(seed=None))
    few.expect(3)
    show(few, logits(3))
    assert few.result() == pytest.approx({"inception_score": 1, "inception_score_std": 0})


def test_number_of_samples_is_needed():
    with pytest.raises(ValueError, match="number of samples"):
        show(InceptionScore(InceptionScore.Config()), logits())


def test_options():
    config = InceptionScore.Config
    assert (config().splits, config().chunk, config().seed) == (10, None, 2020)
    adm = config(chunk=5000)
    assert (adm.splits, adm.chunk, adm.seed) == (None, 5000, None)
    for each in (config(), adm, config(chunk=5000, seed=0), config(splits=3, seed=None)):
        assert config(**each.model_dump()) == each
    for unfit in ({"splits": 10, "chunk": 5000}, {"splits": None}):
        with pytest.raises(VqcliError, match="splits or chunk"):
            parse(config, unfit, "metric")


def test_parts_smaller_than_the_classes_are_told():
    """A part of n images cannot score higher than n, however many classes there are."""
    classes = logits().shape[1]
    assert show(built(splits=1), logits(classes)).caution() == ""
    few = show(built(splits=1), logits(classes - 1))
    assert few.caution().startswith(f"{classes - 1} a part, fewer than {classes} classes: too low")
    assert few.seen() == {"sample": classes - 1}
