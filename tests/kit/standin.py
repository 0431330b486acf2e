"""The stand-ins that ship in the wheel, as the tests name them: one import for what the demo and the tests share."""

from detector.standin.ledger import Alert, Drop, DropReason, Duplicate, Status
from detector.standin.pagerduty import PagerDuty, Request
from detector.standin.script import End, Reply, Step, fail, html_200, redirect_302
from detector.standin.shop import SERVICES, Fault, Shop
from detector.standin.traffic import Service

__all__ = [
    "SERVICES",
    "Alert",
    "Drop",
    "DropReason",
    "Duplicate",
    "End",
    "Fault",
    "PagerDuty",
    "Reply",
    "Request",
    "Service",
    "Shop",
    "Status",
    "Step",
    "fail",
    "html_200",
    "redirect_302",
]
