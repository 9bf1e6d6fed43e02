"""An app that deploys and whose containers cannot start."""

import modal

app = modal.App("broken-app")

if not modal.is_local():
    raise RuntimeError("the model's weights are missing")


@app.function()
def never() -> None: ...
