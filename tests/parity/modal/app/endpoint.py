"""An app with something that the stand-in does not serve."""

import modal

app = modal.App("endpoint-app")


@app.function(schedule=modal.Period(hours=1))
def hourly() -> None: ...
