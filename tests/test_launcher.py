"""What launchers say, and what they forget to say."""

import pytest

from vqcli.errors import VqcliError
from vqcli.launcher import ALONE, Place, settle, work_alone

MEETING = {"MASTER_ADDR": "first", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
        {"RANK": "", "WORLD_SIZE": " ", "LOCAL_RANK": ""},
        {"LOCAL_RANK": "-1", "RANK": "-1"},
        {"RANK": "0"},
        {"WORLD_SIZE": "1"},
        {"PMI_RANK": "0", "PMI_SIZE": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "3"},
    ],
)
def test_one_process_is_alone(said):
    slurm = {name: value for name, value in said.items() if name.startswith("SLURM")}
    environment = said | MEETING
    assert settle(environment) == ALONE
    assert environment == slurm | MEETING


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Place(3, 4, 1, 2)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2, 0, 1)),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            Place(1, 2, 1, 2),
        ),
        (
            {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"},
            Place(2, 4, 0, 2),
        ),
        ({"RANK": "1", "WORLD_SIZE": "2", "PMI_RANK": "0", "PMI_SIZE": "1"}, Place(1, 2, 0, 1)),
    ],
)
def test_several_are_told_as_torchrun_tells_them(said, place):
    environment = said | MEETING
    assert settle(environment) == place
    numbers = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    told = (place.rank, place.processes, place.local_rank, place.local_processes)
    assert environment == dict(zip(numbers, map(str, told))) | MEETING
    assert settle(environment) == place


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"WORLD_SIZE": "4"} | MEETING, "WORLD_SIZE announces 4 processes, and RANK does not say which"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "nothing says where they meet: MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "first"}, "where they meet: MASTER_PORT"),
        ({"RANK": "0", "WORLD_SIZE": "2"} | MEETING | {"MASTER_PORT": "many"}, "'many', which is no port"),
        ({"RANK": "0", "WORLD_SIZE": "2"} | MEETING | {"MASTER_PORT": "70000"}, "'70000', which is no port"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, "OMPI_COMM_WORLD_SIZE announces 2"),
        ({"RANK": "2", "WORLD_SIZE": "2"} | MEETING, "RANK is 2, and WORLD_SIZE announces only 2"),
        ({"RANK": "2"}, "RANK is 2, and WORLD_SIZE does not say of how many"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK is 1, and WORLD_SIZE does not say"),
        ({"RANK": "first", "WORLD_SIZE": "2"}, "RANK is 'first', and should be a number"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE is '-2', and should be a number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0"),
    ],
)
def test_what_is_missing_or_odd_is_one_sentence(said, why):
    environment = dict(said)
    with pytest.raises(VqcliError, match=why) as refused:
        settle(environment)
    assert refused.value.reason == "environment"
    unset = refused.value.hint.partition("unset ")[2].split()
    assert set(unset) == said.keys() - MEETING.keys()
    work_alone(environment)
    assert settle(environment) == ALONE
