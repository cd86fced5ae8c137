"""The layer from top to bottom: every matrix between the text and the layer's output."""

from __future__ import annotations

import streamlit as st

from attnviz.analysis.lab import Lab
from attnviz.nn import AttentionSteps
from attnviz.ui.lab.sections import heading, sections
from attnviz.ui.lab.stage_chart import draw_stage
from attnviz.ui.lab.weights_section import weights_section


def flow(steps: AttentionSteps, lab: Lab, head: int | None) -> None:
    """Draw every section that has a matrix.

    Args:
        head: the head to show; None shows all of them side by side.
    """
    number = 1
    for section in sections(lab.config, crossing=steps.context is not None):
        stages = [stage for stage in steps.stages if stage.name in section.stages]
        if not stages:
            continue
        if "weights" in section.stages:
            weights_section(section, number, steps, lab, head)
        else:
            heading(section, number)
            with st.container(horizontal=True, gap="medium"):
                for stage in stages:
                    draw_stage(stage, steps, lab, head)
        number += 1
