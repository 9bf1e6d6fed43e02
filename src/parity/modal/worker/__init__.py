"""The worker: deploys the app with the SDK's own command and runs its functions in Modal's own runtime."""
