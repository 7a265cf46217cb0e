"""The nouns of the stand-in; one name to import them from."""

from services.sandbox.model.basics import Account, Json, RefusalError, Rules, Switches, digest_of
from services.sandbox.model.parcels import Delivery, Outcome, Picture, Result, Upload
from services.sandbox.model.scripts import Call, Life, Script, Step
from services.sandbox.model.tasks import Draft, Phase, Task, View

__all__ = [
    "Account", "Call", "Delivery", "Draft", "Json", "Life", "Outcome", "Phase", "Picture", "RefusalError", "Result",
    "Rules", "Script", "Step", "Switches", "Task", "Upload", "View", "digest_of",
]  # fmt: skip
