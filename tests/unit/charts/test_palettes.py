"""Colors that everyone can read, and ranges that do not jump."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnviz.canvas import bundle
from attnviz.canvas.bundle import ASSETS
from attnviz.charts import Palette, nice_domain, palettes
from attnviz.charts.palettes import ramp

ROOT = Path(__file__).parents[3]

# Machado, Oliveira and Fernandes (2009), severity 1: what linear RGB becomes for each deficiency.
DEFICIENCIES = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def colors(palette: Palette, theme: str) -> np.ndarray:
    """(7, 3) linear RGB of a ramp as drawn on a page of that theme."""
    return linear_rgb(
        [re.findall(r"#\w{6}", stop["expr"])[0 if theme == "dark" else 1] for stop in ramp(palette)]
    )


def linear_rgb(on_page: Sequence[str]) -> np.ndarray:
    """(n, 3) of hexadecimal colors."""
    srgb = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in on_page])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB under D65: distances in it are differences people see."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(linear, 0, 1) @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", ["none", *DEFICIENCIES])
def test_sequential_steps_are_monotonic_and_visible(theme: str, deficiency: str) -> None:
    seen = colors("sequential", theme)
    if deficiency != "none":
        seen = seen @ np.array(DEFICIENCIES[deficiency]).T
    perceived = lab(seen)
    towards = 1 if theme == "dark" else -1
    assert (np.diff(perceived[:, 0]) * towards > 3).all()  # 3 is well above what the eye misses
    assert abs(perceived[-1, 0] - perceived[0, 0]) > 60


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", ["none", *DEFICIENCIES])
def test_diverging_signs_differ_for_everyone(theme: str, deficiency: str) -> None:
    seen = colors("diverging", theme)
    if deficiency != "none":
        seen = seen @ np.array(DEFICIENCIES[deficiency]).T
    perceived = lab(seen)
    for step in (1, 2, 3):
        difference = np.linalg.norm(perceived[3 - step] - perceived[3 + step])
        assert difference > 15, f"colors {step} from the middle look alike"
    towards = 1 if theme == "dark" else -1
    for half in (perceived[3:, 0], perceived[3::-1, 0]):
        assert (np.diff(half) * towards > 3).all()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", ["none", *DEFICIENCIES])
def test_everyone_can_tell_categories_apart(theme: palettes.Theme, deficiency: str) -> None:
    seen = linear_rgb(palettes.CATEGORIES[theme])
    if deficiency != "none":
        seen = seen @ np.array(DEFICIENCIES[deficiency]).T
    perceived = lab(seen)
    apart = np.linalg.norm(perceived[:, None] - perceived[None], axis=2)
    assert apart[np.triu_indices(len(seen), 1)].min() > 12


def test_no_other_file_holds_colors() -> None:
    """But for the brand's marks and what Streamlit needs, which another test compares."""
    for file in sorted((ROOT / "attnviz").rglob("*")):
        if file.suffix in {".py", ".js", ".css"} and file.stem != "palettes":
            found = re.findall(r"#[0-9a-f]{6}\b|hsl\(", file.read_text(encoding="utf-8"), re.I)
            assert set(found) <= {"#000000"}, (file, found)  # a canvas begins in black


@pytest.mark.parametrize("palette", ["sequential", "diverging"])
def test_small_values_lie_near_the_page(palette: Palette) -> None:
    zero = 0 if palette == "sequential" else 3
    assert lab(colors(palette, "light"))[zero, 0] > 93
    assert lab(colors(palette, "dark"))[zero, 0] < 15


@given(st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1))
def test_domain_holds_all_values_and_is_centered(values: list[float]) -> None:
    low, high = nice_domain(values, "diverging")
    assert low == -high
    assert high >= max(map(abs, values)) * (1 - 1e-6)
    low, high = nice_domain(values, "sequential")
    assert low <= min(0, *values) + 1e-6 * abs(min(values))
    assert high >= max(values) * (1 - 1e-6)
    assert low < high


@given(st.floats(1e-6, 1e6))
def test_domain_wastes_less_than_half(value: float) -> None:
    bound = nice_domain([value], "diverging")[1]
    assert value * (1 - 1e-6) <= bound <= 1.7 * value


def test_domain_leaves_out_what_is_not_a_number() -> None:
    assert nice_domain([-math.inf, math.nan, 0.3], "diverging") == (-0.3, 0.3)
    assert nice_domain([-math.inf], "sequential") == (0.0, 1.0)
    assert nice_domain([0.0], "diverging") == (-1.0, 1.0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_streamlits_theme_has_these_colors(theme: palettes.Theme) -> None:
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    colors = palettes.theme_colors(theme)
    assert {name: settings["theme"][theme][name] for name in colors} == colors
    assert {len(colors["chartSequentialColors"]), len(colors["chartDivergingColors"])} == {10}


def test_the_canvas_has_these_colors() -> None:
    assert (ASSETS / "palettes.js").read_text(encoding="utf-8") == palettes.as_script()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_negative_is_blue_and_positive_orange(theme: palettes.Theme) -> None:
    """In every part of the app, at every step of the ramp: charts, theme and canvas alike."""
    for stops in (
        palettes.RAMPS[theme]["diverging"],
        palettes.theme_colors(theme)["chartDivergingColors"],
    ):
        red, blue = (np.array([int(c[i : i + 2], 16) for c in stops]) for i in (1, 5))
        half = len(stops) // 2
        assert (blue[:half] > red[:half]).all()
        assert (red[-half:] > blue[-half:]).all()


def test_a_saved_page_has_the_themes_colors() -> None:
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    light, dark = bundle.theme_style().split("prefers-color-scheme: dark")
    for theme, style in (("light", light), ("dark", dark)):
        for name, value in re.findall(r"--st-([a-z-]+): (#\w+);", style):
            setting = re.sub(r"-(\w)", lambda m: m[1].upper(), name)
            assert settings["theme"][theme][setting] == value, (theme, name)
