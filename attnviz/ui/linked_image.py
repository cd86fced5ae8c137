"""An uploaded image in the link: the server keeps it, and its name is a query parameter."""

from __future__ import annotations

from typing import Final

import streamlit as st

from attnviz.ui import query_params
from attnviz.ui.kept_inputs import KEPT, NO_LONGER_KEPT, kept_inputs

_LINK: Final = query_params.kept_name("image")
_UPLOADED = "_image_uploaded"  # the name of the image in the uploader


def uploaded_image(upload: bytes | None) -> bytes | None:
    """The image in the uploader, or the one that the link names.

    Args:
        upload: what is in the uploader, which is empty after a reload or on another page.
    """
    before: str | None = st.session_state.get(_UPLOADED)
    if upload is not None:
        name = kept_inputs().add(upload)
        if name != before:  # it is shown instead of a digit that was chosen before
            st.session_state[_UPLOADED] = name
            st.session_state["digit"] = "none"
        if query_params.read(_LINK) != name:
            query_params.write(_LINK, name)
        st.caption(f":material/link: An image does not fit into a link, so {KEPT}")
        return upload
    st.session_state.pop(_UPLOADED, None)
    name = query_params.read(_LINK)
    if not name:
        return None
    if name == before and not query_params.link_opened():  # a person took it out of the uploader
        query_params.write(_LINK, None)
        return None
    image = kept_inputs().open(name)
    if image is None:
        st.caption(f":material/link_off: The image of this link {NO_LONGER_KEPT}")
        query_params.write(_LINK, None)
    return image
