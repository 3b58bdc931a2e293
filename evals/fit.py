"""The numerical part of training: LSA, and a small network with one low-rank head for all models, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.features import Features

    Matrix: TypeAlias = NDArray[np.float32]

VOCABULARY: Final = 8192
DOCUMENTS_MIN: Final = 3
# Against the largest singular value.
SINGULAR_MIN: Final = 1e-5


@dataclass(frozen=True, slots=True)
class Lsa:
    """``buckets`` sorted ids of the words and pairs that are known, ``idf`` their weights, ``basis`` terms x dims."""

    buckets: NDArray[np.uint32]
    idf: Matrix
    basis: Matrix


def term_matrix(features: Sequence[Features], buckets: NDArray[np.uint32]) -> object:
    """Prompts x known terms, log(1 + count), as a scipy CSR matrix."""
    from scipy.sparse import csr_matrix

    indptr, indices, data = [0], [], []
    for one in features:
        ids, counts = np.unique(one.hashed, return_counts=True)
        at = np.searchsorted(buckets, ids)
        at[at == len(buckets)] = 0
        known = buckets[at] == ids
        indices.append(at[known])
        data.append(np.log1p(counts[known]))
        indptr.append(indptr[-1] + int(known.sum()))
    return csr_matrix((np.concatenate(data), np.concatenate(indices), indptr), shape=(len(features), len(buckets)))


def fit_lsa(features: Sequence[Features], *, dims: int, vocabulary: int = VOCABULARY, seed: int = 0) -> Lsa:
    """Truncated SVD of TF-IDF rows of length one; the terms in most prompts make the vocabulary."""
    from sklearn.utils.extmath import randomized_svd

    everything = np.concatenate([np.unique(one.hashed) for one in features])
    ids, frequency = np.unique(everything, return_counts=True)
    most = np.argsort(-frequency, kind="stable")[:vocabulary]
    most = most[frequency[most] >= min(DOCUMENTS_MIN, len(features))]
    buckets = np.sort(ids[most]).astype(np.uint32)
    documents = frequency[np.searchsorted(ids, buckets)]
    idf = np.log((1.0 + len(features)) / (1.0 + documents)).astype(np.float32)
    rows = term_matrix(features, buckets).multiply(idf[None, :]).tocsr()  # type: ignore[attr-defined]
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1))).ravel()
    rows = rows.multiply(1.0 / np.maximum(norms, 1e-9)[:, None]).tocsr()
    dims = min(dims, min(rows.shape) - 1)
    _, singular, basis = randomized_svd(rows, n_components=dims, n_iter=4, random_state=seed)
    # Few prompts span fewer directions than were asked for: what lies in the others is rounding, not a coordinate.
    spans = singular > SINGULAR_MIN * singular[0]
    scale = np.where(spans, np.sqrt(len(features)) / np.where(spans, singular, 1.0), 0.0)
    return Lsa(buckets=buckets, idf=idf, basis=(basis.T * scale[None, :]).astype(np.float32))


def project(features: Sequence[Features], lsa: Lsa) -> Matrix:
    """LSA coordinates of many prompts, each of about unit variance."""
    rows = term_matrix(features, lsa.buckets).multiply(lsa.idf[None, :]).tocsr()  # type: ignore[attr-defined]
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1))).ravel()
    return np.asarray((rows @ lsa.basis) / np.maximum(norms, 1e-9)[:, None], dtype=np.float32)
