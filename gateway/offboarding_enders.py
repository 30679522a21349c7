"""All that finds and ends what hangs on a person outside of governance: the one list, in the order of the receipt."""

from gateway import held_sign_ins, offboarding_traces
from governance.offboarding import Ender

ENDERS: tuple[Ender, ...] = (*held_sign_ins.ENDERS, *offboarding_traces.ENDERS)
