"""What everyone who meets one of our models is told: on the model card, in reports, in the chat."""

ADVISORY = (
    "This model is for research. It is not validated for clinical use: its answers can be wrong or harmful, "
    "and must not guide the care of patients."
)
