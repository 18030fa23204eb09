"""The policies of docs/cookbook.md do what its tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cookbook import PAGE, RECIPES, Recipe, effect, save

TEXT = PAGE.read_text()


def shown(name: str) -> dict[str, list[float]]:
    """The rows of a recipe's table."""
    table = TEXT.split(f"<!-- effect: {name} -->\n")[1].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): [float(cell) for cell in row[1:]] for row in cells[2:]}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_effect_shown_is_the_effect(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's code in the simulator; figures may move a little with its models."""
    save(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    now = {name: list(figures.values()) for name, figures in effect(recipe).items()}
    then = shown(recipe.name)
    assert now.keys() == then.keys()
    for name, figures in now.items():
        assert figures == pytest.approx(then[name], rel=0.2, abs=0.02)


def test_every_policy_shown_is_measured(tmp_path: Path) -> None:
    """No module of the page goes without a recipe."""
    save(tmp_path)
    modules = {recipe.policy.partition(":")[0] for recipe in RECIPES}
    assert {path.stem for path in tmp_path.iterdir()} == modules - {"fair"}
