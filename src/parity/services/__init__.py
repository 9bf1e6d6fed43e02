"""What an app needs beside R2 and Modal: services behind a proxy that can take them away, and stubs of outside APIs."""
