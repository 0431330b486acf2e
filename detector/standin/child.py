"""The programs of the stage, as `adapters.program` runs them; what fails is an error of the stage."""

from detector.adapters.program.child import Child, Port
from detector.adapters.program.child import ProgramError as StageError

__all__ = ["Child", "Port", "StageError"]
