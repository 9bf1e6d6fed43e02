from pathlib import Path

from parity.config.dotenv import take_dotenv


def test_settings_of_the_file_are_taken_where_the_shell_has_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "PARITY_PORT_OFFSET=100 # moved\nCOMPOSE_PROJECT_NAME='mine'\nPARITY_R2_PORT=1\nPATH=/x\n"
    )
    environ = {"PATH": "/bin", "PARITY_R2_PORT": "9"}
    take_dotenv(tmp_path, environ)
    assert environ == {
        "PATH": "/bin",
        "PARITY_R2_PORT": "9",
        "PARITY_PORT_OFFSET": "100",
        "COMPOSE_PROJECT_NAME": "mine",
    }


def test_no_file_changes_nothing(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    take_dotenv(tmp_path, environ)
    assert environ == {}
