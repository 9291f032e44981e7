"""What stops a conversion, and with it the build of the image."""


class ConversionError(Exception):
    """The model cannot be used as it is. The message is for a person: the rule, the values found, the remedy."""
