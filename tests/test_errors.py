"""Each misuse of the façade gives its own error, whose text names what went wrong and the way out."""

from pathlib import Path

import jax
import pytest

from .misuses import Net, page, rows


ROWS = {row.what: row for row in rows()}


@pytest.mark.parametrize("what", ROWS)
def test_a_misuse_is_explained(what):
    row, net = ROWS[what], Net()
    before = net.V.value
    with pytest.raises(row.error) as caught:
        row.run(net)
        jax.effects_barrier()
    text = str(caught.value)
    for word in (*row.named, row.fix):
        assert word in text, f"{word!r} is not in: {text}"
    if "donated" not in what:
        assert net.V.value is before


def test_there_are_many():
    assert len(ROWS) >= 60


def test_the_page_has_them_all():
    assert (Path(__file__).parent.parent / "notebooks" / "errors.md").read_text() == page()
