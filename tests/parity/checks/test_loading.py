"""What is refused of a contract, and that every mistake is named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.parity.checks.repository import CONTRACT

from parity.checks.loading import load_contract
from parity.config.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONTRACT + "    async def uplaod(self, data): ...\n", "is it upload?"),
        (CONTRACT + "    async def zzz(self): ...\n", "zzz means nothing; names of helpers begin with _"),
        (CONTRACT + "    def delete(self, text): ...\n", "delete must be an async method"),
        (CONTRACT.replace("async def read", "async def _read"), "read is missing"),
        (CONTRACT.replace("keeps = InBucket", "keeps = str"), "expected InBucket(…) or Elsewhere()"),
        ("class Other: ...", "no class Contract"),
        ("raise ValueError('no')", "cannot be imported: ValueError: no"),
    ],
)
def test_a_contract_with_a_mistake_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "contract.py").write_text(text)
    with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        load_contract(tmp_path / "contract.py")


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = CONTRACT.replace("async def read", "async def raed") + "    def edit(self): ...\n"
    (tmp_path / "contract.py").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_contract(tmp_path / "contract.py")
    assert all(part in str(raised.value) for part in ("is it read?", "read is missing", "edit must be an async method"))


def test_a_contract_may_import_its_neighbours_and_inherit(tmp_path: Path) -> None:
    (tmp_path / "notes_base.py").write_text(CONTRACT.replace("class Contract", "class Base"))
    (tmp_path / "contract.py").write_text("from notes_base import Base\nclass Contract(Base): ...\n")
    assert load_contract(tmp_path / "contract.py").__name__ == "Contract"
