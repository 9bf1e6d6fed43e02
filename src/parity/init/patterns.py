"""What texts and names in an app's sources and fly.toml mean. Guesses: `parity init` says which of them to correct."""

from __future__ import annotations

import re

# What reads an environment variable in Python, by the common spellings: one that must be there, one that may.
MUST = re.compile(r"""environ\s*\[\s*["']([A-Z][A-Z0-9_]{2,})["']""")
MAY = re.compile(
    r"""(?:environ\.get|environ\.setdefault|getenv|\bconfig|\benv(?:\.str|\.bool|\.int)?)
        \s*\(\s*["']([A-Z][A-Z0-9_]{2,})["']""",
    re.VERBOSE,
)
# A field of pydantic's settings; one with a default may be left out.
SETTING = re.compile(
    r"^    ([a-zA-Z][a-zA-Z0-9_]{2,})\s*:\s*(?:str|SecretStr|int|bool|[A-Z]\w*Url|Optional|Annotated)([^\n]*)", re.M
)
MODAL_APP = re.compile(r"modal\.(?:App|Stub)\(\s*(?:name\s*=\s*)?[\"']([^\"']+)[\"']")
MODAL_SECRET = re.compile(r"Secret\.from_name\(\s*[\"']([^\"']+)[\"']")
BOTO3 = re.compile(r"^\s*(?:import|from)\b[^\n]*\b(?:aio)?boto(?:3|core)\b", re.M)
PYDANTIC = re.compile(r"class \w+\((?:pydantic_settings\.)?BaseSettings\)")
_STORE = "R2|S3|AWS|BUCKET|STORAGE|CLOUDFLARE|OBJECTS?"
R2 = {
    "R2_ENDPOINT": re.compile(rf"({_STORE}).*(ENDPOINT|URL|HOST$)|ENDPOINT_URL"),
    "R2_ACCESS_KEY_ID": re.compile(
        rf"({_STORE}|ACCESS).*(ACCESS_KEY|KEY_ID)(?!.*SECRET)|(^|_)(R2|S3|OBJECTS?)_(KEY|ID)$"
    ),
    "R2_SECRET_ACCESS_KEY": re.compile(rf"({_STORE}).*SECRET"),
    "R2_BUCKET": re.compile(r"BUCKET(_NAME)?$|^(R2|S3)_BUCKET|^OBJECTS?(_STORE)?_(NAME|CONTAINER)$"),
}
# What boto3 is given, and from which variable: surer than a name.
GIVEN = re.compile(
    r"""\b(endpoint_url|aws_access_key_id|aws_secret_access_key|Bucket)\s*=\s*
        (?:(?:os\.)?(?:environ\s*\[|environ\.get\(|getenv\()\s*["']([A-Z][A-Z0-9_]+)["']|(?:\w+\.)*settings\.(\w+))""",
    re.VERBOSE | re.IGNORECASE,
)
BOTO3_NAMES = {
    "endpoint_url": "R2_ENDPOINT",
    "aws_access_key_id": "R2_ACCESS_KEY_ID",
    "aws_secret_access_key": "R2_SECRET_ACCESS_KEY",
    "bucket": "R2_BUCKET",
}
SERVICES = {"postgres": re.compile(r"DATABASE_URL|POSTGRES(QL)?_UR[LI]|PG_?DSN"), "redis": re.compile(r"REDIS_UR[LI]")}
# A folder outside of the app's own, as a text of the source.
PLACE = re.compile(r"""(?:["'](\w+)["']\s*,\s*)?["'](/(?:data|tmp|var|mnt)(?:/[\w./-]*)?)["']""")
# The address of something else that the app asks.
ADDRESS = re.compile(r"_(URL|URI|ENDPOINT|HOST|BASE|API|DSN)$")
# What fly.toml's [env] calls the environment, and how environments are called.
ENVIRONMENT = re.compile(r"(^|_)(ENV|ENVIRONMENT|STAGE)$")
ENVIRONMENTS = re.compile(
    r"(dev|development|test|tst|qa|preview|staging|stage|stg|prod|prd|production|live)[a-z0-9-]*", re.I
)
# Set by Fly, the shell or Python itself: no secret of the app.
NOT_SECRETS = re.compile(
    r"^(FLY_.*|PORT|HOST|HOME|PATH|PYTHON.*|PRIMARY_REGION|TZ|LANG|DEBUG|LOG_LEVEL|TMPDIR|GIT_.*)$"
)
