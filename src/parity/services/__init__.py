"""Services that an app needs beside R2 and Modal, each behind a proxy that can cut it off; stubs of outside APIs."""
