"""What every stage stands on: settings, storage, manifests, launcher, tracking, progress and reports."""
