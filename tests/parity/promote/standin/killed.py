"""A promotion in a process of its own, which is killed as the step ``at`` begins; no step of it tidies anything up."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from parity.promote import runner
from parity.promote.commands import Promotion
from parity.promote.journal import Journal, only_one
from parity.promote.run import Patience, Run
from parity.promote.shell import Shell, private_fly_environment

told = json.loads(sys.argv[1])
fields = told["promotion"]
promotion = Promotion(**{**fields, "config": Path(fields["config"]), "ca": Path(fields["ca"]), "optional_secrets": ()})


class Killed(Journal):
    def at(self, step: str) -> None:
        super().at(step)
        if step == told["at"]:
            os.kill(os.getpid(), signal.SIGKILL)


state = Path(told["state"])
with only_one(state), private_fly_environment(dict(os.environ), state) as environ:
    run = Run(promotion, Shell(environ, print), Killed.read(state), Patience(20.0, 0.2), told["secrets"], "secrets.env")
    ended = runner.promote(run)
sys.exit(int(ended))
