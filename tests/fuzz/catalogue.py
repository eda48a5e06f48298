"""All campaigns, in the order in which they are run."""

from tests.fuzz.campaign import Campaign
from tests.fuzz.folders import Folders
from tests.fuzz.kernels import Kernels, SanitizedKernels
from tests.fuzz.kills import Kills
from tests.fuzz.options import Options
from tests.fuzz.threads import Threads

CAMPAIGNS: dict[str, type[Campaign]] = {
    one.name: one for one in (Folders, Options, Kills, Threads, Kernels, SanitizedKernels)
}
