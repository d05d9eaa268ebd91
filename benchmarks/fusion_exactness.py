"""How near the fast solvers of fusion come to the optimum, on cases small enough to find it.

*Set packing* chooses hypotheses that do not exclude each other. Random conflicts and weights, compared with
all sets there are: as ``pack`` solves them, and by each of its solvers alone. Only components of more than
300 hypotheses are left to the local search.

*Clustering* parts the graph of objects by contraction and search, compared with the optimum of the integer
programme. Graphs of seven samples of small synthetic worlds (seven cells; *wild* has errors far more often
than *hard*), and random graphs whose log-odds mean nothing. Cost: attractive links that are cut and repulsive
ones that are not, by absolute weight; the gap is what is above the optimum, as a share of it.

    python -m benchmarks.fusion_exactness
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import write_result
from benchmarks.synthetic_world import Level, make_world
from divseg.consensus.contraction import contract
from divseg.consensus.exact import solve_small_components
from divseg.consensus.graph import ObjectGraph, object_graph
from divseg.consensus.local_search import improve
from divseg.consensus.packing import _branch, _milp, _search, pack
from divseg.consensus.samples import read_stack

WILD = Level(miss=0.2, split=0.3, merge=0.3, jitter=3.0, ghosts=0.4)
SAME = 1e-6


def best_packing(weight: NDArray[np.float64], conflicts: NDArray[np.int64]) -> float:
    """Greatest weight of all sets without conflict, one by one."""
    sets = np.arange(2 ** len(weight))
    allowed = np.ones(len(sets), bool)
    for a, b in conflicts.tolist():
        allowed &= ~((sets >> a & 1) & (sets >> b & 1)).astype(bool)
    total = sum(w * (sets >> i & 1) for i, w in enumerate(weight))
    return float(np.max(np.where(allowed, total, 0.0)))


def packing_rows(count: int) -> list[str]:
    """Share of optimal results and worst ratio of every solver."""
    solvers = {"pack": pack, "branch and bound": _branch, "integer programme": _milp, "local search": _search}
    ratios: dict[str, list[float]] = {name: [] for name in solvers}
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(3, 15))
        weight = rng.random(n) + 0.01
        conflicts = np.argwhere(np.triu(rng.random((n, n)) < rng.uniform(0.1, 0.6), 1))
        best = best_packing(weight, conflicts)
        for name, solve in solvers.items():
            chosen = solve(weight, conflicts) if len(conflicts) else np.ones(n, bool)
            if chosen[conflicts].all(axis=1).any():
                raise SystemExit(f"{name} chose hypotheses in conflict, seed {seed}")
            ratios[name].append(float(weight[chosen].sum() / best))
    return [
        f"| {name} | {len(r)} | {100 * np.mean(np.array(r) > 1 - SAME):.1f} % | {100 * min(r):.1f} % |"
        for name, r in ratios.items()
    ]


def world_graph(level: str | Level, correlation: float = 0.0) -> Callable[[int], ObjectGraph]:
    """Return what makes the graph of a small world with a seed."""

    def make(seed: int) -> ObjectGraph:
        world = make_world(level, cells=7, side=96, correlation=correlation, seed=1000 + seed)
        return object_graph(read_stack(world.samples(7)), 8, 0)

    return make


def random_graph(seed: int) -> ObjectGraph:
    """Five samples of two objects or four of three, random log-odds between most."""
    rng = np.random.default_rng(seed)
    sample = np.repeat(np.arange(5), 2) if seed % 2 else np.repeat(np.arange(4), 3)
    pairs = [p for p in itertools.combinations(range(len(sample)), 2) if sample[p[0]] != sample[p[1]]]
    ends = np.array([p for p in pairs if rng.random() < 0.7])
    return ObjectGraph(sample, ends[:, 0], ends[:, 1], rng.normal(0.2, 1.5, len(ends)))


CASES: dict[str, tuple[Callable[[int], ObjectGraph], int]] = {
    "world, hard": (world_graph("hard"), 4),
    "world, hard, correlated": (world_graph("hard", 0.5), 4),
    "world, wild": (world_graph(WILD), 2),
    "random graph": (random_graph, 1),
}
"""Kinds of cases, and what part of the count each has."""


def clustering_rows(make: Callable[[int], ObjectGraph], count: int, title: str) -> list[str]:
    """Share of optimal clusterings and gaps of contraction alone and with the search."""
    gaps: dict[str, list[float]] = {"contraction alone": [], "with search": []}
    sizes = []
    for seed in range(count):
        graph = make(seed)
        greedy = contract(graph.sample, graph.first, graph.second, graph.weight, np.arange(graph.n_objects))
        found = improve(graph, greedy)
        optimum = solve_small_components(graph, found, graph.n_objects)
        least = graph.energy(optimum) - graph.weight[graph.weight < 0].sum()
        sizes.append(graph.n_objects)
        for name, cluster in zip(gaps, (greedy, found), strict=True):
            above = graph.energy(cluster) - graph.energy(optimum)
            gaps[name].append(0.0 if above < SAME else above / least if least > SAME else np.inf)
    return [
        f"| {title} | {name} | {count} | {np.mean(sizes):.0f} | {100 * np.mean(np.array(g) == 0):.1f} % "
        f"| {100 * np.mean(g):.2f} % | {100 * max(g):.1f} % |"
        for name, g in gaps.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    a = parser.parse_args()
    lines = [
        "## Set packing\n",
        "| solver | cases | optimal | worst weight, of the optimum |",
        "| --- | ---: | ---: | ---: |",
        *packing_rows(a.count),
        "\n## Clustering\n",
        "| cases | solver | number | objects, mean | optimal | mean gap | worst gap |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for title, (make, part) in CASES.items():
        lines += clustering_rows(make, a.count // part, title)
        print("\n".join(lines[-2:]), flush=True)
    head = (__doc__ or "").replace("    python -m benchmarks.fusion_exactness\n", "")
    command = f"python -m benchmarks.fusion_exactness --count {a.count}"
    write_result("fusion_exactness", "Exactness of the solvers of fusion", command, head + "\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
