"""Errors that are the user's to fix: shown as one message, without a traceback."""


class UserError(Exception):
    """Something the user can put right; the message names the place and the remedy."""


class SettingsError(UserError):
    """A recipe asks for something unknown, ill-typed or impossible; the message names file, line and key."""


class InputError(UserError):
    """Input data is missing or unusable; the message names the file (and line or record) and what was expected."""


class DetachedError(KeyboardInterrupt):
    """The user stopped watching something that goes on elsewhere; the message says how to come back."""
