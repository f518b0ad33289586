"""Training, promotion and retraining of models."""
