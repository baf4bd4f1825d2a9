"""Accuracy against a slow count."""

import numpy as np
import pytest

from vqcli.metrics.accuracy import Accuracy


def test_numbers_are_those_of_a_slow_count():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 60)
    guesses = rng.permuted(np.tile(np.arange(7), (60, 1)), axis=1)[:, :6]
    metric = Accuracy(Accuracy.Config())
    metric.observe(labels[:25], guesses[:25])
    metric.observe(labels[25:], guesses[25:])
    first = [label == row[0] for label, row in zip(labels, guesses)]
    five = [label in row[:5] for label, row in zip(labels, guesses)]
    each = [np.mean([hit for hit, label in zip(first, labels) if label == c]) for c in range(7)]
    assert metric.result() == {
        "top1": pytest.approx(np.mean(first)),
        "top5": pytest.approx(np.mean(five)),
        "top1_by_class": pytest.approx(np.mean(each)),
    }
    matrix = np.zeros((7, 7), int)
    for label, guess in zip(labels, guesses[:, 0]):
        matrix[label, guess] += 1
    assert [tuple(row) for row in metric.pairs()] == [
        (label, guess, matrix[label, guess]) for label, guess in zip(*matrix.nonzero())
    ]


def test_a_classifier_of_few_classes_has_fewer_guesses():
    metric = Accuracy(Accuracy.Config())
    metric.observe(np.array([0, 2, 1]), np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]]))
    assert metric.result() == {
        "top1": pytest.approx(1 / 3),
        "top5": 1.0,
        "top1_by_class": pytest.approx(1 / 3),
    }
    assert metric.by_class() == {0: (1, 1), 1: (1, 0), 2: (1, 0)}
