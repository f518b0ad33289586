"""From an intent to the webhook, and what may hold it back."""
