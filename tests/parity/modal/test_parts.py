"""Identifiers, messages, environments and the served table, without a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from modal_proto import api_pb2 as pb
from tests.parity.modal.support import CHECKOUT

from parity.modal import messages
from parity.modal.config import WorkerConfig
from parity.modal.definitions import function_metadata, with_options
from parity.modal.identifiers import decode_token, encode_token, fresh_id, sign, stable_id
from parity.modal.rpc import HANDLERS, REPLAYED
from parity.modal.worker.containers import container_command, container_environment
from parity.modal.worker.deploy import deploy_environment


def test_the_id_of_a_name_is_the_same_for_ever() -> None:
    assert stable_id("fu", "app", "double") == "fu-gC7KYamm9Z8N6vtxHHypb7"
    assert stable_id("fu", "ab", "c") != stable_id("fu", "a", "bc")
    assert fresh_id("fc") != fresh_id("fc")


def test_a_token_gives_its_claims_back_and_another_text_is_refused() -> None:
    assert decode_token(encode_token(idx=3, fc="fc-1")) == {"idx": 3, "fc": "fc-1"}
    for text in ("", "a.b.c", "x.bnVsbA.x"):
        with pytest.raises(ValueError, match="not a token"):
            decode_token(text)


def test_a_container_of_another_control_plane_has_another_proof() -> None:
    assert sign(b"one", "ta-1") != sign(b"two", "ta-1")
    assert sign(b"one", "ta-1") != sign(b"one", "ta-2")


@pytest.mark.parametrize(
    "message",
    [
        messages.Hello({"ta-1": "fu-1"}),
        messages.Exited("ta-1", -9, "log"),
        messages.Welcome(["app"]),
        messages.Start("ta-1", "fu-1", "", "h", "im-1", {"A": "b"}, {"/root/a.py": "0"}),
        messages.Stop("ta-1", 9),
        messages.Die(),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: messages.Message) -> None:
    assert messages.decode(messages.encode(message)) == message


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"type": "Stop"}', '{"type": "Stop", "task_id": "a", "signal": 9, "x": 1}']
)
def test_another_message_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a message"):
        messages.decode(text)


def test_options_that_are_not_served_are_refused_by_name() -> None:
    assert with_options(pb.Function(timeout_secs=1), pb.FunctionOptions(timeout_secs=9)).timeout_secs == 9
    with pytest.raises(ValueError, match="buffer_containers"):
        with_options(pb.Function(), pb.FunctionOptions(buffer_containers=1))


def test_a_handle_stays_off_the_input_plane() -> None:
    assert function_metadata(pb.Function(function_name="f"), "ap-1", "fu-1").input_plane_url == ""


def _config(tmp_path: Path) -> WorkerConfig:
    return WorkerConfig(
        url="http://modal:9900",
        blob_url="http://modal:9901",
        token_id="ak-1",
        token_secret="as-1",
        app_name="app",
        entry=tmp_path / "app.py",
        pythonpath=(tmp_path / "a", tmp_path / "b"),
        work_dir=tmp_path,
        trust=tmp_path / "ca.pem",
    )


def test_a_container_sees_its_secrets_the_ca_and_nothing_else_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    order = messages.Start("ta-1", "fu-1", "", "ta-1/proof", "im-1", {"R2_BUCKET": "b"}, {})
    worker = {"PATH": "/bin", "MODAL_TOKEN_SECRET": "as-1", "AWS_PROFILE": "mine", "PARITY_ROOT": "/x"}
    seen = container_environment(_config(tmp_path), order, tmp_path / "t", tmp_path / "root", worker)
    assert not {"MODAL_TOKEN_SECRET", "AWS_PROFILE", "PARITY_ROOT"} & set(seen)
    assert (seen["PATH"], seen["R2_BUCKET"], seen["AWS_CA_BUNDLE"]) == ("/bin", "b", str(tmp_path / "ca.pem"))
    assert seen["MODAL_OVERRIDE_HEADERS"] == "x-parity-task:ta-1/proof"


def test_a_deploy_cannot_be_pointed_elsewhere_by_the_workers_environment(tmp_path: Path) -> None:
    worker = {"PATH": "/bin", "MODAL_SERVER_URL": "https://api.modal.com", "MODAL_PROFILE": "mine"}
    seen = deploy_environment(_config(tmp_path), worker)
    assert seen["MODAL_SERVER_URL"] == "http://modal:9900"
    assert "MODAL_PROFILE" not in seen
    assert seen["PYTHONPATH"] == f"{tmp_path / 'a'}:{tmp_path / 'b'}"


def test_the_runtime_is_modals_own_and_tied_to_the_worker() -> None:
    runtime = ["python", "-m", "modal._container_entrypoint"]
    assert container_command("python", None) == runtime
    assert container_command("python", "/bin/setpriv") == ["/bin/setpriv", "--pdeathsig", "KILL", *runtime]


def test_every_rpc_of_the_tables_exists_and_the_page_lists_what_is_served() -> None:
    known = set(pb.DESCRIPTOR.services_by_name["ModalClient"].methods_by_name)
    assert set(HANDLERS) <= known
    assert set(REPLAYED) <= set(HANDLERS)
    page = (CHECKOUT / "docs/standins/modal.md").read_text()
    listed = page[page.index("## Served") : page.index("## Not reproduced")]
    assert set(re.findall(r"`([A-Z][A-Za-z]+)`", listed)) & known == set(HANDLERS)
