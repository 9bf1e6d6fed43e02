from pathlib import Path

from parity.stack.ownership import list_containers, other_folder, own_names


def resolved(folder: str) -> str:
    return str(Path(folder).resolve())


def test_containers_of_this_folder_are_ours_by_whatever_link_it_was_reached(tmp_path: Path) -> None:
    checkout, link = tmp_path / "checkout", tmp_path / "link"
    checkout.mkdir()
    link.symlink_to(checkout)
    assert other_folder([str(checkout), str(link)], str(checkout), resolved) == ""
    assert other_folder([str(checkout)], str(link), resolved) == ""
    assert other_folder([], str(checkout), resolved) == ""


def test_the_folder_of_another_checkout_is_named(tmp_path: Path) -> None:
    assert other_folder([str(tmp_path / "a"), str(tmp_path / "b")], str(tmp_path / "a"), resolved) == str(
        tmp_path / "b"
    )


def test_a_container_without_the_label_is_not_ours(tmp_path: Path) -> None:
    assert "without the label" in other_folder([""], str(tmp_path), resolved)


def test_stopped_containers_are_looked_at_too() -> None:
    assert list_containers("demo")[:5] == ["docker", "ps", "--all", "--filter", "label=com.docker.compose.project=demo"]


def test_compose_is_given_the_project_and_every_port() -> None:
    assert own_names("demo", {"PARITY_R2_PORT": 9100}) == {
        "COMPOSE_PROJECT_NAME": "demo",
        "PARITY_PORT_OFFSET": "",
        "PARITY_R2_PORT": "9100",
    }
