"""The test image merges configuration as ClickHouse does, or it would prove nothing."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from .clickhouse_image.merge import BadConfigError, merged

BASE = """
<clickhouse>
  <listen_host>::</listen_host><listen_host>0.0.0.0</listen_host>
  <tcp_port>9000</tcp_port>
  <query_log><database>system</database><ttl>x</ttl></query_log>
  <disk name="a">1</disk><disk name="b">2</disk>
</clickhouse>"""


def laid_over(folder: Path, *patches: str) -> str:
    (folder / "config.xml").write_text(BASE)
    (folder / "config.d").mkdir()
    for number, patch in enumerate(patches):
        (folder / f"config.d/{number}.xml").write_text(f"<clickhouse>{patch}</clickhouse>")
    tree = merged(folder / "config.xml")
    text = ElementTree.tostring(tree, encoding="unicode")
    return "".join(line.strip() for line in text.splitlines())


def test_a_known_element_is_merged_and_a_new_one_added(tmp_path: Path) -> None:
    text = laid_over(tmp_path, "<query_log><ttl>y</ttl><flush>1</flush></query_log><new>2</new>")
    assert "<query_log><database>system</database><ttl>y</ttl><flush>1</flush></query_log>" in text
    assert "<new>2</new>" in text


def test_remove_takes_an_element_away_and_replace_takes_its_place(tmp_path: Path) -> None:
    text = laid_over(
        tmp_path, '<tcp_port remove="remove"/>', '<query_log replace="replace"><a>1</a></query_log>'
    )
    assert "tcp_port" not in text
    assert "<query_log><a>1</a></query_log>" in text


def test_one_listen_host_over_two_leaves_the_second(tmp_path: Path) -> None:
    text = laid_over(tmp_path, "<listen_host>127.0.0.1</listen_host>")
    assert "<listen_host>127.0.0.1</listen_host><listen_host>0.0.0.0</listen_host>" in text


def test_elements_with_other_attributes_are_other_elements(tmp_path: Path) -> None:
    text = laid_over(tmp_path, '<disk name="b">3</disk>')
    assert '<disk name="a">1</disk><disk name="b">3</disk>' in text


def test_later_files_win_in_the_order_of_their_names(tmp_path: Path) -> None:
    text = laid_over(tmp_path, "<tcp_port>1</tcp_port>", "<tcp_port>2</tcp_port>")
    assert "<tcp_port>2</tcp_port>" in text


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("<tcp_port>", "mismatched tag"),
        ('<tcp_port remove="1" replace="1"/>', "both remove and replace"),
        ('<tcp_port from_env="PORT"/>', "not emulated"),
    ],
)
def test_a_file_that_cannot_be_merged_is_named(tmp_path: Path, patch: str, said: str) -> None:
    with pytest.raises(BadConfigError, match=said) as error:
        laid_over(tmp_path, patch)
    assert "config.d/0.xml" in str(error.value)
