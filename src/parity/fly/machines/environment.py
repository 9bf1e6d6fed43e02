"""Variables that Fly itself sets in a Machine (superfly/docs, August 2026)."""

from __future__ import annotations

from parity.config.fly_toml import FlyConfig

# Documentation and private addresses: nothing is reached under them.
PUBLIC_IP = "2001:db8::1"
PRIVATE_IP = "fdaa:0:1:a7b::2"


def fly_environment(config: FlyConfig, machine_id: str, version: str, image_ref: str) -> dict[str, str]:
    """Fly's own variables for one Machine of one release."""
    return {
        "FLY_APP_NAME": config.app,
        "FLY_MACHINE_ID": machine_id,
        "FLY_ALLOC_ID": machine_id,
        "FLY_REGION": config.primary_region,
        "PRIMARY_REGION": config.primary_region,
        "FLY_PUBLIC_IP": PUBLIC_IP,
        "FLY_PRIVATE_IP": PRIVATE_IP,
        "FLY_IMAGE_REF": image_ref,
        "FLY_MACHINE_VERSION": version,
        "FLY_PROCESS_GROUP": config.group,
        "FLY_VM_MEMORY_MB": str(config.machine.memory_mb),
    }
